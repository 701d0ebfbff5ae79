"""What is said of two runs: the greatest difference first, in sentences that stand alone."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.run.comparison import in_words


def compared(**differences: Any) -> dict[str, Any]:
    """Return a comparison in which nothing differs but these parts."""
    run = {"status": "completed", "seconds": 20.0, "error": None}
    records = [{"name": name, "a": 1_000, "b": 1_000, "change": 0} for name in ("generated", "exported")]
    empty = {name: [] for name in ("parameters", "rejects", "stages", "cells", "models", "shifts", "code")}
    return {"runs": {"a": run, "b": run}, "records": records, **empty, **differences}


def test_runs_that_hardly_differ_are_said_to() -> None:
    assert in_words(compared()) == ["The results hardly differ.", "Both runs had the same parameters."]


def test_another_outcome_comes_first_and_says_why() -> None:
    failed = {"status": "failed", "seconds": 5.0, "error": "stage ingest, cell 5, TooManyRejects: too many"}
    completed = {"status": "completed", "seconds": 20.0, "error": None}
    words = in_words(compared(runs={"a": completed, "b": failed}))
    assert words[:2] == [
        "What differs most: run a is completed, run b is failed.",
        "run b ended with: stage ingest, cell 5, TooManyRejects: too many",
    ]


@pytest.mark.promise("P20", "what is not known is shown as not known, and what is known as it is")
def test_rejects_of_a_run_without_a_dataset_are_not_compared() -> None:
    rejects = [{"name": "missing_field", "a": 0, "b": None, "change": None}]
    assert not any("rejected" in sentence for sentence in in_words(compared(rejects=rejects)))


@pytest.mark.promise("P20", "times are those of the work, over all attempts")
def test_the_time_of_a_person_is_compared_with_no_run() -> None:
    by_hand = {"status": "completed", "seconds": 900.0, "error": None, "interactive": True}
    headless = {"status": "completed", "seconds": 20.0, "error": None, "interactive": False}
    assert in_words(compared(runs={"a": headless, "b": by_hand}))[0] == "The results hardly differ."


def test_a_large_shift_comes_before_a_small_difference_in_time() -> None:
    moved = {"column": "value", "measure": "Hedges' g", "value": 1.2, "size": "large", "strength": 1.5}
    words = in_words(
        compared(
            shifts=[{**moved, "a": "mean 500.00", "b": "mean 900.00"}],
            stages=[{"name": "process", "a": 10.0, "b": 14.0, "change": 4.0}],
            runs={
                "a": {"status": "completed", "seconds": 20.0, "error": None},
                "b": {"status": "completed", "seconds": 24.0, "error": None},
            },
        )
    )
    assert words[0] == (
        "What differs most: distributions have shifted: "
        "value (large, Hedges' g 1.20: mean 500.00 in a, mean 900.00 in b)."
    )
    assert words[1] == "b took 24.0 s, 4.0 s more than a, 4.0 s of it in stage process."


def test_shares_of_rejects_are_compared_and_not_their_numbers() -> None:
    records = [{"name": name, "a": 1_000, "b": 10_000, "change": 9_000} for name in ("generated", "exported")]
    rejects = [{"name": "missing_field", "a": 50, "b": 500, "change": 450}]
    assert not any("rejected" in sentence for sentence in in_words(compared(records=records, rejects=rejects)))
