"""The supervisor behind `workbench up`: starts all components, restarts those that die, stops them together.

    python -m workbench.services.supervisor

It holds a lock as long as it lives. However it ends, its children are told by the system, and the embedded services
stop once nobody holds them any more.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

from workbench.base import logs
from workbench.base.errors import ServiceUnavailable, WorkbenchError
from workbench.base.settings import Settings, load_settings
from workbench.services import file_locks
from workbench.services.components import Child, Component, HeldService, children_of, services_of
from workbench.services.daemon import (
    ENDING,
    FAILED,
    LOCK,
    STARTING,
    UP,
    ComponentState,
    GroupState,
    group_folder,
    log_of,
)
from workbench.services.log_files import keep_small

log = logging.getLogger("workbench.services.supervisor")
_LOOK_SECONDS = 0.25
_LOCK_SECONDS = 2.0  # whoever asks whether it is locked holds it for a moment
_READY_SECONDS = 120.0
_RESTARTS, _WITHIN_SECONDS = 5, 600.0
_LONGEST_PAUSE = 30.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Leave(BaseException):
    """Somebody asks the supervisor to end. No error: no handler of errors may catch it."""


class Restarts:
    """How often a component was started again: at most five times in ten minutes, with growing pauses."""

    def __init__(self) -> None:
        self.count = 0
        self._recent: deque[float] = deque(maxlen=_RESTARTS)

    def next_at(self) -> float | None:
        """Return from when on the next restart may be, on the monotonic clock; None: not any more for now."""
        now = time.monotonic()
        recent = [moment for moment in self._recent if now - moment < _WITHIN_SECONDS]
        if len(recent) == _RESTARTS:
            return None
        return recent[-1] + min(2.0 ** len(recent), _LONGEST_PAUSE) if recent else now

    def note(self) -> None:
        """Count one."""
        self.count += 1
        self._recent.append(time.monotonic())


class Supervisor:
    """Keeps the components up until it is asked to leave."""

    def __init__(self, settings: Settings) -> None:
        self.folder = group_folder(settings)
        self._log = log_of(settings)
        self.services: list[HeldService] = services_of(settings)
        self.children: list[Child] = children_of(settings, self.folder)
        self._restarts = {component.name: Restarts() for component in self._components()}
        self._told: GroupState | None = None

    def run(self) -> None:
        """Start everything, keep it up, and stop it; raises `ServiceUnavailable` when something does not come up."""
        error = ""
        try:
            self._start()
            while True:
                self._tell(UP)
                time.sleep(_LOOK_SECONDS)
                self._mend()
                self._keep_logs_small()
        except Leave:
            log.info("asked to end")
        except WorkbenchError as problem:
            error = str(problem)
            raise
        finally:
            self._end()
            self._tell(FAILED if error else ENDING, error)

    def _start(self) -> None:
        self._tell(STARTING)
        with ThreadPoolExecutor(max_workers=len(self.services), thread_name_prefix="start") as starting:
            for future in [starting.submit(service.start) for service in self.services]:
                future.result()
                self._tell(STARTING)
        for child in self.children:
            child.start()
        self._await_ready()

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while waiting := [child for child in self.children if not child.is_ready()]:
            self._tell(STARTING)
            for child in waiting:
                if not child.is_alive():
                    raise ServiceUnavailable(f"{child.name}: it ended while starting; see {child.log}")
            if time.monotonic() > deadline:
                raise ServiceUnavailable(
                    f"{waiting[0].name}: not ready after {_READY_SECONDS:g} s; see {waiting[0].log}"
                )
            time.sleep(_LOOK_SECONDS)

    def _mend(self) -> None:
        """Start again what has died, if it may be; services first, for the programs need them."""
        for component in self._components():
            if component.is_alive():
                continue
            restarts = self._restarts[component.name]
            due = restarts.next_at()
            if due is not None and time.monotonic() >= due:
                restarts.note()
                log.warning("component died, starting it again", extra={"component": component.name})
                self._restart(component)

    def _restart(self, component: Component) -> None:
        component.ask_to_end()
        component.await_end()
        try:
            component.start()
        except WorkbenchError as error:
            log.warning("component does not start", extra={"component": component.name, "reason": str(error)})

    def _keep_logs_small(self) -> None:
        """Those of the services are kept small by their keepers."""
        for path in (self._log, *(Path(child.log) for child in self.children)):
            keep_small(path)

    def _end(self) -> None:
        """Stop the programs, last those that serve the others, then let go of the services."""
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        self._tell(ENDING)
        for ends_last in (False, True):
            wave = [child for child in self.children if child.program.ends_last is ends_last]
            for child in wave:
                child.ask_to_end()
            for child in wave:
                child.await_end()
        for service in self.services:
            service.ask_to_end()

    def _components(self) -> list[Component]:
        return [*self.services, *self.children]

    def _tell(self, phase: str, error: str = "") -> None:
        """Write the state where it differs from what was told last."""
        components = tuple(self._state_of(component) for component in self._components())
        state = GroupState(pid=os.getpid(), phase=phase, components=components, error=error)
        if state != self._told:
            state.write(self.folder)
            self._told = state

    def _state_of(self, component: Component) -> ComponentState:
        external = isinstance(component, HeldService) and component.folder is None
        alive = component.is_alive()
        status = "external" if external else "down" if not alive else "up" if component.is_ready() else "starting"
        return ComponentState(
            name=component.name,
            kind="service" if isinstance(component, HeldService) else "program",
            status=status,
            pid=component.pid,
            restarts=self._restarts[component.name].count,
            address=component.address,
            log=component.log,
        )


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise Leave


def main() -> None:
    """Become the supervisor of this WORKBENCH_HOME; end at once when there is one."""
    settings = load_settings()
    logs.configure(settings, verbose=True)
    lock = file_locks.open_lock(group_folder(settings) / LOCK)
    if not file_locks.wait_for_lock(lock, file_locks.EXCLUSIVE, _LOCK_SECONDS):
        return
    for number in _SIGNALS:
        signal.signal(number, _leave)
    try:
        Supervisor(settings).run()
    except WorkbenchError as error:
        log.error("not up", extra={"reason": str(error)})
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
