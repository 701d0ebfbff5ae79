"""Key figures as people read them: thousands separated, nothing that is called None."""

from __future__ import annotations

from decimal import Decimal

from pipeline_lib.workbench.looking_back import figures_table

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


def test_without_runs_the_table_is_empty() -> None:
    assert len(figures_table([])) == 0
