"""What the business rules' thresholds would make of a run's records, before dbt is told of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache

import plotly.graph_objects as go
import yaml
from psycopg2 import sql

from pipeline_lib.transform import connected
from workbench.base.settings import DBT_PROJECT
from workbench.charts.theme import ACCENT, QUIET, lying_bars

_COUNTS = """
select
    count(*) filter (where total_value > %(premium_above)s),
    count(*) filter (where total_value <= %(premium_above)s and total_value > %(standard_above)s),
    count(*) filter (where total_value <= %(premium_above)s and total_value <= %(standard_above)s),
    count(*) filter (where total_value > %(high_value_above)s),
    count(*) filter (where is_active and quantity >= %(low_stock_below)s and quantity <> 0),
    count(*) filter (where is_active and quantity < %(low_stock_below)s and quantity <> 0),
    count(*) filter (where is_active and quantity = 0),
    count(*) filter (where not is_active)
from {}.processed_items
"""
_NAMES = (
    "premium", "standard", "basic", "high value", "available", "low stock", "out of stock", "inactive",
)  # fmt: skip


@dataclass(frozen=True)
class Thresholds:
    """The borders of the rules: total values in currency units, pieces in stock. Named like dbt's variables."""

    premium_above: int
    standard_above: int
    high_value_above: int
    low_stock_below: int


@cache
def present_thresholds() -> Thresholds:
    """Return the borders as dbt_project.yml has them."""
    variables = yaml.safe_load((DBT_PROJECT / "dbt_project.yml").read_text("utf-8"))["vars"]
    return Thresholds(**{name: variables[name] for name in Thresholds.__dataclass_fields__})


def records_by_rule(database_url: str, schema: str, thresholds: Thresholds) -> dict[str, int]:
    """Count the run's processed records by pricing tier, high value and stock status; nothing is written."""
    query = sql.SQL(_COUNTS).format(sql.Identifier(schema))
    with connected(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(query, asdict(thresholds))
        return dict(zip(_NAMES, cursor.fetchone() or (), strict=True))


def now_and_then(now: dict[str, int], then: dict[str, int]) -> go.Figure:
    """Show the counts by the present thresholds beside those by the ones that are tried."""
    figure = go.Figure(layout={"barmode": "group"})
    for counts, name, colour in ((then, "tried", ACCENT), (now, "now", QUIET)):
        values = list(counts.values())
        texts = [f"{value:,}" for value in values]
        figure.add_bar(x=values, y=list(counts), name=name, orientation="h", marker_color=colour, text=texts)
    figure.update_yaxes(autorange="reversed")
    figure = lying_bars(figure, "Records by rule", "records")
    return figure.update_layout(height=460, legend_traceorder="reversed")
