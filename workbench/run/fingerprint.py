"""What a stage's result depends on, as four hashes: code, parameters, inputs, environment. All equal, equal result.

Code is the stage's notebook, every module of the project and of the engine's blocks of data work that it imports,
directly or through another one, and the folders that pipeline.toml names (`code`). A change that may matter counts: a
needless run costs seconds, a wrong reuse costs trust.
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

from workbench.base.environment import ENGINE
from workbench.base.settings import PROJECT
from workbench.stage.pipeline import STAGES, Stage
from workbench.stage.run_parameters import RunParameters

_ENGINES_NAME = "workbench"
_ENGINES_FOLDER = ENGINE / _ENGINES_NAME
_BLOCKS = tuple(_ENGINES_FOLDER / name for name in ("data", "stage"))
_WRITTEN_BY_TOOLS = frozenset({"target", "logs", "dbt_packages", ".user.yml", "__pycache__"})


@dataclass(frozen=True)
class Code:
    """The code as it was when a run's kernels began to import it: the hash of each file there is."""

    notebooks: Path
    hashes: Mapping[Path, str]

    @classmethod
    def as_it_is(cls, notebooks: Path) -> Self:
        """Take note of modules, notebooks and dbt project as they are now: 20 ms."""
        modules = [*_modules_below(PROJECT), *(file for block in _BLOCKS for file in block.rglob("*.py"))]
        declared = [file for stage in STAGES for folder in stage.code for file in _files_below(PROJECT / folder)]
        files = {*modules, *notebooks.glob("*.ipynb"), *declared}
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
    """Return a file's path below project or engine, so that the same code elsewhere is the same; a notebook's name."""
    root = next((root for root in (PROJECT, ENGINE) if file.is_relative_to(root)), file.parent)
    return file.name if file.suffix == ".ipynb" else str(file.relative_to(root))


@cache
def environment() -> tuple[str, ...]:
    """Return Python's version and every installed distribution with its version, as this process has started with."""
    folders = [Path(entry) for entry in sys.path if Path(entry).is_dir()]
    installed = {found.name for folder in folders for found in folder.glob("*.dist-info")}
    return (platform.python_version(), *sorted(installed))


def _modules_below(folder: Path) -> Iterator[Path]:
    """Yield the modules of a folder and of the packages in it; a folder of data or of an environment is none."""
    modules = [file for file in folder.glob("*.py") if file.is_file()]
    if modules or folder == PROJECT:
        yield from modules
        for each in folder.iterdir():
            if each.is_dir() and not each.is_symlink() and not each.name.startswith(".") and each != _ENGINES_FOLDER:
                yield from _modules_below(each)


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield all files of a folder but what dbt and Python write there."""
    for file in folder.rglob("*"):
        if file.is_file() and not _WRITTEN_BY_TOOLS & set(file.relative_to(folder).parts):
            yield file


def _modules_behind(notebook: Path) -> set[Path]:
    cells = nbformat.read(notebook, as_version=4).cells
    sources = [_as_python(cell.source) for cell in cells if cell.cell_type == "code"]
    waiting = [file for source in sources for file in _imported(source, PROJECT)]
    found: set[Path] = set()
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += _imported(file.read_text("utf-8"), file.parent)
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


def _imported(source: str, folder: Path) -> Iterator[Path]:
    """Yield the files of what a source in this folder imports."""
    for level, name in _imported_names(source):
        if level:
            yield from _files_of(folder.joinpath(*[".."] * (level - 1), *name.split(".")).resolve())
        else:
            root = ENGINE if name.split(".")[0] == _ENGINES_NAME else PROJECT
            yield from _files_of(root.joinpath(*name.split(".")))


@cache
def _imported_names(source: str) -> tuple[tuple[int, str], ...]:
    """Return what a source imports anywhere, in functions and for type checkers too: modules, and names in them.

    Each has its level: 0 for an absolute import, else the number of its leading dots.
    """
    names: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = [node.module] if node.module else []
            names += [(node.level, ".".join(module))] if module else []
            names += [(node.level, ".".join([*module, alias.name])) for alias in node.names]
    return tuple(names)


def _files_of(path: Path) -> Iterator[Path]:
    """Yield the module's file and the `__init__.py` of each package above it; none for a name that is no module."""
    for file in (path.with_suffix(".py"), *(folder / "__init__.py" for folder in (path, *path.parents))):
        if _counts(file) and file.is_file():
            yield file


def _counts(file: Path) -> bool:
    """Whether a file is of the engine's blocks, or of the project and not of the engine."""
    if file.is_relative_to(_ENGINES_FOLDER):
        return any(file.is_relative_to(block) for block in _BLOCKS)
    return file.is_relative_to(PROJECT)


def _hash_of(value: Any) -> str:
    return _hash(json.dumps(value, sort_keys=True).encode())


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
