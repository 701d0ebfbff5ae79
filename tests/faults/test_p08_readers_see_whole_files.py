"""P8: a reader sees an old file or a new one, whole, whatever the disk says."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tests.faults.bench import Bench
from tests.faults.faulty_notebooks import with_cell
from tests.faults.invariants import check_invariants
from tests.integration.executing import NOTEBOOKS
from workbench.base.durable_files import written_whole
from workbench.notebook.execute import ExecutionOptions, execute_notebook
from workbench.notebook.executed_notebook import NotebookDocument

pytestmark = pytest.mark.promise("P8", "a reader sees an old file or a new one, whole, whatever the disk says")
READS = 2_000
LARGEST_FILE = 2_500_000  # a report with figures has 1.5 MB
READER = """
import json, sys
path, reads = sys.argv[1], int(sys.argv[2])
seen = set()
for _ in range(reads):
    with open(path, "rb") as file: notebook = json.loads(file.read())
    first, last = (notebook["cells"][at]["outputs"][0]["text"][0] for at in (0, -1))
    assert first == last, (first, last)
    seen.add(first)
print(len(seen))
"""


def document_at(target: Path) -> NotebookDocument:
    """Return a notebook of ten cells to be saved at `target`, whose first and last cell always show the same."""
    cells = [new_code_cell("1", id=f"c{number}") for number in range(10)]
    return NotebookDocument(new_notebook(cells=cells, metadata={"papermill": {}}), target)


def show(document: NotebookDocument, version: int) -> None:
    for _, cell in document.code_cells():
        cell.outputs = [new_output("stream", name="stdout", text=f"{version}\n" + "x" * 2_000 * (version % 7))]


def test_two_thousand_reads_while_a_notebook_is_saved_see_whole_notebooks(tmp_path: Path) -> None:
    target = tmp_path / "notebook.ipynb"
    document, version, ended = document_at(target), 0, threading.Event()
    show(document, version)
    document.save()
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(target), str(READS)], stdout=subprocess.PIPE, text=True
    ) as reader:
        threading.Thread(target=lambda: (reader.wait(), ended.set())).start()
        while not ended.is_set():
            version += 1
            show(document, version)
            document.save()
        seen = reader.stdout.read() if reader.stdout else ""
    assert reader.returncode == 0
    assert int(seen) > 1


def test_a_run_whose_files_may_not_grow_says_so_and_keeps_whole_files(bench: Bench, tmp_path: Path) -> None:
    notebooks = with_cell(tmp_path, "ingest", "print('é' * 1_800_000)")
    run = bench.run(WORKBENCH_NOTEBOOKS=str(notebooks), limits=files_of_limited_size)
    assert run.wait() == 1, run.said()
    row = check_invariants(run)
    assert (row["status"], row["error"]["stage"]) == ("failed", "ingest")
    assert os.strerror(errno.EFBIG) in row["error"]["message"]


def files_of_limited_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mount)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("NO FULL DISK: only root may mount one")
    yield mount
    subprocess.run(["umount", "--lazy", str(mount)], check=True)


def test_a_notebook_that_outgrows_its_disk_tells_the_truth_without_its_outputs(small_disk: Path) -> None:
    target = small_disk / "notebook.ipynb"
    flood = {"code": "print('x' * 400_000)"}
    outcome = execute_notebook(NOTEBOOKS / "runs_code.ipynb", target, flood, ExecutionOptions(folder=Path("/")))
    assert (outcome.status, outcome.error.exception) == ("failed", "OSError")
    assert os.strerror(errno.ENOSPC) in outcome.error.value
    saved = nbformat.read(target, as_version=4)
    assert saved.metadata.workbench.status == "failed"
    assert not any(cell.get("outputs") for cell in saved.cells)
    assert list(small_disk.iterdir()) == [target]


def test_on_a_full_disk_the_old_file_stays_as_it_was(small_disk: Path) -> None:
    target = small_disk / "manifest.json"
    with written_whole(target) as file:
        file.write(json.dumps({"version": 1}).encode())
    with pytest.raises(OSError, match="No space left"), written_whole(target) as file:
        file.write(b"x" * 300_000)
    assert json.loads(target.read_bytes()) == {"version": 1}
    assert list(small_disk.iterdir()) == [target]


def test_a_summary_that_cannot_be_written_out_is_no_success(bench: Bench) -> None:
    environment = {**os.environ, **bench.environment()}
    with Path("/dev/full").open("wb") as full:
        command = [Path(sys.executable).with_name("workbench"), "runs", "--json"]
        done = subprocess.run(command, env=environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode != 0
    assert "No space left" in done.stderr
