"""Which database this is: what its runs leave in folders and schemas bears its identity, so that no other removes it.

A copy of a database does not keep the identity: `place` says in which cluster and as which database it was given.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, text

from workbench.base.durable_files import written_whole
from workbench.stage.artefacts import CHAIN, IDENTITY, RunFolder

_MAY_ASK = text("select has_function_privilege('pg_control_system()', 'execute')")
_CLUSTER = text("select system_identifier from pg_control_system()")
_DATABASE = text("select oid from pg_database where datname = current_database()")
_IDENTITY = text("select id from workbench_database where place = :place")
_RENEW = text("""
insert into workbench_database (id, place) values (gen_random_uuid(), :place)
on conflict (single) do update set id = excluded.id, place = excluded.place
where workbench_database.place <> excluded.place
""")


def identity_of(connection: Connection) -> str | None:
    """Return the database's identity; None where it is a copy in which no run was begun yet."""
    identity = connection.execute(_IDENTITY, {"place": _place(connection)}).scalar_one_or_none()
    return None if identity is None else str(identity)


_CHAIN = text("select cast(chain as text) from pipelines where id = :pipeline_id")


def mark_folder(engine: Engine, folder: RunFolder) -> None:
    """Write the run's chain and the database's identity into a run's folder, unless they stand there."""
    _write_chain(engine, folder)
    path = folder.path / IDENTITY
    if path.exists():
        return
    with engine.connect() as connection:
        identity = identity_of(connection)
    if identity is not None:
        with written_whole(path) as file:
            file.write(f"{identity}\n".encode())


def _write_chain(engine: Engine, folder: RunFolder) -> None:
    path = folder.path / CHAIN
    with engine.connect() as connection:
        chain = connection.execute(_CHAIN, {"pipeline_id": folder.pipeline_id}).scalar_one_or_none()
    if chain is not None and not (path.exists() and path.read_bytes() == chain.encode()):
        with written_whole(path) as file:
            file.write(chain.encode())


def identity_in(folder: Path) -> str | None:
    """Return the identity that a run's folder bears; None for one without, or with one that cannot be read."""
    try:
        return (folder / IDENTITY).read_text("utf-8").strip() or None
    except (OSError, ValueError):
        return None


def renew_identity(connection: Connection) -> None:
    """Give a new database, and a copy, an identity of its own; nothing happens to one that has its own."""
    connection.execute(_RENEW, {"place": _place(connection)})


def _place(connection: Connection) -> str:
    """Return cluster and database; a server may keep the cluster from its users."""
    may_ask: bool = connection.execute(_MAY_ASK).scalar_one()
    cluster = connection.execute(_CLUSTER).scalar_one() if may_ask else ""
    return f"{cluster}/{connection.execute(_DATABASE).scalar_one()}"
