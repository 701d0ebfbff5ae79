"""Two runs compared on the terminal: what differs most is said first, and everything measured is in the JSON."""

from __future__ import annotations

from typing import Any

from tests.e2e.conftest import Workbench


def test_what_differs_is_said_in_words_and_measured(workbench: Workbench, completed: dict[str, Any]) -> None:
    other = workbench.json("run", "--records", "2500", "--seed", "8")
    document = workbench.json("compare", completed["pipeline_id"], other["pipeline_id"])
    assert document["words"][0].startswith("What differs most: b exported 2,500 records")
    assert {row["name"] for row in document["parameters"]} == {"records", "seed", "defect_rate"}
    assert next(row for row in document["rejects"] if row["name"] == "malformed")["b"] == 0
    assert all(row["a"] is not None and row["b"] is not None for row in document["stages"] + document["models"])
    assert {row["measure"] for row in document["shifts"]} == {"Hedges' g", "PSI", "Cramér's V"}
    shifted = {row["column"] for row in document["shifts"] if row["size"] != "none"}
    assert shifted == {"name", "customer_country"}, "another seed has other words, and the same numbers"
    assert any(row["name"].startswith("process, cell") for row in document["cells"])
    told = workbench("compare", completed["pipeline_id"], other["pipeline_id"]).stdout
    assert document["words"][0] in told


def test_a_run_hardly_differs_from_itself(workbench: Workbench, completed: dict[str, Any]) -> None:
    words = workbench.json("compare", completed["pipeline_id"], completed["pipeline_id"])["words"]
    assert words == ["The results hardly differ.", "Both runs had the same parameters."]


def test_an_unknown_run_is_refused(workbench: Workbench, completed: dict[str, Any]) -> None:
    refused = workbench("compare", completed["pipeline_id"], "20200101t000000_000000")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
