"""Logging of entry points: readable on a terminal, one JSON object a line everywhere else.

Libraries only `getLogger(__name__)`. Run and stage come from the context (`in_run`), so every line carries them.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.logging import RichHandler

from workbench.base.durable_files import private_folder
from workbench.base.redaction import redacted, redacted_json
from workbench.base.settings import Settings

log = logging.getLogger(__name__)
_CONTEXT: ContextVar[Mapping[str, str]] = ContextVar("log_context", default={})  # noqa: B039  never mutated
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_FILE_BYTES = 20_000_000


@contextmanager
def in_run(**fields: str) -> Iterator[None]:
    """Add `pipeline_id`, `stage` … to every log line of the block."""
    token = _CONTEXT.set({**_CONTEXT.get(), **fields})
    try:
        yield
    finally:
        _CONTEXT.reset(token)


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with Datadog's reserved attributes `dd.service`, `dd.env` and `dd.version`."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._tags = {
            "dd.service": settings.dd_service,
            "dd.env": settings.dd_env,
            "dd.version": settings.dd_version,
        }

    def format(self, record: logging.LogRecord) -> str:
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        line = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "status": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._tags,
            **_CONTEXT.get(),
            **extra,
        }
        if record.exc_info:
            line["error.stack"] = self.formatException(record.exc_info)
        return _json_line(line)


def _json_line(document: Mapping[str, Any]) -> str:
    """Encode what is redacted already, for redacting may not break JSON; half a sign (a surrogate) stays an escape."""
    text = json.dumps(redacted_json(document), ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class ScreenFormatter(logging.Formatter):
    """The message for people at a terminal; the time is the handler's to show."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


class _LogFile(RotatingFileHandler):
    """A log file that cannot be written, as on a full disk, is reported once on the screen and ends no run."""

    _told = False

    def shouldRollover(self, record: logging.LogRecord) -> bool:
        """Return whether to change to a new file: this one is full, or another process has renamed it."""
        return bool(super().shouldRollover(record)) or (self.stream is not None and not self._is_present())

    def doRollover(self) -> None:
        """Move the file aside, unless another process has; processes that write the same file wait for each other."""
        folder = os.open(Path(self.baseFilename).parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            if self._is_present():
                super().doRollover()
            else:
                self.stream.close()
                self.stream = self._open()
        finally:
            os.close(folder)

    def _is_present(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self.stream.fileno()), Path(self.baseFilename).stat())
        except FileNotFoundError:
            return False

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._told:
            self._told = True
            log.warning("the log file %s cannot be written: %s", self.baseFilename, error.strerror or error)


def configure(settings: Settings, *, verbose: bool = False) -> None:
    """Send logs to `<home>/logs/workbench.log` as JSON, and to stderr: readable on a terminal, JSON otherwise."""
    root = logging.getLogger()
    root.handlers.clear()
    root.setLevel(logging.INFO)
    root.addHandler(_file_handler(settings.home / "logs" / "workbench.log", JsonFormatter(settings)))
    on_screen = _screen_handler(settings)
    on_screen.setLevel(logging.INFO if verbose else logging.WARNING)
    on_screen.addFilter(_tells_something_new)
    root.addHandler(on_screen)
    logging.getLogger("pika").setLevel(logging.CRITICAL)  # a traceback for every try; the relay reports an outage once
    for noisy in ("alembic", "httpx", "traitlets", "papermill", "py4j", "pyspark"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _tells_something_new(record: logging.LogRecord) -> bool:
    """Keep Prefect's copies of our errors, and stamina's counting of attempts, off the screen; the file has both."""
    return not record.name.startswith(("prefect", "stamina"))


def _file_handler(path: Path, formatter: logging.Formatter) -> logging.Handler:
    private_folder(path.parent)
    handler = _LogFile(path, maxBytes=_FILE_BYTES, backupCount=3, encoding="utf-8", delay=True)
    handler.setFormatter(formatter)
    return handler


def _screen_handler(settings: Settings) -> logging.Handler:
    if sys.stderr.isatty():
        on_terminal = RichHandler(console=Console(stderr=True), show_path=False, rich_tracebacks=False)
        on_terminal.setFormatter(ScreenFormatter("%(message)s"))
        return on_terminal
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(settings))
    return handler
