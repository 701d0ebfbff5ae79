"""A run whose owner writes events on and on, and knows nothing of a broker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Engine

from workbench.stage.run_parameters import RunParameters
from workbench.state.events import Event, EventType
from workbench.state.runs import Origin, OwnedRun, create_run


def a_run(engine: Engine) -> OwnedRun:
    run = create_run(engine, RunParameters(), Origin("cli"), 60)
    run.start()
    return run


@dataclass
class Writer:
    """Writes an event of a run again and again, as a run does that knows nothing of a broker."""

    run: OwnedRun
    written: int = 1

    def write(self) -> None:
        self.run.record(Event(EventType.DATASET_INGESTED, {"rows": self.written}, "ingest"))
        self.written += 1


@contextmanager
def writing(engine: Engine) -> Iterator[Writer]:
    """Write on, while the block lasts."""
    writer, ended = Writer(a_run(engine)), threading.Event()

    def write_on() -> None:
        while not ended.wait(0.02):
            writer.write()

    thread = threading.Thread(target=write_on)
    thread.start()
    try:
        yield writer
    finally:
        ended.set()
        thread.join()
