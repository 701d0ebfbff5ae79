"""The figures of stage 3: right in what they show, small however many records there are."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import plotly.graph_objects as go
import plotly.io as pio
import polars as pl
import pytest

from pipeline_lib import charts_process as charts
from workbench.charts import theme

FIGURES = (
    charts.percentile_curve,
    charts.tiers_by_category,
    charts.values_by_category,
    charts.daily_totals,
    charts.totals_by_country,
)


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """A folder whose name Polars and Spark would take for a pattern."""
    folder = tmp_path / "of [a-c]{d,e}*?"
    folder.mkdir()
    return folder


def items(rows: int) -> pl.DataFrame:
    share = [i // 4 / (rows // 4 - 1) for i in range(rows)]
    return pl.DataFrame(
        {
            "category": ["A", "B", "C", "D"] * (rows // 4),
            "value": [Decimal(i // 4) for i in range(rows)],
            "value_percentile": share,
            "value_tier": [
                "premium" if s > 0.9 else "high" if s > 0.7 else "medium" if s > 0.4 else "standard" for s in share
            ],
        }
    )


def aggregates() -> dict[str, pl.DataFrame]:
    values = {
        f"value_{name}": [Decimal(value)] * 4 for name, value in (("average", 5), ("minimum", 1), ("maximum", 12))
    }
    return {
        "by_category": pl.DataFrame({"category": ["A", "B", "C", "D"], **values}),
        "by_country": pl.DataFrame(
            {"country": ["DE", None, "FR"], "total_value": [Decimal(2), Decimal(9), Decimal(5)]}
        ),
        "by_day": pl.DataFrame(
            {
                "day": [date(2026, 11, 2), date(2026, 11, 1)],
                "total_value": [Decimal(4), Decimal(2)],
                "discounted_value": [Decimal(3), Decimal(1)],
            }
        ),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stage folder with 20,000 items in four categories, three countries and two days."""
    folder = tmp_path_factory.mktemp("stage")
    frames = {"items": items(20_000), **aggregates()}
    for name, frame in frames.items():
        path = folder / "processed" / name
        path.mkdir(parents=True)
        frame.write_parquet(path / "part-00000.parquet")
    return folder


@pytest.mark.parametrize("figure_of", FIGURES, ids=lambda function: function.__name__)
def test_a_figure_is_small_and_names_its_axes(folder: Path, figure_of: object) -> None:
    figure: go.Figure = figure_of(folder)  # type: ignore[operator]
    layout = figure.layout
    assert layout.title.text
    assert layout.xaxis.title.text
    assert layout.yaxis.title.text
    assert len(figure.to_json()) < 200_000


def test_the_tiers_of_a_category_add_up_to_its_records(folder: Path) -> None:
    figure = charts.tiers_by_category(folder)
    assert [bar.name for bar in figure.data] == ["premium", "high", "medium", "standard"]
    assert [sum(bar.y[i] for bar in figure.data) for i in range(4)] == [5000] * 4


def test_countries_are_ranked_and_none_is_unknown(folder: Path) -> None:
    bars = charts.totals_by_country(folder, top=2).data[0]
    assert list(zip(bars.y, bars.x, strict=True)) == [("unknown", 9.0), ("FR", 5.0)]


def test_days_are_in_order(folder: Path) -> None:
    total = charts.daily_totals(folder).data[0]
    assert list(zip(total.x, total.y, strict=True)) == [(date(2026, 11, 1), 2.0), (date(2026, 11, 2), 4.0)]


def test_whiskers_reach_from_minimum_to_maximum(folder: Path) -> None:
    mark = charts.values_by_category(folder).data[0]
    assert (mark.y[0] - mark.error_y.arrayminus[0], mark.y[0] + mark.error_y.array[0]) == (1.0, 12.0)


def test_the_template_can_be_registered_twice() -> None:
    before = pio.templates.default
    try:
        assert theme.register() == theme.register() == "workbench"
        assert pio.templates.default == "workbench"
    finally:
        pio.templates.default = before
