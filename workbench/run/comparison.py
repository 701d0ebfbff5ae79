"""Two runs side by side: parameters, counts, rejects, seconds, models, distributions, code; as one JSON document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from math import log2
from typing import Any

import polars as pl
from sqlalchemy import Engine, column, func, inspect, select, table

from workbench.base.settings import Settings
from workbench.data.spark_files import part_files
from workbench.run.drift import Shift, cramers_v, shifts_between
from workbench.stage.artefacts import RunFolder, schema_of
from workbench.stage.pipeline import PIPELINE, Compared, StageName
from workbench.state import queries
from workbench.state.cell_states import COMPLETED, cell_states
from workbench.state.run_document import run_document
from workbench.state.states import STAGE_DONE

Row = dict[str, Any]
_NOT_CHOSEN = {"reference_time"}  # the clock differs between any two runs
_WORTH_TELLING = 0.15
_LISTED = 3
Document = Mapping[str, Any]


def compare_runs(engine: Engine, settings: Settings, first: str, second: str) -> Row:
    """Return what differs from run `first` (a) to run `second` (b); `words` says it in sentences, the most first.

    `change` is b - a. Lists hold what differs or was measured in at least one run: parameters, records, rejects,
    stages, cells and models (seconds), shifts (effect sizes, see workbench.run.drift), code. Raises
    `UnknownRun`.
    """
    a, b = (run_document(engine, settings, each) for each in (first, second))
    stages = stages_a, stages_b = _manifests(engine, first), _manifests(engine, second)
    document: Row = {
        "runs": {"a": _head(a), "b": _head(b)},
        "parameters": _differing(a["parameters"], b["parameters"], leave_out=_NOT_CHOSEN),
        "records": _pairs(a["records"], b["records"]),
        "rejects": _pairs(*_counted(_detail(each, "rejects_by_reason", None) for each in stages)),
        "stages": _pairs(*({stage["name"]: stage["seconds"] for stage in each["stages"]} for each in (a, b))),
        "cells": _pairs(*(_cell_seconds(engine, each) for each in (first, second))),
        "models": _pairs(*(_model_seconds(each) for each in (stages_a, stages_b))),
        "shifts": _shifts(engine, settings, a, b),
        "code": [*_versions(stages_a, stages_b), *_fingerprints(stages_a, stages_b)],
    }
    return {"words": in_words(document), **document}


def _head(document: Row) -> Row:
    known = {name: document[name] for name in ("pipeline_id", "status", "trigger", "created_at", "seconds")}
    by_hand = any(stage["interactive"] for stage in document["stages"])
    return known | {"interactive": by_hand, "error": (document["error"] or {}).get("message")}


def _manifests(engine: Engine, pipeline_id: str) -> dict[str, Row]:
    return {row["name"]: row["manifest"] or {} for row in queries.stage_rows(engine, pipeline_id)}


def _detail(manifests: Mapping[str, Row], name: str, default: Any) -> Any:
    """Return a detail of whichever stage's manifest has it."""
    return next((each["details"][name] for each in manifests.values() if name in each.get("details", {})), default)


def _pairs(a: Mapping[str, float | None], b: Mapping[str, float | None]) -> list[Row]:
    names = dict.fromkeys([*a, *b])
    return [{"name": name, "a": a.get(name), "b": b.get(name), "change": _change(a, b, name)} for name in names]


def _counted(reasons: Iterable[Mapping[str, int] | None]) -> list[dict[str, int | None]]:
    """Return both runs' rejects with every reason of either.

    A reason not met is a count of nought; of a run without a dataset (None) no count is known.
    """
    both = list(reasons)
    names = sorted({name for each in both for name in each or {}})
    return [{name: None if each is None else each.get(name, 0) for name in names} for each in both]


def _change(a: Mapping[str, float | None], b: Mapping[str, float | None], name: str) -> float | None:
    before, after = a.get(name), b.get(name)
    return None if before is None or after is None else round(after - before, 3)


def _differing(a: Mapping[str, Any], b: Mapping[str, Any], leave_out: Iterable[str] = ()) -> list[Row]:
    names = [name for name in dict.fromkeys([*a, *b]) if name not in leave_out and a.get(name) != b.get(name)]
    return [{"name": name, "a": a.get(name), "b": b.get(name)} for name in names]


