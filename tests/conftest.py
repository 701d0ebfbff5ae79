"""What tests share: real services, one of each for a whole session, a fresh database for each test that wants one."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pika
import psycopg2
import pytest
from psycopg2 import sql
from psycopg2.extensions import make_dsn, parse_dsn
from sqlalchemy import Engine

from workbench.base.settings import PROJECT, Settings
from workbench.services import postgres
from workbench.services import spark as spark_service
from workbench.services.service_file import has_supervisor
from workbench.state import database

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

HOME = "WORKBENCH_TEST_HOME"
OWN_POSTGRES = os.environ.get("TEST_DATABASE_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
_TESTS = Path(__file__).parent
_LONGEST_FIRST = ["tiny", "e2e", "faults", "security", "integration", "web", "unit", "benchmarks"]
OWN_BROKER = os.environ.get("TEST_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2F")
# A process has one project: `make test` runs the tests of the tiny pipeline in a session of their own.
collect_ignore = [] if PROJECT.name == "tiny_pipeline" else ["tiny"]


# How long an example takes says nothing about it on a busy machine.
hypothesis.settings.register_profile("no deadline", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("no deadline")


def pytest_configure(config: pytest.Config) -> None:
    """Make one home for the session and all its workers; outside pytest's own folder, which other users cannot pass."""
    if not hasattr(config, "workerinput"):
        os.environ[HOME] = tempfile.mkdtemp(prefix="workbench-test-")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the session's home, once its last service has stopped."""
    if hasattr(config, "workerinput"):
        return
    folder, patience = Path(os.environ.pop(HOME)), time.monotonic() + 20
    while any(has_supervisor(each) for each in folder.glob("services/*")) and time.monotonic() < patience:
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the folders with the longest files first, so that no worker ends alone with one; in them, random order."""
    items.sort(key=lambda item: _LONGEST_FIRST.index(item.path.relative_to(_TESTS).parts[0]))


@pytest.fixture(scope="session")
def home() -> Path:
    """One WORKBENCH_HOME for the session, the same for all its workers, so that services are started once."""
    return Path(os.environ[HOME])


@pytest.fixture(scope="session")
def settings(home: Path) -> Settings:
    """Settings of a session without external components."""
    return Settings(_env_file=None, workbench_home=home)


@pytest.fixture(scope="session")
def server_url(settings: Settings) -> Iterator[str]:
    """A PostgreSQL server: the one on this machine (TEST_DATABASE_URL), or else the embedded one."""
    try:
        psycopg2.connect(OWN_POSTGRES, connect_timeout=2).close()
    except psycopg2.OperationalError:
        with postgres.held(settings) as embedded:
            yield embedded
    else:
        yield OWN_POSTGRES


@pytest.fixture(scope="session")
def drop(server_url: str) -> Iterator[Callable[[str], None]]:
    """Drops a database while tests go on: each drop waits for a checkpoint, which takes half a second and more."""
    drops: list[Future[None]] = []
    with ThreadPoolExecutor(1) as thread:
        yield lambda name: drops.append(thread.submit(_drop, server_url, name))
    for each in drops:
        each.result()


@pytest.fixture(scope="session")
def migrated(server_url: str) -> Iterator[str]:
    """The name of a database with the present tables; a copy of it costs half of what a migration does."""
    with fresh_database(server_url) as url:
        database.connect(url).dispose()
        yield parse_dsn(url)["dbname"]


@pytest.fixture
def database_url(request: pytest.FixtureRequest, server_url: str, drop: Callable[[str], None]) -> Iterator[str]:
    """A database of its own for one test: with the present tables where the test has an engine, else an empty one."""
    template = request.getfixturevalue("migrated") if "engine" in request.fixturenames else "template1"
    name = _create(server_url, template)
    yield _with_database(server_url, name)
    drop(name)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on a fresh database with the present tables."""
    engine = database.connect(database_url)
    yield engine
    engine.dispose()


@contextmanager
def fresh_database(server_url: str) -> Iterator[str]:
    """Create a database on a server for the block; yields its URL, drops it afterwards."""
    name = _create(server_url, "template1")
    try:
        yield _with_database(server_url, name)
    finally:
        _drop(server_url, name)


def _create(server_url: str, template: str) -> str:
    name = f"workbench_test_{secrets.token_hex(6)}"
    _administer(server_url, "create database {} template {}", name, template)
    return name


def _drop(server_url: str, name: str) -> None:
    _administer(server_url, "drop database {} with (force)", name)


def _administer(server_url: str, statement: str, *names: str) -> None:
    with closing(psycopg2.connect(server_url)) as connection:
        connection.autocommit = True
        connection.cursor().execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _with_database(url: str, name: str) -> str:
    parts = parse_dsn(make_dsn(url, dbname=name))
    user = parts["user"] + (f":{parts['password']}" if "password" in parts else "")
    if parts["host"].startswith("/"):
        return f"postgresql://{user}@/{name}?host={parts['host']}"
    return f"postgresql://{user}@{parts['host']}:{parts.get('port', 5432)}/{name}"


@pytest.fixture(scope="session")
def spark_url(settings: Settings) -> Iterator[str]:
    """The session's Spark Connect server."""
    with spark_service.held(settings) as url:
        yield url


@pytest.fixture
def spark(spark_url: str) -> Iterator[SparkSession]:
    """A Spark session of its own for one test."""
    from pyspark.sql.connect.session import SparkSession

    session = SparkSession.builder.remote(spark_url).create()
    yield session
    session.stop()


@pytest.fixture(scope="session")
def broker_url() -> str:
    """The RabbitMQ broker on this machine (TEST_AMQP_URL); a loud skip without one."""
    try:
        pika.BlockingConnection(pika.URLParameters(OWN_BROKER)).close()
    except pika.exceptions.AMQPError:
        pytest.skip("NO BROKER: the tests of event delivery do not run; `make services` installs RabbitMQ")
    return OWN_BROKER
