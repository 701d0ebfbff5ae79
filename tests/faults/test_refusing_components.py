"""Components that answer but refuse what a run wants: doctor, and the check before a run, say what, where and how."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from tests.faults.bench import until
from tests.faults.roles import administer, ordinary_role
from workbench.base.errors import InvalidSetting, ServiceUnavailable
from workbench.base.settings import Settings
from workbench.cli.doctor import check_page, diagnose
from workbench.prefect.runner import check_prefect
from workbench.run.resources import acquired
from workbench.services import postgres, prefect_server, processes, spark
from workbench.services.health_checks import Finding
from workbench.services.postgres_requirements import check_needs, connections_needed
from workbench.state import database

KEY = "admin:open-sesame"


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """What a try of Prefect tells it by the environment ends with the test."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def finding(settings: Settings, component: str) -> Finding:
    return next(each for each in diagnose(settings, CHECKED) if each.component == component)


CHECKED = {"prefect": check_prefect, "postgres": lambda settings: check_needs(url_of(settings))}


def url_of(settings: Settings) -> str:
    assert settings.database_url is not None
    return postgres.checked(settings.database_url.get_secret_value())


@pytest.fixture(scope="module")
def locked_prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API of a Prefect server that wants a key."""
    folder = tmp_path_factory.mktemp("locked") / "services" / "prefect"
    folder.mkdir(parents=True)
    service = prefect_server.LIGHT.prepare(folder)
    environment = {**service.environment, "PREFECT_SERVER_API_AUTH_STRING": KEY}
    server = processes.start_child(service.command, environment, service.folder, service.user, signal.SIGKILL)
    try:
        until(service.is_ready, "Prefect answers", 120)
        yield service.url
    finally:
        server.terminate()  # not `stop_child`, which ends all that descends from its process: here, from the tests
        server.wait(20)
        service.clean_up()


@pytest.mark.parametrize(("key", "lets_in"), [("", False), ("admin:wrong", False), (KEY, True)])
def test_doctor_tries_whether_prefect_lets_us_in(
    locked_prefect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, lets_in: bool
) -> None:
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", key)
    found = finding(Settings(_env_file=None, workbench_home=tmp_path, prefect_api_url=locked_prefect), "prefect")
    assert found.reachable is lets_in, found
    if not lets_in:
        assert "it refuses us (401)" in found.detail
        assert "PREFECT_API_AUTH_STRING" in found.mend


def test_the_page_is_asked_for_its_health(locked_prefect: str, tmp_path: Path) -> None:
    address = locked_prefect.removesuffix("api")
    with pytest.raises(ServiceUnavailable, match=rf"the page at {address}: Client error .401.*; see page.log"):
        check_page(address, "page.log", Settings(_env_file=None, workbench_home=tmp_path))


def test_spark_is_asked_a_query(spark_url: str, locked_prefect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spark.check_query(spark_url)
    monkeypatch.setattr(spark, "_SECONDS", 6.0)
    address = locked_prefect.removeprefix("http://").removesuffix("/api")
    with pytest.raises(ServiceUnavailable, match=rf"Spark at {address}: .*; see the server's log"):
        spark.check_query(f"sc://{address}")


@pytest.fixture
def role(database_url: str) -> Iterator[str]:
    """A URL of a role of its own that may do all a run wants."""
    with ordinary_role(database_url) as url:
        yield url


@pytest.mark.parametrize(
    ("statement", "refusal"),
    [
        ("revoke create on database {dbname} from {user}", r"may create no schemas.*; `grant create on database"),
        ("revoke create on schema public from {user}", r"may not write the tables of the run state.*; `grant all on"),
        ("alter role {user} connection limit 6", r"role .* allows 6 connections.*; `alter role .* connection limit …`"),
        ("alter database {dbname} connection limit 5", r"database .* allows 5 conn.*; `alter database .* conn.* limit"),
    ],
)
def test_a_role_that_lacks_what_a_run_wants_is_told_so_before_the_run_and_by_doctor(
    database_url: str, role: str, tmp_path: Path, statement: str, refusal: str
) -> None:
    settings = Settings(_env_file=None, workbench_home=tmp_path, database_url=role)
    assert finding(settings, "postgres").reachable is True
    administer(database_url, role, statement)
    with pytest.raises(InvalidSetting, match=refusal) as refused, acquired(settings):
        pass
    found = finding(settings, "postgres")
    assert (found.reachable, f"{found.detail}; {found.mend}") == (False, str(refused.value))


def test_connections_that_others_have_taken_are_counted(database_url: str, role: str) -> None:
    limit = connections_needed() + 1
    administer(database_url, role, "alter role {user} connection limit " + str(limit))
    with closing(psycopg2.connect(role)):
        check_needs(role)
        with closing(psycopg2.connect(role)), pytest.raises(ServiceUnavailable, match="2 are in use; end other"):
            check_needs(role)


def test_who_uses_tables_that_another_role_made_needs_rights_on_them(database_url: str, role: str) -> None:
    database.connect(database_url).dispose()
    with pytest.raises(InvalidSetting, match="may not write the tables of the run state"):
        check_needs(role)
    administer(database_url, role, "grant all on all tables in schema public to {user}")
    check_needs(role)
