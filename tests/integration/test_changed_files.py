"""Files of a completed run that somebody edits or removes: `show`, the page and JSON say so in one line."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine

from workbench.base.settings import Settings
from workbench.stage.artefacts import RunFolder
from workbench.stage.changed_files import changed_files_text
from workbench.state.run_document import run_document

pytestmark = pytest.mark.promise("P20", "an export or another artefact that was edited or removed is named")


def edited(path: Path) -> None:
    """Change the content and keep the size."""
    path.write_bytes(path.read_bytes()[:-1] + b"!")


def edited_long_ago(path: Path) -> None:
    """Change the size and set the time back."""
    path.write_bytes(path.read_bytes() + b"\n")
    os.utime(path, ns=(0, 0))


EXPORT = "05_export/made.txt"
CHANGES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "edited, same size": (edited, EXPORT, "changed since the run"),
    "edited, time set back": (edited_long_ago, EXPORT, "changed since the run"),
    "removed": (Path.unlink, EXPORT, "missing"),
    "rejects": (lambda path: path.write_bytes(b"{}\n"), "02_ingest/rejects.jsonl", "changed since the run"),
    "manifest": (
        lambda path: path.write_text(path.read_text().replace('"exported": 5', '"exported": 6')),
        "05_export/manifest.json",
        "changed since the run",
    ),
    "no manifest": (Path.unlink, "05_export/manifest.json", "missing"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_changed_after_completion_is_named(
    change: str,
    engine: Engine,
    mine: Settings,
    completed: str,
) -> None:
    make, path, problem = CHANGES[change]
    assert run_document(engine, mine, completed)["changed_files"] == []
    make(RunFolder(mine.home, completed).path / path)
    found = run_document(engine, mine, completed)["changed_files"]
    assert found == [{"path": path, "problem": problem}]
    assert changed_files_text(completed, found) == (
        f"Not as the run left it: {path} ({problem}); `workbench resume {completed} --from {path[3:].split('/')[0]}` "
        "makes it anew"
    )


def test_files_that_were_only_touched_or_copied_are_unchanged(engine: Engine, mine: Settings, completed: str) -> None:
    folder = RunFolder(mine.home, completed).path
    (folder / EXPORT).touch()
    shutil.copytree(folder / "02_ingest", folder / "copy", copy_function=shutil.copyfile)
    shutil.rmtree(folder / "02_ingest")
    (folder / "copy").rename(folder / "02_ingest")
    assert run_document(engine, mine, completed)["changed_files"] == []


def test_a_run_whose_folder_is_gone_names_the_first_three_files_and_counts_the_others(
    engine: Engine,
    mine: Settings,
    completed: str,
) -> None:
    shutil.rmtree(RunFolder(mine.home, completed).path)
    line = changed_files_text(completed, run_document(engine, mine, completed)["changed_files"])
    first = RunFolder(mine.home, completed).stage("generate").name
    assert line.startswith(
        f"Not as the run left it: {first}/manifest.json (missing), {first}/records.jsonl (missing), "
    )
    assert line.endswith(f" and 8 more; `workbench resume {completed} --from generate` makes it anew")
