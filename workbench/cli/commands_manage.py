"""Commands that manage runs: cancel, clean; and doctor."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.base.errors import InvalidParameter
from workbench.base.settings import load_settings
from workbench.cli.commands_read import chosen_run, tracking
from workbench.cli.output import Json, print_json

if TYPE_CHECKING:
    from workbench.cli.doctor import Check
    from workbench.run.retention import Orphans


def add_commands(app: typer.Typer, check_prefect: Check) -> None:
    """Add the commands of this module; doctor calls `check_prefect` to test access to Prefect."""
    app.command()(cancel)
    app.command()(clean)

    @app.command("doctor")
    def command(as_json: Json = False) -> None:
        """Show which components are reachable, with a fix for those that are not; exit code 1 if any is not."""
        doctor(check_prefect, as_json)


def doctor(check_prefect: Check, as_json: bool) -> None:
    """Show the findings; raises `typer.Exit` when one says that something is not reachable."""
    from workbench.cli.doctor import CHECKS, diagnose, show_findings

    findings = diagnose(load_settings(), {**CHECKS, "prefect": check_prefect})
    print_json([finding.__dict__ for finding in findings]) if as_json else show_findings(findings)
    if any(finding.reachable is False for finding in findings):
        raise typer.Exit(1)


def cancel(pipeline_id: Annotated[str, typer.Argument(metavar="ID", help="a run's id")]) -> None:
    """Request a run's cancellation; its process stops within seconds."""
    from workbench.state.lease import request_cancel

    with tracking() as (_, engine):
        chosen = chosen_run(engine, pipeline_id)
        asked = request_cancel(engine, chosen)
    print(f"run {chosen}: asked to stop" if asked else f"run {chosen}: has ended already")


def clean(
    keep: Annotated[int | None, typer.Option(min=0, help="how many of the newest runs to keep")] = None,
    orphans: Annotated[bool, typer.Option("--orphans", help="remove folders and schemas without a run")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="remove orphans without asking")] = False,
    as_json: Json = False,
) -> None:
    """Remove all but the newest runs: folders, schemas and rows. The published run and those to be published stay."""
    from workbench.run.retention import clean_runs, find_orphans, remove_orphans, undelivered_runs
    from workbench.state.publication_queue import pending_publications

    if keep is None and not orphans:
        raise InvalidParameter("keep", "say how many runs to keep, or --orphans")
    with tracking() as (settings, engine):
        lost = find_orphans(engine, settings) if orphans else None
        if lost:
            _confirm_removal(lost, yes, quiet=as_json)
        removed = clean_runs(engine, settings, keep) if keep is not None else []
        if lost:
            remove_orphans(engine, lost)
        waiting, unpublished = len(undelivered_runs(engine, settings)), len(pending_publications(engine))
    if as_json:
        found = dict(asdict(lost), folders=list(map(str, lost.folders))) if lost is not None else {}
        print_json({"removed": removed, **({"orphans": found} if orphans else {})})
        return
    print(f"removed {len(removed)} runs")
    if waiting:
        print(f"{waiting} ended runs stay in any case until the broker has all of their events")
    if unpublished:
        print(f"{unpublished} completed runs stay in any case until readers see them or a newer run")
    if lost is not None:
        print(f"removed {len(lost.schemas)} schemas and {len(lost.folders)} folders without a run")
        _print_unproven(lost.unproven)


def _confirm_removal(lost: Orphans, yes: bool, quiet: bool) -> None:
    """List what is removed and ask for confirmation; raises `InvalidParameter` without a terminal."""
    if not quiet:
        for each in [*lost.schemas, *lost.folders]:
            print(each)
    if yes:
        return
    if quiet or not sys.stdin.isatty():
        raise InvalidParameter("yes", "there is no terminal to confirm the removal of orphans; give --yes as well")
    typer.confirm(f"Remove these {len(lost.schemas)} schemas and {len(lost.folders)} folders?", abort=True)


def _print_unproven(unproven: Sequence[str]) -> None:
    if unproven:
        print(f"{len(unproven)} stay, because nothing proves that they are this database's:")
        for each in unproven:
            print(f"  {each}")
        print("remove by hand those you recognise: folders with rm -r, schemas with drop schema … cascade")
