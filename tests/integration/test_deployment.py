"""The flow's deployment in Prefect: made by whichever worker comes first, brought up to date by the others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.schedules import CronSchedule

from flows.pipeline import pipeline
from workbench.base.settings import PROJECT
from workbench.prefect.api import DEPLOYMENT, WORK_POOL
from workbench.prefect.deployment import ENTRYPOINT, deploy, form
from workbench.stage.run_parameters import RunParameters


def test_several_workers_that_come_at_once_make_one_deployment(client: SyncPrefectClient) -> None:
    with ThreadPoolExecutor(max_workers=4) as workers:
        list(workers.map(lambda _: deploy(client, pipeline), range(4)))
    deployment = client.read_deployment_by_name(DEPLOYMENT)
    assert (deployment.work_pool_name, deployment.entrypoint) == (WORK_POOL, ENTRYPOINT)
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
    path, name = ENTRYPOINT.split(":")
    assert (PROJECT / path).samefile(str(pipeline.fn.__code__.co_filename))
    assert name == pipeline.fn.__name__


def test_the_form_has_every_parameter_with_help_bounds_and_default() -> None:
    fields = form(pipeline)["properties"]
    assert list(fields) == [*RunParameters.model_fields, "pipeline_id"]
    for name, field in RunParameters.model_fields.items():
        assert (fields[name]["default"], fields[name]["description"]) == (field.default, field.description)
    assert (fields["records"]["minimum"], fields["records"]["maximum"]) == (1, 100_000_000)
    assert fields["export_format"]["enum"] == ["json", "jsonl", "csv", "parquet"]
