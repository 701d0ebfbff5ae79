"""The supervisor behind `workbench up`: starts all components, restarts those that die, stops them together.

    python -m workbench.services.supervisor

It holds a lock as long as it runs. However it ends, the system sends its children SIGTERM, and the embedded services
stop after their last user.
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
_LOCK_SECONDS = 2.0  # a process that checks whether it is locked holds it for a moment
_READY_SECONDS = 120.0
_RESTARTS, _WITHIN_SECONDS = 5, 600.0
_LONGEST_PAUSE = 30.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequested(BaseException):
    """A signal asks the supervisor to end. No `Exception`: no handler of errors may catch it."""


class Restarts:
    """Counts the restarts of a component: at most five in ten minutes, with growing pauses."""

    def __init__(self) -> None:
        self.count = 0
        self._recent: deque[float] = deque(maxlen=_RESTARTS)

    def next_at(self) -> float | None:
        """Return the earliest time of the next restart on the monotonic clock; None: five were too recent."""
        now = time.monotonic()
        recent = [moment for moment in self._recent if now - moment < _WITHIN_SECONDS]
        if len(recent) == _RESTARTS:
            return None
        return recent[-1] + min(2.0 ** len(recent), _LONGEST_PAUSE) if recent else now

    def add(self) -> None:
        """Count a restart."""
        self.count += 1
        self._recent.append(time.monotonic())


class GroupSupervisor:
    """Keeps the components running until it is asked to stop."""

    def __init__(self, settings: Settings) -> None:
        self.folder = group_folder(settings)
        self._log = log_of(settings)
        self.services: list[HeldService] = services_of(settings)
        self.children: list[Child] = children_of(settings, self.folder)
        self._restarts = {component.name: Restarts() for component in self._components()}
        self._published: GroupState | None = None

    def run(self) -> None:
        """Start all, keep it running, and stop it; raises `ServiceUnavailable` when a component does not start."""
        error = ""
        try:
            self._start()
            while True:
                self._publish(UP)
                time.sleep(_LOOK_SECONDS)
                self._restart_dead()
                self._keep_logs_small()
        except StopRequested:
            log.info("stop requested")
        except WorkbenchError as problem:
            error = str(problem)
            raise
        finally:
            self._end()
            self._publish(FAILED if error else ENDING, error)

    def _start(self) -> None:
        self._publish(STARTING)
        with ThreadPoolExecutor(max_workers=len(self.services), thread_name_prefix="start") as starting:
            for future in [starting.submit(service.start) for service in self.services]:
                future.result()
                self._publish(STARTING)
        for child in self.children:
            child.start()
        self._await_ready()

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while waiting := [child for child in self.children if not child.is_ready()]:
            self._publish(STARTING)
            for child in waiting:
                if not child.is_alive():
                    raise ServiceUnavailable(f"{child.name}: ended while starting; see {child.log}")
            if time.monotonic() > deadline:
                raise ServiceUnavailable(
                    f"{waiting[0].name}: not ready after {_READY_SECONDS:g} s; see {waiting[0].log}"
                )
            time.sleep(_LOOK_SECONDS)

    def _restart_dead(self) -> None:
        """Restart dead components within the limits; services first, because the programs need them."""
        for component in self._components():
            if component.is_alive():
                continue
            restarts = self._restarts[component.name]
            due = restarts.next_at()
            if due is not None and time.monotonic() >= due:
                restarts.add()
                log.warning("component died, restarting it", extra={"component": component.name})
                self._restart(component)

    def _restart(self, component: Component) -> None:
        component.request_stop()
        component.await_stop()
        try:
            component.start()
        except WorkbenchError as error:
            log.warning("component does not start", extra={"component": component.name, "reason": str(error)})

    def _keep_logs_small(self) -> None:
        """Cut long logs of the programs; the services' logs are cut by their own supervisors."""
        for path in (self._log, *(Path(child.log) for child in self.children)):
            keep_small(path)

    def _end(self) -> None:
        """Stop the programs, those that `ends_last` last, then release the services."""
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        self._publish(ENDING)
        for ends_last in (False, True):
            wave = [child for child in self.children if child.program.ends_last is ends_last]
            for child in wave:
                child.request_stop()
            for child in wave:
                child.await_stop()
        for service in self.services:
            service.request_stop()

    def _components(self) -> list[Component]:
        return [*self.services, *self.children]

    def _publish(self, phase: str, error: str = "") -> None:
        """Write the state when it differs from the one written last."""
        components = tuple(self._state_of(component) for component in self._components())
        state = GroupState(pid=os.getpid(), phase=phase, components=components, error=error)
        if state != self._published:
            state.write(self.folder)
            self._published = state

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


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise StopRequested


def main() -> None:
    """Supervise the group of this WORKBENCH_HOME; return at once when another process does."""
    settings = load_settings()
    logs.configure(settings, verbose=True)
    lock = file_locks.open_lock(group_folder(settings) / LOCK)
    if not file_locks.wait_for_lock(lock, file_locks.EXCLUSIVE, _LOCK_SECONDS):
        return
    for number in _SIGNALS:
        signal.signal(number, _stop)
    try:
        GroupSupervisor(settings).run()
    except WorkbenchError as error:
        log.error("not up", extra={"reason": str(error)})
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
