"""The ends of our runs as Prefect's states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect.client.schemas.objects import State, StateType
from prefect.states import Cancelled, Completed, Crashed, Failed

from workbench.state.states import RunStatus

TYPES: Mapping[RunStatus, StateType] = {
    RunStatus.COMPLETED: StateType.COMPLETED,
    RunStatus.FAILED: StateType.FAILED,
    RunStatus.CANCELLED: StateType.CANCELLED,
    RunStatus.CRASHED: StateType.CRASHED,
}
_STATES = {
    StateType.COMPLETED: Completed,
    StateType.FAILED: Failed,
    StateType.CANCELLED: Cancelled,
    StateType.CRASHED: Crashed,
}


def state_of(row: Mapping[str, Any]) -> State[Any] | None:
    """Return the end of a run (a row of `pipelines`) as Prefect's state with our reason, None before its end."""
    kind = TYPES.get(RunStatus(row["status"]))
    if kind is None:
        return None
    state: State[Any] = _STATES[kind](message=(row["error"] or {}).get("message"))
    return state
