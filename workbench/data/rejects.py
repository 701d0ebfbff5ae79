"""Rejected records: the reason, their place in the input, and the file that keeps them."""

from __future__ import annotations

import glob
import json
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO

import polars as pl

REJECTS = "rejects.jsonl"
RAW_CHARACTERS = 2_000
RAW_TOTAL = 256 << 20
FIELD_CHARACTERS = 200
_COLUMNS = {"line": pl.Int64, "position": pl.Int64, "field": pl.String, "reason": pl.String, "raw": pl.String}


class Reason(StrEnum):
    """Why a record is rejected: a few stable codes, fit for a metric's tag. A data set may add codes of its own."""

    MALFORMED = "malformed"
    """Not one JSON value: syntax, cut off, invalid UTF-8, nested deeper than 64 levels."""
    TOO_LARGE = "too_large"
    """Longer than 64 MiB, or of more than a million values."""
    DUPLICATE_KEY = "duplicate_key"
    """An object has the same key twice, so its value is ambiguous."""
    MISSING_FIELD = "missing_field"
    """A required field is absent or null."""
    WRONG_TYPE = "wrong_type"
    """Another JSON type than the field's; also a record that is no object."""
    OUT_OF_RANGE = "out_of_range"
    """A number or a text length beyond its bounds, or a number that does not fit 64 bits."""
    NOT_FINITE = "not_finite"
    """NaN or Infinity, which JSON does not have but some writers emit."""
    INVALID_DATE = "invalid_date"
    """Not ISO 8601, no such day, or outside the years 1 to 9999 in UTC."""
    FORBIDDEN_TEXT = "forbidden_text"
    """Text with a NUL character or a lone surrogate, which PostgreSQL or UTF-8 cannot hold."""
    DUPLICATE_ID = "duplicate_id"
    """An accepted record before this one has the same id."""


class RecordRejected(Exception):
    """One record is rejected; `field` is a dotted path, cut at 200 characters, or None for the record as a whole."""

    def __init__(self, reason: str, field: str | None = None) -> None:
        self.field = field[:FIELD_CHARACTERS] if field else field
        self.reason = reason
        super().__init__(f"{self.field or 'record'}: {reason}")


@dataclass(frozen=True)
class Reject:
    """A rejected record: its line or array position (both from 1), the field, the reason and its own bytes."""

    number: int
    field: str | None
    reason: str
    raw: bytes


class RejectFile:
    """Writes rejects as JSON Lines and counts them; `unit` is `line` or `position`."""

    def __init__(self, file: IO[bytes], unit: str) -> None:
        self._file = file
        self.unit = unit
        self._raw_left = RAW_TOTAL
        self.by_reason: Counter[str] = Counter()
        self.first: Reject | None = None
        self.first_json: Reject | None = None

    @property
    def total(self) -> int:
        return self.by_reason.total()

    def add(self, reject: Reject) -> None:
        """Write one reject, its raw text cut at 2,000 characters; bytes that are no UTF-8 show as U+FFFD.

        Once the file holds 256 Mi characters of raw text, it is null, so that no flood of rejects fills the disk.
        """
        self.first = self.first or reject
        if self.first_json is None and reject.reason not in (Reason.MALFORMED, Reason.TOO_LARGE):
            self.first_json = reject
        self.by_reason[str(reject.reason)] += 1
        raw = shown(reject.raw) if self._raw_left > 0 else None
        self._raw_left -= len(raw or "")
        line = {self.unit: reject.number, "field": reject.field, "reason": reject.reason, "raw": raw}
        self._file.write(json.dumps(line, ensure_ascii=True).encode() + b"\n")

    def describe_first(self) -> str:
        """Return where the first reject stands and why, as part of a sentence."""
        if self.first is None:
            return "no reject"
        field = f", field {self.first.field!r}" if self.first.field else ""
        return f"{self.unit} {self.first.number}{field}: {self.first.reason}"


def shown(raw: bytes) -> str:
    """Decode what can be decoded and cut it at 2,000 characters."""
    return raw[: 4 * RAW_CHARACTERS].strip().decode("utf-8", errors="replace")[:RAW_CHARACTERS]


def read_rejects(folder: Path, limit: int = 20) -> pl.DataFrame:
    """Return the first rejects of an ingestion: line (or position), field, reason, raw."""
    rejects = scan_rejects(folder).head(limit).collect()
    unit = "position" if rejects["line"].null_count() == len(rejects) and len(rejects) else "line"
    return rejects.select(unit, "field", "reason", "raw")


def scan_rejects(folder: Path) -> pl.LazyFrame:
    """Return all rejects lazily, also when there are none."""
    path = folder / REJECTS
    if path.stat().st_size == 0:
        return pl.LazyFrame(schema=_COLUMNS)
    return pl.scan_ndjson(glob.escape(str(path)), schema=_COLUMNS)  # else brackets in a folder's name find no file
