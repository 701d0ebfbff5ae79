"""Commands that open JupyterLab: lab, open."""

from __future__ import annotations

import webbrowser
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.base.settings import Settings, load_settings
from workbench.cli.commands_read import chosen_run, tracking
from workbench.cli.options import one_stage
from workbench.cli.output import Json, print_json
from workbench.stage.pipeline import STAGE_NAMES, StageName

if TYPE_CHECKING:
    from sqlalchemy import Engine

NoBrowser = Annotated[bool, typer.Option("--no-browser", help="only print the address")]


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(lab)
    app.command(name="open")(open_)


def lab(context: typer.Context) -> None:
    """Open JupyterLab on the control panel; prints its address with the token. Other options go to Jupyter."""
    from workbench.cli.lab_server import serve

    serve(load_settings(), more=context.args)


def open_(
    pipeline_id: Annotated[str, typer.Argument(metavar="ID", help="a run's id")],
    stage: Annotated[StageName, typer.Argument(metavar="STAGE", parser=one_stage, help="|".join(STAGE_NAMES))],
    no_browser: NoBrowser = False,
    as_json: Json = False,
) -> None:
    """Open a copy of a stage's notebook with that run's parameters, to step through it in JupyterLab.

    Prints first which data its cells will change: a completed run stays unchanged, they work on a copy of it.
    """
    from workbench.cli.lab_server import lab_root, running_address, serve
    from workbench.run.debug_copy import open_copy
    from workbench.run.derived_runs import effect_of
    from workbench.state import queries

    with tracking() as (settings, engine):
        effect = effect_of(queries.run_row(engine, chosen_run(engine, pipeline_id)), stage)
        copy = open_copy(engine, settings, pipeline_id, stage, lab_root(settings) / "opened")
    path = f"opened/{copy.name}"
    address = running_address(settings, path)
    if as_json:
        print_json({"notebook": str(copy), "address": address, "effect": effect})
        return
    typer.echo(effect, err=True)
    print(copy)
    if address is None:
        serve(settings, path, ["--no-browser"] if no_browser else [])
    print(address)
    if not no_browser:
        show_in_browser(address)


def show_in_browser(address: str) -> None:
    """Open an address without its token: all users of the machine see command lines. A new browser asks for it."""
    webbrowser.open(address.partition("?")[0])


def open_failed_stage(settings: Settings, engine: Engine, pipeline_id: str, stage: StageName) -> str | None:
    """Make a copy of the stage's notebook to step through; returns where the running JupyterLab shows it, if one runs.

    Its token is left out: a browser that may open notebooks has it already.
    """
    from workbench.cli.lab_server import lab_root, running_address
    from workbench.run.debug_copy import open_copy

    copy = open_copy(engine, settings, pipeline_id, stage, lab_root(settings) / "opened")
    address = running_address(settings, f"opened/{copy.name}")
    return address.partition("?")[0] if address else None
