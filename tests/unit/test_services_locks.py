"""Locks are the whole arbitration between users and supervisors: they must exclude, and die with their holder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.services import file_locks


def test_a_held_lock_keeps_others_of_the_same_process_out(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with file_locks.locked(path, file_locks.EXCLUSIVE, 1):
        assert file_locks.is_locked(path)
        with pytest.raises(TimeoutError, match="still locked"), file_locks.locked(path, file_locks.SHARED, 0.05):
            pass
    assert not file_locks.is_locked(path)


def test_users_share_a_lock_and_keep_the_supervisor_out(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    supervisor = file_locks.open_lock(path)
    with file_locks.locked(path, file_locks.SHARED, 1), file_locks.locked(path, file_locks.SHARED, 1):
        assert not file_locks.try_lock(supervisor, file_locks.EXCLUSIVE)
    assert file_locks.try_lock(supervisor, file_locks.EXCLUSIVE)
    file_locks.release(supervisor)


def test_a_program_started_meanwhile_does_not_inherit_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with file_locks.locked(path, file_locks.EXCLUSIVE, 1):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    assert not file_locks.is_locked(path)
    child.communicate(b"\n", timeout=30)


def test_a_forked_child_neither_keeps_nor_drops_its_parents_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    reader, writer = os.pipe()
    with file_locks.locked(path, file_locks.EXCLUSIVE, 1):
        child = os.fork()
        if child == 0:
            os.read(reader, 1)
            os._exit(0)
        assert file_locks.is_locked(path)
    assert not file_locks.is_locked(path)
    os.write(writer, b"x")
    assert os.waitpid(child, 0)[1] == 0
    os.close(reader)
    os.close(writer)


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    program = (
        "import sys, time; from pathlib import Path; from workbench.services import file_locks\n"
        "file_locks.try_lock(file_locks.open_lock(Path(sys.argv[1])), file_locks.EXCLUSIVE)\n"
        "print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert file_locks.is_locked(path)
        holder.kill()
    assert not file_locks.is_locked(path)
