"""What a supervisor must know to run one kind of embedded service."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


def _no_cleanup() -> None:
    """Do nothing: the service leaves no files."""


@dataclass(frozen=True)
class Service:
    """How to start a service, to check that it is ready, and to stop it.

    `is_ready` is called several times a second and returns at once. `user`: operating system user id, None: ours.
    `stop_signal` requests an orderly end; the system sends `death_signal` when its supervisor is killed.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    url: str
    is_ready: Callable[[], bool]
    port: int | None = None
    user: int | None = None
    stop_signal: int = signal.SIGTERM
    death_signal: int = signal.SIGKILL
    stop_seconds: float = 8.0
    clean_up: Callable[[], None] = _no_cleanup


@dataclass(frozen=True)
class ServiceKind:
    """A kind of service: its `prepare`, the time limit and the number of attempts of a start (ports collide).

    `revivals`: how often its supervisor restarts it after it has died; only for a service that keeps its URL.
    """

    prepare: Callable[[Path], Service]
    start_seconds: float
    attempts: int = 1
    revivals: int = 0
