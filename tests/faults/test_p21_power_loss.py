"""What is told to be done is on the disk by then: images of an ext4 disk are taken the moment it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.faults.crash_disk import CrashDisk, check, crash_disk, mounted
from workbench.base.durable_files import private_folder, written_whole
from workbench.data import spark_files
from workbench.run import takeover
from workbench.services import embedded, processes
from workbench.services.daemon import STARTING, GroupState
from workbench.services.home_identity import IDENTITY, identity_of
from workbench.services.service_file import STATE, State
from workbench.stage.artefacts import RunFolder
from workbench.web.auth import kept_token

pytestmark = pytest.mark.promise("P21", "the home survives a power loss at any moment")
RUN = "20260101t000000_abcdef"
PART = pa.table({"id": list(range(1000))})


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[CrashDisk]:
    with crash_disk(tmp_path, 1024) as disk:
        yield disk


def _artefact(home: Path) -> Path:
    path = RunFolder(home, RUN).begin("generate") / "records.jsonl"
    with written_whole(path) as file:
        file.write(b"{}\n" * 100_000)
    return path


def _processed(home: Path) -> Path:
    """Put Spark's parts in place, as stage 3 does."""
    stage = RunFolder(home, RUN).begin("process")
    written = stage / ".processed.aside" / "items"
    written.mkdir(parents=True)
    pq.write_table(PART, written / "part-0.parquet")
    (written / "_SUCCESS").touch()
    spark_files._take_over(written)
    spark_files._put_in_place(written.parent, stage / "processed")
    return stage / "processed" / "items" / "part-00000.parquet"


def _taken_over(home: Path) -> Path:
    former = _artefact(home)
    latter = home / "runs" / "20260102t000000_abcdef" / former.parent.name / former.name
    takeover._link(former, latter)
    return latter


def _state(home: Path) -> Path:
    folder = private_folder(home / "services" / "spark")
    State(supervisor=1, service=2, port=3, url="sc://localhost:3/;token=x").write(folder)
    return folder / STATE


def _group_state(home: Path) -> Path:
    folder = private_folder(home / "services" / "up")
    GroupState(pid=1, phase=STARTING).write(folder)
    return folder / STATE


def _token(home: Path) -> Path:
    kept_token(home / "web" / "token")
    return home / "web" / "token"


def _port(home: Path) -> Path:
    folder = private_folder(home / "services" / "prefect-full")
    processes.same_port(folder / "port")
    return folder / "port"


def _identity(home: Path) -> Path:
    private_folder(home / "services")
    identity_of(home)
    return home / "services" / IDENTITY


KEPT: list[Callable[[Path], Path]] = [
    _artefact, _processed, _taken_over, _state, _group_state, _token, _port, _identity,
]  # fmt: skip


def test_what_was_written_is_there_after_a_power_loss(disk: CrashDisk, tmp_path: Path) -> None:
    expected: dict[str, bytes] = {}
    for number, write in enumerate(KEPT):
        path = write(disk.files / f"home{number}")
        disk.image(tmp_path / "image")
        expected[str(path.relative_to(disk.files))] = path.read_bytes()
        _found_whole(tmp_path / "image", tmp_path / "after", expected)


def _found_whole(image: Path, place: Path, expected: dict[str, bytes]) -> None:
    check(image)
    with mounted(image, place):
        found = {name: (place / name).read_bytes() if (place / name).exists() else None for name in expected}
    assert {name: content == expected[name] for name, content in found.items()} == dict.fromkeys(expected, True)


def test_what_the_embedded_database_has_committed_is_there_after_a_power_loss(disk: CrashDisk, tmp_path: Path) -> None:
    home, image = disk.files / "home", tmp_path / "image"
    with embedded.held("postgres", home) as state:
        _ask(str(state.url), "create table kept as select generate_series(1, 10000) as id")
        disk.image(image)
        _ask(str(state.url), "drop table kept")
    check(image)
    with mounted(image, tmp_path / "after"), embedded.held("postgres", tmp_path / "after" / "home") as state:
        assert _ask(str(state.url), "select count(*), sum(id) from kept") == [(10000, 50005000)]


def _ask(url: str, statement: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []
