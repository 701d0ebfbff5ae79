"""Runs in Prefect's queue, as page, Prefect's own pages and workers see them."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, StateType
from sqlalchemy import Engine

from tests.e2e.conftest import WORKBENCH
from workbench.base.settings import PROJECT, Settings
from workbench.prefect.actions import ThroughPrefect
from workbench.prefect.api import DEPLOYMENT, WORK_POOL, contacted
from workbench.services.readiness import VARIABLE, is_ready
from workbench.state import queries
from workbench.state.run_document import run_document

PATIENCE = 240.0
ENDS = {"completed", "failed", "cancelled", "crashed"}


@dataclass(frozen=True)
class Queue:
    """One database, one Prefect, the workers on them, and what the page may do with them.

    `held` ends the workers; `folder` takes their logs.
    """

    settings: Settings
    engine: Engine
    folder: Path
    held: ExitStack
    workers: list[psutil.Process] = field(default_factory=list)

    def hire(self, count: int) -> None:
        """Start so many workers side by side; they work as long as `held` lasts."""
        hired = [worker(self.settings, self.folder) for _ in range(count)]
        with ThreadPoolExecutor(count) as starting:
            processes = list(starting.map(lambda each: each.__enter__(), hired))
        for each in hired:
            self.held.push(each)
        self.workers.extend(psutil.Process(process.pid) for process in processes)

    def worker_of(self, pipeline_id: str) -> psutil.Process:
        """Return the worker that works this run."""
        name = self.flow_run(pipeline_id).labels["prefect.worker.name"]
        return next(each for each in self.workers if str(name).endswith(f"-{each.pid}"))

    def await_idle(self) -> None:
        """Wait until no worker works any run."""
        until(lambda: not any(each.children() for each in self.workers), "the workers have nothing to do")

    @property
    def actions(self) -> ThroughPrefect:
        return ThroughPrefect(self.settings, self.engine)

    def status(self, pipeline_id: str) -> str:
        return str(queries.run_row(self.engine, pipeline_id)["status"])

    def document(self, pipeline_id: str) -> dict[str, Any]:
        return run_document(self.engine, self.settings, pipeline_id)

    def exported(self, pipeline_id: str) -> dict[str, Any]:
        """Return the run's output file, read."""
        document: dict[str, Any] = json.loads(Path(self.document(pipeline_id)["output_file"]).read_bytes())
        return document

    def flow_run(self, pipeline_id: str) -> FlowRun:
        """Return Prefect's view of the run."""
        with contacted(self.settings) as client:
            return client.read_flow_run(UUID(queries.run_row(self.engine, pipeline_id)["prefect_flow_run_id"]))

    def state_in_prefect(self, pipeline_id: str) -> StateType | None:
        state = self.flow_run(pipeline_id).state
        return state.type if state else None

    def tasks_in_prefect(self, pipeline_id: str) -> dict[str, str]:
        """Return the names of the run's tasks, in their order, and what Prefect calls their states."""
        its = FlowRunFilter(id=FlowRunFilterId(any_=[self.flow_run(pipeline_id).id]))
        with contacted(self.settings) as client:
            found = client.read_task_runs(flow_run_filter=its)
        return {run.name: run.state_name or "" for run in sorted(found, key=lambda run: run.name)}

    def start_from_prefect(self, **parameters: Any) -> FlowRun:
        """Do what `Quick run` on Prefect's own page does."""
        with contacted(self.settings) as client:
            deployment = client.read_deployment_by_name(DEPLOYMENT)
            return client.create_flow_run_from_deployment(deployment.id, parameters=parameters)

    @contextmanager
    def held_back(self) -> Iterator[SyncPrefectClient]:
        """Let no worker take anything from the queue in this block."""
        with contacted(self.settings) as client:
            client.update_work_pool(WORK_POOL, WorkPoolUpdate(is_paused=True))
            try:
                yield client
            finally:
                client.update_work_pool(WORK_POOL, WorkPoolUpdate(is_paused=False))


def until(reached: Callable[[], Any], what: str, seconds: float = PATIENCE) -> None:
    """Wait until something is so; fails the test, saying what, when it takes too long."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, f"not in {seconds:g} s: {what}"
        time.sleep(0.2)


@contextmanager
def worker(settings: Settings, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that works one pipeline at a time, ready for it."""
    name = secrets.token_hex(4)
    ready = folder / f"{name}.ready"
    environment = {
        "WORKBENCH_HOME": str(settings.home),
        "WORKBENCH_NOTEBOOKS": str(settings.workbench_notebooks),
    }
    if settings.database_url is not None:
        environment["DATABASE_URL"] = settings.database_url.get_secret_value()
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [WORKBENCH, "worker", "--limit", "1"],
            env=os.environ | environment | {VARIABLE: str(ready)},
            cwd=PROJECT,
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: is_ready(ready, process.pid) or process.poll() is not None, "the worker is ready", 120)
        assert process.poll() is None, Path(log.name).read_text()
        yield process
    finally:
        process.terminate()
        process.wait(40)
