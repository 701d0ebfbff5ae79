"""Sets Prefect's environment, reaches or starts its server, and loads the flow.

Prefect reads the environment when it is imported, so nothing here imports it at the top of the module.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from workbench.base.settings import Settings
from workbench.prefect.flow_loader import load_flow
from workbench.services import prefect

if TYPE_CHECKING:
    from prefect import Flow

_QUIET = {
    "PREFECT_CLIENT_MAX_RETRIES": "1",  # Prefect mirrors the run; more retries only slow the run down
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # the terminal shows our progress
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_CLI_WIKI_ENABLED": "false",
}


@contextmanager
def flow_in_background(settings: Settings) -> Iterator[Future[Flow[..., Any]]]:
    """Reach or start Prefect and import the flow while the caller does other things: each takes seconds."""
    given_up = threading.Event()
    with ExitStack() as held, ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefect") as starter:
        try:
            yield starter.submit(_reach_and_load, settings, held, given_up)
        finally:
            given_up.set()


def _reach_and_load(settings: Settings, held: ExitStack, given_up: threading.Event) -> Flow[..., Any]:
    """Import the flow while Prefect's server starts; Prefect then reads its settings anew, for its address."""
    set_prefect_environment(settings)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="flow") as importer:
        flow = importer.submit(load_flow)
        reach_prefect(settings, held, given_up=given_up)
    importlib.import_module("prefect.context").refresh_global_settings_context()
    return flow.result()


def reach_prefect(
    settings: Settings, held: ExitStack, *, full: bool = False, given_up: threading.Event | None = None
) -> None:
    """Hold Prefect's server and set what Prefect reads from the environment when it is imported."""
    url = held.enter_context(prefect.held(settings, full, given_up))
    set_prefect_environment(settings)
    os.environ["PREFECT_API_URL"] = url


def set_prefect_environment(settings: Settings) -> None:
    """Set the part of Prefect's environment that does not depend on where its server is."""
    os.environ.update(_QUIET | {"PREFECT_HOME": str(settings.home / "prefect")})
