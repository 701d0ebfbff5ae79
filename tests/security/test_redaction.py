"""No known secret gets through, however it is quoted, and nothing else is struck out that people need."""

from __future__ import annotations

import json
import logging
import time
import traceback
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from workbench.base import redaction
from workbench.base.logs import JsonFormatter, ScreenFormatter
from workbench.base.redaction import (
    WELL_KNOWN,
    keep_secrets,
    keep_secrets_of,
    redacted,
    redacted_json,
    secrets_in,
    strike_secrets_out_of,
    without_known_secrets,
)
from workbench.base.settings import Settings

pytestmark = pytest.mark.promise(
    "S3", "known secrets are struck out however they are quoted, and nothing that people need is"
)

KEY = (
    "-----BEGIN PRIV" + "ATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEAAoIB\n-----END PRIVATE KEY-----\n"
)
HARD = 'c4n"ary\\:/@ü%41 x'


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test makes known must not strike words out of other tests' logs."""
    monkeypatch.setattr(redaction, "_known", ())


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=6, max_size=40))
def test_a_known_secret_is_struck_out_however_it_is_quoted(secret: str) -> None:
    keep_secrets([secret])
    for shown in (secret, quote(secret), quote(secret, safe=""), json.dumps(secret), repr(secret), f"a{secret}b"):
        assert secret not in redacted(shown) or secret.lower() in WELL_KNOWN or secret in "***"


def test_a_settings_secrets_are_known_from_its_making() -> None:
    Settings(
        _env_file=None, amqp_url=f"amqp://me:{quote(HARD, safe='')}@broker/", workbench_web_token="canary-0123456789"
    )
    assert redacted(f"refused {HARD!r} for canary-0123456789") == "refused '***' for ***"


def test_the_environments_credentials_are_known_by_their_names() -> None:
    keep_secrets_of({"DD_API_KEY": "canary-dd", "PGPASSWORD": "canary-pg", "X_TOKEN": "canary-x"})
    keep_secrets_of({"AWS_SECRET_ACCESS_KEY": "canary-aws", "SMTP_PASS": "canary-mail"})
    keep_secrets_of({"MONKEY": "banana1", "BYPASS": "banana2", "OLDPWD": "/banana"})
    assert redacted("canary-dd canary-pg canary-x canary-aws canary-mail") == "*** *** *** *** ***"
    assert redacted("banana1 banana2 /banana") == "banana1 banana2 /banana"


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("postgresql://u:pa%40ss@h/db", ["pa%40ss"]),
        ("postgresql://u:p@ss@h/db", ["p@ss"]),
        ("postgresql://u@/db?host=/tmp&password=canary", ["canary"]),
        ("sc://localhost:1/;use_ssl=true;token=canary;session_id=x", ["canary"]),
        ("http://[::1/ http://h/?api_key='canary'", ["canary"]),
        ("http://host/path@2:x", []),
    ],
)
def test_secrets_are_found_inside_urls(url: str, secrets: list[str]) -> None:
    assert list(secrets_in(url)) == secrets


def test_short_and_well_known_words_stay_readable() -> None:
    keep_secrets(["guest", "postgres", "abc", ""])
    assert redacted("abc: user postgres, not guest") == "abc: user postgres, not guest"


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("postgresql://u:p@ss@h/db failed", "postgresql://u:***@h/db failed"),
        ("host=h user=u password='x y' dbname=d", "host=h user=u password=*** dbname=d"),
        ("{'authorization': 'Bearer abc.def'}", "{'authorization': 'Bearer ***'}"),
        ('{"Authorization": "Bearer abc.def"}', '{"Authorization": "Bearer ***"}'),
        (r'{"a": "{\"Authorization\": \"Basic abc=\"}"}', r'{"a": "{\"Authorization\": \"Basic ***\"}"}'),
        (r'{"a": "connect(password=\"x y\")"}', '{"a": "connect(password=***)"}'),
        ('connect(password="x y")', "connect(password=***)"),
        ('GET "http://h/?token=abc" failed', 'GET "http://h/?token=***" failed'),
        ("PREFECT_API_AUTH_STRING=admin:x DD_API_KEY=0123", "PREFECT_API_AUTH_STRING=*** DD_API_KEY=***"),
        ("PWD=/work OLDPWD=/tmp DB_PWD=abc", "PWD=/work OLDPWD=/tmp DB_PWD=***"),
        ("Driver=pg;Uid=me;Pwd=abc;Encrypt=yes", "Driver=pg;Uid=me;Pwd=***;Encrypt=yes"),
        ("GET /x?sv=1&sig=a%2Fb&se=2", "GET /x?sv=1&sig=***&se=2"),
        ("signature=inspect.signature(f)", "signature=inspect.signature(f)"),
        ("{'X-Api-Key': 'abc', 'x-auth-token': 'def'}", "{'X-Api-Key': '***', 'x-auth-token': '***'}"),
        ("Set-Cookie: sid=abc; Path=/", "Set-Cookie: sid=***; Path=/"),
        ("a cookie: chocolate, a token: one", "a cookie: chocolate, a token: one"),
        (f"load {KEY}", "load ***\n"),
        ("see http://127.0.0.1:4200/api and user@example.org", "see http://127.0.0.1:4200/api and user@example.org"),
        ("Basic Mathematics: 5 tokens = 3 secrets", "Basic Mathematics: 5 tokens = 3 secrets"),
    ],
)
def test_what_looks_like_a_credential_is_struck_out_and_nothing_else(told: str, shown: str) -> None:
    assert redacted(told) == shown


