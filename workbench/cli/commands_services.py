"""Commands for background processes: up, down, migrate, worker, relay."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.base import logs
from workbench.base.settings import Settings, load_settings
from workbench.cli.commands_read import tracking
from workbench.services import daemon

if TYPE_CHECKING:
    from workbench.cli.commands import Work

_LIMIT = 2


def add_commands(app: typer.Typer, work: Work) -> None:
    """Add the commands of this module."""
    app.command()(up)
    app.command()(down)
    app.command()(migrate)
    _add_worker(app, work)
    app.command(hidden=True)(relay)


def up() -> None:
    """Start services, worker, relay and page in the background, and keep them running; prints the page's address."""
    settings = load_settings()
    was_up = daemon.look(settings) is not None
    with nullcontext() if was_up else up_to_date(settings):
        state = daemon.start(settings, (lambda _state: None) if was_up else _ReadyComponents())
    print("up already" if was_up else "up")
    for component in state.components:
        if component.address:
            print(f"  {component.name:8} {component.address}")
    print("`workbench doctor` checks them, `workbench down` stops them")


def migrate() -> None:
    """Migrate the database's tables to this version; `run`, `resume`, `up`, `worker` and `web` do so by themselves."""
    from workbench.state.migration import newest_revision

    with up_to_date(load_settings()):
        print(f"the tables are at revision {newest_revision()}, which this version requires")


@contextmanager
def up_to_date(settings: Settings) -> Iterator[None]:
    """Hold the database for the block, its tables at this version's; raises `MigrationRefused`."""
    from workbench.services import postgres
    from workbench.state import database

    with postgres.held(settings) as url:
        database.connect(url).dispose()
        yield


def down() -> None:
    """Stop what `workbench up` started; its active runs are cancelled."""
    settings = load_settings()
    if not daemon.stop(settings):
        print("down already")
        return
    left = daemon.services_left(settings)
    print(f"down; still used by others: {', '.join(left)}" if left else "down")


def _add_worker(app: typer.Typer, work: Work) -> None:
    def worker(
        limit: Annotated[int, typer.Option(min=1, help="how many pipelines run at the same time")] = _LIMIT,
    ) -> None:
        """Execute the runs that the page, schedules and Prefect's own page request, until Ctrl-C."""
        settings = load_settings()
        logs.configure(settings, verbose=True)
        work(settings, limit)

    app.command()(worker)


def relay() -> None:
    """Deliver events to the broker and publish completed runs, until a signal."""
    from workbench.run.publisher import publish_due
    from workbench.services import broker
    from workbench.services.readiness import report_ready
    from workbench.state.relay import relaying

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: ended.set())
    with tracking() as (settings, engine):
        logs.configure(settings, verbose=True)
        with relaying(engine, broker.parameters(settings)):
            report_ready()
            while not ended.wait(1):
                publish_due(engine, paced=True)


class _ReadyComponents:
    """Prints each component on stderr once, when it has become ready."""

    def __init__(self) -> None:
        self._printed: set[str] = set()

    def __call__(self, state: daemon.GroupState) -> None:
        for component in state.components:
            if component.status in ("up", "external") and component.name not in self._printed:
                self._printed.add(component.name)
                print(f"{component.name} is ready", file=sys.stderr)
