"""Parameters into a notebook: byte-identical, or refused before any kernel starts.

papermill's own translator turns tuples, dates and integer keys into strings, and papermill only warns about names
the notebook does not have. So values are written as Python literals by a translator of our own.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from papermill.engines import papermill_engines
from papermill.parameterize import parameterize_notebook
from papermill.translators import PythonTranslator, papermill_translators

from workbench.base.errors import InvalidParameter, NotebookRefused
from workbench.notebook.papermill_engine import WorkbenchEngine
from workbench.stage.pipeline import STAGES
from workbench.stage.run_parameters import STAGE_PARAMETERS

_TRANSLATOR = "workbench-python"
_TAG = "parameters"


class ExactTranslator(PythonTranslator):  # type: ignore[misc]  # papermill is untyped
    """Writes values so that the kernel reads back exactly what was given."""

    @classmethod
    def translate(cls, val: Any) -> str:
        return literal(val)

    @classmethod
    def codify(cls, parameters: Mapping[str, Any], comment: str = "Parameters") -> str:
        lines = [f"{name} = {literal(value)}" for name, value in parameters.items()]
        return "\n".join([f"# {comment}", *lines])


papermill_translators.register(_TRANSLATOR, ExactTranslator)
# The entry point does this in an installed package; a checkout on the path has none.
papermill_engines.register("workbench", WorkbenchEngine)


def literal(value: Any) -> str:
    """Return Python source, printable characters only, that evaluates to an equal value of the same type.

    Raises `TypeError` for types that have no such source, `ValueError` for integers beyond Python's own limit.
    """
    if value is None or type(value) in (bool, int, str):
        return repr(value)
    if type(value) is float:
        return repr(value) if math.isfinite(value) else f'float("{value}")'
    if type(value) is list:
        return f"[{', '.join(map(literal, value))}]"
    if type(value) is dict:
        return f"{{{', '.join(f'{literal(key)}: {literal(item)}' for key, item in value.items())}}}"
    raise TypeError(f"{type(value).__name__} is not a type a parameter can have")


def read_notebook(path: Path) -> NotebookNode:
    """Read a notebook, upgraded to the newest format papermill writes; raises `NotebookRefused`."""
    try:
        notebook = nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
        raise NotebookRefused(f"{path}: cannot be read as a notebook ({type(error).__name__})") from error
    return prepared(notebook)


def check_notebooks(folder: Path) -> None:
    """Raise `NotebookRefused` unless each stage's notebook in `folder` is there and takes the stage's parameters."""
    for stage in STAGES:
        path = folder / stage.notebook
        wanted = ["pipeline_id", *STAGE_PARAMETERS[stage.name].model_fields]
        try:
            known = declared_names(read_notebook(path))
        except NotebookRefused as error:
            raise NotebookRefused(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error
        if missing := [name for name in wanted if name not in known]:
            raise NotebookRefused(f"{path}: its parameters cell lacks {', '.join(missing)}")


def inject(notebook: NotebookNode, parameters: Mapping[str, Any]) -> NotebookNode:
    """Return the notebook with a cell of `parameters` after its `parameters` cell.

    Raises `NotebookRefused` unless there is exactly one such cell, `InvalidParameter` for names that cell does not
    have and for values that cannot be written exactly.
    """
    known = declared_names(notebook)
    for name, value in parameters.items():
        _check(name, value, known)
    if not parameters:
        return notebook
    injected: NotebookNode = parameterize_notebook(
        notebook, dict(parameters), kernel_name=_TRANSLATOR, language="python", engine_name="workbench"
    )
    return injected


def prepared(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook with the metadata papermill expects."""
    notebook = nbformat.v4.upgrade(notebook)
    notebook.metadata.setdefault("papermill", NotebookNode(parameters={}))
    for cell in notebook.cells:
        cell.metadata.setdefault("tags", [])
    return notebook


def declared_names(notebook: NotebookNode) -> tuple[str, ...]:
    """Return the names assigned in the `parameters` cell; raises `NotebookRefused` unless there is exactly one."""
    cells = [cell for cell in notebook.cells if _TAG in cell.metadata.get("tags", [])]
    if len(cells) != 1 or cells[0].cell_type != "code":
        raise NotebookRefused(f"a notebook needs exactly one code cell tagged '{_TAG}'; this one has {len(cells)}")
    try:
        body = ast.parse(cells[0].source).body
    except SyntaxError as error:
        raise NotebookRefused(f"the parameters cell is not Python: {error}") from error
    return tuple(name for statement in body for name in _assigned(statement))


def _assigned(statement: ast.stmt) -> list[str]:
    targets: list[ast.expr] = []
    if isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    elif isinstance(statement, ast.Assign):
        targets = statement.targets
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _check(name: str, value: Any, known: tuple[str, ...]) -> None:
    if name not in known:
        raise InvalidParameter(name, f"the notebook has no such parameter; it has: {', '.join(known) or 'none'}")
    try:
        literal(value)
    except (TypeError, ValueError) as error:
        raise InvalidParameter(name, str(error)) from None
