"""The command that compares two runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from workbench.cli.commands_read import chosen_run, tracking
from workbench.cli.output import Json, print_json, printable

First = Annotated[str, typer.Argument(metavar="A", help="a run's id: what the other is compared with")]
Second = Annotated[str, typer.Argument(metavar="B", help="the other run's id")]


def compare(first: First, second: Second, as_json: Json = False) -> None:
    """Say in words how run B differs from run A, and show by how much."""
    from workbench.cli.views import show_on_terminal
    from workbench.run.comparison import compare_runs

    with tracking() as (settings, engine):
        document = compare_runs(engine, settings, chosen_run(engine, first), chosen_run(engine, second))
    print_json(document) if as_json else show_on_terminal(_picture(document))


def _picture(document: Mapping[str, Any]) -> RenderableType:
    runs = document["runs"]
    title = Text.assemble("\na ", (runs["a"]["pipeline_id"], "bold"), "   b ", (runs["b"]["pipeline_id"], "bold"), "\n")
    words = [Text(printable(sentence)) for sentence in document["words"]]
    parts: list[RenderableType] = [title, *words]
    for heading in ("records", "rejects", "stages", "models"):
        if document[heading]:
            parts += [Text(), _table(heading, document[heading])]
    if document["shifts"]:
        parts += [Text(), *_shifts(document["shifts"])]
    return Group(*parts)


def _table(heading: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    table = _empty({"stages": "stage, seconds", "models": "dbt model, seconds"}.get(heading, heading))
    for row in rows:
        change = "–" if row["change"] is None else f"{row['change']:+,}"
        table.add_row(row["name"], *("–" if row[run] is None else f"{row[run]:,}" for run in "ab"), change)
    return table


def _shifts(rows: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """Show the effects that have a name, and count the others."""
    named = [row for row in rows if row["size"] != "none"]
    quiet = Text(
        f"{len(rows) - len(named)} other effects on columns are too small to have a name; --json has them all."
    )
    if not named:
        return [Text("No column has shifted.")]
    table = _empty("column", "effect size", right=("a", "b"))
    table.add_column("size")
    for row in named:
        table.add_row(row["column"], f"{row['measure']} {row['value']:.3f}", row["a"], row["b"], row["size"])
    return [table, quiet]


def _empty(*left: str, right: Sequence[str] = ("a", "b", "change")) -> Table:
    table = Table(*left, box=None, header_style="bold", pad_edge=False)
    for heading in right:
        table.add_column(heading, justify="right")
    return table
