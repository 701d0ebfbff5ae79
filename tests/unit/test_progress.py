"""How far a stage is, in the unit that it counts, wherever it is shown."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from workbench.base.settings import Settings
from workbench.cli.live_table import Follower
from workbench.data.dbt_runner import _NodeCounter
from workbench.jupyter.panel_view import run_html
from workbench.state.run_snapshot import RunSnapshot
from workbench.web.rendering import templates
from workbench.web.run_view import StageView

pytestmark = pytest.mark.promise("P20", "progress names what it counts: records, or the models and tests of dbt")
BUILDING = {"cell": 3, "cells": 7, "records": None, "done": 12, "total": 41, "unit": "models and tests"}
LOADING = {"cell": 3, "cells": 7, "records": 400, "done": 400, "total": 1_000, "unit": "records"}


def stage(progress: dict[str, Any]) -> dict[str, Any]:
    row = {"name": "transform", "status": "running", "attempts": 1, "seconds": None, "counts": {}, "error": None}
    return row | {"progress": progress, "interactive": False, "reason": None, "conservation": []}


def document(progress: dict[str, Any]) -> dict[str, Any]:
    known = {"pipeline_id": "20261123t083012_a1b2c3", "status": "running", "trigger": "cli", "derived_from": None}
    return known | {"seconds": None, "error": None, "stages": [stage(progress)]}


def snapshot(progress: dict[str, Any]) -> RunSnapshot:
    now = datetime(2026, 11, 23, 8, 30, 12, tzinfo=UTC)
    row = {"status": "running", "started_at": now, "seconds_before": 0}
    return RunSnapshot(row, [stage(progress) | {"started_at": now}], document(progress), now)


def test_dbt_counts_its_models_and_tests() -> None:
    told: list[tuple[Any, ...]] = []
    counter = _NodeCounter(lambda *progress: told.append(progress))
    counter(SimpleNamespace(info=SimpleNamespace(name="LogStartLine"), data=SimpleNamespace(total=1)))
    counter(SimpleNamespace(info=SimpleNamespace(name="NodeFinished")))
    assert told == [(1, 1, "models and tests")]


@pytest.mark.parametrize(("progress", "shown"), [(BUILDING, "12 models and tests"), (LOADING, "400")])
def test_a_terminal_and_the_panel_name_the_unit(settings: Settings, progress: dict[str, Any], shown: str) -> None:
    follower = Follower(settings, quiet=False)
    follower.run = snapshot(progress)
    console = Console(width=200)
    with console.capture() as captured:
        console.print(follower._picture())
    assert f" {shown} " in captured.get()
    assert f">{shown}</td>" in run_html(snapshot(progress))


@pytest.mark.parametrize(
    ("progress", "shown"), [(BUILDING, "12 of 41 models and tests"), (LOADING, "400 of 1,000 records")]
)
def test_the_page_names_the_unit(progress: dict[str, Any], shown: str) -> None:
    files = SimpleNamespace(artefacts=(), reports=[], notebooks=[])
    view = StageView(4, "Transform", stage(progress), [], files, 1.0)  # type: ignore[arg-type]
    run = SimpleNamespace(stages=[view], document=document(progress))
    page = templates().get_template("_run_stages.html").render(run=run, offers=SimpleNamespace(open_failure=None))
    assert shown in page
    assert view.share == pytest.approx(progress["done"] / progress["total"])
