"""P13: a deadline, or a person, ends kernel, Spark job and dbt."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import psycopg2
import pytest
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from sqlalchemy import text

from tests.faults.bench import until
from tests.faults.faulty_notebooks import cells_around_fault, with_cell
from tests.faults.invariants import SECONDS_AFTER
from tests.faults.workshop import WorkedRun, Workshop
from workbench.services.service_file import read_live_state
from workbench.stage.artefacts import schema_of
from workbench.stage.pipeline import StageName
from workbench.stage.run_parameters import RunParameters

pytestmark = pytest.mark.promise("P13", "a deadline, or a person, ends kernel, Spark job and dbt")
STOP_SELF = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
STOP_WITH_A_SPARK_JOB = """
import os, signal, threading, time
spark = stage.spark
spark.range(1).count()
job = threading.Thread(target=lambda: spark.range(10**13).selectExpr("sum(sqrt(id) * sin(id))").collect(), daemon=True)
job.start()
time.sleep(3)
os.kill(os.getpid(), signal.SIGSTOP)
"""
STOP_WITH_DBT_WAITING = """
import os, psycopg2, signal, threading, time
from contextlib import closing
def stop_when_dbt_waits():
    waiting = "select 1 from pg_stat_activity where application_name = %s and wait_event_type = 'Lock'"
    with closing(psycopg2.connect(stage.database_url, application_name="observer")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            while not cursor.execute(waiting, (os.environ["PGAPPNAME"],)) and not cursor.fetchone():
                time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGSTOP)
threading.Thread(target=stop_when_dbt_waits, daemon=True).start()
"""


def assert_timed_out(run: WorkedRun, stage: StageName) -> None:
    error = run.row["error"]
    assert (run.row["status"], error["stage"], error["status"]) == ("failed", stage, "timed_out")
    assert error["exception"] == "DeadlinePassed"


def test_the_deadline_ends_a_stopped_kernel(workshop: Workshop, tmp_path: Path) -> None:
    parameters = RunParameters(records=10, stage_timeout=5)
    run = workshop.work(parameters, with_cell(tmp_path, "generate", STOP_SELF))
    assert_timed_out(run, "generate")
    assert cells_around_fault(run.notebook("generate"))[2] == "timed_out"
    run.check()


def test_the_deadline_ends_the_spark_job_of_a_stopped_kernel(workshop: Workshop, tmp_path: Path) -> None:
    parameters = RunParameters(records=10, stage_timeout=15)
    run = workshop.work(parameters, with_cell(tmp_path, "process", STOP_WITH_A_SPARK_JOB))
    assert_timed_out(run, "process")
    until(lambda: is_idle(workshop), "Spark computes nothing any more", SECONDS_AFTER)
    run.check()


def is_idle(workshop: Workshop) -> bool:
    """Tell whether the Spark server has used less than a fifth of a core for a second."""
    state = read_live_state(workshop.resources.settings.home / "services" / "spark")
    assert state is not None
    assert state.service is not None
    return psutil.Process(state.service).cpu_percent(interval=1.0) < 20


def test_the_deadline_ends_the_dbt_build_of_a_stopped_kernel(workshop: Workshop, tmp_path: Path) -> None:
    notebooks = with_cell(tmp_path, "transform", STOP_WITH_DBT_WAITING)
    parameters = RunParameters(records=10, stage_timeout=30)
    with a_table_locked_before_stage_4(workshop):
        run = workshop.work(parameters, notebooks)
        assert_timed_out(run, "transform")
        run.check()


@contextmanager
def a_table_locked_before_stage_4(workshop: Workshop) -> Iterator[None]:
    """Lock the newest run's processed_items as soon as stage 3 has completed, until the block ends."""
    with ThreadPoolExecutor(1) as pool, closing(psycopg2.connect(workshop.resources.database_url)) as connection:
        locked = pool.submit(lock_when_processed, workshop, connection)
        yield
        locked.result()
        connection.rollback()


def lock_when_processed(workshop: Workshop, connection: Connection) -> None:
    processed = "select pipeline_id from pipeline_stages where name = 'process' and status = 'completed'"
    engine = workshop.resources.engine

    def newest() -> str | None:
        with engine.connect() as looking:
            query = f"{processed} order by finished_at desc limit 1"
            found: str | None = looking.execute(text(query)).scalar_one_or_none()
            return found

    before = newest()
    pipeline_id = until(lambda: (now := newest()) != before and now, "stage 3 completes")
    table = sql.Identifier(schema_of(pipeline_id), "processed_items")
    connection.cursor().execute(sql.SQL("lock table {} in access exclusive mode").format(table))
