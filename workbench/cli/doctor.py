"""What `workbench doctor` adds to the services' own findings: events that wait, orphans, and how it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from rich.table import Table
from rich.text import Text
from sqlalchemy import Engine

from workbench.base.errors import NoRunYet, ReaderSchemaRefused, WorkbenchError
from workbench.base.settings import Settings
from workbench.cli.component_checks import CHECKS, Check, check_page, checked_finding
from workbench.cli.views import show_on_terminal
from workbench.run.publisher import check_readers
from workbench.run.retention import find_orphans
from workbench.services import daemon, postgres
from workbench.services.doctor import Finding, examine
from workbench.state import database, queries
from workbench.state.publication_queue import pending_publications
from workbench.state.relay import EXCHANGE

_NAMED = 3
_MARKS = {True: ("✓", "green"), False: ("✗", "red"), None: ("?", "yellow")}


def diagnose(settings: Settings, checks: Mapping[str, Check] = CHECKS) -> list[Finding]:
    """Return a finding for each component, what `workbench up` keeps up, and what a database that is up tells.

    `checks`: what is tried of each component that answers.
    """
    with ThreadPoolExecutor(thread_name_prefix="check") as trying:
        findings = list(trying.map(lambda finding: checked_finding(settings, finding, checks), examine(settings)))
    findings += _kept_up(settings)
    has_database = next(each for each in findings if each.component == "postgres").reachable
    return [*findings, *_in_database(settings)] if has_database else findings


def _kept_up(settings: Settings) -> list[Finding]:
    """What `workbench up` keeps up; its services have their own findings."""
    state = daemon.look(settings)
    if state is None:
        return [Finding("up", "embedded", None, "not up: page, worker and schedules start with `workbench up`")]
    programs = [each for each in state.components if each.kind == "program"]
    pages = {each.name: partial(check_page, each.address, each.log) for each in programs if each.address}
    return [
        Finding("up", "embedded", state.phase == daemon.UP, f"{state.phase}, process {state.pid}"),
        *(checked_finding(settings, _told(each), pages) for each in programs),
    ]


def _told(component: daemon.ComponentState) -> Finding:
    restarts = f", started again {component.restarts} times" if component.restarts else ""
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
        return [Finding("tables", "machine", True, "none yet: the first run makes them")]
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
    """What keeps a completed run from the readers of its schema, and the next one from being started."""
    schema, component = settings.workbench_schema, "publication"
    try:
        check_readers(engine, schema)
    except ReaderSchemaRefused as error:
        return Finding(component, "machine", False, str(error), "no run starts before")
    pending = pending_publications(engine)
    if not pending:
        return Finding(component, "machine", True, f"schema {schema} shows the newest completed run")
    newest = pending[-1]
    detail = f"run {newest['pipeline_id']} is not yet published in schema {newest['schema']}: {newest['reason']}"
    return Finding(component, "machine", None, detail, "every command, page, worker and relay try again")


def _orphans(engine: Engine, settings: Settings) -> Finding:
    """Schemas and folders of runs that the tables do not know."""
    found = find_orphans(engine, settings)
    stay = f"; {len(found.unproven)} more are not proven to be this database's" if found.unproven else ""
    if not found:
        return Finding("orphans", "machine", True, f"no schema and no folder without its run{stay}")
    named = ", ".join([*found.schemas, *(str(folder) for folder in found.folders)][:_NAMED])
    detail = f"{len(found.schemas)} schemas and {len(found.folders)} folders without a run: {named}{stay}"
    return Finding("orphans", "machine", None, detail, "`workbench clean --orphans` lists them and asks")


def show_findings(findings: Sequence[Finding]) -> None:
    """Print one row per component."""
    table = Table("", "component", "kind", "what is known", "how to mend it", box=None, header_style="bold")
    for finding in findings:
        mark, colour = _MARKS[finding.reachable]
        table.add_row(Text(mark, style=colour), finding.component, finding.kind, finding.detail, finding.mend)
    show_on_terminal(table)
