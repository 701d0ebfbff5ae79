"""A home is one of its own, also as a copy of another; what is not proven to be ours stays where it is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from tests.integration.service_watch import wait_until
from workbench.base.errors import InvalidSetting, ServiceUnavailable
from workbench.services import embedded
from workbench.services.home_identity import IDENTITY, identity_of
from workbench.services.postgres_server import SOCKET_NAME, socket_folder
from workbench.services.service_file import SUPERVISOR_LOCK, has_supervisor

NAME = "postgres"
pytestmark = pytest.mark.promise("P19", "what is not proven ours is never removed or replaced")


def _run(home: Path, statement: str) -> list[tuple[object, ...]]:
    with embedded.held(NAME, home) as state:
        return _ask(str(state.url), statement)


def _ask(url: str, statement: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def _stopped(home: Path) -> None:
    assert wait_until(lambda: not has_supervisor(home / "services" / NAME), 15)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home whose path makes its socket lie in the temporary folder, with a database that has one row."""
    home = tmp_path / "a home with spaces"
    _run(home, "create table kept as select 'first' as home")
    _stopped(home)
    yield home
    _stopped(home)


@pytest.mark.parametrize("content", ["", ".", "/", "data"], ids=["empty", "here", "root", "relative"])
def test_a_note_of_a_socket_folder_has_nothing_removed(home: Path, content: str) -> None:
    (home / "services" / NAME / "socket.path").write_text(content)
    (home / "services" / IDENTITY).write_bytes(b"")
    assert _run(home, "select home from kept") == [("first",)]


def test_a_copy_of_a_home_at_work_has_a_database_of_its_own(home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "a copy with spaces"
    with embedded.held(NAME, home) as original:
        subprocess.run(["cp", "-a", home, copy], check=True)
        with embedded.held(NAME, copy) as copied:
            assert copied.supervisor != original.supervisor
            assert copied.url != original.url
            _ask(str(copied.url), "update kept set home = 'copy'")
            assert _ask(str(original.url), "select home from kept") == [("first",)]
        _stopped(copy)
        assert _ask(str(original.url), "select home from kept") == [("first",)]
    assert identity_of(home) != identity_of(copy)


def test_a_copy_forgets_the_ports_of_its_original_and_is_itself_from_then_on(tmp_path: Path) -> None:
    home, copy = tmp_path / "home", tmp_path / "copy"
    port = home / "services" / "prefect-full" / "port"
    port.parent.mkdir(parents=True)
    identity_of(home)
    port.write_text("4200")
    shutil.copytree(home, copy)
    copied = identity_of(copy)
    assert not (copy / "services" / "prefect-full" / "port").exists()
    assert (port.read_text(), identity_of(copy)) == ("4200", copied)
    assert identity_of(home) != copied


def test_a_home_that_was_moved_stays_the_same(home: Path, tmp_path: Path) -> None:
    known, moved = identity_of(home), tmp_path / "moved with spaces"
    home.rename(moved)
    assert identity_of(moved) == known
    assert _run(moved, "select home from kept") == [("first",)]
    _stopped(moved)
    moved.rename(home)


def test_a_copy_of_hard_links_is_refused_and_its_original_works_on(home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "hard links"
    subprocess.run(["cp", "-al", home, copy], check=True)
    assert (copy / "services" / NAME / SUPERVISOR_LOCK).stat().st_nlink == 2
    with embedded.held(NAME, home) as original:
        with pytest.raises(InvalidSetting, match=r"hard links.*cp -a"), embedded.held(NAME, copy):
            pass
        with pytest.raises(InvalidSetting, match=r"hard links"), embedded.held_if_live(NAME, copy):
            pass
        assert _ask(str(original.url), "select home from kept") == [("first",)]


def test_a_cluster_that_is_missing_is_not_made_anew_without_a_word(home: Path) -> None:
    data = home / "services" / NAME / "data"
    data.rename(data.with_name("elsewhere"))
    with pytest.raises(ServiceUnavailable, match=r"services/postgres/data is missing; restore it"):
        _run(home, "select 1")
    _stopped(home)
    assert not data.exists()
    data.symlink_to(data.with_name("not mounted"))
    with pytest.raises(ServiceUnavailable, match=r"see .*services/postgres/log"):
        _run(home, "select 1")
    _stopped(home)
    data.unlink()
    data.with_name("elsewhere").rename(data)
    assert _run(home, "select home from kept") == [("first",)]


def test_a_cluster_that_is_damaged_stays_as_it_is(home: Path) -> None:
    control = home / "services" / NAME / "data" / "global" / "pg_control"
    whole = control.read_bytes()
    control.write_bytes(b"")
    with pytest.raises(ServiceUnavailable, match=r"exit code.*services/postgres/log"):
        _run(home, "select 1")
    _stopped(home)
    control.write_bytes(whole)
    assert _run(home, "select home from kept") == [("first",)]


def test_a_process_that_only_stands_in_the_data_folder_lives_on(home: Path) -> None:
    data = home / "services" / NAME / "data"
    (data / "postmaster.pid").write_text("")
    with subprocess.Popen([sys.executable, "-c", "input()"], cwd=data, stdin=subprocess.PIPE) as person:
        assert _run(home, "select home from kept") == [("first",)]
        assert person.poll() is None
        person.communicate(b"\n")


def test_a_socket_folder_keeps_what_others_have_put_there(tmp_path: Path) -> None:
    service = tmp_path / "with spaces" / "services" / NAME
    service.mkdir(parents=True)
    sockets = socket_folder(service, None)
    for name in (SOCKET_NAME, f"{SOCKET_NAME}.lock", "somebody's"):
        (sockets / name).touch()
    assert socket_folder(service, None) == sockets
    assert [path.name for path in sockets.iterdir()] == ["somebody's"]
    shutil.rmtree(sockets)


@pytest.mark.skipif(os.geteuid() != 0, reason="NO ROOT: no folder can belong to somebody else here")
def test_a_socket_folder_that_somebody_else_has_laid_out_is_not_taken(tmp_path: Path) -> None:
    service = tmp_path / "with spaces" / "services" / NAME
    service.mkdir(parents=True)
    foreign = Path(tempfile.gettempdir()) / f"workbench-{identity_of(service.parents[1])}-foreign"
    foreign.mkdir()
    os.chown(foreign, 65534, 65534)
    link = foreign.with_name(f"{foreign.name}-link")
    link.symlink_to(tmp_path)
    sockets = socket_folder(service, None)
    assert sockets not in (foreign, link)
    for folder in (foreign, sockets):
        folder.rmdir()
    link.unlink()
