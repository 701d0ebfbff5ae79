"""What `workbench doctor` adds to the services' own findings: events that wait, and how it is shown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from pipeline_lib.cli.views import show_on_terminal
from pipeline_lib.errors import ServiceUnavailable
from pipeline_lib.services import postgres
from pipeline_lib.services.doctor import Finding, examine
from pipeline_lib.settings import Settings
from pipeline_lib.tracking import database, queries

_MARKS = {True: ("✓", "green"), False: ("✗", "red"), None: ("?", "yellow")}


def diagnose(settings: Settings) -> list[Finding]:
    """Return a finding for each component, and one for the outbox where a database is already there to ask."""
    findings = examine(settings)
    has_database = next(each for each in findings if each.component == "postgres").reachable
    return [*findings, _outbox(settings)] if has_database else findings


def _outbox(settings: Settings) -> Finding:
    try:
        with postgres.held(settings) as url:
            engine = database.connect(url)
            waiting = queries.waiting_events(engine)
            engine.dispose()
    except ServiceUnavailable as error:
        return Finding("outbox", "machine", False, str(error))
    mend = "set AMQP_URL; the next run delivers them" if waiting and settings.amqp_url is None else ""
    return Finding("outbox", "machine", True, f"{waiting:,} events wait for the broker", mend)


def show_findings(findings: Sequence[Finding]) -> None:
    """Print one row per component."""
    table = Table("", "component", "kind", "what is known", "how to mend it", box=None, header_style="bold")
    for finding in findings:
        mark, colour = _MARKS[finding.reachable]
        table.add_row(Text(mark, style=colour), finding.component, finding.kind, finding.detail, finding.mend)
    show_on_terminal(table)
