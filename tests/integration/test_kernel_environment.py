"""Kernels of runs: what a person has set up for interactive work does not reach them, what is set on purpose does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest

from tests.integration.executing import KERNEL_ONLY, code_runner
from workbench.kernels.kernel_pool import warm_kernels
from workbench.kernels.kernel_provisioner import PlainKernels
from workbench.notebook.results import NotebookOutcome

pytestmark = pytest.mark.promise("P22", "the shell's environment, the locale, the user and the path change nothing")
DECIMAL = "import decimal; decimal.setcontext(decimal.Context(prec=3))\n"
SHOW = "import decimal, os, sys; print(decimal.getcontext().prec, os.environ.get('DBT_TARGET'), sys.flags.utf8_mode)"


@pytest.fixture(params=["forked", "started"])
def run_code(request: pytest.FixtureRequest) -> Iterator[Callable[..., NotebookOutcome]]:
    """Executes one cell of some code on a kernel that comes about in this way."""
    if request.param == "started":
        yield code_runner(PlainKernels())
        return
    with warm_kernels(KERNEL_ONLY, later=()) as kernels:
        yield code_runner(kernels)


def printed(target: Path) -> str:
    cells = nbformat.read(target, as_version=4).cells
    return "".join(
        output.text for cell in cells for output in cell.get("outputs", ()) if output.output_type == "stream"
    )


def test_start_up_files_do_not_run_and_options_of_components_do_not_arrive(
    run_code: Callable[..., NotebookOutcome], target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    startup = tmp_path / "startup.py"
    startup.write_text(DECIMAL)
    monkeypatch.setenv("PYTHONSTARTUP", str(startup))
    monkeypatch.setenv("DBT_TARGET", "other")
    assert run_code(SHOW, target).completed
    assert printed(target).startswith("28 None 1")


def test_start_up_files_do_not_run_even_where_kernels_are_given_one(
    run_code: Callable[..., NotebookOutcome], target: Path, tmp_path: Path
) -> None:
    startup = tmp_path / "startup.py"
    startup.write_text(DECIMAL)
    assert run_code(SHOW, target, environment={"PYTHONSTARTUP": str(startup)}).completed
    assert printed(target).startswith("28 None")


def test_modules_that_kernels_are_given_are_found_after_all_others(
    run_code: Callable[..., NotebookOutcome], target: Path, tmp_path: Path
) -> None:
    (tmp_path / "module_of_mine.py").write_text("value = 42\n")
    code = "import module_of_mine; print(module_of_mine.value)"
    assert run_code(code, target, environment={"PYTHONPATH": str(tmp_path)}).completed
    assert printed(target).startswith("42")
