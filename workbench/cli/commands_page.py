"""The command that serves the page."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.base import logs
from workbench.base.settings import Settings, load_settings
from workbench.services.readiness import report_ready

if TYPE_CHECKING:
    from workbench.cli.commands import ServePage


def add_commands(app: typer.Typer, serve_page: ServePage) -> None:
    """Add the command; the server is handed in."""

    @app.command()
    def web(
        port: Annotated[int | None, typer.Option(min=1, max=65535, help="instead of WORKBENCH_WEB_PORT")] = None,
    ) -> None:
        """Serve the page and its API until Ctrl-C; prints its address."""
        settings = load_settings()
        if port is not None:
            settings = settings.model_copy(update={"workbench_web_port": port})
        logs.configure(settings)
        serve_page(settings, partial(_print_address, settings))


def _print_address(settings: Settings, address: str) -> None:
    """Print the page's address, with the token only on a terminal: piped output ends in a log."""
    token = settings.workbench_web_token
    if token is None:
        print(f"page at {address}\nAPI token in {settings.home / 'web' / 'token'}", flush=True)
    elif sys.stdout.isatty():
        print(f"page at {address}?token={token.get_secret_value()}", flush=True)
    else:
        print(f"page at {address}, which requires WORKBENCH_WEB_TOKEN", flush=True)
    report_ready()
