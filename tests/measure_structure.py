"""Prints figures of the code's structure: size, what a stage's notebook imports, upward imports, import cycles.

    python -m tests.measure_structure [FOLDER]

FOLDER is a checkout of this repository, by default this one; an older one (`git worktree add`) gives figures to compare
with. Files are parsed, never imported. Imports under TYPE_CHECKING do not count.
"""

from __future__ import annotations

import ast
import json
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PACKAGES = ("workbench", "pipeline_lib", "flows")


@dataclass(frozen=True)
class Code:
    """The packages of a checkout; modules are known by their dotted names."""

    root: Path

    @cached_property
    def files(self) -> dict[str, Path]:
        found = [path for package in PACKAGES for path in sorted((self.root / package).rglob("*.py"))]
        return {self._name(path): path for path in found}

    def _name(self, path: Path) -> str:
        parts = path.relative_to(self.root).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def lines(self, package: str) -> list[int]:
        """Return the number of lines of each of the package's files."""
        return [len(path.read_text("utf-8").splitlines()) for name, path in self.files.items() if _is_in(name, package)]

    @cached_property
    def imports(self) -> dict[str, set[str]]:
        """Return the modules that each module imports anywhere in its file."""
        return {name: self._imported(_tree(path), name, nested=True) for name, path in self.files.items()}

    @cached_property
    def imports_at_top(self) -> dict[str, set[str]]:
        """Return the modules that are loaded with each module, packages included."""
        found = {name: self._imported(_tree(path), name, nested=False) for name, path in self.files.items()}
        return {name: set().union(*(_with_packages(each) for each in [name, *found[name]])) for name in found}

    def loaded_by(self, notebook: Path) -> set[str]:
        """Return the modules that the cells of a notebook load when they are run, as far as imports at the top tell."""
        cells = json.loads(notebook.read_text("utf-8"))["cells"]
        source = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        waiting = [each for name in self._imported(ast.parse(source), "", nested=True) for each in _with_packages(name)]
        loaded: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name not in loaded:
                loaded.add(name)
                waiting += self.imports_at_top.get(name, ())
        return loaded

    def _imported(self, tree: ast.Module, module: str, *, nested: bool) -> set[str]:
        found: set[str] = set()
        for node in _nodes(tree, nested):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= names & self.files.keys() or {node.module}
        return found & self.files.keys() - {module}


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def _nodes(node: ast.AST, nested: bool) -> Iterator[ast.AST]:
    """Yield the nodes below this one; those in functions only if `nested`, none under TYPE_CHECKING."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        if nested or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _nodes(child, nested)


def _is_in(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _with_packages(name: str) -> set[str]:
    parts = name.split(".")
    return {".".join(parts[:length]) for length in range(1, len(parts) + 1)}


def upward_edges(code: Code) -> list[tuple[str, str]]:
    """Return the imports that point up in a contract of layers in pyproject.toml."""
    contracts = tomllib.loads((code.root / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    edges = [(name, each) for name, imported in code.imports.items() for each in imported]
    return [edge for contract in contracts if contract["type"] == "layers" for edge in _upward(edges, contract)]


def _upward(edges: Sequence[tuple[str, str]], contract: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    for container in contract.get("containers", [""]):
        rank: dict[str, int] = {}
        for number, layer in enumerate(contract["layers"]):
            rank |= {
                f"{container}.{each.strip(' ()')}".strip("."): number for each in layer.replace(":", "|").split("|")
            }
        for edge in edges:
            upper, lower = (next((rank[each] for each in _with_packages(name) if each in rank), None) for name in edge)
            if upper is not None and lower is not None and lower < upper:
                yield edge


def cycles(imports: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that import each other in a circle."""
    reached = {name: _reached(imports, name) for name in imports}
    groups = {frozenset({name, *(each for each in reached[name] if name in reached[each])}) for name in imports}
    return [sorted(group) for group in groups if len(group) > 1]


def _reached(imports: Mapping[str, set[str]], start: str) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        new = imports[waiting.pop()] - reached
        reached |= new
        waiting += new
    return reached


def main(root: Path) -> None:
    """Print the figures of the checkout in this folder."""
    code = Code(root.resolve())
    for package in PACKAGES:
        if lines := code.lines(package):
            print(f"{package:14} {len(lines):4} files {sum(lines):7,} lines, the longest {max(lines)}")
    for notebook in sorted((code.root / "notebooks").glob("*.ipynb")):
        loaded = code.loaded_by(notebook)
        counts = [f"{sum(_is_in(name, package) for name in loaded):3} of {package}" for package in PACKAGES]
        print(f"{notebook.name:20} loads files: {', '.join(counts)}")
    for title, found in (("imports that point up", upward_edges(code)), ("import cycles", cycles(code.imports))):
        print(f"{title}: {len(found)}")
        for each in found:
            print("  " + " -> ".join(each))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent)
