"""JSON read exactly: numbers keep their text, repeated keys are detected, anything else than JSON is rejected."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from workbench.data.json_stream import STRINGS, CutText
from workbench.data.rejects import Reason, RecordRejected

MAX_DEPTH = 64
MAX_VALUES = 1_000_000
_COUNTED_BYTES = 1 << 20
_INT64 = (-(2**63), 2**64 - 1)


class NumberText(str):
    """A JSON number as it was written."""

    __slots__ = ()


class NotFinite(str):
    """NaN, Infinity or -Infinity: no JSON, but written by some."""

    __slots__ = ()


class RepeatedKey(str):
    """Stands for an object in which this key appears twice."""

    __slots__ = ()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | RepeatedKey:
    fields = dict(pairs)
    if len(fields) == len(pairs):
        return fields
    seen: set[str] = set()
    return RepeatedKey(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=NumberText, parse_float=NumberText, parse_constant=NotFinite
)


def parse_object(raw: bytes) -> dict[str, Any]:
    """Read one JSON object; its numbers are `NumberText`.

    Raises `RecordRejected`: malformed, too_large, duplicate_key (at the top), wrong_type (another JSON value).
    """
    if isinstance(raw, CutText) or (len(raw) > _COUNTED_BYTES and _values(raw) > MAX_VALUES):
        raise RecordRejected(Reason.TOO_LARGE)
    try:
        value = _DECODER.decode(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise RecordRejected(Reason.MALFORMED) from error
    if isinstance(value, RepeatedKey):
        raise RecordRejected(Reason.DUPLICATE_KEY, printable(value))
    if not isinstance(value, dict):
        raise RecordRejected(Reason.WRONG_TYPE)
    return value


def _values(raw: bytes) -> int:
    """Count the values: as objects of Python they take some fifty times the room of their text."""
    structure = STRINGS.sub(b"", raw)
    return structure.count(b",") + structure.count(b"[") + structure.count(b"{")


def check_text(text: str, path: str) -> None:
    """Raise `RecordRejected` (forbidden_text) for a NUL character or a lone surrogate."""
    if "\0" in text or (not text.isascii() and printable(text) != text):
        raise RecordRejected(Reason.FORBIDDEN_TEXT, path)


def printable(text: str) -> str:
    """Replace lone surrogates, which cannot be written as UTF-8."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def json_text(value: Any, path: str, depth: int = 1) -> str:
    """Write a parsed value as compact JSON, numbers as they were; raises `RecordRejected` naming the path.

    Refused: forbidden text in keys or strings, repeated keys, NaN and Infinity, integers beyond 64 bits and
    other numbers beyond a double, more than 64 levels.
    """
    if depth > MAX_DEPTH:
        raise RecordRejected(Reason.MALFORMED, path)
    if isinstance(value, dict):
        return "{" + ",".join(_members(value, path, depth)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(json_text(item, path, depth + 1) for item in value) + "]"
    return _scalar_text(value, path)


def _members(fields: dict[str, Any], path: str, depth: int) -> Iterable[str]:
    for key, value in fields.items():
        inner = f"{path}.{printable(key)}" if path else printable(key)
        check_text(key, inner)
        yield f"{json.dumps(key, ensure_ascii=False)}:{json_text(value, inner, depth + 1)}"


def _scalar_text(value: Any, path: str) -> str:
    if isinstance(value, NotFinite):
        raise RecordRejected(Reason.NOT_FINITE, path)
    if isinstance(value, RepeatedKey):
        raise RecordRejected(Reason.DUPLICATE_KEY, f"{path}.{printable(value)}")
    if isinstance(value, NumberText):
        return _checked_number(value, path)
    if isinstance(value, str):
        check_text(value, path)
    return json.dumps(value, ensure_ascii=False)


def _checked_number(text: NumberText, path: str) -> str:
    is_integer = text.removeprefix("-").isdigit()
    fits = (len(text) <= 20 and _INT64[0] <= int(text) <= _INT64[1]) if is_integer else _is_finite(text)
    if not fits:
        raise RecordRejected(Reason.OUT_OF_RANGE, path)
    return text


def _is_finite(text: str) -> bool:
    return abs(float(text)) != float("inf")
