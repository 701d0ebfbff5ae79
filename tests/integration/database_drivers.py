"""One statement through each of the drivers by which the workbench reaches PostgreSQL."""

from __future__ import annotations

import os
from contextlib import closing
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import psycopg2
import pytest
from psycopg2.extensions import make_dsn, parse_dsn
from sqlalchemy import create_engine, text

from workbench.data.dbt_runner import profile_environment
from workbench.state.database import sqlalchemy_url


def with_psycopg2(url: str, statement: str) -> Any:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()


def with_sqlalchemy(url: str, statement: str) -> Any:
    engine = create_engine(sqlalchemy_url(url))
    with engine.connect() as connection:
        found = connection.execute(text(statement)).one()
    engine.dispose()
    return tuple(found)


def with_adbc(url: str, statement: str) -> Any:
    with adbc.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()


def as_dbt_does(url: str, statement: str) -> Any:
    """Connect by the five fields of dbt/profiles.yml and libpq's variables, which are all that dbt gets."""
    with closing(psycopg2.connect(url)) as connection:
        environment = profile_environment(connection.info, "run")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        fields = {name: os.environ[f"PG{name.upper()}"] for name in ("host", "port", "user")}
        return with_psycopg2(make_dsn(dbname=os.environ["PGDATABASE"], **fields), statement)


def make_uri(url: str, **change: str) -> str:
    parts = parse_dsn(url) | change
    return "postgresql:///?" + "&".join(f"{name}={value}" for name, value in parts.items())
