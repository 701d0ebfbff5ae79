"""Commands that look and change nothing: runs, show, events, report."""

from __future__ import annotations

import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.base.errors import NoRunYet, UnknownRun
from workbench.base.run_id import checked_run_id
from workbench.base.settings import Settings, load_settings
from workbench.cli.output import Json, print_json, printable

if TYPE_CHECKING:
    from sqlalchemy import Engine

RunId = Annotated[str | None, typer.Argument(metavar="[ID]", help="a run's id; without it: the newest run")]


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (runs, show, events, report, compare):
        app.command()(command)


@contextmanager
def tracking() -> Iterator[tuple[Settings, Engine]]:
    """Reach the tracking database for the block, look after runs whose owner has died, and publish what waits."""
    from workbench.run.crash_recovery import look_after
    from workbench.services import postgres
    from workbench.state import database

    settings = load_settings()
    with postgres.held(settings) as url:
        engine = database.connect_to_read(url)
        try:
            look_after(engine, settings, once=True)
            _publish_what_waits(engine)
            yield settings, engine
        finally:
            engine.dispose()


def _publish_what_waits(engine: Engine) -> None:
    """Try to publish completed runs that readers do not see yet, and say on stderr what has become of it."""
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
    from workbench.cli.views import runs_table, show_on_terminal
    from workbench.state import queries

    figures: list[dict[str, Any]] = []
    with suppress(NoRunYet), tracking() as (_, engine):
        figures = [dict(row) for row in queries.key_figures(engine, limit)]
    print_json(figures) if as_json else show_on_terminal(runs_table(figures))


def show(pipeline_id: RunId = None, as_json: Json = False) -> None:
    """Show one run: status, counts, conservation, stages, files."""
    from workbench.cli.views import run_summary, show_on_terminal
    from workbench.state.run_document import run_document

    with tracking() as (settings, engine):
        document = run_document(engine, settings, chosen_run(engine, pipeline_id))
    print_json(document) if as_json else show_on_terminal(run_summary(document))


def events(
    pipeline_id: RunId = None,
    follow: Annotated[bool, typer.Option("--follow", help="go on until the run ends")] = False,
    as_json: Json = False,
) -> None:
    """List a run's events in their order, or follow them as they happen."""
    from workbench.cli.event_stream import print_events

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
