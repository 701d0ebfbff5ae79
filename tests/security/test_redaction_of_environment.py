"""Secrets are known wherever in an environment they stand; ordinary variables strike nothing out."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from workbench.base import redaction
from workbench.base.redaction import keep_secrets_of, redacted

pytestmark = pytest.mark.promise(
    "S3", "known secrets are struck out however they are quoted, and nothing that people need is"
)


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test makes known must not strike words out of other tests' logs."""
    monkeypatch.setattr(redaction, "_known", ())


KEY = (
    "-----BEGIN PRIV" + "ATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEAAoIB\n-----END PRIVATE KEY-----\n"
)
PASSWORD = "canary-9f3e1c"
TOKEN = "0123456789abcdef" * 2


def as_sent(text: str) -> str:
    return b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("DB_PWD", PASSWORD, PASSWORD),
        ("DBPWD", PASSWORD, PASSWORD),
        ("MYSQL_PWD", PASSWORD, PASSWORD),
        ("GITHUB_PAT", PASSWORD, PASSWORD),
        ("STRIPE_KEY", "canary-9f3e1c77", "canary-9f3e1c77"),
        ("BW_SESSION", "canary-9f3e1c77==", "canary-9f3e1c77=="),
        ("NPM_CONFIG__AUTH", as_sent(f"me:{PASSWORD}"), as_sent(f"me:{PASSWORD}")),
        ("NPM_CONFIG__AUTH", as_sent(f"me:{PASSWORD}"), PASSWORD),
        ("PROXY_AUTH", f"me:{PASSWORD}", as_sent(f"me:{PASSWORD}")),
        ("PREFECT_API_AUTH_STRING", f"admin:{PASSWORD}", PASSWORD),
        ("PREFECT_CLIENT_CUSTOM_HEADERS", f'{{"X-Gate": "{PASSWORD}", "Accept": "application/json"}}', PASSWORD),
        ("PREFECT_CLIENT_CUSTOM_HEADERS", f'{{"Authorization": "Bearer {PASSWORD}"}}', PASSWORD),
        ("PREFECT_CLIENT_CUSTOM_HEADERS", f'{{"Authorization": "Basic {as_sent(f"me:{PASSWORD}")}"}}', PASSWORD),
        ("OTEL_EXPORTER_OTLP_HEADERS", f"api-key={PASSWORD},team=data", PASSWORD),
        ("SESSION_COOKIE", "sid-1234", "sid-1234"),
        ("ANYTHING", f"postgresql://me:{PASSWORD}@db/x", PASSWORD),
        ("ANYTHING", f"http://me:{PASSWORD}@host:3128", as_sent(f"me:{PASSWORD}")),
        ("ANYTHING", f"https://{TOKEN}@host/5", TOKEN),
        ("ANYTHING", f"Server=db;Uid=me;Pwd={PASSWORD};Encrypt=yes", PASSWORD),
        ("ANYTHING", f"host=db user=me password='{PASSWORD}'", PASSWORD),
        ("ANYTHING", f"AccountName=a;AccountKey={PASSWORD};Suffix=x", PASSWORD),
        ("ANYTHING", f"https://host/x?sv=2026&sig={PASSWORD}&se=1", PASSWORD),
        ("ANYTHING", f'{{"type": "service_account", "auth": [{{"private_key": "{PASSWORD}"}}]}}', PASSWORD),
        ("ANYTHING", KEY, "AQEFAASCBKcwggSjAgEAAoIB"),
        ("DEPLOY_KEY", KEY.replace("\n", "\\n"), "MIIEvQIBADANBgkqhkiG9w0B"),
    ],
)
def test_an_environments_secret_is_known_wherever_in_a_variable_it_stands(name: str, value: str, shown: str) -> None:
    assert redacted(f"said {shown}!") == f"said {shown}!"
    keep_secrets_of({name: value})
    assert redacted(f"said {shown}!") == "said ***!"


def test_the_passwords_of_libpqs_password_file_are_known(tmp_path: Path) -> None:
    file = tmp_path / "pgpass"
    file.write_text("# mine\ndb\\:x:5432:*:me:canary\\:9f3e\nshort\n")
    keep_secrets_of({"PGPASSFILE": str(file)})
    file.rename(tmp_path / ".pgpass")
    (tmp_path / ".pgpass").write_text("db:*:*:me:canary-home\n")
    keep_secrets_of({"HOME": str(tmp_path)})
    keep_secrets_of({"PGPASSFILE": str(tmp_path / "missing")})
    assert redacted("canary:9f3e canary-home short 5432") == "*** *** short 5432"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PWD", "/srv/project/notebooks"),
        ("OLDPWD", "banana/main"),
        ("INIT_PWD", "/tmp"),
        ("SSH_AUTH_SOCK", "/tmp/ssh-XXXX/agent.1"),
        ("XDG_SESSION_ID", "session-17"),
        ("XDG_SESSION_TYPE", "wayland-session"),
        ("DESKTOP_SESSION", "ubuntu"),
        ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/user/1000/bus"),
        ("KEYBOARD", "pc105-german-layout"),
        ("KEY", "order_id"),
        ("SORT_KEY", "order_id"),
        ("PATH", "/usr/bin:/bin"),
        ("COMPAT", "banana-compat"),
        ("PGPASSFILE", "/etc/hostname"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/etc/hostname"),
        ("PGREQUIREAUTH", "scram-sha-256"),
        ("GITHUB_TOKEN", "undefined"),
        ("LESSKEY_CONTENT", "banana banana"),
        ("BROKEN", '{"a": '),
    ],
)
def test_an_ordinary_variable_strikes_nothing_out(name: str, value: str) -> None:
    keep_secrets_of({name: value})
    assert redacted(f"{name}: {value}") == f"{name}: {value}"
    assert redaction._known == ()


def test_media_types_and_short_words_in_headers_stay_readable() -> None:
    keep_secrets_of({"X_HEADERS": '{"Accept": "application/json", "X-Team": "data"}'})
    assert redacted("application/json of data") == "application/json of data"
