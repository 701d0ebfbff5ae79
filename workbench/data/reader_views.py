"""The views that readers of published marts query: replaced in place, so that grants and views over them stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from psycopg2 import sql
from psycopg2.errors import DependentObjectsStillExist
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from workbench.base.errors import NotPublished

# PostgreSQL reads no row of a branch whose number is not the reader's. A snapshot from before the oldest branch finds
# none that counts: rather than show nothing, the cast fails and quotes its text (which needs a column in it, else it
# would fail while the query is planned, for every reader).
_BRANCH = """
select {} from {} where (
    select case when publication >= {} then publication
        else cast('this transaction is too old, begin a new one; it sees run ' || pipeline_id as integer)
    end
    from {}
) = {}"""

_COLUMNS = text("""
select attname as name, format_type(atttypid, atttypmod) || coalesce(' collate ' || collation_name, '') as type
from pg_attribute
left join lateral (
    select collname::text as collation_name from pg_collation where pg_collation.oid = attcollation
) as collations on true
where attrelid = to_regclass(format('%I.%I', cast(:schema as text), cast(:relation as text)))
    and attnum > 0 and not attisdropped
order by attnum
""")

_OPTIONS = text("""
select option_name, option_value from pg_class, pg_options_to_table(reloptions)
where pg_class.oid = to_regclass(format('%I.%I', cast(:schema as text), cast(:relation as text)))
""")

# The statements that give a new view the properties of the one before, each with its column: comments,
# rights of others, and in the end its owner.
_HELD = text("""
with made as (
    select oid, relowner, relacl, format('%I.%I', cast(:schema as text), cast(:relation as text)) as name
    from pg_class where oid = to_regclass(format('%I.%I', cast(:schema as text), cast(:relation as text)))
),
columns as (
    select attname::text as attname, attnum, attacl from pg_attribute
    where attrelid = (select oid from made) and attnum > 0 and not attisdropped
),
grants as (
    select null as attname, acl.* from made, aclexplode(relacl) as acl
    union all
    select attname, acl.* from columns, aclexplode(attacl) as acl
)
select attname, statement from (
    select 1 as rank, null as attname,
        format('comment on view %s is %L', name, obj_description(oid, 'pg_class')) as statement
    from made where obj_description(oid, 'pg_class') is not null
    union all
    select 2, attname, format('comment on column %s.%I is %L', made.name, attname, col_description(made.oid, attnum))
    from made, columns where col_description(made.oid, attnum) is not null
    union all
    select 3, attname, format(
        'grant %s%s on %s to %s%s', privilege_type, ' (' || quote_ident(attname) || ')', made.name,
        case grantee when 0 then 'public' else grantee::regrole::text end,
        case when is_grantable then ' with grant option' else '' end
    ) from made, grants where grantee <> relowner
    union all
    select 4, null, format('alter view %s owner to %s', name, relowner::regrole)
    from made where relowner <> current_user::regrole
) as statements
order by rank
""")

# Rights that PostgreSQL's default privileges give to a new view, whether or not the one before had them.
_GIVEN = text("""
select distinct format(
    'revoke all on %I.%I from %s', cast(:schema as text), cast(:relation as text),
    case grantee when 0 then 'public' else grantee::regrole::text end
) as statement
from pg_class, aclexplode(relacl)
where oid = to_regclass(format('%I.%I', cast(:schema as text), cast(:relation as text))) and grantee <> relowner
""")


class Branch(NamedTuple):
    """The marts of one run: the schema that holds them, and the number of its publication."""

    schema: str
    number: int


class View(NamedTuple):
    """A view for readers, by its schema and the name of its mart."""

    schema: str
    mart: str

    @property
    def names(self) -> dict[str, str]:
        return {"schema": self.schema, "relation": self.mart}

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.mart)


class Column(NamedTuple):
    """A column of a mart or view: its name, and its type in PostgreSQL's words."""

    name: str
    type: str


