"""Passwords that everybody knows are good for this machine only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from workbench.base.connection_uri import hosts_of, place_of
from workbench.base.credentials import check_credentials, is_loopback
from workbench.base.errors import InvalidSetting
from workbench.base.redaction import WELL_KNOWN

pytestmark = pytest.mark.promise(
    "S5", "passwords that everybody knows are refused off loopback, and none has a default"
)

OWN = "a8Kd0-own"
REFUSED = [
    "amqp://guest:guest@broker:5672/%2F",
    "amqp://broker/",
    "amqp://guest@broker/",
    "amqp://me:@broker/",
    "amqps://events:Password@10.0.0.7/",
    "postgresql://postgres:postgres@db.internal/x",
    "postgresql://postgres:%70ostgres@db.internal/x",
    "postgresql://postgres@db.internal/x",
    "postgresql://postgres:@db.internal/x",
    "postgresql://db.internal",
    "postgresql://analyst:analyst@[2001:db8::1]:5432/x",
    "postgresql://u:secret@localhost,db.internal/x",
    "postgresql://u:secret@localhost/x?hostaddr=10.1.2.3",
    "postgresql://u@/x?host=db.internal&password=changeme",
    "postgresql://u:secret@127.0.0.1.evil.example/x",
    f"postgresql://u:{OWN}@%2Ftmp,db.internal/x?password=admin",
    "postgresql+psycopg2://u:admin@0.0.0.0/x",
]
ACCEPTED = [
    "amqp://guest:guest@127.0.0.1:5672/%2F",
    "amqp://localhost/",
    "amqp://guest:guest@[::1]:5672/",
    f"amqp://events:{OWN}@broker/",
    "postgresql://postgres@127.0.0.1:5432/postgres",
    "postgresql://postgres:postgres@localhost/x",
    "postgresql://workbench@/workbench?host=/tmp/sockets",
    "postgresql://u@%2Frun%2Fpostgresql/x",
    f"postgresql://u:{OWN}@db.internal/x",
    f"postgresql://u@/x?host=db.internal&password={OWN}",
    "postgresql://u@db.internal/x?passfile=/home/u/.pgpass",
    "postgresql://u@db.internal/x?service=analytics",
    "postgresql://u@db.internal/x?sslcert=u.crt&sslkey=u.key",
    "sc://spark.internal:15002",
]


@pytest.fixture(autouse=True)
def _home_without_password_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize("url", REFUSED)
def test_a_well_known_password_is_refused_off_loopback(url: str) -> None:
    with pytest.raises(InvalidSetting, match=r"^DATABASE_URL: leaves this machine \(for .+\)"):
        check_credentials("DATABASE_URL", url, {})


@pytest.mark.parametrize("url", ACCEPTED)
def test_own_passwords_and_loopback_are_accepted(url: str) -> None:
    check_credentials("DATABASE_URL", url, {})


@pytest.mark.parametrize("password", sorted(WELL_KNOWN))
def test_every_well_known_password_is_refused_from_the_environment_too(password: str) -> None:
    with pytest.raises(InvalidSetting):
        check_credentials("DATABASE_URL", "postgresql://u@db.internal/x", {"PGPASSWORD": password})


@pytest.mark.parametrize("proof", [{"PGPASSWORD": OWN}, {"PGPASSFILE": "/x"}, {"PGSSLCERT": "x"}], ids=str)
def test_libpq_may_have_other_proof_than_a_password_in_the_url(proof: dict[str, str]) -> None:
    check_credentials("DATABASE_URL", "postgresql://u@db.internal/x", proof)


def test_a_password_file_at_home_is_proof() -> None:
    (Path.home() / ".pgpass").touch()
    check_credentials("DATABASE_URL", "postgresql://u@db.internal/x", {})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST.", "a.localhost", "/run/pg"])
def test_loopback_is_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "localhost.example", "127.1.example", "169.254.0.1"])
def test_everything_else_is_not(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://u:p@a:1,[::1]:2,b/x", ["a", "::1", "b"]),
        ("postgresql+psycopg2://u:p@a/x?hostaddr=10.0.0.1", ["a", "10.0.0.1"]),
        ("postgres://a:1,b:2/x?host=c,d", ["c", "d"]),  # what libpq connects to
        ("postgresql:///x", []),
    ],
)
def test_all_hosts_of_a_url_are_seen_as_libpq_reads_them(url: str, hosts: list[str]) -> None:
    assert hosts_of(url) == hosts


def test_a_place_of_several_hosts_is_shown_with_their_ports() -> None:
    assert place_of("postgresql://u:p@a:1,[::1]:2,b/x") == "a:1,[::1]:2,b:5432"


def test_settings_take_a_url_of_several_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.base.settings import load_settings

    url = f"postgresql://u:{OWN}@127.0.0.1:5432,[2001:db8::1]:5433/x?target_session_attrs=read-write"
    monkeypatch.setenv("DATABASE_URL", url)
    settings = load_settings()
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == url


@pytest.mark.parametrize(
    ("name", "url"),
    [("DATABASE_URL", "postgresql://postgres:postgres@db.internal/x"), ("AMQP_URL", "amqp://guest:guest@broker/")],
)
def test_the_command_refuses_in_one_line_before_anything_starts(name: str, url: str, tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "WORKBENCH_HOME": str(tmp_path / "home"), name: url}
    command = [Path(sys.executable).with_name("workbench"), "run", "--records", "5"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"workbench: {name}: leaves this machine")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "url", ["postgresql://[::1/x", "postgresql://h/x?no=1", "postgresql://u:p@h:x/d", "postgresql://h:99999/d"]
)
def test_what_is_no_url_is_refused_without_being_shown(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.base.settings import load_settings

    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(InvalidSetting, match=r"^DATABASE_URL: is no URL") as refusal:
        load_settings()
    assert url not in str(refusal.value)
