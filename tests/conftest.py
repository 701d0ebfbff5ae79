"""What tests share: real services, one of each for a whole session, a fresh database for each test that wants one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import sql
from psycopg2.extensions import make_dsn, parse_dsn

from pipeline_lib.services import postgres
from pipeline_lib.settings import Settings

OWN_POSTGRES = "postgresql://postgres@127.0.0.1:5432/postgres"
OWN_BROKER = "amqp://guest:guest@127.0.0.1:5672/%2F"


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One WORKBENCH_HOME for the session, so that services are started once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def server_url(home: Path) -> Iterator[str]:
    """A PostgreSQL server: TEST_DATABASE_URL, or the one on this machine, or else the embedded one."""
    url = os.environ.get("TEST_DATABASE_URL", OWN_POSTGRES)
    try:
        psycopg2.connect(url, connect_timeout=2).close()
    except psycopg2.OperationalError:
        with postgres.held(Settings(workbench_home=home)) as embedded:
            yield embedded
    else:
        yield url


@pytest.fixture
def database_url(server_url: str) -> Iterator[str]:
    """A fresh database of its own for one test."""
    name = f"workbench_test_{secrets.token_hex(6)}"
    with closing(psycopg2.connect(server_url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        yield _with_database(server_url, name)
        cursor.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def _with_database(url: str, name: str) -> str:
    parts = parse_dsn(make_dsn(url, dbname=name))
    user = parts["user"] + (f":{parts['password']}" if "password" in parts else "")
    if parts["host"].startswith("/"):
        return f"postgresql://{user}@/{name}?host={parts['host']}"
    return f"postgresql://{user}@{parts['host']}:{parts.get('port', 5432)}/{name}"
