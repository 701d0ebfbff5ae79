"""P23: a run that a wrong clock has dated into the future hides no newer one, wherever one of several is chosen."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tests.faults.publishing import execute
from tests.integration.test_runs import manifest_of
from workbench.stage.pipeline import StageName
from workbench.stage.run_parameters import RunParameters
from workbench.state import queries
from workbench.state.interactive_stages import begin_stage, finish_stage
from workbench.state.run_estimate import past_runs
from workbench.state.runs import Origin, OwnedRun, create_run
from workbench.state.states import RunStatus

pytestmark = pytest.mark.promise("P23", "pauses and clock jumps kill no living run and hide no result")
FUTURE = (
    "update pipelines set created_at = created_at + interval '20 years'",
    "update pipeline_stages set finished_at = finished_at + interval '20 years'",
)


def by_hand(engine: Engine, derived_from: str | None = None) -> OwnedRun:
    return create_run(engine, RunParameters(), Origin("notebook", derived_from=derived_from), lease_seconds=None)


def done(run: OwnedRun, stage: StageName) -> None:
    finish_stage(run, begin_stage(run, stage), manifest_of(run, stage, generated=7), None)


def ready(engine: Engine, before: StageName | None) -> list[str]:
    return [row["id"] for row in queries.runs_ready_for(engine, before)]


def test_notebooks_go_on_with_the_run_that_was_worked_on_last(engine: Engine) -> None:
    first, second = by_hand(engine), by_hand(engine)
    done(second, "generate")
    done(first, "generate")
    execute(engine, *FUTURE)
    assert ready(engine, "generate") == [first.pipeline_id, second.pipeline_id]
    third = by_hand(engine)
    done(third, "generate")
    assert ready(engine, "generate") == [third.pipeline_id, first.pipeline_id, second.pipeline_id]
    assert ready(engine, None) == [third.pipeline_id, second.pipeline_id, first.pipeline_id]
    done(first, "generate")
    assert ready(engine, "generate")[0] == first.pipeline_id


def test_the_newest_open_copy_is_gone_on_with(engine: Engine) -> None:
    origin = by_hand(engine).pipeline_id
    by_hand(engine, derived_from=origin)
    execute(engine, *FUTURE)
    newest = by_hand(engine, derived_from=origin).pipeline_id
    assert queries.open_copy(engine, origin, None) == newest


def test_estimate_and_success_rate_follow_the_order_of_the_runs(engine: Engine) -> None:
    failed = create_run(engine, RunParameters(), Origin("cli"), 60)
    failed.start()
    failed.end_badly(RunStatus.FAILED, {"name": "X", "message": "y"})
    for records in (1_000, 5_000):
        run = create_run(engine, RunParameters(), Origin("cli"), 60)
        run.start()
        run.stage_started("generate")
        run.stage_completed("generate", manifest_of(run, "generate", generated=records))
        run.complete("out.json")
        if records == 1_000:
            execute(engine, *FUTURE)
    assert [run.records for run in past_runs(engine, limit=1)] == [5_000]
    rates = [round(float(row["success_rate"]), 3) for row in queries.key_figures(engine)]
    assert rates == [0.667, 0.5, 0.0]
