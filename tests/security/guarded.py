"""Real components that want a password each, for the runs of the canary test: PostgreSQL, RabbitMQ, Spark, Prefect."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest
from psycopg2 import sql

from workbench.base.settings import Settings
from workbench.services import postgres, prefect_server

_ROLE = "canary"


def canary(credential: str) -> str:
    """Return a secret that stands nowhere by chance and needs no quoting in an URL."""
    return f"canary{credential}{secrets.token_hex(12)}"


@contextmanager
def database(home: Path, password: str) -> Iterator[str]:
    """The embedded PostgreSQL in a home of its own, which lets nobody in without a password; yields a role's URL."""
    with postgres.held(Settings(_env_file=None, workbench_home=home)) as url:
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            role = sql.Identifier(_ROLE)
            cursor.execute(sql.SQL("create role {} login superuser password {}").format(role, sql.Literal(password)))
            cursor.execute("show hba_file")
            ((rules,),) = cursor.fetchall()
            connection.commit()
            Path(rules).write_text("local all all scram-sha-256\n")
            cursor.execute("select pg_reload_conf()")
        locked = url.replace("postgresql://workbench@", f"postgresql://{_ROLE}:{password}@", 1)
        _await_refusal(url)
        yield locked


def _await_refusal(url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            psycopg2.connect(url).close()
        except psycopg2.OperationalError:
            return
        time.sleep(0.1)
    raise AssertionError("the server lets people in without a password")


@contextmanager
def broker(url: str, password: str) -> Iterator[str]:
    """A user and a virtual host of their own on this machine's RabbitMQ; yields the user's URL."""
    name = f"canary-{secrets.token_hex(4)}"
    _control("add_vhost", name)
    try:
        _control("add_user", name, password)
        _control("set_permissions", "--vhost", name, name, ".*", ".*", ".*")
        yield f"amqp://{name}:{password}@{urlsplit(url).hostname}:{urlsplit(url).port or 5672}/{name}"
    finally:
        _control("delete_vhost", name)
        _control("delete_user", name)


def _control(*arguments: str) -> None:
    program = shutil.which("rabbitmqctl", path=f"{os.environ['PATH']}:/usr/sbin")  # it becomes the broker's own user
    if program is None or os.geteuid() != 0:
        pytest.skip("NO RABBITMQCTL, OR NO ROOT: no user can be made for the canary")
    command = [program, "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def prefect(home: Path, authorisation: str) -> Iterator[str]:
    """A Prefect server that wants user:password; yields its API's URL. Its store lies below `home`."""
    folder = home / "services" / "prefect"
    folder.mkdir(parents=True)
    service = prefect_server.LIGHT.prepare(folder)
    environment = {**service.environment, "PREFECT_SERVER_API_AUTH_STRING": authorisation}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(service.command, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while not service.is_ready():
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, "Prefect did not start"
            time.sleep(0.1)
        yield str(service.url)
    finally:
        server.terminate()
        server.wait(30)
        service.clean_up()
