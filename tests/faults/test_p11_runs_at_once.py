"""P11: runs at once, on one machine, one database and one Spark server, do not touch each other."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from pipeline_lib.artefacts import schema_of
from tests.faults.bench import Bench, StartedRun
from tests.faults.invariants import check_invariants
from tests.faults.resuming import CLOCK, exported

pytestmark = pytest.mark.promise("P11", "runs at once give the same data as the same runs alone")
SEEDS = ("11", "12")


def started(bench: Bench, seed: str) -> StartedRun:
    run = bench.start("run", "--records", "300", "--seed", seed, "--reference-time", CLOCK)
    assert run.pipeline_id
    return run


def ended_well(run: StartedRun) -> StartedRun:
    assert run.wait(150) == 0, run.said()
    return run


def test_two_runs_at_once_equal_the_same_runs_alone(bench: Bench, spark_server: str) -> None:
    at_once = [ended_well(run) for run in [started(bench, seed) for seed in SEEDS]]
    alone = [exported(ended_well(started(bench, seed))) for seed in SEEDS]
    assert [exported(run) for run in at_once] == alone
    assert alone[0] != alone[1]
    for run in at_once:
        assert check_invariants(run)["status"] == "completed"
    check_what_readers_see(bench)


def check_what_readers_see(bench: Bench) -> None:
    """One whole run is published: the one that was created last, though others were published at the same time."""
    with bench.engine.connect() as connection:
        published = connection.execute(text("select pipeline_id from analytics.published_run")).scalar_one()
        newest = connection.execute(text("select id from pipelines order by created_at desc limit 1")).scalar_one()
        differing = connection.execute(
            text(f"""
                select count(*) from analytics.item_metrics ours
                full join {schema_of(published)}.item_metrics theirs on ours::text = theirs::text
                where ours.id is null or theirs.id is null
            """)
        ).scalar_one()
    assert (published, differing) == (newest, 0)
