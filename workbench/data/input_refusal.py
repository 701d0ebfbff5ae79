"""Why an input as a whole is refused, in one line: the first reject, the fields found and the fields expected.

The line goes into logs, tables and reports. Of a file that holds no JSON at all it quotes nothing, and of a JSON record
no more than a few words, without what stands under a credential's name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.base.errors import InputUnreadable, NothingAccepted, TooManyRejects
from workbench.base.redaction import redacted_json
from workbench.data.rejects import REJECTS, Reason, RejectFile

_NEARLY_ALL = 0.9
_PARSED_BYTES = 1 << 20
_SHOWN_CHARACTERS = 160
_TEXT_CHARACTERS = 30
_NAMED_FIELDS = 20
_HOLDS_ARRAY = re.compile(rb'"([^"\\\n]{1,80})"\s*:\s*\[\s*\{')
_DEEPEST_ARRAY = 3


@dataclass(frozen=True)
class Outcome:
    """The result of reading an input: its file, the stage's folder, records read, the rejects among them.

    `required` and `optional` name the fields of a record, for the message.
    """

    source: Path
    folder: Path
    read: int
    rejects: RejectFile
    required: Sequence[str]
    optional: Sequence[str]

    @property
    def rejected(self) -> int:
        return self.rejects.total


def check_is_json(outcome: Outcome) -> None:
    """Raise `InputUnreadable`, which quotes nothing of the file, when not one of its records is JSON."""
    reasons, first = outcome.rejects.by_reason, outcome.rejects.first
    if first is None or reasons[Reason.MALFORMED] + reasons[Reason.TOO_LARGE] < outcome.read:
        return
    what = f"none of its {outcome.read:,} records is JSON" if outcome.read > 1 else "its only record is not JSON"
    array = _array_in(first.raw, None) if first.reason is Reason.TOO_LARGE else None
    advice = _unwrap(array) if array else "give JSON Lines or a JSON array"
    where = f"{outcome.rejects.unit} {first.number}: {first.reason}"
    raise InputUnreadable(f"{outcome.source}: {what} that can be read; first: {where}; {advice}")


def check_accepted(outcome: Outcome, max_reject_rate: float, allow_empty: bool) -> None:
    """Raise `TooManyRejects` above `max_reject_rate`, `NothingAccepted` unless `allow_empty`.

    A quotient is rounded as the rate was when it was read, so 29 of 100 is 0.29; 0.29 * 100 is a little less than 29.
    """
    rate = outcome.rejected / max(outcome.read, 1)
    if rate > max_reject_rate:
        raise TooManyRejects(
            f"{outcome.source}: {outcome.rejected:,} of {outcome.read:,} records rejected ({rate:.1%}, at most "
            f"{max_reject_rate:.1%} allowed); {_explanation(outcome)}"
        )
    if outcome.rejected == outcome.read and not allow_empty:
        raise NothingAccepted(f"{outcome.source}: no record of {outcome.read:,} is accepted; {_explanation(outcome)}")


def _explanation(outcome: Outcome) -> str:
    kept = f"all of them in {outcome.folder / REJECTS}"
    parts = [f"first: {outcome.rejects.describe_first()}"]
    if outcome.rejected >= _NEARLY_ALL * outcome.read:
        parts += _found_and_wanted(outcome)
    if outcome.rejected == outcome.read:
        return "; ".join([*parts, kept, "allow_empty (with max_reject_rate 1) lets a run complete without a record"])
    return "; ".join([*parts, kept, "max_reject_rate allows more"])


def _found_and_wanted(outcome: Outcome) -> list[str]:
    first = outcome.rejects.first_json
    fields = _fields_of(first.raw) if first else None
    array = _array_in(first.raw, fields) if first and outcome.read == 1 else None
    if array:
        return [_unwrap(array)]
    wanted = f"wanted: {', '.join(outcome.required)}, and may be {', '.join(outcome.optional)}"
    if not fields:
        return [wanted]
    return [f"fields found: {_names(fields)}", wanted, f"the record: {_shown(fields)}"]


def _unwrap(array: str) -> str:
    return f"it is one object that holds an array, {array!r}: give that array, or JSON Lines (jq -c '.{array}[]')"


def _fields_of(raw: bytes) -> dict[str, Any] | None:
    if len(raw) > _PARSED_BYTES:
        return None
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _array_in(raw: bytes, fields: dict[str, Any] | None) -> str | None:
    """Return the path of an array of objects, e.g. response.items; None when there is none."""
    if fields is not None:
        return _path_of_array(fields, _DEEPEST_ARRAY)
    found = _HOLDS_ARRAY.search(raw[:_PARSED_BYTES])
    return _cut(found[1].decode(errors="replace"), _TEXT_CHARACTERS) if found else None


def _path_of_array(fields: dict[str, Any], depth: int) -> str | None:
    for name, value in fields.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return _cut(name, _TEXT_CHARACTERS)
        if isinstance(value, dict) and depth > 1 and (inner := _path_of_array(value, depth - 1)):
            return f"{_cut(name, _TEXT_CHARACTERS)}.{inner}"
    return None


def _names(fields: dict[str, Any]) -> str:
    names = [_cut(name, _TEXT_CHARACTERS) for name in fields]
    more = f" and {len(names) - _NAMED_FIELDS} more" if len(names) > _NAMED_FIELDS else ""
    return ", ".join(names[:_NAMED_FIELDS]) + more


def _shown(fields: dict[str, Any]) -> str:
    short = {name: _shortened(value) for name, value in list(redacted_json(fields).items())[:_NAMED_FIELDS]}
    return _cut(json.dumps(short), _SHOWN_CHARACTERS)


def _shortened(value: Any) -> Any:
    """Keep what fits a line of a value: no list, no object, and of a text the beginning."""
    if isinstance(value, dict | list):
        return {} if isinstance(value, dict) else []
    return _cut(value, _TEXT_CHARACTERS) if isinstance(value, str) else value


def _cut(text: str, characters: int) -> str:
    plain = "".join(character if character.isprintable() else "�" for character in text[:characters])
    return plain if len(text) <= characters else f"{plain}…"
