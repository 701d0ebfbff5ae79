"""Whoever follows a run in a terminal hears of its troubles once, from whoever works it."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import Engine, text

from tests.integration.service_watch import wait_until
from workbench.base.settings import Settings
from workbench.cli.live_table import Follower
from workbench.stage.run_parameters import RunParameters
from workbench.state.runs import Origin, create_run


def test_a_database_that_fails_ends_the_looking_without_a_word_and_keeps_what_was_seen(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline_id = create_run(engine, RunParameters(records=1), Origin("cli"), 30).pipeline_id
    follower = Follower(Settings(_env_file=None), quiet=False)
    with follower.following(engine, pipeline_id):
        assert wait_until(lambda: follower.document is not None, 10)
        with engine.begin() as connection:
            connection.execute(text("alter table pipelines rename to elsewhere"))
        assert wait_until(lambda: "follower" not in {each.name for each in threading.enumerate()}, 10)
    assert follower.document is not None
    assert follower.document["pipeline_id"] == pipeline_id
    assert capsys.readouterr().err == ""
