"""Old runs removed wholly, and what unknown runs have left, on a real PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from tests.conftest import fresh_database
from tests.e2e.conftest import WORKBENCH
from tests.integration.test_runs import new_run
from workbench.base.run_id import new_run_id
from workbench.base.settings import Settings
from workbench.cli.doctor import diagnose
from workbench.data.run_schema import create_schema
from workbench.run.retention import clean_runs, find_orphans, remove_orphans, undelivered_runs
from workbench.stage.artefacts import IDENTITY, RunFolder, schema_of
from workbench.state import database
from workbench.state.database_identity import mark_folder
from workbench.state.migration import migrate
from workbench.state.models import Pipeline
from workbench.state.runs import OwnedRun
from workbench.state.states import RunStatus


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
    folder = RunFolder(settings.home, pipeline_id)
    (folder.path / "01_generate").mkdir(parents=True)
    mark_folder(engine, folder)
    with engine.begin() as connection:
        create_schema(connection, schema_of(pipeline_id))
        create_schema(connection, f"{schema_of(pipeline_id)}_p7")


def rest(folder: Path) -> None:
    """Make it look as if nobody had written there for two hours."""
    long_ago = time.time() - 7200
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (long_ago, long_ago))


def left(engine: Engine, settings: Settings, pipeline_id: str) -> list[str]:
    query = text("select nspname from pg_namespace where nspname like :name")
    with engine.connect() as connection:
        schemas = connection.execute(query, {"name": f"{schema_of(pipeline_id)}%"}).scalars()
        rows = connection.execute(text("select id from pipelines where id = :id"), {"id": pipeline_id}).scalars()
        folder = RunFolder(settings.home, pipeline_id).path
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
    assert find_orphans(engine, here).folders == []  # a process may be at work in it
    rest(RunFolder(here.home, lost).path)
    (here.home / "runs" / "notes").mkdir()
    with engine.begin() as connection:
        connection.execute(text("create schema run_of_somebody_else"))
    found = find_orphans(engine, here)
    assert found.schemas == [schema_of(lost), f"{schema_of(lost)}_p7"]
    assert found.folders == [RunFolder(here.home, lost).path]
    told = next(each for each in diagnose(here) if each.component == "orphans")
    assert told.reachable is None
    assert "2 schemas and 1 folders" in told.detail
    assert "clean --orphans" in told.mend
    remove_orphans(engine, found)
    assert not find_orphans(engine, here)
    assert len(left(engine, here, known.pipeline_id)) == 4
    assert (here.home / "runs" / "notes").exists()


@pytest.mark.promise("P19", "what is not proven ours is never removed or replaced")
def test_with_another_database_no_folder_is_an_orphan(engine: Engine, here: Settings, server_url: str) -> None:
    run = ended(engine, here)
    rest(RunFolder(here.home, run.pipeline_id).path)
    with fresh_database(server_url) as other_url:
        other = database.connect(other_url)
        found = find_orphans(other, here)
        other.dispose()
    assert not found
    assert found.unproven == [str(RunFolder(here.home, run.pipeline_id).path)]


@pytest.mark.promise("P19", "what is not proven ours is never removed or replaced")
def test_a_copy_of_the_database_does_not_own_its_folders(engine: Engine, here: Settings) -> None:
    run, lost = ended(engine, here), new_run_id()
    leave(engine, here, lost)
    rest(RunFolder(here.home, lost).path)
    with engine.begin() as connection:
        connection.execute(text("update workbench_database set place = 'where it was copied from'"))
    assert not find_orphans(engine, here)
    migrate(engine)
    found = find_orphans(engine, here)
    assert not found
    assert len(found.unproven) == 3
    assert clean_runs(engine, here, keep=0) == [run.pipeline_id]
    assert RunFolder(here.home, run.pipeline_id).path.exists()


@pytest.mark.promise("P19", "what is not proven ours is never removed or replaced")
def test_what_bears_no_identity_is_listed_and_stays(engine: Engine, here: Settings) -> None:
    lost = new_run_id()
    leave(engine, here, lost)
    (RunFolder(here.home, lost).path / IDENTITY).unlink()
    rest(RunFolder(here.home, lost).path)
    with engine.begin() as connection:
        connection.execute(text(f"comment on schema {schema_of(lost)} is null"))
    found = find_orphans(engine, here)
    assert (found.schemas, found.folders) == ([f"{schema_of(lost)}_p7"], [])
    assert found.unproven == [schema_of(lost), str(RunFolder(here.home, lost).path)]


@pytest.mark.promise("P19", "what is not proven ours is never removed or replaced")
def test_orphans_go_only_when_somebody_says_so(engine: Engine, here: Settings, database_url: str) -> None:
    lost = new_run_id()
    leave(engine, here, lost)
    rest(RunFolder(here.home, lost).path)
    environment = {**os.environ, "DATABASE_URL": database_url, "WORKBENCH_HOME": str(here.home)}

    def clean(*options: str) -> subprocess.CompletedProcess[str]:
        command = [WORKBENCH, "clean", "--orphans", *options]
        return subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        )

    refused = clean()
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert str(RunFolder(here.home, lost).path) in refused.stdout
    assert len(left(engine, here, lost)) == 3
    assert clean("--yes").returncode == 0
    assert left(engine, here, lost) == []


def test_a_run_resumed_while_others_are_cleaned_stays(engine: Engine, here: Settings) -> None:
    run = ended(engine, here)
    with engine.begin() as connection:
        connection.execute(Pipeline.__table__.update().values(status="pending"))
    assert clean_runs(engine, here, keep=0) == []
    assert len(left(engine, here, run.pipeline_id)) == 4
