"""What a stage's result depends on, as four hashes: code, parameters, inputs, environment. All equal, equal result.

Code is the stage's notebook, every module of the notebooks' library and of the engine's blocks of data work that it
imports, directly or through another one, and the folders that pipeline.toml names (`code`). A change
that may matter counts: a needless run costs seconds, a wrong reuse costs trust.
"""

from __future__ import annotations

import ast
import hashlib
import json
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import nbformat

from workbench.base.settings import PROJECT
from workbench.stage.pipeline import STAGES, Stage
from workbench.stage.run_parameters import RunParameters

_LIBRARIES = tuple(PROJECT / name for name in ("pipeline_lib", "workbench/data", "workbench/stage"))
_WRITTEN_BY_TOOLS = frozenset({"target", "logs", "dbt_packages", ".user.yml", "__pycache__"})


@dataclass(frozen=True)
class Code:
    """The code as it was when a run's kernels began to import it: the hash of each file there is."""

    notebooks: Path
    hashes: Mapping[Path, str]

    @classmethod
    def as_it_is(cls, notebooks: Path) -> Self:
        """Take note of modules, notebooks and dbt project as they are now: 10 ms."""
        modules = [file for library in _LIBRARIES for file in library.rglob("*.py")]
        declared = [file for stage in STAGES for folder in stage.code for file in _files_below(PROJECT / folder)]
        files = [*modules, *notebooks.glob("*.ipynb"), *declared]
        return cls(notebooks, {file: _hash(file.read_bytes()) for file in files})

    def fingerprint(self, stage: Stage, parameters: RunParameters, inputs: Mapping[str, str]) -> dict[str, str]:
        """Return the stage's four hashes; none when its code has changed since, so that the code that ran is unknown.

        `inputs` are the hashes that a manifest holds as its own.
        """
        files = files_behind(stage, self.notebooks)
        present = {file: _hash(file.read_bytes()) for file in files}
        if any(self.hashes.get(file) != found for file, found in present.items()):
            return {}
        return {
            "code": _hash_of([(_name(file), present[file]) for file in files]),
            "parameters": _hash_of(parameters.for_stage(stage.name).model_dump(mode="json")),
            "inputs": _hash_of(dict(inputs)),
            "environment": _hash_of(environment()),
        }


def files_behind(stage: Stage, notebooks: Path) -> list[Path]:
    """Return the files that the stage's code consists of, sorted."""
    notebook = notebooks / stage.notebook
    folders = [file for folder in stage.code for file in _files_below(PROJECT / folder)]
    return sorted({notebook, *_modules_behind(notebook), *folders})


def _name(file: Path) -> str:
    """Return a file's path below the project, so that the same code elsewhere is the same; notebooks by their name."""
    return str(file.relative_to(PROJECT)) if file.is_relative_to(PROJECT) and file.suffix != ".ipynb" else file.name


@cache
def environment() -> tuple[str, ...]:
    """Return Python's version and every installed distribution with its version, as this process has started with."""
    folders = [Path(entry) for entry in sys.path if Path(entry).is_dir()]
    installed = {found.name for folder in folders for found in folder.glob("*.dist-info")}
    return (platform.python_version(), *sorted(installed))


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield all files of a folder but what dbt and Python write there."""
    for file in folder.rglob("*"):
        if file.is_file() and not _WRITTEN_BY_TOOLS & set(file.relative_to(folder).parts):
            yield file


def _modules_behind(notebook: Path) -> set[Path]:
    cells = nbformat.read(notebook, as_version=4).cells
    waiting = [file for cell in cells if cell.cell_type == "code" for file in _imported(_as_python(cell.source))]
    found: set[Path] = set()
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += _imported(file.read_text("utf-8"))
    return found


@cache
def _as_python(cell: str) -> str:
    """Return a cell's source with IPython's magics and shell lines as the calls they are; nothing if it cannot run."""
    try:
        ast.parse(cell)
        return cell
    except SyntaxError:
        from IPython.core.inputtransformer2 import TransformerManager  # costs half a second, and few cells need it

    try:
        python = str(TransformerManager().transform_cell(cell))
        ast.parse(python)
    except SyntaxError:
        return ""
    return python


def _imported(source: str) -> Iterator[Path]:
    for name in _imported_names(source):
        yield from _files_of(name)


@cache
def _imported_names(source: str) -> tuple[str, ...]:
    """Return what a source imports anywhere, in functions and for type checkers too: modules, and names in them."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:  # this library imports by absolute names only
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(names)


def _files_of(name: str) -> Iterator[Path]:
    """Yield the module's file and the `__init__.py` of each package above it; none for a name that is no module."""
    path = PROJECT.joinpath(*name.split("."))
    for library in (each for each in _LIBRARIES if path.is_relative_to(each)):
        for file in (path.with_suffix(".py"), *(folder / "__init__.py" for folder in (path, *path.parents))):
            if file.is_relative_to(library) and file.is_file():
                yield file


def _hash_of(value: Any) -> str:
    return _hash(json.dumps(value, sort_keys=True).encode())


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
