"""A database that ends a session in the middle of a statement, once: event triggers do it, at a sure place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

# Loading tables get a trigger as soon as they are created, so the session that fills one ends amid its COPY; dbt's ends
# as it creates a mart. What a sequence has counted stays counted when a transaction is lost.
_FAULT = """
    create schema fault;
    create sequence fault.rows;
    create sequence fault.marts;
    create function fault.take_row() returns trigger language plpgsql as $$
    begin
        if nextval('fault.rows') = {row} then perform pg_terminate_backend(pg_backend_pid()); end if;
        return new;
    end $$;
    create function fault.take_table() returns event_trigger language plpgsql as $$
    declare made record;
    begin
        for made in select * from pg_event_trigger_ddl_commands() loop
            if made.object_identity ~ 'processed_items__loading' then
                execute 'create trigger fault before insert on ' || made.objid::regclass
                    || ' for each row execute function fault.take_row()';
            end if;
        end loop;
    end $$;
    create function fault.take_mart() returns event_trigger language plpgsql as $$
    begin
        if nextval('fault.marts') = 1 then perform pg_terminate_backend(pg_backend_pid()); end if;
    end $$;
    create event trigger fault_table on ddl_command_end when tag in ('CREATE TABLE')
        execute function fault.take_table();
    create event trigger fault_mart on ddl_command_start when tag in ('CREATE TABLE AS')
        execute function fault.take_mart();
"""
_MENDED = "drop event trigger fault_table; drop event trigger fault_mart; drop schema fault cascade"


@contextmanager
def sessions_cut(engine: Engine, row: int) -> Iterator[None]:
    """In this block two sessions end, later ones do not.

    They are the one that copies this row, counted from 1, into processed_items, and dbt's that creates the first table.
    """
    with engine.begin() as connection:
        connection.exec_driver_sql(_FAULT.format(row=row))
    try:
        yield
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql(_MENDED)
