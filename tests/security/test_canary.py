"""A secret in every credential is found nowhere after a run that succeeds, one that fails and one that crashes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import psutil
import psycopg2
import pytest

from tests.e2e.conftest import WORKBENCH, Workbench
from tests.faults.faulty_notebooks import with_cell
from tests.security import guarded
from tests.security.searching import Needles, taken_from
from workbench.base.settings import PROJECT
from workbench.services.processes import free_port
from workbench.services.readiness import VARIABLE, is_ready
from workbench.stage.pipeline import StageName
from workbench.state.failpoints import VARIABLE as FAILPOINT
from workbench.state.relay import STATUS_QUEUE

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.promise("S1", "a secret in every credential is found nowhere after a run, however it ended"),
]
MORE = ("pwd", "pat", "header", "warehouse", "key")
TELLS = """\
import os, subprocess, sys
print(dict(os.environ)); os.write(1, repr(os.environ).encode()); print(os.environ["DATABASE_URL"], file=sys.stderr)
subprocess.run(["env"], check=True)
import logging, pandas, plotly.graph_objects as go
logging.getLogger("notebook").warning("at %s", os.environ["DATABASE_URL"])
display(pandas.DataFrame({"setting": list(os.environ.values())}), go.Figure(go.Bar(x=list(os.environ.values()))))
"""
RAISES = TELLS + 'raise RuntimeError(f"cannot use {dict(os.environ)}") from ValueError(os.environ["DATABASE_URL"])'
# dbt then fails in the middle of its work, with everything that it writes about that.
SPOILS = """\
import psycopg2
from psycopg2 import sql
with psycopg2.connect(stage.database_url) as connection, connection.cursor() as cursor:
    table = sql.Identifier(stage.schema, "processed_items")
    cursor.execute(sql.SQL("alter table {} rename column quantity to amount").format(table))
