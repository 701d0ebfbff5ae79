"""Commands act on the run that was named: only where none is named may they take the newest."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from workbench.base.errors import UnknownRun
from workbench.cli.commands_manage import cancel
from workbench.cli.commands_read import chosen_run
from workbench.stage.run_parameters import RunParameters
from workbench.state import queries
from workbench.state.runs import Origin, OwnedRun, create_run


@pytest.fixture
def run(engine: Engine) -> OwnedRun:
    run = create_run(engine, RunParameters(records=1), Origin("cli"), 30)
    run.start()
    return run


def test_an_empty_id_is_refused_and_only_an_absent_one_means_the_newest(engine: Engine, run: OwnedRun) -> None:
    assert chosen_run(engine, None) == run.pipeline_id
    for wrong in ("", " ", "newest"):
        with pytest.raises(UnknownRun, match="not a run id") as refusal:
            chosen_run(engine, wrong)
        assert refusal.value.exit_code == 2


def test_cancel_with_an_empty_id_cancels_nobodys_run_and_else_says_whose(
    engine: Engine, run: OwnedRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(UnknownRun, match="not a run id"):
        cancel("")
    assert queries.run_row(engine, run.pipeline_id)["cancel_requested_at"] is None
    cancel(run.pipeline_id)
    assert capsys.readouterr().out == f"run {run.pipeline_id}: asked to stop\n"
    assert queries.run_row(engine, run.pipeline_id)["cancel_requested_at"] is not None
