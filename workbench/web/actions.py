"""What the page may do about runs, handed in by the composition file: the page itself starts nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from workbench.stage.pipeline import StageName
from workbench.stage.run_parameters import RunParameters


def no_trouble() -> str | None:
    """Say that nothing keeps new runs from being worked."""
    return None


@dataclass(frozen=True)
class Actions:
    """Each may block for seconds and is called in a thread. An action of None is not offered.

    `trigger(parameters, idempotency_key)`: records a pending run, commits, asks for it to be worked, returns its id; a
        known key returns its run. Raises `ServiceUnavailable`, and then has left nothing behind.
    `cancel(pipeline_id)`: asks the owner to stop; False when the run has ended already.
    `resume(pipeline_id, from_stage)`: has the run worked again, from that stage or from the first that does not verify.
        Raises `IllegalTransition`, `ServiceUnavailable`.
    `open_failure(pipeline_id, stage)`: copies the stage's notebook to step through it, and returns where a running
        JupyterLab shows the copy, None when none runs.
    `trouble()`: says in one sentence what keeps new runs from being worked, None when nothing does.
    """

    trigger: Callable[[RunParameters, str | None], str]
    cancel: Callable[[str], bool]
    resume: Callable[[str, StageName | None], object] | None = None
    open_failure: Callable[[str, StageName], str | None] | None = None
    trouble: Callable[[], str | None] = no_trouble
