"""The flow as Prefect's deployment `pipeline/workbench`, made or brought up to date through Prefect's API.

Nothing of a machine is stored in Prefect: no path, no environment, no secret. Workers know these (see worker.py).
Schedules and other settings that people made on the deployment stay as they are.
"""

from __future__ import annotations

from typing import Any

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.workers.process import ProcessWorker

from workbench.prefect.api import DEPLOYMENT, WORK_POOL
from workbench.prefect.flow_loader import entrypoint
from workbench.stage.run_parameters import RunParameters

_PIPELINE_ID = "a run that is recorded already; leave it empty to start a new one"


def deploy(client: SyncPrefectClient, flow: Flow[..., Any]) -> None:
    """Create or update the work pool and the flow's deployment; safe to repeat, also by several workers at once."""
    _make_work_pool(client)
    name = DEPLOYMENT.partition("/")[2]
    settings: dict[str, Any] = {
        "entrypoint": entrypoint(),
        "work_pool_name": WORK_POOL,
        "description": flow.description,
        "parameter_openapi_schema": form(flow),
        "enforce_parameter_schema": True,
    }
    try:
        known = client.read_deployment_by_name(DEPLOYMENT)
    except ObjectNotFound:
        client.create_deployment(client.create_flow_from_name(flow.name), name, **settings)
    else:
        client.update_deployment(known.id, DeploymentUpdate(**settings))


def form(flow: Flow[..., Any], model: type[RunParameters] = RunParameters) -> dict[str, Any]:
    """Return the JSON schema of a flow's parameters, with the descriptions that Prefect reads from nowhere else."""
    schema: dict[str, Any] = flow.parameters.model_dump(exclude_unset=True)
    fields = schema["properties"]
    for name, field in model.model_fields.items():
        fields[name]["description"] = field.description
    fields["pipeline_id"]["description"] = _PIPELINE_ID
    return schema


def _make_work_pool(client: SyncPrefectClient) -> None:
    template = ProcessWorker.get_default_base_job_template()
    pool = WorkPoolCreate(name=WORK_POOL, type=ProcessWorker.type, base_job_template=template)
    try:
        client.create_work_pool(pool)
    except ObjectAlreadyExists:
        return
