"""P24: logs stay small while those who write them live, and begin anew without losing what was said last."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest

from tests.faults.bench import until
from workbench.services import embedded
from workbench.services.log_files import LOG_BYTES, keep_small

pytestmark = pytest.mark.promise("P24", "memory, logs and disk are bounded whatever comes in")
PIECE = 100_000
FLOOD = f"do $$ begin for number in 1..250 loop raise log '% %', number, repeat('x', {PIECE}); end loop; end $$"
WRITER = f"""
import logging
from workbench.base import logs
from workbench.base.settings import load_settings
logs.configure(load_settings())
for number in range(250):
    logging.getLogger("test").info("line %d %s", number, "x" * {PIECE})
"""


def test_the_log_of_a_service_that_floods_it_stays_small_and_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "services" / "postgres" / "log"
    with embedded.held("postgres", tmp_path) as state:
        connection = psycopg2.connect(str(state.url))
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(FLOOD)
            until(lambda: log.stat().st_size <= LOG_BYTES, "the log is small again", 20)
            assert b"x" * PIECE in log.with_name("log.1").read_bytes()
            cursor.execute("do $$ begin raise log 'said afterwards'; end $$")
            until(lambda: b"said afterwards" in log.read_bytes(), "the service goes on in the same file", 20)
        connection.close()
    assert not log.read_bytes().startswith(b"\0")


def test_processes_that_write_the_same_log_lose_nothing_of_it_when_it_is_rolled(tmp_path: Path) -> None:
    environment = {**os.environ, "WORKBENCH_HOME": str(tmp_path)}
    writers = [subprocess.Popen([sys.executable, "-c", WRITER], env=environment) for _ in range(2)]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    sizes = [path.stat().st_size for path in (tmp_path / "logs").iterdir()]
    assert sum(sizes) >= 2 * 250 * PIECE
    assert max(sizes) < 20_000_000 + PIECE * len(writers)


def test_a_log_for_the_copy_of_which_is_no_room_is_emptied_all_the_same(tmp_path: Path) -> None:
    log = tmp_path / "page.log"
    log.write_bytes(b"x" * (LOG_BYTES + 1))
    (tmp_path / "page.log.1").symlink_to("/dev/full")
    keep_small(log)
    assert log.stat().st_size == 0
