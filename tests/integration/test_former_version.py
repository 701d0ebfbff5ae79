"""Runs of the version before are shown, compared and gone on with as they were (the database in `former_version`)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import Engine

from tests.e2e.conftest import WORKBENCH
from workbench.base.settings import Settings
from workbench.run.comparison import compare_runs
from workbench.state import database, queries
from workbench.state.run_document import run_document

FORMER = Path(__file__).with_name("former_version")
COMPLETED, FAILED, OWN_INPUT = "20261127t220946_92ccc2", "20261127t221444_b0a480", "20261127t221554_58bfc7"


@pytest.fixture
def former(database_url: str) -> Iterator[Engine]:
    """An engine on the database of the version before, brought up to date."""
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute((FORMER / "database.sql").read_text("utf-8"))
        connection.commit()
    engine = database.connect(database_url)
    yield engine
    engine.dispose()


def test_runs_of_the_version_before_are_shown_as_they_were(former: Engine, settings: Settings) -> None:
    assert [row["pipeline_id"] for row in queries.key_figures(former)] == [OWN_INPUT, FAILED, COMPLETED]
    documents = {each: run_document(former, settings, each) for each in (COMPLETED, FAILED, OWN_INPUT)}
    assert {each: document["status"] for each, document in documents.items()} == {
        COMPLETED: "completed", FAILED: "failed", OWN_INPUT: "completed",
    }  # fmt: skip
    assert list(documents[COMPLETED]["records"].items()) == [
        ("generated", 20), ("ingested", 20), ("rejected", 0), ("processed", 20), ("transformed", 20), ("exported", 20),
    ]  # fmt: skip
    assert [stage["status"] for stage in documents[OWN_INPUT]["stages"]] == ["skipped", *["completed"] * 4]


def test_runs_of_the_version_before_are_compared(former: Engine, settings: Settings) -> None:
    words = compare_runs(former, settings, COMPLETED, OWN_INPUT)["words"]
    assert words[0] == "What differs most: b exported 2 records, a 20 (-90.0%)."


def test_a_failed_run_of_the_version_before_goes_on_from_what_still_verifies(
    former: Engine, database_url: str, home: Path
) -> None:
    shutil.copytree(FORMER / "runs", home / "runs", dirs_exist_ok=True)
    here = os.environ | {"DATABASE_URL": database_url, "WORKBENCH_HOME": str(home)}
    resumed = subprocess.run([WORKBENCH, "resume", FAILED], env=here, capture_output=True, text=True, check=False)
    assert "TooManyRejects" in resumed.stderr, "its input is as it was"
    assert queries.run_row(former, FAILED)["attempt"] == 2
    stages = {row["name"]: (row["status"], row["reason"]) for row in queries.stage_rows(former, FAILED)}
    assert stages["generate"] == ("reused", "verified: 1 artefact")
    assert stages["ingest"][0] == "failed"
    shutil.rmtree(home / "runs" / FAILED)
