"""The page's actions: queue runs for a worker, cancel and resume them, and report why none would be worked."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound, PrefectException
from sqlalchemy import Engine

from workbench.base.errors import LeaseLost, ServiceUnavailable
from workbench.base.settings import Settings
from workbench.prefect.api import DEPLOYMENT, WORK_POOL, contacted
from workbench.prefect.reconciliation import report_end
from workbench.run.fingerprint import Code
from workbench.run.publisher import check_readers
from workbench.run.reuse import with_reusable_clock
from workbench.run.stage_runner import error_record
from workbench.stage.pipeline import StageName
from workbench.stage.run_parameters import RunParameters
from workbench.state import queries
from workbench.state.lease import request_cancel
from workbench.state.next_attempt import check_resumable, reopen_run
from workbench.state.run_queue import WAITING_SECONDS, note_flow_run, request_run
from workbench.state.runs import Origin, OwnedRun
from workbench.state.states import TERMINAL, RunStatus
from workbench.web.dependencies import Actions

log = logging.getLogger(__name__)


def actions_on(settings: Settings, engine: Engine) -> Actions:
    """Return the page's actions on these settings and this database."""
    with_prefect = ThroughPrefect(settings, engine)
    return Actions(with_prefect.trigger, with_prefect.cancel, with_prefect.resume, trouble=with_prefect.trouble)


@dataclass(frozen=True)
class ThroughPrefect:
    """Actions through Prefect's queue. Each method may take seconds and may be called in any thread."""

    settings: Settings
    engine: Engine

    def trigger(self, parameters: RunParameters, idempotency_key: str | None = None) -> str:
        """Record a pending run, commit, put it into Prefect's queue, and return its id; a known key returns its run.

        Raises `ServiceUnavailable` when Prefect cannot take it now, and then nothing is recorded. A run that Prefect
        refuses after all is failed at once, with the reason.
        """
        known = queries.run_of_key(self.engine, idempotency_key)
        if known is not None:
            return known
        with contacted(self.settings) as client:
            deployment = _deployment(client)
            check_readers(self.engine, self.settings.workbench_schema)
            fixed = self._with_clock(parameters)
            run = request_run(self.engine, fixed, Origin("page", idempotency_key))
            if run is not None:
                self._put_into_queue(client, deployment, run)
                return run.pipeline_id
        return str(queries.run_of_key(self.engine, idempotency_key))

    def _with_clock(self, parameters: RunParameters) -> RunParameters:
        """Fix the run's clock: with reuse that of the run whose results can be taken over, else the present moment.

        With reuse, an own input file is read whole for its hash.
        """
        moment = datetime.now(UTC)
        if parameters.reuse:
            parameters = with_reusable_clock(self.engine, Code.as_it_is(self.settings.notebooks), parameters)
        return parameters.started_at(moment)

    def resume(self, pipeline_id: str, from_stage: StageName | None = None) -> None:
        """Open the run's next attempt and put it into Prefect's queue.

        Raises `UnknownRun` and `ResumeRefused`, and `ServiceUnavailable` when Prefect cannot take it now; nothing has
        changed then.
        """
        check_resumable(self.engine, pipeline_id, from_stage)
        with contacted(self.settings) as client:
            deployment = _deployment(client)
            check_readers(self.engine, self.settings.workbench_schema)
            run = reopen_run(self.engine, pipeline_id, WAITING_SECONDS, from_stage)
            self._put_into_queue(client, deployment, run)

    def cancel(self, pipeline_id: str) -> bool:
        """Cancel a run that waits, or ask the owner of a running one to; False when it has ended already."""
        asked = request_cancel(self.engine, pipeline_id)
        row = queries.run_row(self.engine, pipeline_id)
        if asked and RunStatus(row["status"]) in TERMINAL and row["prefect_flow_run_id"]:
            self._report_end(row)
        return asked

    def trouble(self) -> str | None:
        """Return in one sentence why new runs would not be worked; None when they would."""
        try:
            with contacted(self.settings) as client:
                _deployment(client)
                workers = client.read_workers_for_work_pool(WORK_POOL)
        except ServiceUnavailable as error:
            return str(error)
        if any(worker.status == "ONLINE" for worker in workers):
            return None
        return "no worker is there: runs wait for one, and end as crashed if none comes; `workbench worker` starts one"

    def _put_into_queue(self, client: SyncPrefectClient, deployment: DeploymentResponse, run: OwnedRun) -> None:
        """Hand the run's id to Prefect. The key is the attempt's: a repeated request makes no second flow run."""
        try:
            flow_run = client.create_flow_run_from_deployment(
                deployment.id,
                parameters={"pipeline_id": run.pipeline_id},
                name=run.pipeline_id,
                idempotency_key=f"{run.pipeline_id}/{run.attempt}",
            )
        except (httpx.HTTPError, PrefectException) as error:
            log.warning("Prefect did not take the run", extra={"error_type": type(error).__name__})
            self._end_untaken(run, error)
            return
        note_flow_run(self.engine, run.pipeline_id, str(flow_run.id))

    def _end_untaken(self, run: OwnedRun, error: Exception) -> None:
        record = error_record(error)
        try:
            run.end_badly(RunStatus.FAILED, {**record, "message": f"Prefect did not take it: {record['message']}"})
        except LeaseLost:
            log.info("Prefect took the run although its answer was lost", extra={"pipeline_id": run.pipeline_id})

    def _report_end(self, row: Mapping[str, Any]) -> None:
        try:
            with contacted(self.settings) as client:
                report_end(client, row)
        except ServiceUnavailable as error:
            log.warning("Prefect hears of a cancelled run later, from a worker", extra={"reason": str(error)})


def _deployment(client: SyncPrefectClient) -> DeploymentResponse:
    """Return the deployment; raises `ServiceUnavailable` when no worker has made it yet."""
    try:
        return client.read_deployment_by_name(DEPLOYMENT)
    except ObjectNotFound as error:
        raise ServiceUnavailable(
            "Prefect does not know the flow: no worker has ever been here; `workbench up`"
        ) from error
