"""What is said of PostgreSQL that is lost, that gives up a statement, and of what stands before it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

from tests.integration.database_drivers import make_uri, with_adbc, with_psycopg2
from tests.integration.service_watch import wait_until
from workbench.base.errors import InvalidSetting, ServiceUnavailable, StatementFailed
from workbench.services import postgres
from workbench.services.database_errors import DRIVER_ERRORS, translated
from workbench.services.processes import free_port

Ask = Callable[[str, str], Any]


@pytest.mark.parametrize("ask", [with_psycopg2, with_adbc])
def test_a_statement_that_was_cancelled_is_no_lost_connection(ask: Ask, database_url: str) -> None:
    impatient = make_uri(database_url, options="-c%20statement_timeout%3D10ms")
    with pytest.raises(DRIVER_ERRORS) as caught:
        ask(impatient, "select pg_sleep(5)")
    error = translated(caught.value)
    assert type(error) is StatementFailed
    assert "statement timeout" in str(error)
    assert not error.transient


@pytest.mark.parametrize("ask", [with_psycopg2, with_adbc])
def test_a_session_that_was_ended_is_a_lost_connection(ask: Ask, database_url: str) -> None:
    with pytest.raises(DRIVER_ERRORS) as caught:
        ask(database_url, "select pg_terminate_backend(pg_backend_pid())")
    assert type(translated(caught.value)) is ServiceUnavailable


@pytest.fixture(params=["", "ignore_startup_parameters = options, extra_float_digits"], ids=["strict", "lenient"])
def pooled(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> Iterator[str]:
    """The URL of the same database behind PgBouncer in transaction mode; a loud skip without PgBouncer."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("NO PGBOUNCER: how a pooler is refused is not tried; `make services` installs it")
    server, port = parse_dsn(database_url), free_port()
    target = " ".join(f"{name}={server[name]}" for name in ("host", "port", "user") if name in server)
    configuration = tmp_path / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\n* = {target}\n[pgbouncer]\npool_mode = transaction\nauth_type = any\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n{request.param}\n"
    )
    command = [program, "-q", *(["-u", "nobody"] if os.geteuid() == 0 else []), str(configuration)]
    log = (tmp_path / "pgbouncer.log").open("wb")
    with log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        url = f"postgresql://{server['user']}@127.0.0.1:{port}/{server['dbname']}"
        assert wait_until(lambda: _answers(url), 10)
        yield url
        process.kill()


def _answers(url: str) -> bool:
    try:
        psycopg2.connect(url).close()
    except psycopg2.OperationalError:
        return False
    return True


def test_a_pooler_that_keeps_no_session_is_refused_in_one_line_that_names_the_fix(pooled: str) -> None:
    with pytest.raises(InvalidSetting, match=r"does not keep a session's settings.+name the port of Postgre") as caught:
        postgres.checked(pooled)
    assert "\n" not in str(caught.value)
