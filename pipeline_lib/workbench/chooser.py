"""A small list at the top of a stage's notebook: which run the cells below work on."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import ipywidgets as widgets

from pipeline_lib.parameters import StageName
from pipeline_lib.stages.chain import stage_before
from pipeline_lib.tracking import queries
from pipeline_lib.workbench.kernel import kernel_services

_NEWEST = "the newest that has the input"
_LAYOUT = widgets.Layout(width="44em")


def run_chooser(stage: StageName, namespace: MutableMapping[str, Any]) -> widgets.Dropdown:
    """Return the list of runs that have this stage's input; choosing one sets `pipeline_id` in `namespace`.

    Runs that a process is working on are left out: they are watched in 00_workbench.
    """
    runs = queries.runs_ready_for(kernel_services().engine, stage_before(stage))
    known = [row["id"] for row in runs]
    present = namespace.get("pipeline_id", "")
    options = [(_NEWEST, ""), *((_words(row), row["id"]) for row in runs)]
    if present and present not in known:
        options.append((present, present))
    chooser = widgets.Dropdown(options=options, value=present, description="Work on run", layout=_LAYOUT)
    chooser.style.description_width = "7em"
    chooser.add_class("workbench-chooser")
    chooser.observe(lambda change: namespace.update(pipeline_id=change["new"]), names="value")
    return chooser


def runs_chooser(namespace: MutableMapping[str, Any], names: tuple[str, ...]) -> widgets.VBox:
    """Return one list of all runs for each of the variables named, e.g. the two sides of a comparison."""
    runs = queries.runs_ready_for(kernel_services().engine, before=None, limit=50)
    options = [("chosen by the cells below", ""), *((_words(row), row["id"]) for row in runs)]
    known = {value for _, value in options}
    lists = []
    for name in names:
        present = namespace.get(name, "")
        each = widgets.Dropdown(
            options=options, value=present if present in known else "", description=name, layout=_LAYOUT
        )
        each.observe(lambda change, name=name: namespace.update({name: change["new"]}), names="value")
        lists.append(each)
    return widgets.VBox(lists)


def _words(run: queries.Row) -> str:
    records = queries.record_counts(run["counts"])["generated"]
    counted = f"{records:,} records" if records is not None else "no records yet"
    status = "open, by hand" if run["status"] == "pending" else run["status"]
    return f"{run['id']} · {status} · {counted}"
