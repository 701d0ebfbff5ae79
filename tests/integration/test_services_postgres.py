"""PostgreSQL, embedded and external: durable, local, and reached by a URL that every driver takes."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import adbc_driver_postgresql.dbapi as adbc
import psycopg2
import pytest
import sqlalchemy

from tests.integration.service_watch import all_gone, family_of, listening_addresses, supervisor_of, wait_until
from workbench.base.errors import InvalidSetting, ServiceUnavailable
from workbench.base.settings import Settings
from workbench.services import postgres
from workbench.services.processes import free_port

SECRET = "canary-51c9"


def _run(url: str, statement: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


@pytest.mark.parametrize("name", ["home", "A home with spaces, ümlauts & more", "long-" + "x" * 120])
def test_the_embedded_server_is_private_whatever_the_home_is_called(tmp_path: Path, name: str) -> None:
    with postgres.held(Settings(_env_file=None, workbench_home=tmp_path / name)) as url:
        assert _run(url, "select current_database(), current_setting('fsync')") == [("workbench", "on")]
        assert _run(url, "select current_setting('TimeZone'), pg_encoding_to_char(encoding) from pg_database") != []
        assert listening_addresses(family_of("postgres", tmp_path / name)) == set()


def test_every_driver_takes_the_url(tmp_path: Path) -> None:
    with postgres.held(Settings(_env_file=None, workbench_home=tmp_path / "Heim ü")) as url:
        with adbc.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute("select 7")
            assert cursor.fetchone() == (7,)
        engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg2://"))
        with engine.connect() as session:
            assert session.scalar(sqlalchemy.text("select 7")) == 7
        engine.dispose()


def test_what_was_committed_survives_a_crash_of_the_embedded_server(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, workbench_home=tmp_path)
    with postgres.held(settings) as url:
        _run(url, "create table kept as select generate_series(1, 10000) as id")
        family = family_of("postgres", tmp_path)
        supervisor_of("postgres", tmp_path).kill()
        assert wait_until(lambda: all_gone(family), 15)
    with postgres.held(settings) as url:
        assert _run(url, "select count(*), sum(id) from kept") == [(10000, 50005000)]


def test_what_was_committed_is_there_after_a_stop(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, workbench_home=tmp_path)
    with postgres.held(settings) as url:
        _run(url, "create table kept as select 1 as id")
    with postgres.held(settings) as url:
        assert _run(url, "select id from kept") == [(1,)]


def test_an_external_server_is_taken_as_it_is_and_nothing_is_started(database_url: str, tmp_path: Path) -> None:
    settings = Settings(_env_file=None, workbench_home=tmp_path / "home", database_url=database_url)
    with postgres.held(settings) as url:
        assert url.startswith(database_url)
    assert not (tmp_path / "home").exists()


def test_a_url_in_sqlalchemys_form_becomes_one_for_libpq(database_url: str, tmp_path: Path) -> None:
    form = database_url.replace("postgresql://", "postgresql+psycopg2://")
    with postgres.held(Settings(_env_file=None, workbench_home=tmp_path, database_url=form)) as url:
        assert url.startswith(database_url)


def test_a_server_that_is_away_is_named_without_the_password(tmp_path: Path) -> None:
    port = free_port()
    away = f"postgresql://someone:{SECRET}@127.0.0.1:{port}/db"
    settings = Settings(_env_file=None, workbench_home=tmp_path, database_url=away)
    with pytest.raises(ServiceUnavailable, match=f"127.0.0.1:{port}.*DATABASE_URL") as caught, postgres.held(settings):
        pass
    assert SECRET not in str(caught.value)


def test_a_version_that_does_not_fit_is_refused(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "OLDEST", 99)
    with pytest.raises(InvalidSetting, match=r"DATABASE_URL: PostgreSQL 99 to"):
        postgres.checked(database_url)
