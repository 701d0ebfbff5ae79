"""What data say reaches people as text: no terminal obeys it, no panel of JupyterLab runs it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.hostile import TEXTS
from workbench.cli import text_tables
from workbench.cli.commands_read import _line
from workbench.cli.output import printable
from workbench.jupyter import panel_view
from workbench.state.models import PipelineEvent

pytestmark = pytest.mark.promise("S12", "data show as text on terminals and in the control panel")

OBEYED = ("\x1b]0;title\x07", "\x1b[2J", "\x9b31m", "\r", "\x08", "\ud800", "\u202e", "[red]x[/red]", "[/]", ":boom:")


@pytest.mark.parametrize("text", [*OBEYED, *TEXTS], ids=ascii)
def test_a_text_of_data_is_printed_as_what_it_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = printable(text)
    assert all(each.isprintable() or each in "\n\t" for each in shown)
    assert shown == text or not text.replace("\n", "").replace("\t", "").isprintable()
    text_tables.show_on_terminal(text_tables._error({"error": {"message": text}})[0])
    assert capsys.readouterr().out.strip() == shown.expandtabs().strip()
    moment = datetime(2026, 11, 23, tzinfo=UTC)
    line = _line(PipelineEvent(sequence=1, type="cell.failed", stage=None, data={"message": text}, created_at=moment))
    assert printable(line) == line


def test_names_in_tables_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    table = text_tables.runs_table([_figures(trigger="[red]")])
    text_tables.show_on_terminal(table)
    assert "[red]" in capsys.readouterr().out


def _figures(**more: Any) -> dict[str, Any]:
    counts = dict.fromkeys(("records_read", "records_processed", "records_rejected", "total_seconds"))
    return {"pipeline_id": "20261123t083012_a1b2c3", "status": "failed", "trigger": "cli", **counts, **more}


@pytest.mark.parametrize("text", [text for text in TEXTS if "<" in text])
def test_the_control_panel_shows_hostile_errors_and_sources_as_text(text: str) -> None:
    shown = panel_view._trouble({"error": {"message": text, "name": text}})
    assert text not in shown
    assert shown.count("<") == 2
