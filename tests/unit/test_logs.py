"""Log lines are JSON with service, run and stage, and hold no password."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.base.logs import JsonFormatter, in_run
from workbench.base.redaction import redacted
from workbench.base.settings import Settings


def _line(message: str, *arguments: Any, exc_info: Any = None, **extra: Any) -> dict[str, Any]:
    record = logging.getLogger("test").makeRecord(
        "test", logging.INFO, "f", 1, message, arguments, exc_info, None, extra
    )
    text = JsonFormatter(Settings(dd_env="prod", dd_service="bench", dd_version="9")).format(record)
    assert "\n" not in text
    line: dict[str, Any] = json.loads(text)
    return line


def test_a_line_says_service_environment_and_version() -> None:
    line = _line("stage %s", "started", seconds=1.5)
    assert {name: line[name] for name in ("dd.service", "dd.env", "dd.version", "message", "status", "seconds")} == {
        "dd.service": "bench", "dd.env": "prod", "dd.version": "9",
        "message": "stage started", "status": "info", "seconds": 1.5,
    }  # fmt: skip


def test_run_and_stage_stand_in_the_lines_of_their_block_only() -> None:
    with in_run(pipeline_id="a"), in_run(stage="ingest"):
        inside = _line("x")
    outside = _line("x")
    assert (inside["pipeline_id"], inside["stage"]) == ("a", "ingest")
    assert not {"pipeline_id", "stage"} & set(outside)


def test_a_traceback_becomes_one_field_without_the_password_in_it() -> None:
    try:
        raise ValueError("postgresql://me:canary@host/db refused")
    except ValueError:
        line = _line("failed", exc_info=sys.exc_info())
    assert "ValueError" in line["error.stack"]
    assert "canary" not in json.dumps(line)


SECRET = "hunter2hunter2"
QUOTED = [
    f'connect(password="{SECRET}")',
    f'GET "http://h/?token={SECRET}" failed',
    f'{{"Authorization": "Bearer {SECRET}"}}',
    f"{{'authorization': 'Bearer {SECRET}'}}",
    f"amqp://me:{SECRET}@host/",
    f"api_key='{SECRET}'",
]
ANY_TEXT = st.text(st.characters(), max_size=30)  # halves of signs, too


@settings(deadline=None)
@given(ANY_TEXT, st.sampled_from(QUOTED), ANY_TEXT, st.dictionaries(st.text(max_size=5), ANY_TEXT, max_size=3))
def test_every_line_is_json_without_the_secret_whatever_the_message(
    before: str, quoted: str, after: str, more: dict[str, str]
) -> None:
    told = f"{before} {quoted} {after}"
    told_by = ValueError(told)
    nested = {"deep": [{told: (told, told_by)}], "more": more, "headers": {"Authorization": f"Bearer {SECRET}"}}
    line = _line(told.replace("%", "%%"), exc_info=(ValueError, told_by, None), nested=nested)
    assert SECRET not in json.dumps(line)
    assert line["nested"]["more"].keys() == more.keys()


@settings(deadline=None)
@given(ANY_TEXT)
def test_a_line_can_be_written_as_utf_8_and_says_what_was_said(text: str) -> None:
    record = logging.makeLogRecord({"msg": "%s", "args": (text,), "levelname": "INFO"})
    written = JsonFormatter(Settings()).format(record).encode()
    assert json.loads(written)["message"] == redacted(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("amqp://me:canary@host/", "amqp://me:***@host/"),
        ("sc://host/;token=canary;x=1", "sc://host/;token=***;x=1"),
        ("password='x' PASSWORD=canary", "password=*** PASSWORD=***"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_passwords_and_tokens_are_struck_out(text: str, shown: str) -> None:
    assert redacted(text) == shown


@given(st.text(alphabet=st.characters(codec="ascii", categories=["L", "N"]), min_size=8))
def test_no_plain_password_of_a_url_gets_through(password: str) -> None:
    assert f":{password}@" not in redacted(f"cannot reach postgresql://user:{password}@host:5432/db")


def test_a_log_file_that_takes_no_more_is_told_once_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "workbench.log").symlink_to("/dev/full")
    program = """if True:
        import logging
        from workbench.base import logs
        from workbench.base.settings import load_settings
        logs.configure(load_settings())
        for number in range(5):
            logging.getLogger("test").info("line %d %s", number, "x" * 10_000)
    """
    environment = {**os.environ, "WORKBENCH_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    told = json.loads(done.stderr)
    assert told["message"] == f"the log file {folder / 'workbench.log'} cannot be written: No space left on device"
    assert done.stderr.count("\n") == 1
