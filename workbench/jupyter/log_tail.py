"""The last lines that a run has logged, in words a person reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_TAIL_BYTES = 256 * 1024
_NOT_SHOWN = {"timestamp", "status", "logger", "message", "pipeline_id", "stage", "error.stack"}


def last_lines(log: Path, pipeline_id: str, count: int = 12) -> list[str]:
    """Return the newest lines about this run, oldest first; none without a log file."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    records = [_parsed(line) for line in lines if pipeline_id in line]
    return [_in_words(record) for record in records if record.get("pipeline_id") == pipeline_id][-count:]


def _parsed(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:  # the first line of the tail is cut
        return {}
    return record if isinstance(record, dict) else {}


def _in_words(record: dict[str, Any]) -> str:
    what = [f"{record.get(name, ''):{width}}" for name, width in (("status", 7), ("stage", 9), ("message", 1))]
    more = {
        name: value
        for name, value in record.items()
        if name not in _NOT_SHOWN and not name.startswith("dd.") and value is not None
    }
    details = " ".join(f"{name}={value}" for name, value in more.items())
    return " ".join((str(record.get("timestamp", ""))[11:19], *what, details)).rstrip()
