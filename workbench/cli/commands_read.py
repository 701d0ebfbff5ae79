"""Commands that read: runs, show, events, report, compare."""

from __future__ import annotations

import sys
import time
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from sqlalchemy import Engine

from workbench.base.errors import NoRunYet, UnknownRun
from workbench.base.run_id import checked_run_id
from workbench.base.settings import Settings, load_settings
from workbench.cli.output import Json, print_json, printable, write_in
from workbench.state import queries
from workbench.state.events import event_document
from workbench.state.models import PipelineEvent
from workbench.state.states import TERMINAL, RunStatus

if TYPE_CHECKING:
    from sqlalchemy import Engine

RunId = Annotated[str | None, typer.Argument(metavar="[ID]", help="a run's id; without it: the newest run")]
First = Annotated[str, typer.Argument(metavar="A", help="a run's id: what the other is compared with")]
Second = Annotated[str, typer.Argument(metavar="B", help="the other run's id")]
_LOOK_SECONDS = 0.5
_LINE_LENGTH = 200


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (runs, show, events, report, compare):
        app.command()(command)


@contextmanager
def tracking() -> Iterator[tuple[Settings, Engine]]:
    """Yield settings and tracking database for a block, after recovering crashed runs and publishing completed ones."""
    from workbench.run.crash_recovery import look_after
    from workbench.services import postgres
    from workbench.state import database

    settings = load_settings()
    with postgres.held(settings) as url:
        engine = database.connect_to_read(url)
        try:
            look_after(engine, settings, once=True)
            _publish_completed(engine)
            yield settings, engine
        finally:
            engine.dispose()


def _publish_completed(engine: Engine) -> None:
    """Try to publish completed runs that readers do not see yet, and print the results on stderr."""
    from workbench.run.publisher import publish_due

    for attempt in publish_due(engine):
        print(f"workbench: {printable(str(attempt))}", file=sys.stderr)


def chosen_run(engine: Engine, pipeline_id: str | None) -> str:
    """Return the run asked for, or with None the newest; raises `UnknownRun`, also for an id that is empty."""
    from workbench.state import queries

    chosen = queries.latest_run(engine) if pipeline_id is None else checked_run_id(pipeline_id)
    if chosen is None:
        raise UnknownRun("there is no run yet; `workbench run` makes one")
    return str(queries.run_row(engine, chosen)["id"])


def runs(
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="how many, newest first")] = 20, as_json: Json = False
) -> None:
    """List the newest runs with their key figures."""
    from workbench.cli.text_tables import runs_table, show_on_terminal
    from workbench.state import queries

    figures: list[dict[str, Any]] = []
    with suppress(NoRunYet), tracking() as (_, engine):
        figures = [dict(row) for row in queries.key_figures(engine, limit)]
    print_json(figures) if as_json else show_on_terminal(runs_table(figures))


def show(pipeline_id: RunId = None, as_json: Json = False) -> None:
    """Show one run: status, counts, conservation, stages, files."""
    from workbench.cli.text_tables import run_summary, show_on_terminal
    from workbench.state.run_document import run_document

    with tracking() as (settings, engine):
        document = run_document(engine, settings, chosen_run(engine, pipeline_id))
    print_json(document) if as_json else show_on_terminal(run_summary(document))


def events(
    pipeline_id: RunId = None,
    follow: Annotated[bool, typer.Option("--follow", help="continue until the run ends")] = False,
    as_json: Json = False,
) -> None:
    """List a run's events in their order, or follow them as they happen."""
    from workbench.cli.commands_read import print_events

    with tracking() as (_, engine):
        print_events(engine, chosen_run(engine, pipeline_id), follow=follow, as_json=as_json)


