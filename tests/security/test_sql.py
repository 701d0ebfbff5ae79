"""No SQL is put together from text: values are bound, names are `psycopg2.sql.Identifier`s. Read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from workbench.base.settings import PROJECT

pytestmark = pytest.mark.promise("S15", "no SQL is put together from text")

SOURCES = sorted(path for folder in ("workbench", "pipeline_lib", "flows") for path in (PROJECT / folder).rglob("*.py"))
TAKE_SQL = frozenset(
    {"execute", "executemany", "exec_driver_sql", "execute_values", "copy_expert", "mogrify"}
    | {"text", "literal_column", "SQL", "sql", "_run"}
)
# Made when the module is imported, of the names of fields that the module itself holds.
EXCEPTIONS = ["pipeline_lib/export.py: cursor.execute(_RECORDS)"]
BUILDS = frozenset({"format", "join", "replace", "format_map"})


@dataclass(frozen=True)
class Scope:
    """Where names get their values: the function a call stands in, and the module around it."""

    function: ast.AST
    module: ast.Module

    def values_of(self, name: str) -> list[ast.expr]:
        """Return what is assigned to a name, in the function if it is there, else in the module."""
        return list(_assigned(self.function, name)) or list(_assigned(self.module, name))


def _assigned(inside: ast.AST, name: str) -> Iterator[ast.expr]:
    for node in ast.walk(inside):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        if value is not None and any(isinstance(target, ast.Name) and target.id == name for target in targets):
            yield value


def is_built(value: ast.expr, scope: Scope, depth: int = 5) -> bool:
    """Tell whether an expression puts text together: f-string, %, +, .format, .join or .replace of a plain text."""
    if depth == 0 or is_fixed(value, scope, depth):
        return False
    if isinstance(value, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in value.values)
    if isinstance(value, ast.BinOp):
        return isinstance(value.op, ast.Add | ast.Mod)
    if isinstance(value, ast.IfExp):
        return is_built(value.body, scope, depth) or is_built(value.orelse, scope, depth)
    if isinstance(value, ast.Name):
        return any(is_built(each, scope, depth - 1) for each in scope.values_of(value.id))
    method = value.func if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) else None
    return method is not None and method.attr in BUILDS and is_text(method.value, scope, depth - 1)


def is_fixed(value: ast.expr, scope: Scope, depth: int) -> bool:
    """Tell whether a text is the same whatever happens: put together of constants of its module, if at all."""
    if isinstance(value, ast.Name):
        known = list(_assigned(scope.module, value.id)) if depth and value.id.isupper() else []
        return bool(known) and all(is_fixed(each, scope, depth - 1) for each in known)
    if isinstance(value, ast.FormattedValue):
        return is_fixed(value.value, scope, depth)
    parts: list[ast.expr] = [] if isinstance(value, ast.Constant) else [value]
    if isinstance(value, ast.JoinedStr):
        parts = value.values
    elif isinstance(value, ast.BinOp):
        parts = [value.left, value.right]
    elif isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr in BUILDS:
        parts = [value.func.value, *value.args, *(each.value for each in value.keywords)]
    return value not in parts and all(is_fixed(part, scope, depth) for part in parts)


def is_text(value: ast.expr, scope: Scope, depth: int) -> bool:
    """Tell whether an expression is plain text; what `sql.SQL` makes is none: its `format` quotes."""
    if isinstance(value, ast.Name):
        return any(is_text(each, scope, depth - 1) for each in scope.values_of(value.id)) if depth else False
    return isinstance(value, ast.Constant | ast.JoinedStr | ast.BinOp) or is_built(value, scope, depth)


def built_statements(source: str, path: str = "") -> list[str]:
    """Return the calls that are given SQL put together from text, with their file."""
    module = ast.parse(source)
    functions = [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    found = {}
    for inside in (module, *functions):
        for call in (node for node in ast.walk(inside) if isinstance(node, ast.Call)):
            scope = Scope(inside, module)
            if _name(call) in TAKE_SQL and any(is_built(each, scope) for each in call.args[:2]):
                found[call.lineno] = f"{path}: {ast.unparse(call)}"
    return list(found.values())


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def test_no_statement_of_ours_is_put_together_from_text() -> None:
    assert len(SOURCES) > 100
    found = [each for path in SOURCES for each in built_statements(path.read_text(), str(path.relative_to(PROJECT)))]
    assert found == EXCEPTIONS


@pytest.mark.parametrize(
    "planted",
    [
        'cursor.execute(f"select * from {table}")',
        'cursor.execute("select * from %s" % table)',
        'cursor.execute("select * from " + table)',
        'cursor.execute("select * from {}".format(table), (1,))',
        'connection.execute(text(f"drop schema {name}"))',
        'connection.exec_driver_sql(" ".join(["drop", name]))',
        'cursor.execute(sql.SQL(f"drop table {name}"))',
        'query = f"select {name}"\n    cursor.execute(query)',
        'query = "select {}"\n    cursor.execute(query.format(name))',
        'query = "select 1 " if x else "select " + name\n    cursor.executemany(query, rows)',
        '_run(connection, f"drop schema {name}")',
        "op.execute(VIEW.format(column=name))",
    ],
)
def test_one_that_is_planted_is_found(planted: str) -> None:
    assert built_statements(f"VIEW = 'select {{column}}'\ndef planted(cursor, table, name, x, rows):\n    {planted}\n")


@pytest.mark.parametrize(
    "good",
    [
        'cursor.execute("select %s", (name,))',
        'cursor.execute("select 1" " from x")',
        "op.execute(VIEW.format(column=_COLUMN))",
        'cursor.execute(sql.SQL("drop schema {}").format(sql.Identifier(name)))',
        'names = sql.SQL(", ").join(parts)\n    cursor.execute(sql.SQL("select {}").format(names))',
        'connection.execute(text("select :a"), {"a": f"{name}"})',
    ],
)
def test_one_that_is_bound_or_quoted_is_not(good: str) -> None:
    module = '_COLUMN = "a"\nVIEW = "select {column}"\n'
    assert built_statements(f"{module}def good(cursor, table, name, parts):\n    {good}\n") == []
