"""Commands that act: cancel, clean, doctor."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline_lib.cli.looking import chosen_run, tracking
from pipeline_lib.cli.output import Json, print_json
from pipeline_lib.errors import InvalidParameter
from pipeline_lib.settings import load_settings


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (cancel, clean, doctor):
        app.command()(command)


def cancel(pipeline_id: Annotated[str, typer.Argument(metavar="ID", help="a run's id")]) -> None:
    """Ask a run to stop; its owner does so within seconds."""
    from pipeline_lib.tracking.lease import request_cancel

    with tracking() as (_, engine):
        chosen = chosen_run(engine, pipeline_id)
        asked = request_cancel(engine, chosen)
    print(f"run {chosen}: asked to stop" if asked else f"run {chosen}: has ended already")


def clean(
    keep: Annotated[int | None, typer.Option(min=0, help="how many of the newest runs to keep")] = None,
    orphans: Annotated[bool, typer.Option("--orphans", help="remove what runs that nobody knows have left")] = False,
    as_json: Json = False,
) -> None:
    """Remove all but the newest runs: folders, schemas and rows. The published run and those to be published stay."""
    from pipeline_lib.execution.cleaning import clean_runs, remove_orphans, undelivered_runs
    from pipeline_lib.tracking.publication_queue import pending_publications

    if keep is None and not orphans:
        raise InvalidParameter("keep", "say how many runs to keep, or --orphans")
    with tracking() as (settings, engine):
        removed = clean_runs(engine, settings, keep) if keep is not None else []
        lost = remove_orphans(engine, settings) if orphans else None
        waiting, unpublished = len(undelivered_runs(engine, settings)), len(pending_publications(engine))
    if as_json:
        found = {"schemas": lost.schemas, "folders": list(map(str, lost.folders))} if lost else {}
        print_json({"removed": removed, **({"orphans": found} if orphans else {})})
        return
    print(f"removed {len(removed)} runs")
    if waiting:
        print(f"{waiting} ended runs stay in any case until the broker has all of their events")
    if unpublished:
        print(f"{unpublished} completed runs stay in any case until readers see them or a newer run")
    if lost is not None:
        print(f"removed {len(lost.schemas)} schemas and {len(lost.folders)} folders without a run")


def doctor(as_json: Json = False) -> None:
    """Tell what is reachable, and how to mend what is not; exit code 1 when something is not."""
    from pipeline_lib.cli.diagnosis import diagnose, show_findings

    findings = diagnose(load_settings())
    print_json([finding.__dict__ for finding in findings]) if as_json else show_findings(findings)
    if any(finding.reachable is False for finding in findings):
        raise typer.Exit(1)
