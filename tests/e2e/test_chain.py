"""The whole chain, for real: what a completed run must leave behind."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.e2e.conftest import Paths, Workbench
from tests.e2e.recomputation import recomputed

DERIVED = (
    "total_value",
    "discount_factor",
    "discounted_value",
    "category_avg_value",
    "value_percentile",
    "value_tier",
    "pricing_tier",
    "is_high_value",
    "stock_status",
)


def data_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    output = json.loads(Path(document["output_file"]).read_text(), parse_float=Decimal)
    assert output["record_count"] == len(output["data"])
    rows: list[dict[str, Any]] = output["data"]
    return rows


def test_a_completed_run_has_lost_and_made_no_record(completed: dict[str, Any]) -> None:
    records = completed["records"]
    assert completed["status"] == "completed"
    assert records["generated"] == 10_000 == records["ingested"] + records["rejected"]
    assert records["ingested"] == records["processed"] == records["transformed"] == records["exported"]
    assert [stage["status"] for stage in completed["stages"]] == ["completed"] * 5
    borders = [border for stage in completed["stages"] for border in stage["conservation"]]
    assert len(borders) == 6
    assert all(border["holds"] for border in borders)


def test_show_tells_the_same_as_run(workbench: Workbench, completed: dict[str, Any]) -> None:
    shown = workbench.json("show", completed["pipeline_id"])
    # A newer run of the session may have taken its place with the readers since.
    assert shown.pop("publication")["status"] in {completed["publication"]["status"], "superseded"}
    assert shown == {name: value for name, value in completed.items() if name != "publication"}


def test_every_derived_field_equals_an_independent_recomputation(completed: dict[str, Any], path_in: Paths) -> None:
    dataset = pq.read_table(path_in("02_ingest/dataset.parquet")).to_pylist()
    expected = recomputed(dataset)
    exported = data_of(completed)
    assert [row["id"] for row in exported] == sorted(expected)
    for row in exported:
        ours = expected[row["id"]]
        assert {name: row[name] for name in DERIVED if name != "value_percentile"} == {
            name: ours[name] for name in DERIVED if name != "value_percentile"
        }, row
        assert float(row["value_percentile"]) == pytest.approx(ours["value_percentile"], abs=1e-12)


def test_what_is_exported_is_what_was_generated(completed: dict[str, Any], path_in: Paths) -> None:
    generated = {}
    for line in path_in("01_generate/records.jsonl").read_text().splitlines():
        try:
            record = json.loads(line, parse_float=Decimal)
        except ValueError:
            continue
        generated.setdefault(record.get("id"), record)
    for row in data_of(completed):
        record = generated[row["id"]]
        assert row["name"] == record["name"].strip()
        assert row["category"] == record["category"].strip().upper()
        assert (row["value"], row["quantity"]) == (record["value"], record["quantity"])
        assert row["customer_email"] == record["customer"]["email"]


def test_rejects_reconcile_with_the_injected_defects(path_in: Paths) -> None:
    injected = json.loads(path_in("01_generate/manifest.json").read_text())["details"]["defects"]
    rejects = [json.loads(line) for line in path_in("02_ingest/rejects.jsonl").read_text().splitlines()]
    found = Counter(reject["reason"] for reject in rejects)
    repairable = {kind for kind in injected if kind not in found}
    assert sum(injected.values()) == 500
    assert {kind: count for kind, count in injected.items() if kind not in repairable} == found
    assert all(reject["line"] >= 1 and reject["raw"] for reject in rejects)


def test_each_stage_leaves_an_executed_notebook_and_a_report(completed: dict[str, Any]) -> None:
    assert len(completed["notebooks"]) == len(completed["reports"]) == 5
    for path in completed["notebooks"]:
        notebook = json.loads(Path(path).read_text())
        states = [c["metadata"]["workbench"]["status"] for c in notebook["cells"] if c["cell_type"] == "code"]
        assert set(states) <= {"completed", "skipped"}
    for path in completed["reports"]:
        assert completed["pipeline_id"] in Path(path).read_text()
