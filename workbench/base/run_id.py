"""The id of a run."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime

from workbench.base.errors import UnknownRun

RUN_ID = re.compile(r"[0-9]{8}t[0-9]{6}_[0-9a-f]{6}")


def new_run_id() -> str:
    """Return an id that sorts by time and fits a path, a schema name and an URL as it is."""
    return f"{datetime.now(UTC):%Y%m%dt%H%M%S}_{secrets.token_hex(3)}"


def checked_run_id(text: str) -> str:
    """Return `text` if it has the form of a run id; raises `UnknownRun`. Every path and schema goes through here."""
    if not RUN_ID.fullmatch(text):
        raise UnknownRun(f"run {text[:60]!r}: not a run id; `workbench runs` lists them")
    return text
