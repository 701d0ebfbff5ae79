"""Row conservation: the equations of each border, and what breaks them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.base.errors import ConservationBroken
from workbench.stage.conservation import check_borders
from workbench.stage.pipeline import STAGE_NAMES

EQUAL_AFTER_INGESTION = ("processed", "loaded", "transformed", "exported")


def _counts(ingested: int, rejected: int) -> dict[str, int]:
    read = ingested + rejected
    return {"generated": read, "read": read, "ingested": ingested, "rejected": rejected} | dict.fromkeys(
        EQUAL_AFTER_INGESTION, ingested
    )


def _check_all(counts: dict[str, int]) -> list[dict[str, Any]]:
    return [each for stage in STAGE_NAMES for each in check_borders(stage, counts)]


@given(st.integers(0, 10**8), st.integers(0, 10**8))
def test_a_run_that_loses_nothing_passes_every_border(ingested: int, rejected: int) -> None:
    borders = _check_all(_counts(ingested, rejected))
    assert len(borders) == 6
    assert all(each["holds"] for each in borders)


@given(st.sampled_from(sorted(_counts(0, 0))), st.integers(1, 10**8))
def test_one_count_that_differs_is_noticed_wherever_it_is(name: str, difference: int) -> None:
    counts = _counts(100, 5)
    counts[name] += difference
    with pytest.raises(ConservationBroken, match="does not hold"):
        _check_all(counts)


def test_an_own_file_is_checked_without_a_generated_count() -> None:
    counts = {"read": 3, "ingested": 2, "rejected": 1}
    assert [each["name"] for each in check_borders("ingest", counts)] == ["read = ingested + rejected"]


def test_a_stage_that_has_not_counted_is_noticed() -> None:
    with pytest.raises(ConservationBroken, match="stage process: its notebook has not counted loaded"):
        check_borders("process", {"ingested": 1, "processed": 1})
