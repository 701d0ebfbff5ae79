"""The Prefect flow of this project: the stages that pipeline.toml declares, in order.

Each is a Prefect task of its own: retried twice where its error may be transient, ended at the run's `stage_timeout`.
When Prefect is away, `workbench run` calls the same loop without it; the outcome is the same.
"""

from __future__ import annotations

from prefect import flow

from workbench.prefect.api import FLOW
from workbench.prefect.flow_run import RunInFlow, name_of_run, works_a_run


@flow(name=FLOW, flow_run_name=name_of_run, validate_parameters=False, log_prints=False)
@works_a_run
def pipeline(run: RunInFlow) -> None:
    """Generate, ingest, process, transform, export: one notebook each."""
    for stage in run.stages_to_execute():
        run.execute(stage)
