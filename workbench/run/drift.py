"""How far the distribution of a column has moved between two tables, as effect sizes: numbers that do not grow with n.

Numbers
    Hedges' g = J (mean_b - mean_a) / s, s the pooled standard deviation, J = 1 - 3 / (4 (n_a + n_b) - 9)
    (Hedges, Journal of Educational Statistics 6, 1981). From 0.2 small, 0.5 medium, 0.8 large (Cohen, Statistical
    Power Analysis for the Behavioral Sciences, 1988). It sees a shift of the middle.
    Population stability index = sum over bins of (q - p) ln(q / p), p and q the shares of a and b in the deciles of a,
    half a record added to each bin so that an empty one stays finite (Siddiqi, Credit Risk Scorecards, 2006). From
    0.02 small, 0.1 medium, 0.25 large; the last two are the rule of thumb there. It sees a change of shape, too.
Words
    Cramer's V of the table run x value with Bergsma's correction, without which V grows with the number of values
    (Journal of the Korean Statistical Society 42, 2013). From 0.1 small, 0.3 medium, 0.5 large (Cohen, for two rows).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, log, sqrt

import numpy as np
import polars as pl
import polars.selectors as cs

_SIZES = {"Hedges' g": (0.2, 0.5, 0.8), "PSI": (0.02, 0.1, 0.25), "Cramér's V": (0.1, 0.3, 0.5)}
_DECILES = [step / 10 for step in range(1, 10)]
_SHOWN = 24  # characters of a value
_NAMES = ("none", "small", "medium", "large")


@dataclass(frozen=True)
class Shift:
    """One effect: `value` of `measure` for `column`, what it is called, and a and b in words (mean or commonest)."""

    column: str
    measure: str
    value: float
    a: str
    b: str

    @property
    def size(self) -> str:
        """The effect's name: none, small, medium or large."""
        return _NAMES[sum(abs(self.value) >= border for border in _SIZES[self.measure])]

    @property
    def strength(self) -> float:
        """The effect as a multiple of the least that is called large, so that measures can be compared."""
        return abs(self.value) / _SIZES[self.measure][-1]


def shifts_between(a: pl.LazyFrame, b: pl.LazyFrame) -> list[Shift]:
    """Return the effects of every column both tables have, the strongest first; empty tables have none.

    Numbers are judged by g and PSI; text and truth values by V, a missing value being a
    value of its own. Lists and objects are left out.
    """
    common = [name for name in a.collect_schema().names() if name in b.collect_schema().names()]
    numbers = set(a.select(cs.numeric()).collect_schema().names())
    found = [shift for name in common for shift in _shifts(a.select(name), b.select(name), name, name in numbers)]
    return sorted(found, key=lambda shift: -shift.strength)


def _shifts(a: pl.LazyFrame, b: pl.LazyFrame, name: str, is_number: bool) -> list[Shift]:
    if not is_number:
        counts = [dict(table.group_by(name).len().collect().iter_rows()) for table in (a, b)]
        return [cramers_v(name, *counts)] if all(counts) else []
    values = [table.select(pl.col(name).cast(pl.Float64)).drop_nulls().collect()[name] for table in (a, b)]
    if any(len(each) < 2 for each in values):
        return []
    found = [hedges_g(name, *values), stability_index(name, *values)]
    return [each for each in found if isfinite(each.value)]


def hedges_g(name: str, a: pl.Series, b: pl.Series) -> Shift:
    """Return Hedges' g of two samples of at least two numbers each.

    Where neither varies it is 0 if both agree, else infinite: then only the stability index can say how far.
    """
    freedom = len(a) + len(b) - 2
    pooled = sqrt(((len(a) - 1) * _variance(a) + (len(b) - 1) * _variance(b)) / freedom)
    distance = _mean(b) - _mean(a)
    if pooled == 0:
        value = 0.0 if distance == 0 else float("inf")
    else:
        value = (1 - 3 / (4 * (len(a) + len(b)) - 9)) * distance / pooled
    return Shift(name, "Hedges' g", value, f"mean {_mean(a):,.2f}", f"mean {_mean(b):,.2f}")


def stability_index(name: str, a: pl.Series, b: pl.Series) -> Shift:
    """Return the population stability index of b against a."""
    cuts = sorted({float(a.quantile(share, "nearest") or 0) for share in _DECILES})
    shares = []
    for sample in (a, b):
        bins = np.searchsorted(np.array(cuts), sample.to_numpy(), side="left")
        held = np.bincount(bins, minlength=len(cuts) + 1) + 0.5
        shares.append((held / held.sum()).tolist())
    value = sum((q - p) * log(q / p) for p, q in zip(*shares, strict=True))
    return Shift(name, "PSI", value, f"median {_median(a):,.2f}", f"median {_median(b):,.2f}")


def cramers_v(name: str, a: dict[object, int], b: dict[object, int]) -> Shift:
    """Return Cramér's V, corrected, of the counts of each value in two samples; neither may be empty."""
    values = sorted({*a, *b}, key=str)
    n_a, n_b = sum(a.values()), sum(b.values())
    n = n_a + n_b
    chi_squared = 0.0
    for value in values:
        both = a.get(value, 0) + b.get(value, 0)
        for own, size in ((a, n_a), (b, n_b)):
            expected = both * size / n
            chi_squared += (own.get(value, 0) - expected) ** 2 / expected
    columns, rows = len(values), 2
    phi_squared = max(0.0, chi_squared / n - (columns - 1) * (rows - 1) / (n - 1))
    least = min(columns - (columns - 1) ** 2 / (n - 1), rows - (rows - 1) ** 2 / (n - 1)) - 1
    return Shift(name, "Cramér's V", sqrt(phi_squared / least) if least > 0 else 0.0, _commonest(a), _commonest(b))


def _commonest(counts: dict[object, int]) -> str:
    value, count = max(counts.items(), key=lambda item: (item[1], str(item[0])))
    text = str(value)
    shown = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
    return f"commonest {shown}, {count / sum(counts.values()):.1%}"


def _mean(values: pl.Series) -> float:
    return float(values.mean() or 0)  # type: ignore[arg-type]  # a mean of floats is a float


def _median(values: pl.Series) -> float:
    return float(values.median() or 0)  # type: ignore[arg-type]


def _variance(values: pl.Series) -> float:
    return float(values.var() or 0)  # type: ignore[arg-type]
