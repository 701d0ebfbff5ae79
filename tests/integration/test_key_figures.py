"""Key figures tell what is known of a run, and of the rest that it is not known; seconds are those of all attempts."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Engine, text

from tests.integration.test_runs import manifest_of
from workbench.base.settings import Settings
from workbench.services import statsd
from workbench.stage.artefacts import Counted
from workbench.stage.run_parameters import RunParameters
from workbench.state import migration, queries
from workbench.state.metrics import Metrics
from workbench.state.next_attempt import reopen_run
from workbench.state.run_document import run_document
from workbench.state.runs import Origin, OwnedRun, create_run
from workbench.state.states import RunStatus, StageStatus

FAILURE = {"name": "TooManyRejects", "message": "258 of 1,000 records rejected"}
KNOWN = pytest.mark.promise("P20", "what is not known is shown as not known, and what is known as it is")
TIMES = pytest.mark.promise("P20", "times are those of the work, over all attempts")


@pytest.fixture
def run(engine: Engine) -> OwnedRun:
    return create_run(engine, RunParameters(), Origin("cli"), 30)


def records_of(run: OwnedRun) -> tuple[int | None, ...]:
    """Return what the key figures say was read, processed and rejected."""
    figures = queries.key_figures_of(run.engine, run.pipeline_id)
    return figures["records_read"], figures["records_processed"], figures["records_rejected"]


def lasted(run: OwnedRun, seconds: float) -> None:
    """Let the run's latest attempt have taken so long."""
    with run.engine.begin() as connection:
        connection.execute(
            text("update pipelines set started_at = finished_at - make_interval(secs => :seconds) where id = :id"),
            {"seconds": seconds, "id": run.pipeline_id},
        )


def seconds_of(run: OwnedRun, settings: Settings) -> tuple[float | None, float | None]:
    """Return the run's seconds as the view and as the document tell them."""
    told = queries.key_figures_of(run.engine, run.pipeline_id)["total_seconds"]
    return float(told) if told is not None else None, run_document(run.engine, settings, run.pipeline_id)["seconds"]


@KNOWN
def test_of_a_run_that_waits_nothing_is_known_and_nothing_is_nought(run: OwnedRun) -> None:
    assert records_of(run) == (None, None, None)


@KNOWN
def test_a_run_that_fails_over_its_rejects_tells_how_many(run: OwnedRun, settings: Settings) -> None:
    run.start()
    run.stage_started("generate")
    run.stage_completed("generate", manifest_of(run, "generate", generated=1_000))
    run.stage_started("ingest")
    run.stage_ended_badly("ingest", StageStatus.FAILED, FAILURE, {"read": 1_000, "rejected": 258})
    run.end_badly(RunStatus.FAILED, FAILURE)
    assert records_of(run) == (1_000, None, 258)
    document = run_document(run.engine, settings, run.pipeline_id)
    assert (document["records"]["rejected"], document["records"]["ingested"]) == (258, None)
    assert document["stages"][1]["counts"] == {"read": 1_000, "rejected": 258}


@KNOWN
def test_no_rejects_are_known_to_be_none_and_a_new_attempt_knows_none_yet(run: OwnedRun) -> None:
    run.start()
    run.stage_started("ingest")
    run.stage_completed("ingest", manifest_of(run, "ingest", read=5, ingested=5, rejected=0))
    assert records_of(run) == (5, None, 0)
    run.stage_started("ingest")
    assert records_of(run) == (None, None, None)
    assert queries.stage_rows(run.engine, run.pipeline_id)[1]["manifest"] is None


@KNOWN
def test_a_run_that_waits_for_its_next_attempt_counts_only_what_is_kept(run: OwnedRun) -> None:
    run.start()
    for stage, counts in (("ingest", {"read": 5, "rejected": 1}), ("process", {"processed": 4})):
        run.stage_started(stage)
        run.stage_completed(stage, manifest_of(run, stage, **counts))
    run.end_badly(RunStatus.FAILED, FAILURE)
    reopen_run(run.engine, run.pipeline_id, 30, "process")
    assert records_of(run) == (5, None, 1)


@KNOWN
def test_rejects_of_a_stage_that_fails_over_them_are_sent_as_metrics(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        agent.bind(("127.0.0.1", 0))
        agent.settimeout(10)
        settings = Settings(_env_file=None, workbench_home=tmp_path, dd_dogstatsd_port=agent.getsockname()[1])
        with statsd.client(settings) as client:
            counted = Counted(counts={}, details={"rejects_by_reason": {"malformed": 258}})
            Metrics(client).stage_failed("ingest", "TooManyRejects", counted)
        told = [agent.recv(4096).decode() for _ in range(2)]
    assert told[1].startswith("pipeline.records_rejected:258|c|#reason:malformed")


@TIMES
def test_the_seconds_of_a_resumed_run_are_those_of_all_its_attempts(run: OwnedRun, settings: Settings) -> None:
    run.start()
    run.end_badly(RunStatus.FAILED, FAILURE)
    lasted(run, 13)
    assert seconds_of(run, settings) == (13.0, 13.0)
    again = reopen_run(run.engine, run.pipeline_id, 30)
    assert seconds_of(run, settings) == (None, None)
    again.start()
    again.complete(None)
    lasted(run, 19.5)
    assert seconds_of(run, settings) == (32.5, 32.5)


@TIMES
def test_a_run_that_never_began_took_no_time_that_is_known(run: OwnedRun, settings: Settings) -> None:
    run.end_badly(RunStatus.CANCELLED, FAILURE)
    assert seconds_of(run, settings) == (None, None)


@TIMES
def test_attempts_of_the_past_get_their_seconds_from_their_events(run: OwnedRun, settings: Settings) -> None:
    run.start()
    run.end_badly(RunStatus.FAILED, FAILURE)
    again = reopen_run(run.engine, run.pipeline_id, 30)
    again.start()
    again.complete(None)
    with run.engine.begin() as connection:
        earlier = text(
            "update pipeline_events set created_at = created_at - interval '7 s'"
            " where pipeline_id = :id and type = 'run.started' and sequence = 1"
        )
        connection.execute(earlier, {"id": run.pipeline_id})
        command.downgrade(migration.configuration(connection), "0003")
    migration.migrate(run.engine)
    told, shown = seconds_of(run, settings)
    assert told == pytest.approx(7, abs=0.5) == shown