@pytest.mark.parametrize("part", [KEY[:27], "x-a", "-----BEGIN A", "cookie: a", "a://b:", "pwd="])
def test_the_time_it_takes_grows_with_the_text_and_not_with_its_square(part: str) -> None:
    text, began = part * (500_000 // len(part)), time.monotonic()
    redacted(text)
    assert time.monotonic() - began < 20  # with its square, it would be minutes


def test_json_is_searched_to_its_last_text_and_otherwise_left_alone() -> None:
    keep_secrets(["canary-json"])
    figure = {"data": [{"x": [1, 2.5, None, True], "name": "canary-json!"}], "url": "http://u:p@h/"}
    assert without_known_secrets(figure) == {
        "data": [{"x": [1, 2.5, None, True], "name": "***!"}], "url": "http://u:p@h/",
    }  # fmt: skip


def test_a_document_is_redacted_before_it_is_encoded() -> None:
    document = {
        "headers": {"Authorization": "Bearer abc", "Accept": "*/*"},
        "calls": ({"api_key": "canary"}, ["amqp://u:p@h/"], {"ok"}),
        "password=canary": Path("/x?token=canary"),
        "tokens": {"input_token": 5, "share": float("nan"), "none": None, "yes": True},
    }
    assert redacted_json(document) == {
        "headers": {"Authorization": "***", "Accept": "*/*"},
        "calls": [{"api_key": "***"}, ["amqp://u:***@h/"], ["ok"]],
        "password=***": "/x?token=***",
        "tokens": {"input_token": 5, "share": "nan", "none": None, "yes": True},
    }


def test_errors_that_others_write_down_lose_their_secrets_all_along_the_chain() -> None:
    url = "postgresql+psycopg2://nobody:canary-chain@127.0.0.1:1/x"
    with pytest.raises(psycopg2.Error, match="canary-chain") as inner:
        psycopg2.connect(url)  # libpq does not know the scheme, and quotes the whole address
    outer = RuntimeError("cannot go on", url, 5)
    outer.__cause__ = SQLAlchemyError(f"no engine for {url}")
    outer.__cause__.__context__ = inner.value
    inner.value.__context__ = outer  # a ring does no harm
    strike_secrets_out_of(outer)
    shown = "".join(traceback.format_exception(outer))
    assert "canary-chain" not in shown
    assert "cannot go on" in shown
    assert outer.args[2] == 5


@pytest.mark.parametrize("formatter", [JsonFormatter(Settings(_env_file=None)), ScreenFormatter("%(message)s")])
def test_database_errors_are_logged_without_the_url_that_they_quote(
    formatter: logging.Formatter, server_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"postgresql+psycopg2://nobody:{quote(HARD, safe='')}@127.0.0.1:1/x"
    Settings(_env_file=None, database_url=url)
    for attempt in (lambda: create_engine(url).connect(), lambda: psycopg2.connect(f"{url}?bad=1")):
        try:
            attempt()
        except (SQLAlchemyError, psycopg2.Error) as error:
            failure = RuntimeError(f"{url}: {error}")
            logging.getLogger("test").error("cannot reach %s", url, exc_info=failure)
    try:
        with create_engine(server_url.replace("postgresql:", "postgresql+psycopg2:")).connect() as connection:
            connection.execute(text("select :secret / 0"), {"secret": HARD})
    except SQLAlchemyError as error:
        logging.getLogger("test").error("failed", exc_info=error)
    assert len(caplog.records) == 3
    lines = "".join(formatter.format(record) for record in caplog.records)
    assert HARD not in lines
    assert quote(HARD, safe="") not in lines
    assert json.dumps(HARD)[1:-1] not in lines
