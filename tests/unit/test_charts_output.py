"""The figures of stage 3: right in what they show, small however many records there are."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import plotly.graph_objects as go
import polars as pl
import pytest

from pipeline_lib import charts_process as charts

FIGURES = (charts.percentile_curve, charts.tiers_by_category)


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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stage folder with 20,000 items in four categories."""
    folder = tmp_path_factory.mktemp("stage")
    path = folder / "processed" / "items"
    path.mkdir(parents=True)
    items(20_000).write_parquet(path / "part-00000.parquet")
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
