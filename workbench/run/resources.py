"""The resources of a run: database, Spark, kernels, metrics, and the relay of its events.

What starts slowly is started at once, in parallel, and waited for where it is first needed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from sqlalchemy import Engine

from workbench.base.settings import DBT_PROJECT, Settings
from workbench.kernels.kernel_pool import LATER_MODULES, warm_kernels
from workbench.kernels.kernel_provisioner import Kernels
from workbench.kernels.spark_sessions import SparkAccess, spark_access
from workbench.run.database_sessions import database_environment, end_backends
from workbench.run.fingerprint import Code
from workbench.services import broker, postgres, statsd
from workbench.services.postgres_requirements import check_needs
from workbench.stage.pipeline import PIPELINE, StageName, stage_named
from workbench.stage.run_parameters import RunParameters
from workbench.state import database
from workbench.state.metrics import Metrics
from workbench.state.relay import relaying


@dataclass(frozen=True)
class Resources:
    """Everything a run may use. Spark starts in the background: `environment` waits for it where a stage needs it."""

    settings: Settings
    engine: Engine
    database_url: str
    spark: SparkAccess
    kernels: Kernels
    metrics: Metrics
    code: Code

    def environment(
        self, application: str, stage: StageName, parameters: RunParameters, stop: threading.Event | None = None
    ) -> dict[str, str]:
        """Return the environment of a stage's kernel: addresses and credentials.

        `application` is the name of its sessions in the database. The wait for Spark ends with `stop`
        or the stage's time limit.
        """
        variables = {
            **self.settings.workbench_kernel_env,
            "WORKBENCH_HOME": str(self.settings.home),
            "WORKBENCH_HEADLESS": "1",
            **database_environment(self.database_url, application),
        }
        if stage_named(stage).needs("spark", parameters):
            variables["SPARK_REMOTE"] = self.spark.new_session(stop, parameters.stage_timeout)
        return variables

    def end_remains(self, environment: Mapping[str, str]) -> None:
        """End the database and Spark sessions that a kernel of this environment has left."""
        end_backends(self.engine, environment["PGAPPNAME"])
        if "SPARK_REMOTE" in environment:
            self.spark.end_session(environment["SPARK_REMOTE"])


@contextmanager
def acquired(settings: Settings) -> Iterator[Resources]:
    """Reach or start all services for the block; started ones stop with their last user.

    Raises `ServiceUnavailable` for the database at once; for Spark where a stage first waits for it.
    """
    code = Code.as_it_is(settings.notebooks)  # before any kernel imports it
    with ExitStack() as stack:
        spark = stack.enter_context(spark_access(settings, at_once=PIPELINE.uses("spark")))
        kernels = stack.enter_context(warm_kernels(later=LATER_MODULES if DBT_PROJECT.is_dir() else ()))
        database_url = stack.enter_context(postgres.held(settings))
        check_needs(database_url)
        engine = database.connect(database_url)
        stack.callback(engine.dispose)
        stack.enter_context(relaying(engine, broker.parameters(settings)))
        client = stack.enter_context(statsd.client(settings))
        yield Resources(settings, engine, database_url, spark, kernels, Metrics(client), code)
