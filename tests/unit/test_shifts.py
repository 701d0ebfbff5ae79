"""Effect sizes of shifted distributions, against their definitions and against known tables."""

from __future__ import annotations

from math import sqrt

import numpy as np
import polars as pl
import pytest

from workbench.run.drift import cramers_v, hedges_g, shifts_between, stability_index

RNG = np.random.default_rng(7)
NORMAL = pl.Series(RNG.normal(0, 1, 20_000))
SHIFTED = pl.Series(RNG.normal(0.6, 1, 20_000))
WIDER = pl.Series(RNG.normal(0, 2, 20_000))


def test_hedges_g_is_the_distance_of_means_in_standard_deviations_with_its_small_sample_correction() -> None:
    a, b = pl.Series([1.0, 2.0, 3.0]), pl.Series([2.0, 3.0, 4.0])
    assert hedges_g("x", a, b).value == pytest.approx(1 - 3 / (4 * 6 - 9))
    assert hedges_g("x", NORMAL, SHIFTED).value == pytest.approx(0.6, abs=0.05)
    assert hedges_g("x", NORMAL, SHIFTED).size == "medium"


def test_a_change_of_shape_is_seen_by_the_stability_index_alone() -> None:
    assert abs(hedges_g("x", NORMAL, WIDER).value) < 0.1
    assert stability_index("x", NORMAL, WIDER).size == "large"
    assert stability_index("x", NORMAL, NORMAL).value == pytest.approx(0)


def test_cramers_v_is_one_where_no_value_is_shared_and_nought_for_equal_shares() -> None:
    assert cramers_v("x", {"a": 500}, {"b": 500}).value == pytest.approx(1, abs=0.01)
    assert cramers_v("x", {"a": 300, "b": 700}, {"a": 30, "b": 70}).value == 0


def test_cramers_v_agrees_with_the_phi_coefficient_of_a_table_of_four() -> None:
    phi = abs(60 * 70 - 40 * 30) / sqrt(100 * 100 * 90 * 110)
    assert cramers_v("x", {"a": 60, "b": 40}, {"a": 30, "b": 70}).value == pytest.approx(phi, abs=0.02)


def test_many_rare_values_are_no_shift() -> None:
    tables = [pl.LazyFrame({"x": RNG.choice(500, 3_000).astype(str)}) for _ in range(2)]
    assert shifts_between(*tables)[0].size == "none"


def test_the_strongest_shift_stands_first() -> None:
    kept = RNG.random(20_000) < 0.5
    a = pl.LazyFrame({"kept": kept, "moved": NORMAL, "decimal": pl.Series(["1.50"] * 20_000).cast(pl.Decimal(12, 2))})
    b = pl.LazyFrame({"kept": kept, "moved": SHIFTED, "decimal": pl.Series(["1.50"] * 20_000).cast(pl.Decimal(12, 2))})
    found = shifts_between(a, b)
    assert found[0].column == "moved"
    assert {shift.column: shift.size for shift in found if shift.column != "moved"} == {
        "kept": "none",
        "decimal": "none",
    }


def test_an_empty_table_has_no_shifts() -> None:
    empty = pl.LazyFrame({"x": [], "y": []}, schema={"x": pl.Float64, "y": pl.String})
    full = pl.LazyFrame({"x": [1.0, 2.0], "y": ["a", "b"]})
    assert shifts_between(empty, full) == []


def test_columns_of_one_value_each_have_an_effect_that_json_can_hold() -> None:
    found = shifts_between(pl.LazyFrame({"x": [5.0] * 50}), pl.LazyFrame({"x": [6.0] * 50}))
    assert [(shift.measure, shift.size) for shift in found] == [("PSI", "large")]
