"""Kept files are whole or absent: what a power loss has left of one is never an error and never a secret."""

from __future__ import annotations

import json
import logging
import stat
from pathlib import Path

import pytest

from workbench.base.durable_files import keep, kept, made_folder, written_whole
from workbench.base.errors import InvalidSetting
from workbench.base.settings import Settings, load_settings
from workbench.cli.lab_server import WORKSPACE, lab_command
from workbench.services import daemon, processes
from workbench.services.home_identity import IDENTITY, identity_of
from workbench.services.service_file import STATE, SUPERVISOR_LOCK, State, read_live_state, read_state
from workbench.web.auth import Access, kept_token

LEFT_BY_POWER_LOSS = [b"", b"\0" * 64, b'{"keeper": 12', b"\xff\xfe\xfd"]
pytestmark = pytest.mark.promise("P21", "the home survives a power loss at any moment")
damaged = pytest.mark.parametrize("content", LEFT_BY_POWER_LOSS, ids=["empty", "zeros", "half", "no text"])


@damaged
def test_a_service_whose_state_cannot_be_read_counts_as_down(tmp_path: Path, content: bytes) -> None:
    (tmp_path / STATE).write_bytes(content)
    assert read_live_state(tmp_path) is None
    assert read_state(tmp_path) is None


def test_a_state_of_another_version_is_understood_as_far_as_it_goes(tmp_path: Path) -> None:
    (tmp_path / STATE).write_text(json.dumps({"keeper": 7, "service": 8, "url": "u", "colour": "green"}))
    assert read_state(tmp_path) == State(supervisor=7, service=8, url="u")
    (tmp_path / STATE).write_text(json.dumps({"guardian": 7}))
    assert read_state(tmp_path) is None


@damaged
def test_a_group_whose_state_cannot_be_read_counts_as_down(tmp_path: Path, content: bytes) -> None:
    settings = Settings(_env_file=None, workbench_home=tmp_path)
    folder = daemon.group_folder(settings)
    for name in (daemon.LOCK, daemon.STATE):
        (folder / name).write_bytes(content)
    assert daemon.look(settings) is None


@damaged
def test_a_port_that_cannot_be_read_is_chosen_anew_and_kept(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "port").write_bytes(content)
    port = processes.same_port(tmp_path / "port")
    assert 0 < port < 1 << 16
    assert processes.same_port(tmp_path / "port") == port


@damaged
def test_a_token_that_cannot_be_read_opens_nothing_and_is_made_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "web" / "token"
    made_folder(path.parent)
    path.write_bytes(content)
    token = kept_token(path)
    assert len(token) >= 40
    assert kept_token(path) == token == path.read_text()
    access = Access.of(Settings(_env_file=None, workbench_home=tmp_path))
    assert not any(access.is_token(given) for given in ("", content.decode("latin-1")))


def test_an_empty_token_equals_no_token() -> None:
    assert not Access("", 8787, frozenset(), reading_is_free=True).is_token("")


def test_a_token_of_spaces_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_WEB_TOKEN", " " * 20 + "x")
    with pytest.raises(InvalidSetting, match=r"WORKBENCH_WEB_TOKEN: .*besides spaces"):
        load_settings()


@damaged
def test_a_home_whose_identity_cannot_be_read_gets_another(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "services" / IDENTITY
    made_folder(path.parent)
    path.write_bytes(content)
    assert identity_of(tmp_path) == identity_of(tmp_path) != ""


@damaged
def test_a_layout_of_jupyterlab_that_cannot_be_read_is_made_anew(tmp_path: Path, content: bytes) -> None:
    settings = Settings(_env_file=None, workbench_home=tmp_path)
    lab_command(settings)
    (layout,) = (tmp_path / "lab-workspaces").iterdir()
    whole = layout.read_text()
    layout.write_bytes(content)
    lab_command(settings)
    assert layout.read_text() == whole
    assert WORKSPACE in whole


def test_what_cannot_be_read_is_told_once_without_its_content(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "port").write_text("canary-77aa")
    with caplog.at_level(logging.WARNING):
        processes.same_port(tmp_path / "port")
        processes.same_port(tmp_path / "port")
    (message,) = caplog.messages
    assert str(tmp_path / "port") in message
    assert "canary" not in message


def test_what_is_not_there_is_told_to_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert kept(tmp_path / "port", int) is None
    assert not caplog.messages


def test_a_kept_file_is_private_and_others_keep_their_mode(tmp_path: Path) -> None:
    keep(tmp_path / "secret", b"x")
    with written_whole(tmp_path / "artefact") as file:
        file.write(b"x")
    (tmp_path / "plain").touch()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"secret": 0o600, "artefact": modes["plain"], "plain": modes["plain"]}


def test_a_lock_file_left_behind_is_held_by_nobody(tmp_path: Path) -> None:
    (tmp_path / SUPERVISOR_LOCK).touch()
    State(supervisor=1, service=1, url="of a process that lives").write(tmp_path)
    assert read_live_state(tmp_path) is None
