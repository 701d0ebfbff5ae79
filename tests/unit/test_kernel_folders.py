"""Folders of kernels whose owners have died are removed; what else lies there hinders nobody."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from workbench.kernels.kernel_folders import remove_kernel_folder, remove_orphaned_folders
from workbench.services import file_locks


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


@pytest.mark.promise("P19", "what is not proven ours is never removed or replaced")
def test_a_folder_whose_owner_cannot_be_seen_but_holds_its_lock_stays(tmp_path: Path) -> None:
    folder = tmp_path / f"wb-kernel-{dead()}-elsewhere"
    folder.mkdir()
    with file_locks.locked(folder / "owner.lock", file_locks.EXCLUSIVE, 1):
        assert remove_orphaned_folders(tmp_path) == []
    assert remove_orphaned_folders(tmp_path) == [folder]


@pytest.mark.promise("P19", "what is not proven ours is never removed or replaced")
def test_only_a_kernels_folder_is_removed_as_one(tmp_path: Path) -> None:
    (tmp_path / "wb-kernel-1-link").symlink_to(tmp_path)
    for path in (tmp_path, Path(), tmp_path / "wb-kernel-1-link"):
        remove_kernel_folder(path)
    assert (tmp_path / "wb-kernel-1-link").is_symlink()
