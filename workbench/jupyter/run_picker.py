"""A small list at the top of a stage's notebook: which run the cells below work on."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import ipywidgets as widgets

from workbench.base.text_formats import run_status_words
from workbench.jupyter.kernel_services import kernel_services
from workbench.stage.pipeline import StageName, stage_before
from workbench.state import queries

_NEWEST = "the newest that has the input (of a completed one: a copy)"
_LAYOUT = widgets.Layout(width="44em")


def run_chooser(stage: StageName, namespace: MutableMapping[str, Any]) -> widgets.Dropdown:
    """Return the list of runs that have this stage's input; choosing one sets `pipeline_id` in `namespace`.

    Runs that a process is working on are left out: they are watched in 00_workbench. A completed run stays as it is:
    the cells then work on a copy of it.
    """
    runs = queries.runs_ready_for(kernel_services().engine, stage_before(stage))
    chooser = _list_of(runs, _NEWEST, namespace, "pipeline_id")
    chooser.tooltip = "A completed run stays as it is: the cells work on a copy of it"
    chooser.description, chooser.style.description_width = "Work on run", "7em"
    chooser.add_class("workbench-chooser")
    return chooser


def runs_chooser(namespace: MutableMapping[str, Any], names: tuple[str, ...]) -> widgets.VBox:
    """Return one list of all runs for each of the variables named, e.g. the two sides of a comparison."""
    runs = queries.runs_ready_for(kernel_services().engine, before=None, limit=50)
    return widgets.VBox([_list_of(runs, "chosen by the cells below", namespace, name) for name in names])


def _list_of(runs: list[queries.Row], without: str, namespace: MutableMapping[str, Any], name: str) -> widgets.Dropdown:
    """Return a list that sets one variable, to begin with to what was chosen before its parameters cell ran again."""
    chosen = kernel_services().chosen_runs
    present = namespace.get(name) or chosen.get(name, "")
    options = [(without, ""), *((_words(row), row["id"]) for row in runs)]
    if present not in {value for _, value in options}:
        options.append((present, present))
    namespace[name] = present

    def choose(change: Mapping[str, str]) -> None:
        namespace[name] = chosen[name] = change["new"]

    chooser = widgets.Dropdown(options=options, value=present, description=name, layout=_LAYOUT)
    chooser.observe(choose, names="value")
    return chooser


def _words(run: queries.Row) -> str:
    records = next(iter(queries.record_counts(queries.chain_of(run), run["counts"]).values()), None)
    counted = f"{records:,} records" if records is not None else "no records yet"
    status = run_status_words(run["status"], run["trigger"])
    origin = f", copy of {run['derived_from']}" if run["derived_from"] else ""
    return f"{run['id']} · {status}{origin} · {counted}"
