"""Looks for secrets wherever something may have been left: files, every column of a database, a queue's messages."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pika
import psycopg2
from psycopg2 import sql

_RELATIONS = """
select nspname, relname from pg_class join pg_namespace on pg_namespace.oid = relnamespace
where relkind in ('r', 'v', 'm', 'p') and nspname not in ('pg_catalog', 'information_schema') and nspname !~ '^pg_toast'
"""


@dataclass(frozen=True)
class Needles:
    """Secrets by the name of their credential, and every form in which one may lie somewhere."""

    secrets: Mapping[str, str]

    def found_in(self, content: bytes) -> list[str]:
        """Return the names of the secrets that these bytes hold."""
        return [name for name, secret in self.secrets.items() if any(form in content for form in _forms(secret))]

    def in_files(self, folder: Path) -> list[str]:
        """Return where below the folder which secret lies, byte by byte: contents and names."""
        files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
        named = ((path, str(path.relative_to(folder)).encode() + b"\n" + path.read_bytes()) for path in files)
        return [f"{path}: {name}" for path, content in named for name in self.found_in(content)]

    def in_database(self, url: str) -> list[str]:
        """Return which table or view of which schema holds which secret, in whatever column."""
        return [f"{relation}: {name}" for relation, row in _rows(url) for name in self.found_in(row)]

    def in_messages(self, messages: Iterable[bytes]) -> list[str]:
        return [f"message {number}: {name}" for number, each in enumerate(messages) for name in self.found_in(each)]


def _forms(secret: str) -> Iterator[bytes]:
    """Yield the secret as it is, as UTF-16, and as it looks inside of base64, wherever it begins there."""
    plain = secret.encode()
    yield plain
    yield secret.encode("utf-16-le")
    for ahead in range(3):
        encoded = base64.b64encode(b"\0" * ahead + plain)
        # The characters at both ends are shared with what stands before and behind.
        yield encoded[(0, 2, 3)[ahead] : len(encoded) - 4]


def _rows(url: str) -> Iterator[tuple[str, bytes]]:
    connection = psycopg2.connect(url)
    with connection.cursor() as cursor:
        cursor.execute(_RELATIONS)
        for schema, relation in cursor.fetchall():
            cursor.execute(sql.SQL("select whole::text from {} as whole").format(sql.Identifier(schema, relation)))
            yield from ((f"{schema}.{relation}", row.encode()) for (row,) in cursor)
    connection.close()


def taken_from(url: str, queue: str) -> list[bytes]:
    """Take all messages out of a queue: their headers and bodies."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    taken: list[bytes] = []
    while True:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            break
        taken.append(f"{method} {properties}".encode() + body)
    connection.close()
    return taken
