"""What commands print survives every locale and every width of a terminal that is none."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import typer
from rich.console import Group
from sqlalchemy import create_engine

from workbench.base.errors import RunCancelled
from workbench.cli.commands import _run_with_errors_in_one_line, _Summarised
from workbench.cli.output import print_json, write_in
from workbench.cli.text_tables import _files, _rejects, runs_table, show_on_terminal
from workbench.services.processes import free_port

ROW = {"pipeline_id": "20261123t083012_a1b2c3", "status": "failed", "trigger": "cli", "total_seconds": None}
FIGURES = {**ROW, **dict.fromkeys(("records_read", "records_processed", "records_rejected"))}


@pytest.fixture(autouse=True)
def _hooks_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command sets them, pytest has its own."""
    for module in (sys, threading):
        monkeypatch.setattr(module, "excepthook", module.excepthook)


def ascii_stdout(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii", write_through=True))
    return written


def test_a_locale_without_a_sign_gets_a_question_mark_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    written = ascii_stdout(monkeypatch)
    write_in(errors="replace")
    show_on_terminal(runs_table([FIGURES]))
    sys.stdout.flush()
    assert b"20261123t083012_a1b2c3  failed  cli               ?" in written.getvalue()


def test_json_is_utf_8_in_every_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    written = ascii_stdout(monkeypatch)
    print_json({"name": "Gerät ✓"})
    sys.stdout.flush()
    assert json.loads(written.getvalue()) == {"name": "Gerät ✓"}


def test_what_is_piped_is_never_cut(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    show_on_terminal(runs_table([FIGURES]))
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_ctrl_c_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["workbench"])
    with pytest.raises(SystemExit, match="130"):
        _run_with_errors_in_one_line(app)
    assert capsys.readouterr().err == "workbench: stopped by Ctrl-C\n"


def test_a_cancelled_run_that_its_summary_has_told_is_logged_and_not_put_down_to_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def cancelled() -> None:
        raise _Summarised(RunCancelled("run 20261123t083012_a1b2c3 was cancelled"))

    monkeypatch.setattr(sys, "argv", ["workbench"])
    with caplog.at_level("INFO"), pytest.raises(SystemExit, match="130"):
        _run_with_errors_in_one_line(app)
    assert capsys.readouterr().err == ""
    assert "RunCancelled: run 20261123t083012_a1b2c3 was cancelled" in caplog.text


def test_a_traceback_of_a_thread_holds_no_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer()

    def fail() -> None:
        raise ValueError("postgresql://me:canary@host/db")

    @app.command()
    def failing_beside() -> None:
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()

    monkeypatch.setattr(sys, "argv", ["workbench"])
    with pytest.raises(SystemExit, match="0"):
        _run_with_errors_in_one_line(app)
    assert "ValueError: postgresql://me:***@host/db" in capsys.readouterr().err


def test_a_stdout_that_takes_no_more_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer()
    app.command()(lambda: Path("/dev/full").write_text("more", "utf-8"))
    monkeypatch.setattr(sys, "argv", ["workbench"])
    with pytest.raises(SystemExit, match="1"):
        _run_with_errors_in_one_line(app)
    assert capsys.readouterr().err == "workbench: [Errno 28] No space left on device\n"


def test_a_database_that_fails_a_command_is_told_in_one_line_without_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = f"127.0.0.1:{free_port()}"
    url = f"postgresql+psycopg2://me:canary-told@{place}/runs"
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(lambda: create_engine(url).connect())
    monkeypatch.setattr(sys, "argv", ["workbench"])
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(SystemExit, match="1"):
        _run_with_errors_in_one_line(app)
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith(f"workbench: database runs at {place}: connection to server at")
    assert "Connection refused" in told


def test_another_error_that_nobody_meant_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(lambda: {}["nothing"])
    monkeypatch.setattr(sys, "argv", ["workbench"])
    with pytest.raises(KeyError):
        _run_with_errors_in_one_line(app)


def test_the_command_shows_its_help_without_a_database_library() -> None:
    program = "import sys, workbench.bootstrap; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_summary_says_how_many_were_rejected_and_where_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    show_on_terminal(Group(*_rejects({"records": {"rejected": 1_234}, "rejects_file": "/runs/r/rejects.jsonl"})))
    assert capsys.readouterr().out == "\nRejected: 1,234, each with line, field and reason\n  /runs/r/rejects.jsonl\n"
    assert not _rejects({"records": {"rejected": 0}, "rejects_file": "/runs/r/rejects.jsonl"})


def test_a_path_longer_than_the_terminal_is_wide_stays_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR", "1")
    path = f"/home/{'folder/' * 20}output.json"
    show_on_terminal(Group(_files({"output_file": path, "notebooks": [], "reports": []})))
    assert path in capsys.readouterr().out
