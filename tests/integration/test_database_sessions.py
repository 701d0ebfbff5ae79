"""Every session in the database is ours in all respects, whatever driver opens it and whatever is set elsewhere."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2 import sql
from psycopg2.extensions import parse_dsn

from pipeline_lib.load import load_processed
from tests.integration.database_drivers import as_dbt_does, make_uri, with_adbc, with_psycopg2, with_sqlalchemy
from tests.integration.dataset_rows import row
from tests.integration.test_load import RUN, processed_folder
from workbench.base import connection_uri
from workbench.base.errors import InvalidSetting, ServiceUnavailable
from workbench.base.settings import Settings
from workbench.services import postgres

pytestmark = pytest.mark.promise(
    "P22", "neither the shell's environment nor a role's settings change what a run does to its data"
)
ELSEWHERE = {
    "PGHOST": "192.0.2.1",
    "PGHOSTADDR": "192.0.2.1",
    "PGPORT": "1",
    "PGDATABASE": "elsewhere",
    "PGUSER": "somebody",
    "PGOPTIONS": "-c statement_timeout=1",
    "PGCLIENTENCODING": "LATIN1",
    "PGSERVICE": "elsewhere",
    "PGTARGETSESSIONATTRS": "standby",
}
SETTINGS = (
    "client_encoding",
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "default_transaction_read_only",
    "extra_float_digits",
)
OURS = ("UTF8", "0", "0", "0", "0", "off", "1")
ODD = {
    "client_encoding": "LATIN1",
    "statement_timeout": "1ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1ms",
    "idle_session_timeout": "1ms",
    "default_transaction_read_only": "on",
    "extra_float_digits": "-15",
}
_ASKED = f"select {', '.join(f'current_setting($${name}$$)' for name in SETTINGS)}"


Ask = Callable[[str, str], Any]
every_driver = pytest.mark.parametrize("ask", [with_psycopg2, with_sqlalchemy, with_adbc, as_dbt_does])


@pytest.fixture
def shell_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ELSEWHERE.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def limited(server_url: str, database_url: str) -> Iterator[str]:
    """A URL of a role of its own, with odd settings and two connections at the most."""
    role = f"workbench_test_{secrets.token_hex(6)}"
    name, database = sql.Identifier(role), sql.Identifier(parse_dsn(database_url)["dbname"])
    with closing(psycopg2.connect(server_url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(sql.SQL("create role {} login connection limit 2").format(name))
        for setting, value in ODD.items():
            cursor.execute(sql.SQL("alter role {} set {} = {}").format(name, sql.SQL(setting), sql.Literal(value)))
        yield make_uri(database_url, user=role)
        cursor.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", (role,))
        cursor.execute(sql.SQL("drop database {} with (force)").format(database))
        cursor.execute(sql.SQL("create database {}").format(database))
        cursor.execute(sql.SQL("drop role {}").format(name))


@every_driver
def test_the_shell_leads_no_driver_elsewhere(ask: Ask, database_url: str, shell_elsewhere: None) -> None:
    url = postgres.checked(database_url)
    assert ask(url, _ASKED) == OURS
    assert ask(url, "select current_database()") == (parse_dsn(database_url)["dbname"],)


def test_the_shell_leads_nobody_away_from_the_embedded_server(
    settings: Settings, shell_elsewhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGREQUIREAUTH", "scram-sha-256")
    with postgres.held(settings) as url:
        for ask in (with_psycopg2, with_sqlalchemy, with_adbc, as_dbt_does):
            assert ask(url, _ASKED) == OURS


@every_driver
def test_a_roles_settings_do_not_reach_our_sessions(ask: Ask, limited: str) -> None:
    assert ask(postgres.checked(limited), _ASKED) == OURS


def test_options_that_the_url_itself_names_hold(database_url: str) -> None:
    url = postgres.checked(make_uri(database_url, options="-c%20statement_timeout%3D5min%20-c%20work_mem%3D7MB"))
    asked = "select current_setting('statement_timeout'), current_setting('work_mem'), current_setting('lock_timeout')"
    assert with_adbc(url, asked) == ("5min", "7MB", "0")
    assert postgres.checked(url) == url


def test_text_arrives_as_it_is_where_the_shell_says_latin1(
    database_url: str, tmp_path: Path, shell_elsewhere: None
) -> None:
    url = postgres.checked(database_url)
    load_processed(url, RUN, processed_folder(tmp_path, [[row(0, name="Stühle für 10 € 中")]]))
    found = with_psycopg2(url, f"select name, length(name), octet_length(name) from {RUN}.processed_items")
    assert found == ("Stühle für 10 € 中", 17, 23)


@pytest.fixture
def latin1_url(server_url: str) -> Iterator[str]:
    name = f"workbench_test_{secrets.token_hex(6)}"
    with closing(psycopg2.connect(server_url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        create = "create database {} encoding 'LATIN1' locale 'C' locale_provider libc template template0"
        cursor.execute(sql.SQL(create).format(sql.Identifier(name)))
        yield make_uri(server_url, dbname=name)
        cursor.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def test_a_database_that_cannot_hold_every_text_is_refused(latin1_url: str) -> None:
    with pytest.raises(InvalidSetting, match=r"^DATABASE_URL: database .+ is encoded in LATIN1") as refusal:
        postgres.checked(latin1_url)
    assert refusal.value.exit_code == 2
    assert "\n" not in str(refusal.value)


def test_a_database_without_a_schema_to_work_in_is_refused(database_url: str) -> None:
    nowhere = make_uri(database_url, options="-c%20search_path%3Dno_such_schema")
    with pytest.raises(InvalidSetting, match="search_path names no schema"):
        postgres.checked(nowhere)


def test_a_role_without_a_connection_left_is_told_so(limited: str) -> None:
    url = postgres.checked(limited)
    told = r"too many connections for role .+; end other sessions or raise the limit"
    two = closing(psycopg2.connect(url)), closing(psycopg2.connect(url))
    with two[0], two[1], pytest.raises(ServiceUnavailable, match=told):
        postgres.checked(limited)


def test_only_variables_of_libpq_that_prove_who_we_are_pass() -> None:
    environment = {**ELSEWHERE, "PGPASSFILE": "/x", "PGSSLROOTCERT": "/y", "PGAPPNAME": "z", "PGDATA": "/theirs"}
    assert connection_uri.forget_variables(environment) == sorted(ELSEWHERE)
    assert sorted(environment) == ["PGAPPNAME", "PGDATA", "PGPASSFILE", "PGSSLROOTCERT"]
