"""What a run uses while it lasts: database, Spark, kernels, metrics, and the relay of its events.

Whatever takes long to start is started at once, side by side, and waited for only where it is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from sqlalchemy import Engine

from pipeline_lib.execution.kernels import Kernels
from pipeline_lib.execution.warm import warm_kernels
from pipeline_lib.parameters import RunParameters, StageName
from pipeline_lib.services import broker, postgres, spark, statsd
from pipeline_lib.settings import Settings
from pipeline_lib.tracking import database
from pipeline_lib.tracking.metrics import Metrics
from pipeline_lib.tracking.relay import relaying


@dataclass(frozen=True)
class Resources:
    """Everything a run may use. `spark_url` is a promise: `environment` waits for it where a stage needs Spark."""

    settings: Settings
    engine: Engine
    database_url: str
    spark_url: Future[str]
    kernels: Kernels
    metrics: Metrics

    def environment(self, stage: StageName, parameters: RunParameters) -> dict[str, str]:
        """Return the environment of a stage's kernel: where things are, and the secrets that open them."""
        variables = {
            "DATABASE_URL": self.database_url,
            "WORKBENCH_HOME": str(self.settings.home),
            "WORKBENCH_HEADLESS": "1",
        }
        distributed = stage is StageName.GENERATE and parameters.records > parameters.distributed_threshold
        if distributed or stage is StageName.PROCESS:
            variables["SPARK_REMOTE"] = self.spark_url.result()
        return variables


@contextmanager
def acquired(settings: Settings) -> Iterator[Resources]:
    """Reach or start everything for the block; what was started stops with its last user.

    Raises `ServiceUnavailable` for the database at once; for Spark where a stage first waits for it.
    """
    with ExitStack() as stack:
        starter = stack.enter_context(ThreadPoolExecutor(max_workers=1, thread_name_prefix="start"))
        held = stack.enter_context(ExitStack())
        spark_url = starter.submit(lambda: held.enter_context(spark.held(settings)))
        kernels = stack.enter_context(warm_kernels())
        database_url = stack.enter_context(postgres.held(settings))
        engine = database.connect(database_url)
        stack.callback(engine.dispose)
        stack.enter_context(relaying(engine, broker.parameters(settings)))
        client = stack.enter_context(statsd.client(settings))
        stack.callback(_wait_quietly, spark_url)
        yield Resources(settings, engine, database_url, spark_url, kernels, Metrics(client))


def _wait_quietly(starting: Future[str]) -> None:
    """Let a start that nobody waited for come to its end, so that what it started is stopped, too."""
    starting.cancel()
    if not starting.cancelled():
        starting.exception()
