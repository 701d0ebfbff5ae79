"""Durations and sizes read the same on every surface, and no rounding makes sixty seconds of a minute."""

from __future__ import annotations

from decimal import Decimal

import pytest

from workbench.base.text_formats import run_status_words, seconds_text, size_text, tone_of
from workbench.state.states import StageStatus


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),
        (0, "0 ms"),
        (0.94, "940 ms"),
        (0.96, "1.0 s"),
        (Decimal("12.345"), "12.3 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (119.7, "2 min 00 s"),
        (3_599.6, "1 h 00 min"),
        (7_320, "2 h 02 min"),
    ],
)
def test_seconds_are_shown_in_the_largest_unit(seconds: float | None, shown: str) -> None:
    assert seconds_text(seconds) == shown


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (2_500_000, "2.5 MB"), (3 * 10**12, "3.0 TB")]
)
def test_sizes_are_shown_in_the_largest_unit(size: int, shown: str) -> None:
    assert size_text(size) == shown


def test_every_end_of_a_stage_has_its_tone() -> None:
    tones = {status.value: tone_of(status).value for status in StageStatus}
    assert tones == {
        "pending": "quiet",
        "running": "busy",
        "completed": "good",
        "failed": "bad",
        "cancelled": "warn",
        "crashed": "bad",
        "reused": "good",
        "skipped": "quiet",
    }


def test_only_a_run_by_hand_is_open_while_it_is_pending() -> None:
    assert run_status_words("pending", "notebook") == "open, by hand"
    assert run_status_words("pending", "page") == "pending"
    assert run_status_words("completed", "notebook") == "completed"
