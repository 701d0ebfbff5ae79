"""Shows a run while it goes on: on a terminal a live table, piped nothing."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from workbench.base.errors import WorkbenchError
from workbench.base.redaction import redacted
from workbench.base.settings import Settings
from workbench.base.text_formats import count_text, seconds_text
from workbench.cli.text_tables import run_summary, show_on_terminal, status_text
from workbench.stage.progress import RECORDS
from workbench.state.run_document import done_of
from workbench.state.run_snapshot import RunReader, RunSnapshot

log = logging.getLogger(__name__)
_LOOK_SECONDS = 0.25
_WAITING = "waiting for Prefect to start, which takes longest the first time"


class Follower:
    """Follows one run from the database."""

    def __init__(self, settings: Settings, *, quiet: bool) -> None:
        self._settings = settings
        self._quiet = quiet
        self._ended = threading.Event()
        self._began = time.monotonic()
        self.run: RunSnapshot | None = None

    @property
    def document(self) -> dict[str, Any] | None:
        """The run's document as it was read last."""
        return self.run.document if self.run else None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show on a terminal, while the block lasts, what is known so far."""
        console = Console(stderr=True)
        if self._quiet or not console.is_terminal:
            yield
            return
        with Live(console=console, get_renderable=self._picture, refresh_per_second=8, transient=True):
            yield

    @contextmanager
    def following(self, engine: Engine, pipeline_id: str) -> Iterator[None]:
        """Follow the run in the background while the block lasts, and take one last look at its end."""
        thread = threading.Thread(
            target=self._look_until_ended, args=(engine, pipeline_id), name="follower", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def show_summary(self) -> None:
        """Print the last look as the run's summary."""
        if self.document is not None and not self._quiet:
            show_on_terminal(run_summary(self.document))

    def shows(self, error: WorkbenchError) -> bool:
        """Return whether the summary shows this error on the terminal that stderr goes to: it is printed once."""
        known = (self.document or {}).get("error") or {}
        one_terminal = not self._quiet and sys.stdout.isatty() and sys.stderr.isatty()
        return one_terminal and known.get("message") == redacted(str(error))

    def _look_until_ended(self, engine: Engine, pipeline_id: str) -> None:
        """Read again and again. A database that stays away ends only this: the run's owner reports the outage."""
        reader, ended = RunReader(self._settings, pipeline_id), False
        try:
            while not ended:
                ended = self._ended.wait(_LOOK_SECONDS)
                self.run = reader.read(engine)
        except (DBAPIError, WorkbenchError) as error:
            log.info("run no longer followed", extra={"error_type": type(error).__name__})

    def _picture(self) -> RenderableType:
        run, elapsed = self.run, f"  {time.monotonic() - self._began:,.0f} s"
        if run is None:
            return Text.assemble("Starting PostgreSQL, Spark and Prefect", elapsed)
        table = Table(box=None, header_style="bold", pad_edge=False)
        for heading in ("stage", "status", "cell", "records", "", "time"):
            table.add_column(heading, justify="right" if heading in {"cell", "records", "time"} else "left")
        for stage in run.document["stages"]:
            table.add_row(*_row(stage, run.stage_seconds(stage["name"])))
        waiting = [Text(_WAITING, style="bright_black")] if run.document["status"] == "pending" else []
        return Group(Text.assemble("Run ", (run.document["pipeline_id"], "bold"), elapsed), *waiting, table)


def _row(stage: Mapping[str, Any], running_seconds: float | None) -> list[RenderableType]:
    name, progress, running = stage["name"], stage["progress"], stage["status"] == "running"
    seconds = running_seconds if running else stage["seconds"]
    cell = f"{progress['cell']}/{progress['cells']}" if running and "cells" in progress else ""
    records = done_of(progress) if running else max(stage["counts"].values(), default=None)
    unit = progress.get("unit", RECORDS) if running else RECORDS
    counted = f"{count_text(records)}{'' if unit == RECORDS else f' {unit}'}" if records else ""
    total = progress.get("total") or 1
    bar: RenderableType = ProgressBar(total=total, completed=records or 0, width=24) if running else ""
    time_text = seconds_text(seconds) if seconds is not None else ""
    return [name, status_text(stage["status"]), cell, counted, bar, time_text]
