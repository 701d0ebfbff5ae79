"""A Prefect worker for pipelines: each runs in a process of its own, which ends with the worker."""

from __future__ import annotations

import abc
import asyncio
import logging
import os
import shlex
import shutil
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx
import psutil
from prefect import Flow, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker

from workbench.base.settings import PROJECT, Settings
from workbench.prefect.api import WORK_POOL
from workbench.prefect.deployment import deploy
from workbench.prefect.reconciliation import mirroring
from workbench.services import parent_death, postgres, processes
from workbench.services.readiness import report_ready
from workbench.state import database

log = logging.getLogger(__name__)
_GRACE_SECONDS = 20.0
_LOOK_SECONDS = 0.1


class Job(ProcessJobConfiguration):
    """How a flow run's process is started. It depends on the machine and is not stored in Prefect."""

    def prepare_for_flow_run(self, *args: Any, **kwargs: Any) -> None:
        # Killed with its worker, the run counts as crashed; after a SIGTERM it would count as cancelled.
        self.command = shlex.join(parent_death.command(os.getpid(), "prefect.engine", with_signal=signal.SIGKILL))
        self.working_dir = PROJECT
        super().prepare_for_flow_run(*args, **kwargs)


class PatientWorker(ProcessWorker, abc.ABC):
    """Prefect's process worker, but it waits without limit for a Prefect that is away, and its runs continue.

    Prefect's own gives up after a minute or two and ends its runs. (`ABC` keeps this class out of Prefect's registry of
    worker types, where `process` is taken.)
    """

    job_configuration = Job
    ending = False

    async def __aexit__(self, *exc_info: Any) -> None:
        try:
            await super().__aexit__(*exc_info)
        finally:  # Prefect does so only when it ends by itself
            shutil.rmtree(self._runner._tmp_dir, ignore_errors=True)

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        if self.ending or not self._has_successfully_synced:
            return []
        report_ready()
        found: list[FlowRun] | None = await _patiently(super().get_and_submit_flow_runs)
        return found or []

    async def sync_with_backend(self) -> None:
        await _patiently(super().sync_with_backend)


async def _patiently(call: Callable[[], Awaitable[Any]]) -> Any:
    try:
        return await call()
    except httpx.HTTPError as error:
        log.warning("the worker waits for Prefect", extra={"error_type": type(error).__name__})
        return None


def work(settings: Settings, limit: int, flow: Flow[..., Any]) -> None:
    """Work the flow's runs in Prefect's queue, up to `limit` at once, until a signal; then cancel those at work."""
    os.chdir(PROJECT)  # Prefect copies the flow's code into a working directory that is another
    with get_client(sync_client=True) as client:
        deploy(client, flow)
    with postgres.held(settings) as url:
        engine = database.connect(url)
        name = f"{socket.gethostname()}-{os.getpid()}"
        with mirroring(engine, settings):
            asyncio.run(_until_signal(PatientWorker(work_pool_name=WORK_POOL, name=name, limit=limit)))
        engine.dispose()


async def _until_signal(worker: PatientWorker) -> None:
    loop, signalled = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled.set)
    working = asyncio.create_task(worker.start(printer=log.info))
    waiting = asyncio.create_task(signalled.wait())
    await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
    worker.ending = True
    await _end_pipelines()
    waiting.cancel()
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working


async def _end_pipelines() -> None:
    """Send SIGTERM to the process of each run and wait; Prefect or the system kills those that do not end."""
    asked: set[int] = set()
    deadline = asyncio.get_running_loop().time() + _GRACE_SECONDS
    while (left := _children()) and asyncio.get_running_loop().time() < deadline:
        for pid in left - asked:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        asked |= left
        await asyncio.sleep(_LOOK_SECONDS)


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children() if processes.is_alive(child.pid)}
