"""Old runs removed wholly, and what unknown runs have left, on a real PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from pipeline_lib.artefacts import new_run_id, schema_of
from pipeline_lib.cli.diagnosis import diagnose
from pipeline_lib.execution.cleaning import clean_runs, find_orphans, remove_orphans, undelivered_runs
from pipeline_lib.settings import Settings
from pipeline_lib.tracking.models import Pipeline
from pipeline_lib.tracking.runs import OwnedRun
from pipeline_lib.tracking.states import RunStatus
from tests.integration.test_runs import new_run


@pytest.fixture
def here(tmp_path: Path, database_url: str) -> Settings:
    return Settings(_env_file=None, workbench_home=tmp_path, database_url=database_url)


def ended(engine: Engine, settings: Settings) -> OwnedRun:
    run = new_run(engine)
    run.start()
    run.end_badly(RunStatus.FAILED, {"name": "X", "message": "y"})
    leave(engine, settings, run.pipeline_id)
    return run


def leave(engine: Engine, settings: Settings, pipeline_id: str) -> None:
    """Leave what a run leaves: a folder, a schema, and marts set aside."""
    (settings.run_folder(pipeline_id).path / "01_generate").mkdir(parents=True)
    with engine.begin() as connection:
        connection.execute(text(f"create schema {schema_of(pipeline_id)}"))
        connection.execute(text(f"create schema {schema_of(pipeline_id)}_p7"))


def left(engine: Engine, settings: Settings, pipeline_id: str) -> list[str]:
    query = text("select nspname from pg_namespace where nspname like :name")
    with engine.connect() as connection:
        schemas = connection.execute(query, {"name": f"{schema_of(pipeline_id)}%"}).scalars()
        rows = connection.execute(text("select id from pipelines where id = :id"), {"id": pipeline_id}).scalars()
        folder = settings.run_folder(pipeline_id).path
        return [*schemas, *rows, *([str(folder)] if folder.exists() else [])]


def test_all_but_the_newest_ended_runs_leave_nothing(engine: Engine, here: Settings) -> None:
    oldest, older, newest = (ended(engine, here) for _ in range(3))
    alive = new_run(engine)
    assert clean_runs(engine, here, keep=1) == [older.pipeline_id, oldest.pipeline_id]
    assert left(engine, here, older.pipeline_id) == left(engine, here, oldest.pipeline_id) == []
    assert len(left(engine, here, newest.pipeline_id)) == 4
    assert left(engine, here, alive.pipeline_id) == [alive.pipeline_id]


def test_events_that_wait_for_a_broker_are_not_cleaned_away(engine: Engine, here: Settings) -> None:
    waiting, delivered = ended(engine, here), ended(engine, here)
    with_broker = here.model_copy(update={"amqp_url": SecretStr("amqp://127.0.0.1:1/")})
    with engine.begin() as connection:
        publish = text("update pipeline_events set published_at = now() where pipeline_id = :id")
        connection.execute(publish, {"id": delivered.pipeline_id})
    assert undelivered_runs(engine, with_broker) == {waiting.pipeline_id}
    assert clean_runs(engine, with_broker, keep=0) == [delivered.pipeline_id]
    assert len(left(engine, here, waiting.pipeline_id)) == 4
    assert clean_runs(engine, here, keep=0) == [waiting.pipeline_id]  # nobody waits where no broker is set


def test_orphans_are_found_told_and_removed_and_nothing_else(engine: Engine, here: Settings) -> None:
    known, lost = ended(engine, here), new_run_id()
    leave(engine, here, lost)
    (here.home / "runs" / "notes").mkdir()
    with engine.begin() as connection:
        connection.execute(text("create schema run_of_somebody_else"))
    found = find_orphans(engine, here)
    assert found.schemas == [schema_of(lost), f"{schema_of(lost)}_p7"]
    assert found.folders == [here.run_folder(lost).path]
    told = next(each for each in diagnose(here) if each.component == "orphans")
    assert told.reachable is None
    assert "2 schemas and 1 folders" in told.detail
    assert "clean --orphans" in told.mend
    assert remove_orphans(engine, here) == found
    assert not find_orphans(engine, here)
    assert len(left(engine, here, known.pipeline_id)) == 4
    assert (here.home / "runs" / "notes").exists()


def test_a_run_resumed_while_others_are_cleaned_stays(engine: Engine, here: Settings) -> None:
    run = ended(engine, here)
    with engine.begin() as connection:
        connection.execute(Pipeline.__table__.update().values(status="pending"))
    assert clean_runs(engine, here, keep=0) == []
    assert len(left(engine, here, run.pipeline_id)) == 4