"""


@dataclass
class Scene:
    """Everything that wants a secret, the secrets, and what was said so far on the terminals."""

    folder: Path
    needles: Needles
    environment: dict[str, str]
    said: list[str] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def run(self, *options: str, code: int, **more: str) -> dict[str, Any]:
        """Run 200 records; returns the run as it is told in the end, by another command if it cannot tell itself."""
        command = ("run", "--records", "200", "--seed", "7", *options)
        done = Workbench(self.environment)(*command, **more)
        self.said.append(done.stdout + done.stderr)
        assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
        return json.loads(done.stdout) if "--json" in options else self.newest()

    def newest(self) -> dict[str, Any]:
        """Return the newest run, reaped if it has to be."""
        document: dict[str, Any] = Workbench(self.environment).json("show")
        self.said.append(str(document))
        return document

    def notebooks(self, name: str, stage: StageName, code: str) -> dict[str, str]:
        """Return the setting for notebooks of which one has this cell more."""
        return {"WORKBENCH_NOTEBOOKS": str(with_cell(self.folder / f"notebooks-{name}", stage, code))}

    def shown_by(self, run: dict[str, Any], stage: StageName) -> str:
        """Return what the inserted cell of a stage has shown."""
        path = next(each for each in run["notebooks"] if stage in each)
        return str(next(cell.outputs for cell in nbformat.read(path, as_version=4).cells if cell.id == "fault"))


@pytest.fixture(scope="module")
def scene(spark_url: str, broker_url: str) -> Iterator[Scene]:
    folder = Path(tempfile.mkdtemp(prefix="wbs"))
    folder.chmod(0o711)  # the embedded PostgreSQL runs as somebody else when we are root
    named = {
        name: guarded.canary(name) for name in ("database", "broker", "prefect", "page", "datadog", "cloud", *MORE)
    }
    needles = Needles({**named, "spark": spark_url.partition("token=")[2]})
    (folder / "tmp").mkdir()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        environment = {
            "WORKBENCH_HOME": str(folder / "home"),
            "WORKBENCH_LEASE_SECONDS": "3",
            "WORKBENCH_WEB_TOKEN": named["page"],
            "TMPDIR": str(folder / "tmp"),
            "SPARK_REMOTE": spark_url,
            "DATABASE_URL": stack.enter_context(guarded.database(folder / "servers", named["database"])),
            "AMQP_URL": stack.enter_context(guarded.broker(broker_url, named["broker"])),
            "PREFECT_API_URL": stack.enter_context(guarded.prefect(folder / "servers", f"admin:{named['prefect']}")),
            "PREFECT_API_AUTH_STRING": f"admin:{named['prefect']}",
            "DD_API_KEY": named["datadog"],
            "AWS_SECRET_ACCESS_KEY": named["cloud"],
            "DB_PWD": named["pwd"],
            "GITHUB_PAT": named["pat"],
            "PREFECT_CLIENT_CUSTOM_HEADERS": json.dumps({"X-Gate": named["header"], "X-Team": "data"}),
            "WAREHOUSE": f"Server=db;Uid=me;Pwd={named['warehouse']};Encrypt=yes",
            "DEPLOYMENT": "-----BEGIN PRIV" + f"ATE KEY-----\n{named['key']}\n-----END PRIVATE KEY-----\n",
        }
        yield Scene(folder, needles, environment)


@contextmanager
def command_lines() -> Iterator[set[str]]:
    """Collect what every user of this machine can see of all processes while the block lasts."""
    seen: set[str] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.5):
            seen.update(" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"]))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def visit_page(scene: Scene) -> None:
    """Serve the page, come in with the token, and try wrong ones; what it says goes to a file of the home."""
    port, ready = free_port(), scene.folder / "tmp" / "ready"
    environment = {**os.environ, **scene.environment, "WORKBENCH_WEB_PORT": str(port), VARIABLE: str(ready)}
    with (scene.home / "logs" / "page-of-test.log").open("wb") as log:
        page = subprocess.Popen([WORKBENCH, "web"], env=environment, cwd=PROJECT, stdout=log, stderr=log)
    try:
        while not is_ready(ready, page.pid):
            assert page.poll() is None, (scene.home / "logs" / "page-of-test.log").read_text()
            time.sleep(0.1)
        token = scene.needles.secrets["page"]
        for address in (f"/runs?token={token}", f"/runs?token={token}x", f"/no/{token}", "/api/v1/runs"):
            request = urllib.request.Request(f"http://127.0.0.1:{port}{address}")
            request.add_header("Authorization", f"Bearer {token}")
            try:
                urllib.request.urlopen(request, timeout=30).close()
            except urllib.error.HTTPError as error:
                error.close()
    finally:
        page.terminate()
        page.wait(30)


def test_no_credential_is_left_anywhere_by_a_run_however_it_ends(scene: Scene) -> None:
    with command_lines() as seen:
        told = scene.notebooks("tells", "process", TELLS)
        completed = scene.run("--json", code=0, **told)
        raised = scene.run(code=1, **scene.notebooks("raises", "generate", RAISES))
        spoilt = scene.run("--json", code=1, **scene.notebooks("spoils", "transform", SPOILS))
        unreachable = f"amqp://me:{scene.needles.secrets['broker']}@127.0.0.1:1/"
        kill = {FAILPOINT: "notebook_executed/process:SIGKILL", "AMQP_URL": unreachable}
        crashed = scene.run("--set", "records=150", code=-9, **told, **kill)
        while crashed["status"] == "running":
            time.sleep(1)
            crashed = scene.newest()
        visit_page(scene)
    ends = [each["status"] for each in (completed, raised, spoilt, crashed)]
    assert ends == ["completed", "failed", "failed", "crashed"]
    assert "dbt model" in spoilt["error"]["message"]
    assert raised["error"]["name"] == "RuntimeError"
    for run, stage in ((completed, "process"), (raised, "generate"), (crashed, "process")):
        assert scene.shown_by(run, stage).count("***") > 5, "the cell has not told what it knows"
    messages = taken_from(scene.environment["AMQP_URL"], STATUS_QUEUE)
    assert len(messages) > 10
    needles = scene.needles
    found = {
        "files of the home": needles.in_files(scene.home),
        "temporary files": needles.in_files(scene.folder / "tmp"),
        "files of PostgreSQL and Prefect": needles.in_files(scene.folder / "servers"),
        "tables": needles.in_database(scene.environment["DATABASE_URL"]),
        "messages": needles.in_messages(messages),
        "terminals": needles.in_messages(each.encode() for each in scene.said),
        "command lines": needles.in_messages(each.encode() for each in seen),
    }
    assert {place: where for place, where in found.items() if where} == {}


def test_the_search_finds_a_secret_wherever_it_lies(scene: Scene, database_url: str) -> None:
    secret = scene.needles.secrets["broker"]
    folder = scene.folder / "planted"
    for name, content in {
        "log": f"at amqp://me:{secret}@host/".encode(),
        "wide": secret.encode("utf-16-le"),
        "encoded": b64encode(f"me:{secret}".encode()),
    }.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "file").write_bytes(b"before" + content + b"behind")
    assert len(scene.needles.in_files(folder)) == 3
    with psycopg2.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute("create schema hidden")
        cursor.execute("create table hidden.place as select 1 as id, jsonb_build_object('deep', %s) as data", (secret,))
    connection.close()
    assert scene.needles.in_database(database_url) == ["hidden.place: broker"]
    assert scene.needles.in_messages([b"{}", secret.encode()]) == ["message 1: broker"]
