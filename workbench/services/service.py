"""What a keeper must know to run one kind of embedded service."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


def _nothing() -> None:
    """Leave nothing behind, so clean nothing up."""


@dataclass(frozen=True)
class Service:
    """How to start a service, to see that it is ready, and to stop it.

    `is_ready` is asked several times a second and answers at once. `user`: operating system user id, None: ours.
    `stop_signal` asks it to end in good order, `death_signal` is what it gets when its keeper is killed.
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
    clean_up: Callable[[], None] = _nothing


@dataclass(frozen=True)
class Kind:
    """A kind of service: who prepares it, how long its start may take, how often it is tried (ports collide).

    `revivals`: how often its keeper starts it again after it has died by itself; only for one that keeps its URL.
    """

    prepare: Callable[[Path], Service]
    start_seconds: float
    attempts: int = 1
    revivals: int = 0
