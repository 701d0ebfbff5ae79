"""Key figures as people read them: thousands separated, nothing that is called None."""

from __future__ import annotations

from decimal import Decimal

import pytest

from workbench.jupyter.history import figures_table, summed_up
from workbench.jupyter.panel_view import _NUMBER, history_html

COUNTED = ("records_read", "records_processed", "records_rejected")

ROW = {
    "pipeline_id": "20261123t182350_15c2d1",
    "status": "completed",
    "trigger": "cli",
    "total_seconds": Decimal("1455.043"),
    "records_read": 2_000_000,
    "records_processed": 1_914_000,
    "records_rejected": 86_000,
    "error_count": 0,
}


def test_numbers_are_written_for_people() -> None:
    table = figures_table([ROW])
    assert list(table.index) == ["20261123t182350_15c2d1"]
    assert table.iloc[0].to_dict() == {
        "status": "completed",
        "trigger": "cli",
        "total seconds": "1,455.0",
        "records read": "2,000,000",
        "records processed": "1,914,000",
        "records rejected": "86,000",
        "error count": "0",
    }


def test_a_run_that_is_stepped_through_is_open_and_has_no_time_yet() -> None:
    row = figures_table([{**ROW, "status": "pending", "trigger": "notebook", "total_seconds": None}]).iloc[0]
    assert (row["status"], row["total seconds"]) == ("open, by hand", "–")


@pytest.mark.promise("P20", "what is not known is shown as not known, and what is known as it is")
def test_what_is_not_known_is_a_dash_and_adds_nothing() -> None:
    failed = {**ROW, "records_processed": None, "records_rejected": 258, "finished_at": "then"}
    waiting = {**ROW, "status": "pending", **dict.fromkeys((*COUNTED, "total_seconds", "finished_at"))}
    table = figures_table([failed, waiting])
    assert list(table["records processed"]) == ["–", "–"]
    assert list(table["records rejected"]) == ["258", "–"]
    assert summed_up([failed, waiting])["records rejected"] == "258"
    assert "<td " + _NUMBER + ">–</td>" in history_html([waiting])
    assert ">0</td>" not in history_html([failed, waiting])


def test_without_runs_the_table_is_empty() -> None:
    assert len(figures_table([])) == 0
