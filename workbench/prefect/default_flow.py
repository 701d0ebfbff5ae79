"""The flow of a project without a flows/pipeline.py: the stages of its pipeline.toml, in order, one task each."""

from __future__ import annotations

from prefect import flow

from workbench.prefect.api import FLOW
from workbench.prefect.flow_run import RunInFlow, name_of_run, works_a_run


@flow(name=FLOW, flow_run_name=name_of_run, validate_parameters=False, log_prints=False)
@works_a_run
def pipeline(run: RunInFlow) -> None:
    """Run the stages of pipeline.toml in order: one notebook each."""
    for stage in run.stages_to_execute():
        run.execute(stage)
