"""The flow's deployment in Prefect: made by whichever worker comes first, brought up to date by the others."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.schedules import CronSchedule
from prefect.flows import load_flow_from_entrypoint

from flows.pipeline import pipeline
from workbench.base.errors import InvalidPipeline
from workbench.base.settings import PROJECT
from workbench.prefect.api import DEPLOYMENT, WORK_POOL
from workbench.prefect.deployment import deploy, form
from workbench.prefect.flow_loader import entrypoint, load_flow
from workbench.stage.run_parameters import RunParameters


def test_several_workers_that_come_at_once_make_one_deployment(client: SyncPrefectClient) -> None:
    with ThreadPoolExecutor(max_workers=4) as workers:
        list(workers.map(lambda _: deploy(client, pipeline), range(4)))
    deployment = client.read_deployment_by_name(DEPLOYMENT)
    assert (deployment.work_pool_name, deployment.entrypoint) == (WORK_POOL, entrypoint())
    assert deployment.parameter_openapi_schema == form(pipeline)
    assert client.read_work_pool(WORK_POOL).type == "process"


def test_a_schedule_stays_when_a_worker_comes(client: SyncPrefectClient) -> None:
    deploy(client, pipeline)
    known = client.read_deployment_by_name(DEPLOYMENT)
    client.create_deployment_schedules(known.id, [(CronSchedule(cron="0 6 * * *"), True)])
    deploy(client, pipeline)
    again = client.read_deployment_by_name(DEPLOYMENT)
    assert again.id == known.id
    assert [each.schedule for each in again.schedules] == [CronSchedule(cron="0 6 * * *")]


def test_the_entrypoint_is_where_the_flow_is() -> None:
    path, name = entrypoint().split(":")
    assert (PROJECT / path).samefile(str(inspect.getsourcefile(inspect.unwrap(pipeline.fn))))
    assert name == pipeline.fn.__name__


def test_a_project_without_a_flow_of_its_own_gets_the_engines(tmp_path: Path) -> None:
    flow = load_flow(tmp_path)
    assert load_flow_from_entrypoint(entrypoint(tmp_path)) is flow
    assert (flow.name, form(flow)) == (pipeline.name, form(pipeline))


def test_a_flow_file_that_cannot_be_used_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    file = tmp_path / "flows" / "pipeline.py"
    for source, reason in (("1 / 0", "cannot be imported: ZeroDivisionError"), ("pipeline = print", "no Prefect flow")):
        file.write_text(source)
        with pytest.raises(InvalidPipeline, match=reason) as refusal:
            load_flow(tmp_path)
        assert str(refusal.value).startswith(f"{file}: ")


def test_the_form_has_every_parameter_with_help_bounds_and_default() -> None:
    fields = form(pipeline)["properties"]
    assert list(fields) == [*RunParameters.model_fields, "pipeline_id"]
    for name, field in RunParameters.model_fields.items():
        assert (fields[name]["default"], fields[name]["description"]) == (field.default, field.description)
    assert (fields["records"]["minimum"], fields["records"]["maximum"]) == (1, 100_000_000)
    assert fields["export_format"]["enum"] == ["json", "jsonl", "csv", "parquet"]


@pytest.mark.promise("P22", "the shell's environment, the locale, the user and the path change nothing")
def test_a_package_of_the_same_name_elsewhere_on_the_path_is_not_taken_for_the_projects_flow(tmp_path: Path) -> None:
    for package in ("flows", "pipeline"):
        (tmp_path / f"{package}.py").write_text("raise ImportError('of another project')\n")
    program = "from workbench.prefect.flow_loader import load_flow; print(load_flow().name)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"pipeline\n"), done.stderr.decode()
