"""Roles of the database that lack something, as administrators make them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import parse_dsn

_GRANTS = (
    "grant create on database {dbname} to {user}",
    "grant all on schema public to {user}",
    "grant all on all tables in schema public to {user}",
)


@contextmanager
def ordinary_role(database_url: str) -> Iterator[str]:
    """Make a role for the block that may do all a run wants in this database; yields its URL."""
    parts = parse_dsn(database_url)
    user = f"workbench_test_{secrets.token_hex(6)}"
    url = f"postgresql://{user}@{parts['host']}:{parts.get('port', 5432)}/{parts['dbname']}"
    administer(database_url, url, "create role {user} login", *_GRANTS)
    try:
        yield url
    finally:
        administer(database_url, url, "drop owned by {user} cascade", "drop role {user}")


def administer(database_url: str, role: str, *statements: str) -> None:
    """Run statements about {user} and {dbname} of the role's URL, as a superuser."""
    names = {key: sql.Identifier(value) for key, value in parse_dsn(role).items() if key in ("user", "dbname")}
    with closing(psycopg2.connect(database_url)) as connection:
        connection.autocommit = True
        for statement in statements:
            connection.cursor().execute(sql.SQL(statement).format(**names))