def report(
    pipeline_id: RunId = None,
    open_: Annotated[bool, typer.Option("--open", help="open them in the browser")] = False,
    as_json: Json = False,
) -> None:
    """List a run's HTML reports, or open them."""
    from pathlib import Path

    from workbench.state.run_document import run_document

    with tracking() as (settings, engine):
        document = run_document(engine, settings, chosen_run(engine, pipeline_id))
    if as_json:
        print_json({"pipeline_id": document["pipeline_id"], "reports": document["reports"]})
        return
    for path in document["reports"]:
        print(path)
        if open_:
            webbrowser.open(Path(path).as_uri())


def compare(first: First, second: Second, as_json: Json = False) -> None:
    """Show how run B differs from run A, in words and figures."""
    from workbench.cli.text_tables import show_on_terminal
    from workbench.run.comparison import compare_runs

    with tracking() as (settings, engine):
        document = compare_runs(engine, settings, chosen_run(engine, first), chosen_run(engine, second))
    print_json(document) if as_json else show_on_terminal(_picture(document))


def _picture(document: Mapping[str, Any]) -> RenderableType:
    runs = document["runs"]
    title = Text.assemble("\na ", (runs["a"]["pipeline_id"], "bold"), "   b ", (runs["b"]["pipeline_id"], "bold"), "\n")
    words = [Text(printable(sentence)) for sentence in document["words"]]
    parts: list[RenderableType] = [title, *words]
    for heading in ("records", "rejects", "stages", "models"):
        if document[heading]:
            parts += [Text(), _table(heading, document[heading])]
    if document["shifts"]:
        parts += [Text(), *_shifts(document["shifts"])]
    return Group(*parts)


def _table(heading: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    table = _empty({"stages": "stage, seconds", "models": "dbt model, seconds"}.get(heading, heading))
    for row in rows:
        change = "–" if row["change"] is None else f"{row['change']:+,}"
        table.add_row(row["name"], *("–" if row[run] is None else f"{row[run]:,}" for run in "ab"), change)
    return table


def _shifts(rows: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """Show the effects that have a name, and count the others."""
    named = [row for row in rows if row["size"] != "none"]
    quiet = Text(
        f"{len(rows) - len(named)} other effects on columns are too small to have a name; --json has them all."
    )
    if not named:
        return [Text("No column has shifted.")]
    table = _empty("column", "effect size", right=("a", "b"))
    table.add_column("size")
    for row in named:
        table.add_row(row["column"], f"{row['measure']} {row['value']:.3f}", row["a"], row["b"], row["size"])
    return [table, quiet]


def _empty(*left: str, right: Sequence[str] = ("a", "b", "change")) -> Table:
    table = Table(*left, box=None, header_style="bold", pad_edge=False)
    for heading in right:
        table.add_column(heading, justify="right")
    return table


def print_events(engine: Engine, pipeline_id: str, *, follow: bool, as_json: bool) -> None:
    """Print the run's events; with `follow` until the run has ended (as JSON: then one object a line)."""
    if as_json and not follow:
        print_json([_document(row) for row in queries.events_after(engine, pipeline_id)])
        return
    if as_json:
        write_in(encoding="utf-8")
    last = 0
    while True:
        ended = RunStatus(queries.run_row(engine, pipeline_id)["status"]) in TERMINAL
        for row in queries.events_after(engine, pipeline_id, last):
            print(orjson.dumps(_document(row)).decode() if as_json else _line(row), flush=True)
            last = row.sequence
        if ended or not follow:
            return
        time.sleep(_LOOK_SECONDS)


def _document(row: PipelineEvent) -> dict[str, Any]:
    return event_document(row) | {"published": row.published_at is not None}


def _line(row: PipelineEvent) -> str:
    data = printable(" ".join(f"{name}={value}" for name, value in row.data.items() if value not in (None, "")))
    line = f"{row.sequence:4} {row.created_at:%H:%M:%S.%f} {row.type:<17} {row.stage or '':<9} {data}".rstrip()
    return line if len(line) <= _LINE_LENGTH else f"{line[: _LINE_LENGTH - 1]}…"
