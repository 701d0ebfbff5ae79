"""Tiny notebooks on real kernels: what is told, what is saved, what is kept out."""

from __future__ import annotations

import json
import os

import nbformat
import pytest

from tests.integration.executing import NOTEBOOKS, Recorder, saved
from workbench.notebook.execute import ExecutionOptions, execute_notebook


def test_a_good_notebook_completes_and_says_what_each_cell_did(target):
    observer = Recorder()
    outcome = execute_notebook(NOTEBOOKS / "works.ipynb", target, {"times": 2}, ExecutionOptions(observer=observer))
    assert outcome.completed
    assert outcome.error is None
    assert outcome.kernel.code == 0
    expected = {2: "completed", 3: "completed", 4: "completed", 5: "skipped", 6: "completed"}
    assert saved(target) == ("completed", expected)
    assert {cell.number: cell.status for cell in outcome.cells} == expected
    assert ("started", 4, 7, "print('hello' * times)") in observer.events
    assert ("output", 4, "hellohello\n") in observer.events
    assert observer.events[-1] == ("completed", 6)


def test_progress_is_told_and_leaves_no_clutter(target):
    observer = Recorder()
    execute_notebook(NOTEBOOKS / "progresses.ipynb", target, {}, ExecutionOptions(observer=observer))
    assert [event[2:] for event in observer.events if event[0] == "progress"] == [
        (number, 3, "records") for number in (1, 2, 3)
    ]
    outputs = nbformat.read(target, as_version=4).cells[-1].outputs
    assert [output.output_type for output in outputs] == ["stream"]


def test_a_target_that_cannot_be_written_is_a_failure_before_any_kernel(run_code, tmp_path):
    (tmp_path / "file").write_text("in the way")
    outcome = run_code("print('never')", tmp_path / "file" / "notebook.ipynb")
    assert (outcome.status, outcome.kernel_starts) == ("failed", 0)
    assert outcome.error.exception in {"NotADirectoryError", "FileExistsError"}


def test_a_target_that_vanishes_while_running_is_a_failure(run_code, tmp_path):
    folder = tmp_path / "gone"
    away = "import pathlib, shutil\nshutil.rmtree({0!r})\npathlib.Path({0!r}).write_text('no folder')"
    outcome = run_code(away.format(str(folder)), folder / "notebook.ipynb")
    assert outcome.status == "failed"
    assert "cannot be saved" in outcome.error.value


def test_secrets_reach_the_kernel_by_environment_and_stay_out_of_the_notebook(run_code, target):
    code = "import os; assert os.environ['DATABASE_URL'] == 'canary-' + '7f3a9'; assert False"
    outcome = run_code(code, target, environment={"DATABASE_URL": "canary-7f3a9"})
    assert outcome.error.exception == "AssertionError"
    assert "canary-7f3a9" not in target.read_text()


def test_a_kernel_needs_no_home_and_leaves_no_files(run_code, target, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    outcome = run_code("print('hello')", target, environment={"HOME": str(home)})
    assert outcome.completed
    assert list(home.iterdir()) == []
    assert not list(tmp_path.glob("wb-kernel-*"))


def test_kernels_listen_on_no_port(run_code, target, tmp_path):
    answer = tmp_path / "listening.json"
    code = (
        "import json, os, pathlib, psutil\n"
        "kinds = [c.status for c in psutil.Process(os.getpid()).net_connections('inet')]\n"
        f"pathlib.Path({str(answer)!r}).write_text(json.dumps(kinds))"
    )
    assert run_code(code, target).completed
    assert "LISTEN" not in json.loads(answer.read_text())


def test_output_of_forked_children_is_kept(run_code, target):
    child = "if pid == 0:\n    print('from the child', flush=True)\n    os._exit(0)"
    run_code(f"import os\npid = os.fork()\n{child}\nos.waitpid(pid, 0)\nimport time; time.sleep(0.5)", target)
    assert "from the child" in str(nbformat.read(target, as_version=4).cells[3].outputs)


def test_a_notebook_works_beside_its_own_file(run_code, target, tmp_path):
    answer = tmp_path / "folder"
    code = f"import os, pathlib; pathlib.Path({str(answer)!r}).write_text(os.getcwd())"
    assert run_code(code, target).completed
    assert answer.read_text() == os.fspath(NOTEBOOKS.resolve())


@pytest.mark.anyio
async def test_execution_works_inside_a_running_event_loop(run_code, target):
    assert run_code("print('hello')", target).completed