def columns_of(connection: Connection, schema: str, relation: str) -> list[Column]:
    """Return the columns of a relation in their order; none when there is no such relation."""
    found = connection.execute(_COLUMNS, {"schema": schema, "relation": relation})
    return [Column(row.name, row.type) for row in found]


def replace_view(connection: Connection, view: View, branches: Sequence[Branch]) -> None:
    """Let the view show the marts of these branches, of which the first must have the mart; make it if need be.

    Columns that the mart has and the view lacks are appended. When the mart lacks one of the view's, or has it with
    another type, the view is dropped and created again with the rights it had. Raises `NotPublished` with the name of
    every object that depends on the view and prevents that.
    """
    wanted = columns_of(connection, branches[0].schema, view.mart)
    present = columns_of(connection, *view)
    shown = [*present, *(column for column in wanted if column not in present)]
    usable = [each for each in branches if set(wanted) <= set(columns_of(connection, each.schema, view.mart))]
    options = _options(connection, view)
    if set(present) <= set(wanted):
        _create(connection, view, _select(view, shown, usable), options)
    else:
        _recreate(connection, view, _changes(present, wanted), (_select(view, wanted, usable), options))


def _select(view: View, columns: Sequence[Column], branches: Sequence[Branch]) -> sql.Composable:
    names = sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)
    oldest = sql.Literal(min(branch.number for branch in branches))
    state = sql.Identifier(view.schema, "published_run")
    return sql.SQL(" union all ").join(
        sql.SQL(_BRANCH).format(
            names, sql.Identifier(branch.schema, view.mart), oldest, state, sql.Literal(branch.number)
        )
        for branch in branches
    )


def _options(connection: Connection, view: View) -> sql.Composable:
    """Return the view's `with (...)`, as for security_barrier; nothing when it has no option, or is not there."""
    each = [
        sql.SQL("{} = {}").format(sql.Identifier(row.option_name), sql.Literal(row.option_value))
        for row in connection.execute(_OPTIONS, view.names)
    ]
    return sql.SQL(" with ({})").format(sql.SQL(", ").join(each)) if each else sql.SQL("")


def _create(connection: Connection, view: View, select: sql.Composable, options: sql.Composable) -> None:
    run_sql(connection, "create or replace view {}{} as {}", view.identifier, options, select)


def _recreate(
    connection: Connection, view: View, changes: str, definition: tuple[sql.Composable, sql.Composable]
) -> None:
    held = connection.execute(_HELD, view.names).all()
    try:
        run_sql(connection, "drop view {}", view.identifier)
    except DBAPIError as error:
        if not isinstance(error.orig, DependentObjectsStillExist):
            raise
        dependents = "; ".join((error.orig.diag.message_detail or "").splitlines())
        raise NotPublished(
            f"mart {view.mart} has changed ({changes}), and {dependents}: drop what depends on it and make it anew "
            "once the run is published"
        ) from error
    _create(connection, view, *definition)
    columns = {column.name for column in columns_of(connection, *view)}
    for given in connection.execute(_GIVEN, view.names).all():
        _execute(connection, given.statement)
    for row in held:
        if row.attname is None or row.attname in columns:
            _execute(connection, row.statement)


def _changes(present: Sequence[Column], wanted: Sequence[Column]) -> str:
    """Name the view's columns that the mart lacks, or has with another type."""
    types = dict(wanted)
    return ", ".join(
        f"column {name} is {types[name]} instead of {kind}" if name in types else f"column {name} is gone"
        for name, kind in present
        if types.get(name) != kind
    )


def run_sql(connection: Connection, template: str, *parts: sql.Composable) -> Any:
    """Execute a statement with its names and literals filled in."""
    driver: Any = connection.connection.driver_connection
    return _execute(connection, sql.SQL(template).format(*parts).as_string(driver))


def _execute(connection: Connection, statement: str) -> Any:
    """Execute a statement unchanged: a percent sign in it is no parameter."""
    return connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
