"""What `workbench doctor` adds to the services' health checks: undelivered events, orphans, and the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import httpx
from pika.exceptions import AMQPError
from rich.table import Table
from rich.text import Text
from sqlalchemy import Engine

from workbench.base.error_text import one_line
from workbench.base.errors import NoRunYet, ReaderSchemaRefused, ServiceUnavailable, WorkbenchError
from workbench.base.settings import Settings
from workbench.cli.text_tables import show_on_terminal
from workbench.run.publisher import check_readers
from workbench.run.retention import find_orphans
from workbench.services import broker, daemon, embedded, postgres
from workbench.services.health_checks import Finding, examine
from workbench.services.postgres_requirements import check_needs
from workbench.services.spark import check_query
from workbench.state import database, queries
from workbench.state.publication_queue import pending_publications
from workbench.state.relay import EXCHANGE, STATUS_QUEUE, confirming_channel, refusal

Check = Callable[[Settings], None]
_SECONDS = 5.0
_NAMED = 3
_MARKS = {True: ("✓", "green"), False: ("✗", "red"), None: ("?", "yellow")}


def checked_finding(settings: Settings, finding: Finding, checks: Mapping[str, Check]) -> Finding:
    """Return the finding, with problem and fix if the check of a component that answers fails."""
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
    """Raise `ServiceUnavailable` when a server that is up answers no query."""
    if settings.spark_remote is not None:
        check_query(settings.spark_remote.get_secret_value())
        return
    with embedded.held_if_live("spark", settings.home) as state:
        if state is not None:
            check_query(str(state.url))


def check_broker(settings: Settings) -> None:
    """Connect as a relay does; raises `ServiceUnavailable` when the broker refuses it, so that events would wait."""
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
    """Raise `ServiceUnavailable` when the page at `address` is not healthy."""
    try:
        answer = httpx.get(f"{address}api/v1/health", timeout=_SECONDS, trust_env=False)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise ServiceUnavailable(f"the page at {address}: {one_line(error)}; see {log}") from error


CHECKS: Mapping[str, Check] = {"postgres": check_database, "spark": check_spark, "broker": check_broker}


def diagnose(settings: Settings, checks: Mapping[str, Check] = CHECKS) -> list[Finding]:
    """Return findings on each component, on the programs of `workbench up`, and from a database that is up.

    `checks`: further checks of components that answer.
    """
    with ThreadPoolExecutor(thread_name_prefix="check") as pool:
        findings = list(pool.map(lambda finding: checked_finding(settings, finding, checks), examine(settings)))
    findings += _group_findings(settings)
    has_database = next(each for each in findings if each.component == "postgres").reachable
    return [*findings, *_in_database(settings)] if has_database else findings


def _group_findings(settings: Settings) -> list[Finding]:
    """Return findings on the programs of `workbench up`; its services have their own findings."""
    state = daemon.look(settings)
    if state is None:
        return [Finding("up", "embedded", None, "not up: page, worker and schedules start with `workbench up`")]
    programs = [each for each in state.components if each.kind == "program"]
    pages = {each.name: partial(check_page, each.address, each.log) for each in programs if each.address}
    return [
        Finding("up", "embedded", state.phase == daemon.UP, f"{state.phase}, process {state.pid}"),
        *(checked_finding(settings, _program_finding(each), pages) for each in programs),
    ]


def _program_finding(component: daemon.ComponentState) -> Finding:
    restarts = f", restarted {component.restarts} times" if component.restarts else ""
    place = f" at {component.address}" if component.address else ""
    mend = "" if component.status == "up" else f"see {component.log}"
    return Finding(component.name, "embedded", component.status == "up", f"{component.status}{place}{restarts}", mend)


def _in_database(settings: Settings) -> list[Finding]:
    try:
        with postgres.held(settings) as url:
            engine = database.connect_to_read(url)
            found = [_outbox(engine, settings), _publication(engine, settings), _orphans(engine, settings)]
            engine.dispose()
    except NoRunYet:
        return [Finding("tables", "machine", True, "none yet: the first run creates them")]
    except WorkbenchError as error:
        problem, _, mend = str(error).rpartition("; ")
        return [Finding("tables", "machine", False, problem, mend)]
    return found


def _outbox(engine: Engine, settings: Settings) -> Finding:
    waiting, returned = queries.waiting_events(engine), queries.returned_events(engine)
    detail = f"{waiting:,} events wait for the broker"
    if returned:
        mend = f"bind a queue to exchange {EXCHANGE} for run.*, stage.* and dataset.*, as the next run does"
        return Finding("outbox", "machine", False, f"{detail}; of {returned:,} runs no queue takes the next one", mend)
    mend = "set AMQP_URL; the next run delivers them" if waiting and settings.amqp_url is None else ""
    return Finding("outbox", "machine", True, detail, mend)


def _publication(engine: Engine, settings: Settings) -> Finding:
    """Return what prevents the publication of a completed run, or the start of the next one."""
    schema, component = settings.workbench_schema, "publication"
    try:
        check_readers(engine, schema)
    except ReaderSchemaRefused as error:
        return Finding(component, "machine", False, str(error), "no run starts before this is fixed")
    pending = pending_publications(engine)
    if not pending:
        return Finding(component, "machine", True, f"schema {schema} shows the newest completed run")
    newest = pending[-1]
    detail = f"run {newest['pipeline_id']} is not yet published in schema {newest['schema']}: {newest['reason']}"
    return Finding(component, "machine", None, detail, "every command, page, worker and relay tries again")


def _orphans(engine: Engine, settings: Settings) -> Finding:
    """Schemas and folders of runs that the tables do not know."""
    found = find_orphans(engine, settings)
    stay = f"; {len(found.unproven)} more may belong to another database" if found.unproven else ""
    if not found:
        return Finding("orphans", "machine", True, f"no schema and no folder without a run{stay}")
    named = ", ".join([*found.schemas, *(str(folder) for folder in found.folders)][:_NAMED])
    detail = f"{len(found.schemas)} schemas and {len(found.folders)} folders without a run: {named}{stay}"
    return Finding(
        "orphans", "machine", None, detail, "`workbench clean --orphans` lists them and asks for confirmation"
    )


def show_findings(findings: Sequence[Finding]) -> None:
    """Print one row per component."""
    table = Table("", "component", "kind", "finding", "fix", box=None, header_style="bold")
    for finding in findings:
        mark, colour = _MARKS[finding.reachable]
        table.add_row(Text(mark, style=colour), finding.component, finding.kind, finding.detail, finding.mend)
    show_on_terminal(table)