def _cell_seconds(engine: Engine, pipeline_id: str) -> dict[str, float | None]:
    """Return seconds by `stage, cell n: source`, of each stage's latest attempt."""
    states = cell_states(queries.events_after(engine, pipeline_id))
    return {
        f"{stage}, cell {cell.number}: {_head_of(cell.source)}": cell.seconds
        for stage, cells in states.stages.items()
        for cell in cells.values()
        if cell.status == COMPLETED
    }


def _head_of(source: str) -> str:
    return "".join(source.splitlines()[:1])[:60]


def _model_seconds(manifests: Mapping[str, Row]) -> dict[str, float | None]:
    models = _detail(manifests, "models", [])
    return {model["name"]: model["seconds"] for model in models}


def _shifts(engine: Engine, settings: Settings, a: Row, b: Row) -> list[Row]:
    found: list[Shift] = []
    for compared in PIPELINE.compare:
        if _is_done(a, compared.stage) and _is_done(b, compared.stage):
            found += _shifts_of(engine, settings, compared, a, b)
    return [
        {"column": each.column, "measure": each.measure, "value": round(each.value, 4), "size": each.size}
        | {"strength": round(each.strength, 3), "a": each.a, "b": each.b}
        for each in sorted(found, key=lambda shift: -shift.strength)
    ]


def _shifts_of(engine: Engine, settings: Settings, compared: Compared, a: Row, b: Row) -> list[Shift]:
    if compared.files:
        one, other = (_records(settings, compared, each) for each in (a, b))
        return shifts_between(one, other) if one is not None and other is not None else []
    counted = [_counts_by_value(engine, compared, each["pipeline_id"]) for each in (a, b)]
    return [
        cramers_v(name, *(each[name] for each in counted))
        for name in compared.columns
        if all(each.get(name) for each in counted)
    ]


def _is_done(document: Row, stage: StageName) -> bool:
    """Whether what lies there is the stage's result; a running stage, or one given up, leaves unverified files."""
    return any(each["name"] == stage and each["status"] in STAGE_DONE for each in document["stages"])


def _counts_by_value(engine: Engine, compared: Compared, pipeline_id: str) -> dict[str, dict[object, int]]:
    """Return the rows of each value by column; nothing where the run has no such table."""
    compared_table = table(compared.table, schema=schema_of(pipeline_id))
    if not inspect(engine).has_table(compared.table, schema=compared_table.schema):
        return {}
    counts: dict[str, dict[object, int]] = {}
    with engine.connect() as connection:
        for name in compared.columns:
            query: Any = select(column(name), func.count()).select_from(compared_table).group_by(column(name))
            counts[name] = {row[0]: row[1] for row in connection.execute(query)}
    return counts


def _records(settings: Settings, compared: Compared, document: Row) -> pl.LazyFrame | None:
    """Return the compared columns, with the ages in days at the run's clock; None when the run has no such files."""
    files = part_files(RunFolder(settings.home, document["pipeline_id"]).stage(compared.stage), compared.table)
    if not files:
        return None
    clock = datetime.fromisoformat(document["parameters"]["reference_time"])
    ages = {
        name: (pl.lit(clock) - pl.col(source)).dt.total_seconds() / 86_400 for name, source in compared.ages.items()
    }
    return pl.scan_parquet(files, glob=False).select(*compared.columns, **ages)


def _versions(a: Mapping[str, Row], b: Mapping[str, Row]) -> list[Row]:
    both = [{k: v for each in run.values() for k, v in each.get("versions", {}).items()} for run in (a, b)]
    return _differing(*both) if all(both) else []


def _fingerprints(a: Mapping[str, Row], b: Mapping[str, Row]) -> list[Row]:
    """Return the stages whose code or environment hashes differ; only where both runs know them for certain."""
    found = []
    for stage in (name for name in a if name in b):
        one, other = (run[stage].get("fingerprint") or {} for run in (a, b))
        for kind in ("code", "environment"):
            if one and other and one.get(kind) != other.get(kind):
                found.append(
                    {"name": f"{kind} of {stage}", "a": str(one.get(kind))[:12], "b": str(other.get(kind))[:12]}
                )
    return found


def in_words(document: Document) -> list[str]:
    """Return one sentence per kind of difference, the greatest first; one sentence when there is none."""
    found = [
        each for part in (_outcome, _record_words, _rejects, _shift_words, _seconds, _models) for each in part(document)
    ]
    found = [each for each in found if each[0] >= _WORTH_TELLING]
    ranked = [sentence for _, sentence in sorted(found, key=lambda each: -each[0])]
    most = [f"What differs most: {ranked[0]}", *ranked[1:]] if ranked else ["The results hardly differ."]
    return [*most, _chosen(document["parameters"]), *_code(document["code"])]


