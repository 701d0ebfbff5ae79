"""Prints a run's events, once or as they happen."""

from __future__ import annotations

import time
from typing import Any

import orjson
from sqlalchemy import Engine

from workbench.cli.output import print_json, printable, write_in
from workbench.state import queries
from workbench.state.events import event_document
from workbench.state.models import PipelineEvent
from workbench.state.states import TERMINAL, RunStatus

_LOOK_SECONDS = 0.5
_LINE_LENGTH = 200


def print_events(engine: Engine, pipeline_id: str, *, follow: bool, as_json: bool) -> None:
    """Print the run's events; with `follow` until the run has ended (as JSON: then one object a line)."""
    if as_json and not follow:
        print_json([_document(row) for row in queries.events_after(engine, pipeline_id)])
        return
    if as_json:
        write_in(encoding="utf-8")
    last = 0
    while True:
        ended = RunStatus(queries.run_row(engine, pipeline_id)["status"]) in TERMINAL
        for row in queries.events_after(engine, pipeline_id, last):
            print(orjson.dumps(_document(row)).decode() if as_json else _line(row), flush=True)
            last = row.sequence
        if ended or not follow:
            return
        time.sleep(_LOOK_SECONDS)


def _document(row: PipelineEvent) -> dict[str, Any]:
    return event_document(row) | {"published": row.published_at is not None}


def _line(row: PipelineEvent) -> str:
    data = printable(" ".join(f"{name}={value}" for name, value in row.data.items() if value not in (None, "")))
    line = f"{row.sequence:4} {row.created_at:%H:%M:%S.%f} {row.type:<17} {row.stage or '':<9} {data}".rstrip()
    return line if len(line) <= _LINE_LENGTH else f"{line[: _LINE_LENGTH - 1]}…"
