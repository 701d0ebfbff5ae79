"""Folders of kernels whose owners have died are removed; what else lies there hinders nobody."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pipeline_lib.execution.kernels import remove_orphaned_folders


def dead() -> int:
    """Return the id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


def test_only_folders_of_dead_owners_are_removed(tmp_path: Path) -> None:
    orphan, alive = tmp_path / f"wb-kernel-{dead()}-a", tmp_path / "wb-kernel-1-b"
    for folder in (orphan, alive):
        folder.mkdir()
    (tmp_path / f"wb-kernel-{dead()}-link").symlink_to(tmp_path / "nowhere")
    (tmp_path / f"wb-kernel-{dead()}-file").touch()
    assert remove_orphaned_folders(tmp_path) == [orphan]
    assert sorted(path.name.rpartition("-")[2] for path in tmp_path.iterdir()) == ["b", "file", "link"]
