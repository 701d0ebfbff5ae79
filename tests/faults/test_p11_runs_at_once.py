"""P11: runs at once, on one machine, one database and one Spark server, do not touch each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text

from tests.faults.resuming import CLOCK, exported
from tests.faults.workshop import WorkedRun, Workshop
from workbench.base.settings import NOTEBOOKS
from workbench.stage.artefacts import schema_of
from workbench.stage.run_parameters import RunParameters

pytestmark = pytest.mark.promise("P11", "runs at once give the same data as the same runs alone")
SEEDS = (11, 12)


def test_two_runs_at_once_equal_the_same_runs_alone(workshop: Workshop) -> None:
    def work(seed: int) -> WorkedRun:
        return workshop.work(RunParameters(records=200, seed=seed, reference_time=CLOCK), NOTEBOOKS)

    with ThreadPoolExecutor(len(SEEDS)) as pool:
        at_once = list(pool.map(work, SEEDS))
    check_what_readers_see(workshop.resources.engine)
    for run in at_once:
        run.check()
    alone = [work(seed) for seed in SEEDS]
    assert [exported(run) for run in at_once] == [exported(run) for run in alone]
    assert exported(at_once[0]) != exported(at_once[1])
    rows = [run.row for run in at_once]
    assert max(row["started_at"] for row in rows) < min(row["finished_at"] for row in rows), "one after the other"


def check_what_readers_see(engine: Engine) -> None:
    """One whole run is published: the one that was created last, though another was published at the same time."""
    with engine.connect() as connection:
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
