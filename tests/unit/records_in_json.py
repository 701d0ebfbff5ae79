"""One record as JSON text, and what the exact path of ingestion says about it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipeline_lib.validation import Record, validate
from workbench.data.rejects import RecordRejected

REFERENCE = datetime(2026, 11, 23, 8, tzinfo=UTC)
GOOD = {"id": "1", "name": '"Lamp"', "category": '"A"', "value": "10.00", "quantity": "5"}


def record(**changes: str | None) -> bytes:
    """Write a good record with these fields' JSON text changed, added or (None) left out."""
    fields = {name: text for name, text in {**GOOD, **changes}.items() if text is not None}
    return ("{" + ", ".join(f'"{name}": {text}' for name, text in fields.items()) + "}").encode()


def accepted(**changes: str | None) -> Record:
    return validate(record(**changes), REFERENCE)


def refusal(raw: bytes) -> tuple[str | None, str]:
    with pytest.raises(RecordRejected) as caught:
        validate(raw, REFERENCE)
    return caught.value.field, caught.value.reason
