"""Prefect's store after a first start that was interrupted: some of its migrations commit half way."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.integration.service_watch import USER, supervisors_below, wait_until
from workbench.base.settings import Settings
from workbench.services import prefect, prefect_server
from workbench.services.service_supervisor import kind_of

pytestmark = pytest.mark.promise("P21", "the home survives a power loss at any moment")
TOLD = "its first migration was interrupted; the store is created again"


def _store(home: Path) -> Path:
    return home / "services" / "prefect" / "store" / "prefect.db"


def _prepare(home: Path) -> None:
    folder = home / "services" / "prefect"
    folder.mkdir(parents=True, exist_ok=True)
    kind_of("prefect").prepare(folder).clean_up()


def _flow(url: str, name: str) -> str:
    """Return the id of a flow, made if there is none of this name."""
    body, kind = json.dumps({"name": name}).encode(), {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{url}/flows/", body, kind), timeout=20) as answer:
        return str(json.load(answer)["id"])


def _cut_off_first_start(home: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", USER, "prefect", home], stderr=subprocess.DEVNULL) as user:
        assert wait_until(_store(home).exists, 60)
        for supervisor in supervisors_below(home):
            supervisor.kill()
        user.kill()
    with closing(sqlite3.connect(_store(home))) as connection, connection:
        connection.execute("create table if not exists flow (id)")  # what the first migration makes, without its mark


def test_a_store_whose_first_migration_was_cut_off_is_made_anew_once(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, workbench_home=tmp_path)
    _cut_off_first_start(tmp_path)
    with prefect.held(settings) as url:
        made = _flow(url, "kept")
    assert wait_until(lambda: not supervisors_below(tmp_path), 20)
    with prefect.held(settings) as url:
        assert _flow(url, "kept") == made
    assert (tmp_path / "services" / "prefect" / "log").read_text().count(TOLD) == 1


def test_a_store_that_has_been_ready_is_never_removed(tmp_path: Path) -> None:
    _store(tmp_path).parent.mkdir(parents=True)
    _store(tmp_path).write_bytes(b"of whatever state")
    for _ in range(2):
        _prepare(tmp_path)
    assert _store(tmp_path).read_bytes() == b"of whatever state"


@pytest.mark.promise("P22", "the shell's environment, the locale, the user and the path change nothing")
def test_the_stores_path_arrives_whole() -> None:
    folder = Path("/a b#c%41[d]{e},f'g\"h?i*j&k;l$m\\n:memory:o=p~q@r+s|ü")
    url = make_url(prefect_server.url_of(folder))
    assert (url.database, dict(url.query), url.host) == (str(folder / "prefect.db"), {}, None)
