"""Works a run without Prefect, which only mirrors it: when Prefect is away, the run's outcome is the same (P10)."""

from __future__ import annotations

import logging
from collections.abc import Callable

from workbench.base.errors import WorkbenchError
from workbench.prefect.cancellation import cancelled_by_signals
from workbench.run.lifecycle import claimed, execute_with_retries, stages_to_execute, worked_to_its_end
from workbench.run.resources import Resources
from workbench.state import queries
from workbench.state.lease import Watch
from workbench.state.states import RunStatus

log = logging.getLogger(__name__)


def work_alone(resources: Resources, pipeline_id: str, watch: Watch) -> None:
    """Work a pending run to its end in this process; raises what ended it."""
    with cancelled_by_signals(watch), claimed(resources, pipeline_id, watch) as work:
        work.run.start()
        with worked_to_its_end(work):
            for stage in stages_to_execute(work):
                execute_with_retries(work, stage)


def with_or_without_prefect(
    work_here: Callable[[Resources, str, Watch], None], resources: Resources, pipeline_id: str, watch: Watch
) -> None:
    """Work a pending run by Prefect's flow `work_here`; what goes wrong in Prefect alone is no end of the run.

    Raises what ended the run.
    """
    try:
        work_here(resources, pipeline_id, watch)
    except WorkbenchError:
        raise
    except Exception as error:
        status = queries.run_row(resources.engine, pipeline_id)["status"]
        if status not in (RunStatus.PENDING, RunStatus.COMPLETED):
            raise
        log.warning("Prefect is away", extra={"error_type": type(error).__name__, "run_status": status})
        if status == RunStatus.PENDING:
            work_alone(resources, pipeline_id, watch)
