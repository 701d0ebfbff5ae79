"""Plugs the parts together: hands the command what works runs, serves the page and asks Prefect.

Its parts do not know each other (see the layers in pyproject.toml), and `--help` imports none of the large ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from workbench.base.settings import Settings
from workbench.cli.commands import create_cli
from workbench.prefect.connection import set_prefect_environment
from workbench.prefect.runner import check_prefect, resume_run, start_run, work_queue


def main() -> None:
    """Run the `workbench` command."""
    create_cli(start_run, resume_run, work_queue, serve_page, check_prefect)()


def serve_page(settings: Settings, on_ready: Callable[[str], None]) -> None:
    """Serve the page until a signal. It reaches Prefect anew for every action, so that it outlives Prefect."""
    set_prefect_environment(settings)
    from workbench.cli.commands_lab import open_failed_stage
    from workbench.prefect.actions import actions_on
    from workbench.services import postgres
    from workbench.state import database
    from workbench.web.server import serve

    with postgres.held(settings) as url:
        engine = database.connect(url)
        open_failure = partial(open_failed_stage, settings, engine)
        try:
            serve(settings, engine, replace(actions_on(settings, engine), open_failure=open_failure), on_ready)
        finally:
            engine.dispose()


if __name__ == "__main__":
    main()
