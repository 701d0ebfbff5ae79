"""The results of dbt by node: seconds, rows and status of models, failures of tests, and the error of a build."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.base.error_text import joined
from workbench.base.errors import ModelTestFailed, ServiceUnavailable, WorkbenchError

if TYPE_CHECKING:
    from dbt.artifacts.schemas.run import RunExecutionResult

_GOOD = frozenset({"success", "pass"})
_NOT_REACHED = frozenset({"skipped", "no-op"})
_BUILT = frozenset({"model", "seed", "snapshot", "test"})
_NAMED = 5

# libpq's words for a connection that is lost or refused; dbt hands on the text and drops the exception's class.
_CONNECTION_LOST = (
    "server closed the connection",
    "terminating connection",
    "connection to server",
    "could not connect",
    "could not receive data",
    "could not send data",
    "connection already closed",
    "connection has been closed",
    "the database system is",
)


@dataclass(frozen=True)
class ModelRun:
    """One model: seconds it took, dbt's status (success, error, skipped), rows written (None: a view)."""

    name: str
    seconds: float
    status: str
    rows: int | None


@dataclass(frozen=True)
class TestRun:
    """One test: the model it is about, its kind (data or unit), dbt's status, and how many rows failed it."""

    __test__ = False  # pytest would take the name for a test of its own

    name: str
    model: str
    kind: str
    status: str
    failures: int


@dataclass(frozen=True)
class Failure:
    """A node that failed: its kind, the file of its SQL, and dbt's message."""

    kind: str
    name: str
    model: str
    rows: int
    sql: Path | None
    message: str

    def __str__(self) -> str:
        where = f"; its SQL: {self.sql}" if self.sql else ""
        if self.kind == "model":
            return f"dbt model {self.name} failed: {self.message}{where}"
        extent = self.message if self.kind == "unit test" or not self.rows else f"{self.rows:,} rows fail it"
        return f"dbt {self.kind} {self.name} of model {self.model} failed: {extent}{where}"


@dataclass(frozen=True)
class Build:
    """The results of one `dbt build`, in the order in which the nodes ended.

    `not_run` names what the project declares and dbt did not run to its end, e.g. "test unique_item_metrics_id".
    """

    models: tuple[ModelRun, ...]
    tests: tuple[TestRun, ...]
    failures: tuple[Failure, ...]
    not_run: tuple[str, ...] = ()

    def details(self) -> dict[str, Any]:
        """Return models and tests as JSON values, for the stage's record."""
        return {"models": [asdict(model) for model in self.models], "tests": [asdict(test) for test in self.tests]}


def read_build(execution: RunExecutionResult, declared: Mapping[str, str]) -> Build:
    """Sort dbt's node results into models, tests and failures, and compare them with what `declared_nodes` found."""
    results: list[Any] = list(execution.results)  # nodes of a dozen classes with no common base for what is read here
    ended = {result.node.unique_id for result in results if str(result.status) not in _NOT_REACHED}
    return Build(
        models=tuple(_model_run(result) for result in results if _kind(result) == "model"),
        tests=tuple(_test_run(result) for result in results if _kind(result) != "model"),
        failures=tuple(_failure(result) for result in results if str(result.status) not in _GOOD | _NOT_REACHED),
        not_run=tuple(name for unique_id, name in declared.items() if unique_id not in ended),
    )


def declared_nodes(target: Path) -> dict[str, str]:
    """Return kind and name of every model and test that the project declares, by dbt's unique id.

    dbt writes them to `target`/manifest.json before it selects what to run. Not among them is what the project's own
    files disable, and ephemeral models, which are part of those that select from them. Raises `ModelTestFailed`.
    """
    try:
        manifest = json.loads((target / "manifest.json").read_bytes())
    except (OSError, ValueError) as error:
        raise ModelTestFailed(f"{target / 'manifest.json'}: dbt has not written it ({error})") from error
    nodes = [node for node in manifest["nodes"].values() if node["resource_type"] in _BUILT]
    built = [node for node in nodes if node["config"].get("materialized") != "ephemeral"]
    return {
        node["unique_id"]: f"{node['resource_type'].replace('_', ' ')} {node['name']}"
        for node in (*built, *manifest["unit_tests"].values())
    }


def build_error(build: Build) -> WorkbenchError | None:
    """Return the error of a build, naming what failed or was left out; None when all ran and passed."""
    if build.failures:
        lost = next((failure for failure in build.failures if _is_lost_connection(failure.message)), None)
        return error_of(str(lost) if lost else _summary(build.failures))
    if build.not_run:
        return ModelTestFailed(
            f"dbt left out {len(build.not_run)} models and tests that the project declares: {_named(build.not_run)}; "
            "remove the selector or the DBT_ variable that leaves them out, or disable them in the project"
        )
    return None


def error_of(message: str) -> WorkbenchError:
    """Return `ServiceUnavailable` when dbt's message reports a lost connection, else `ModelTestFailed`."""
    if _is_lost_connection(message):
        return ServiceUnavailable(f"the connection to PostgreSQL was lost while dbt ran: {joined(message)}")
    return ModelTestFailed(message)


def _summary(failures: Iterable[Failure]) -> str:
    first, *others = failures
    return f"{first}; failed too: {_named([failure.name for failure in others])}" if others else str(first)


def _named(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + rest


def _is_lost_connection(message: str) -> bool:
    return any(words in message.lower() for words in _CONNECTION_LOST)


def _kind(result: Any) -> str:
    """Return model, unit test or (data) test."""
    return str(result.node.resource_type).replace("_", " ")


def _model_run(result: Any) -> ModelRun:
    rows = result.adapter_response.get("rows_affected", -1)
    return ModelRun(result.node.name, round(result.execution_time, 3), str(result.status), rows if rows >= 0 else None)


def _test_run(result: Any) -> TestRun:
    kind = "unit" if _kind(result) == "unit test" else "data"
    return TestRun(result.node.name, _model_of(result), kind, str(result.status), result.failures or 0)


def _failure(result: Any) -> Failure:
    compiled = getattr(result.node, "compiled_path", None)  # a unit test has none
    return Failure(
        kind=_kind(result),
        name=result.node.name,
        model=_model_of(result),
        rows=result.failures or 0,
        sql=Path(compiled) if compiled else None,
        message=joined(result.message or "no message"),
    )


def _model_of(result: Any) -> str:
    """Return the model a node is or is about; a singular test is about all it selects from."""
    if _kind(result) == "model":
        return str(result.node.name)
    one = getattr(result.node, "attached_node", None) or getattr(result.node, "tested_node_unique_id", None)
    about = [one] if one else result.node.depends_on.nodes
    return ", ".join(name.rpartition(".")[2] for name in about)