def _outcome(document: Document) -> Iterator[tuple[float, str]]:
    a, b = document["runs"]["a"], document["runs"]["b"]
    if a["status"] != b["status"]:
        yield 100.0, f"run a is {a['status']}, run b is {b['status']}."
    for name, run in (("a", a), ("b", b)):
        if run["error"]:
            yield 99.0, f"run {name} ended with: {run['error']}"


def _record_words(document: Document) -> Iterator[tuple[float, str]]:
    if not document["records"]:
        return
    first, last = document["records"][0], document["records"][-1]
    row = last if last["change"] is not None else first
    if row["change"] and row["a"] and row["b"]:
        yield (
            abs(log2(row["b"] / row["a"])),
            f"b {row['name']} {row['b']:,} records, a {row['a']:,} ({_percent(row)}).",
        )


def _rejects(document: Document) -> Iterator[tuple[float, str]]:
    """Compare shares of what was read, not counts, which follow the number of records."""
    read = next(iter(document["records"]), None)
    if read is None or not read["a"] or not read["b"]:
        return
    if any(row[run] is None for row in document["rejects"] for run in "ab"):
        return
    shares = [sum(row[run] for row in document["rejects"]) / read[run] for run in "ab"]
    changed = [row for row in document["rejects"] if row["change"]]
    reasons = sorted(changed, key=lambda row: -abs(row["b"] / read["b"] - row["a"] / read["a"]))
    if shares[0] != shares[1]:
        named = ", ".join(str(row["name"]).replace("_", " ") for row in reasons[:_LISTED])
        strength = 20 * abs(shares[1] - shares[0])  # five percentage points more or less are a large difference
        yield strength, f"b rejected {shares[1]:.2%} of its records, a {shares[0]:.2%}; most for {named}."


def _shift_words(document: Document) -> Iterator[tuple[float, str]]:
    named: dict[str, Document] = {}
    for row in document["shifts"]:
        if row["size"] != "none":
            named.setdefault(row["column"], row)
    strongest = list(named.values())[:_LISTED]
    if strongest:
        shifts = "; ".join(
            f"{row['column']} ({row['size']}, {row['measure']} {row['value']:.2f}: {row['a']} in a, {row['b']} in b)"
            for row in strongest
        )
        yield strongest[0]["strength"], f"distributions have shifted: {shifts}."


def _seconds(document: Document) -> Iterator[tuple[float, str]]:
    """Compare how long runs took that ended alike: one that failed half way is no faster, nor is a person."""
    runs = document["runs"]
    a, b = (runs[run]["seconds"] for run in "ab")
    if not a or not b or runs["a"]["status"] != runs["b"]["status"]:
        return
    if runs["a"].get("interactive") or runs["b"].get("interactive"):
        return
    stages = [row for row in document["stages"] if row["change"] is not None]
    slowest = max(stages, key=lambda row: row["change"] * (1 if b > a else -1), default=None)
    part = f", {abs(slowest['change']):,.1f} s of it in stage {slowest['name']}" if slowest else ""
    yield abs(log2(b / a)), f"b took {b:,.1f} s, {abs(b - a):,.1f} s {'more' if b > a else 'less'} than a{part}."


def _models(document: Document) -> Iterator[tuple[float, str]]:
    timed = [row for row in document["models"] if row["change"] is not None]
    most = max(timed, key=lambda row: abs(row["change"]), default=None)
    if most and abs(most["change"]) >= 1 and most["a"] and most["b"]:
        took = f"{most['b']:.1f} s in b, {most['a']:.1f} s in a"
        yield abs(log2(most["b"] / most["a"])), f"dbt model {most['name']} took {took}."


def _chosen(parameters: Sequence[Document]) -> str:
    if not parameters:
        return "Both runs had the same parameters."
    return "Parameters: " + ", ".join(f"{row['name']} {row['a']!r} in a, {row['b']!r} in b" for row in parameters) + "."


def _code(changes: Sequence[Document]) -> Iterator[str]:
    if changes:
        yield "Changed between them: " + ", ".join(str(row["name"]) for row in changes) + "."


def _percent(row: Document) -> str:
    return f"{(row['b'] - row['a']) / row['a']:+.1%}"
