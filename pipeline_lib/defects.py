"""Records made defective on purpose: which ones, in which way, and what they look like.

Six kinds must be rejected by ingestion, each for the reason of the same name; `untidy_text` must be repaired.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

Fragments = Mapping[str, str]
"""One record: JSON text of each field by its name, in the order of writing."""


class DefectKind(StrEnum):
    """What is wrong with a record. The order is part of the generator: changing it changes its bytes."""

    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    OUT_OF_RANGE = "out_of_range"
    UNKNOWN_CATEGORY = "unknown_category"
    DUPLICATE_ID = "duplicate_id"
    MALFORMED = "malformed"
    UNTIDY_TEXT = "untidy_text"


KINDS = tuple(DefectKind)
_DUPLICATE = KINDS.index(DefectKind.DUPLICATE_ID)
_MISSING = KINDS.index(DefectKind.MISSING_FIELD)
_UNTIDY = KINDS.index(DefectKind.UNTIDY_TEXT)


@dataclass(frozen=True)
class DefectPlan:
    """The defects of one block: positions in it, kind of each (index in `KINDS`), position whose id is repeated."""

    positions: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]

    def counts(self) -> dict[str, int]:
        """Return how many of each kind, every kind named."""
        return dict(zip(map(str, KINDS), np.bincount(self.kinds, minlength=len(KINDS)).tolist(), strict=True))


def defects_before(record: int, rate: float) -> int:
    """Return how many of the first `record` records are defective: exactly rate x record, rounded half up."""
    return int(record * rate + 0.5)


def plan_defects(rng: np.random.Generator, start: int, size: int, rate: float) -> DefectPlan:
    """Choose the defective ones among the records `start` to `start + size`; the kinds take turns over the file.

    A duplicate repeats the id of an earlier record of its block that ingestion accepts, so that exactly one of
    the two is rejected; where there is none, a field goes missing instead.
    """
    first, last = defects_before(start, rate), defects_before(start + size, rate)
    positions = rng.choice(size, last - first, replace=False).astype(np.int64)
    kinds = np.arange(first, last, dtype=np.int64) % len(KINDS)
    accepted = np.ones(size, dtype=bool)
    accepted[positions[kinds != _UNTIDY]] = False
    candidates = np.flatnonzero(accepted)
    earlier = np.searchsorted(candidates, positions)
    chosen = (rng.random(len(positions)) * earlier).astype(np.int64)
    kinds[(kinds == _DUPLICATE) & (earlier == 0)] = _MISSING
    targets = candidates[np.minimum(chosen, len(candidates) - 1)] if len(candidates) else np.zeros_like(positions)
    return DefectPlan(positions, kinds, targets)


_REQUIRED = ("id", "name", "category", "value", "quantity")
_WRONG_TYPES = (
    ("value", '"12.50"'),
    ("quantity", '"5"'),
    ("is_active", '"yes"'),
    ("name", "42"),
    ("quantity", "2.5"),
    ("id", '"7"'),
    ("created_at", "1700000000"),
    ("category", "true"),
    ("customer", '["Ada"]'),
)
_OUT_OF_RANGE = (
    ("value", "-0.01"),
    ("quantity", "1000001"),
    ("value", "100000000.00"),
    ("quantity", "-1"),
    ("id", "-1"),
    ("name", '"   "'),
)
_UNKNOWN_CATEGORIES = ('"E"', '"Z"', '"AB"', '""')


def defective_text(kind: DefectKind, fragments: Fragments, variant: int) -> str:
    """Return the record's JSON text with one defect of this kind; `variant` picks among its forms."""
    if kind is DefectKind.MALFORMED:
        return _malformed(record_text(fragments), variant)
    return record_text(_changed(kind, fragments, variant))


def record_text(fragments: Fragments) -> str:
    """Join the fields to one compact JSON object."""
    return "{" + ",".join(f'"{name}":{text}' for name, text in fragments.items()) + "}"


def _changed(kind: DefectKind, fragments: Fragments, variant: int) -> Fragments:
    match kind:
        case DefectKind.MISSING_FIELD:
            missing = _REQUIRED[variant % len(_REQUIRED)]
            return {name: text for name, text in fragments.items() if name != missing}
        case DefectKind.WRONG_TYPE:
            return {**fragments, **dict([_WRONG_TYPES[variant % len(_WRONG_TYPES)]])}
        case DefectKind.OUT_OF_RANGE:
            return {**fragments, **dict([_OUT_OF_RANGE[variant % len(_OUT_OF_RANGE)]])}
        case DefectKind.UNKNOWN_CATEGORY:
            return {**fragments, "category": _UNKNOWN_CATEGORIES[variant % len(_UNKNOWN_CATEGORIES)]}
        case DefectKind.UNTIDY_TEXT:
            return _untidy(fragments, variant)
        case _:
            return fragments


def _malformed(text: str, variant: int) -> str:
    """Cut the record off half way, or write a name without its quotes; neither is JSON, whatever follows."""
    return text[: len(text) // 2] if variant % 2 else text.replace('"id"', "id", 1)


def _untidy(fragments: Fragments, variant: int) -> Fragments:
    """Change exactly one field, so that repairs can be counted against these records."""
    name, category = fragments["name"][1:-1], fragments["category"][1:-1]
    forms = (
        {"name": f'"  {name} "'},
        {"category": f'"{category.lower()}"'},
        {"category": f'" {category} "'},
        {"name": f'"{name}\\t"'},
    )
    return {**fragments, **forms[variant % len(forms)]}
