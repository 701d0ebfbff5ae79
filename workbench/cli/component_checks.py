"""Tries of what `workbench doctor` is about to call good: a component that answers may still refuse what runs want."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import httpx
from pika.exceptions import AMQPError

from workbench.base.error_text import one_line
from workbench.base.errors import ServiceUnavailable, WorkbenchError
from workbench.base.settings import Settings
from workbench.services import broker, embedded, postgres
from workbench.services.doctor import Finding
from workbench.services.postgres_needs import check_needs
from workbench.services.spark_query import check_query
from workbench.state.relay import EXCHANGE, STATUS_QUEUE, confirming_channel, refusal

Check = Callable[[Settings], None]
_SECONDS = 5.0


def checked_finding(settings: Settings, finding: Finding, checks: Mapping[str, Check]) -> Finding:
    """Return the finding of a component that answers, or what it refuses and how to mend that."""
    check = checks.get(finding.component)
    if check is None or not finding.reachable:
        return finding
    try:
        check(settings)
    except WorkbenchError as error:
        problem, _, mend = str(error).rpartition("; ")
        return replace(finding, reachable=False, detail=problem, mend=mend)
    return finding


def check_database(settings: Settings) -> None:
    """Raise as `check_needs` does."""
    with postgres.held(settings) as url:
        check_needs(url)


def check_spark(settings: Settings) -> None:
    """Raise `ServiceUnavailable` when the server that is up answers no query."""
    if settings.spark_remote is not None:
        check_query(settings.spark_remote.get_secret_value())
        return
    with embedded.held_if_live("spark", settings.home) as state:
        if state is not None:
            check_query(str(state.url))


def check_broker(settings: Settings) -> None:
    """Do what a relay does first; raises `ServiceUnavailable` when the broker refuses it: events would wait."""
    parameters = broker.parameters(settings)
    if parameters is None:
        return
    try:
        with confirming_channel(parameters):
            return
    except (AMQPError, OSError) as error:
        raise ServiceUnavailable(
            f"RabbitMQ at {broker.place_of(settings)}: events cannot be published: "
            f"{refusal(error) or type(error).__name__}; let its user configure, write and read {EXCHANGE} and "
            f"{STATUS_QUEUE}, delete them if they differ"
        ) from error


def check_page(address: str, log: str, _settings: Settings) -> None:
    """Raise `ServiceUnavailable` when the page that is up at `address` is not well."""
    try:
        answer = httpx.get(f"{address}api/v1/health", timeout=_SECONDS, trust_env=False)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise ServiceUnavailable(f"the page at {address}: {one_line(error)}; see {log}") from error


CHECKS: Mapping[str, Check] = {"postgres": check_database, "spark": check_spark, "broker": check_broker}
