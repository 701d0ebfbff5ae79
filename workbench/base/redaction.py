"""Removes secrets from text before it is stored or shown: known secrets, and text that looks like one.

A secret is known once it has come into this process by a setting or an environment variable: see `keep_secrets_of`.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

STRUCK = "***"
WELL_KNOWN = frozenset(
    {"guest", "postgres", "password", "admin", "secret", "changeme", "rabbitmq", "workbench", "root"}
)
"""Well-known default passwords: no secrets, and allowed on loopback only."""

_SHORTEST = 6  # striking out shorter ones would garble every other word
_LONG = 12  # no ordinary word: long enough to be struck out where a name only hints at a secret
_SHORTEST_LINE = 16
_ORDINARY = frozenset({"default", "disabled", "enabled", "example", "required", "undefined"})
_KEYS = "api|app|access|secret|private|account|signing|encryption"
_LABELS = rf"password|passwd|passphrase|token|secret|(?:{_KEYS})[-_]?key|auth[-_]?string|credentials?"
_CREDENTIAL_NAME = re.compile(
    rf"(?:{_LABELS}|(?:^|[_-])pass|[_-]pat|(?<!old)(?<!^)pwd|authorization|cookies?)$", re.IGNORECASE
)
_HINTING_NAME = re.compile(
    r"(?:[_-](?:key|auth|dsn|sas|session|cert(?:ificate)?|signature|connection[_-]?string)|headers?|(?:secret|passwd)s)$"
    r"|^op_session",
    re.IGNORECASE,
)
_HEADERS_NAME = re.compile(r"headers?$", re.IGNORECASE)
_USER_INFO = re.compile(r"(?<=://)([^\s:/@'\"<>]*):([^\s/'\"<>]+)@")
# Quotes may have backslashes before them: text that was encoded as JSON. PWD=/… is a folder.
_ASSIGNED = re.compile(
    rf"""(?i)({_LABELS}|pwd(?==[^/])|(?:(?<=[?&;])|x-amz-)sig(?:nature)?)=(\\*'[^']+'|\\*"[^"]+"|[^\s;&'"]+)"""
)
_AUTHORITY = re.compile(r"://([^/?#\s@:]*):([^/?#\s]+)@")
_TOKEN_FOR_USER = re.compile(r"://([^/?#\s@:]{20,})@")
_HEADER = re.compile(r"(?i)(authorization[\\'\"]*\s*[:=]\s*[\\'\"]*\w+\s+)[^\s'\",\\]+")
_COOKIE = re.compile(r"(?i)(\bcookie[\\'\"]*\s*:\s*[\\'\"]*[\w.-]+=)[^\s'\",;\\]+")
_KEY_HEADER = re.compile(r"(?i)((?<![\w-])[\w-]{0,40}?(?:\bapi-key|-token)[\\'\"]*:\s*[\\'\"]*)[^\s'\",\\]+")
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[^-]|-(?!----))*-----END [A-Z ]*PRIVATE KEY-----")
_SCHEME = re.compile(r"(?i)^(basic|bearer|digest|token)\s+")
_known: tuple[str, ...] = ()


def redacted(text: str) -> str:
    """Return `text` with *** for known secrets, passwords in URLs, `token=` values, private keys, headers with keys."""
    text = without_known_secrets(text)
    text = _PRIVATE_KEY.sub(STRUCK, text)
    text = _USER_INFO.sub(rf"\1:{STRUCK}@", text)
    text = _ASSIGNED.sub(rf"\1={STRUCK}", text)
    for header in (_HEADER, _COOKIE, _KEY_HEADER):
        text = header.sub(rf"\1{STRUCK}", text)
    return text


def without_known_secrets(value: Any) -> Any:
    """Return a text, or JSON with all its texts, with known secrets replaced by ***; other values as they are."""
    if isinstance(value, str):
        for secret in _known:
            value = value.replace(secret, STRUCK)
        return value
    if isinstance(value, Mapping):
        return {key: without_known_secrets(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_known_secrets(item) for item in value]
    return value


def redacted_json(value: Any) -> Any:
    """Return a value as JSON can hold it, every text in it `redacted`, at any depth, before it is encoded.

    A text that stands under a credential's name is struck whole. What JSON does not know becomes a text.
    """
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and isfinite(value)):
        return value
    if isinstance(value, Mapping):
        return {redacted(str(name)): _under(str(name), item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted_json(item) for item in value]
    return redacted(str(value))


def _under(name: str, value: Any) -> Any:
    return STRUCK if _CREDENTIAL_NAME.search(name) and isinstance(value, str) else redacted_json(value)


def strike_secrets_out_of(error: BaseException) -> None:
    """Strike secrets out of the texts of an error and of those behind it, for others who will write them down."""
    seen: set[int] = set()
    behind: list[BaseException | None] = [error]
    while behind:
        each = behind.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            each.args = tuple(redacted(part) if isinstance(part, str) else part for part in each.args)
            behind += [each.__cause__, each.__context__]


def keep_secrets_of(environment: Mapping[str, str]) -> None:
    """Know from now on the secrets that these variables hold, and those of the password file that libpq reads.

    A variable is one by its name, unless it holds the path of a file; any other variable may hold secrets inside: the
    password of a URL or of a connection string, a private key, a JSON document.
    """
    for name, value in environment.items():
        if _is_secret(name, value):
            keep_secrets([value, *_parts_of(value)])
        keep_secrets([*secrets_in(value), *_as_sent(value), *_in_document(value)])
        if _HEADERS_NAME.search(name):
            keep_secrets(_in_headers(value))
    keep_secrets(_in_password_file(environment))


def _is_secret(name: str, value: str) -> bool:
    if _is_path(value) or value.lower() in _ORDINARY:
        return False
    return bool(_CREDENTIAL_NAME.search(name) or (len(value) >= _LONG and _HINTING_NAME.search(name)))


def _is_path(value: str) -> bool:
    try:
        return value.startswith(("/", "~", ".")) and Path(value).expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # too long for a path, or the home of an unknown user
        return False


def keep_secrets(secrets: Iterable[str]) -> None:
    """Know these secrets from now on, also as they look when quoted; short and well-known ones are none."""
    global _known
    worthy = (secret for secret in secrets if len(secret) >= _SHORTEST and secret.lower() not in WELL_KNOWN)
    forms = {form for secret in worthy for form in _forms(secret)}
    # Longest first, for one may be part of another; a new tuple, for other threads may be reading the old one.
    _known = tuple(sorted(forms.union(_known), key=len, reverse=True))


def secrets_in(text: str) -> Iterator[str]:
    """Yield the passwords of the URLs in a text, what stands behind password=, token= and the like, private keys."""
    yield from (password for _, password in _AUTHORITY.findall(text))
    yield from _TOKEN_FOR_USER.findall(text)
    yield from (value.strip("'\"") for _, value in _ASSIGNED.findall(text))
    for key in _PRIVATE_KEY.findall(text):
        yield from (key, *_lines_of(key))


def _as_sent(text: str) -> Iterator[str]:
    """Yield user and password of the URLs in a text as the header `Authorization: Basic` holds them."""
    for user, password in _AUTHORITY.findall(text):
        yield _encoded(f"{unquote(user)}:{unquote(password)}")


def _parts_of(secret: str) -> Iterator[str]:
    """Yield what may be shown alone of a secret: a token without its scheme, the password of user:password, lines."""
    token = _SCHEME.sub("", secret)
    yield token
    plain = _decoded(token) or token
    yield plain
    user, _, password = plain.partition(":")
    if password and " " not in plain:
        yield from (password, _encoded(f"{user}:{password}"))
    yield from _lines_of(secret)


def _lines_of(secret: str) -> Iterator[str]:
    """Yield the lines of a secret of several, as a private key is one; the line breaks may be written as \\n."""
    lines = [line.strip() for line in secret.replace("\\n", "\n").splitlines()]
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= _SHORTEST_LINE and not line.startswith("-----"))


def _in_document(value: str) -> Iterator[str]:
    """Yield the texts that stand under a credential's name in a JSON object, at any depth."""
    try:
        document = json.loads(value) if value.lstrip().startswith("{") else None
    except (ValueError, RecursionError):
        return
    waiting: list[Any] = [document]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += each
        elif isinstance(each, dict):
            waiting += each.values()
            named = [text for name, text in each.items() if isinstance(text, str) and _CREDENTIAL_NAME.search(name)]
            for text in named:
                yield from (text, *_parts_of(text))


def _in_headers(value: str) -> Iterator[str]:
    """Yield the long values of headers as JSON or as name=value, comma between them; media types are none."""
    try:
        headers = json.loads(value)
    except ValueError:
        headers = dict(pair.strip().split("=", 1) for pair in value.split(",") if "=" in pair)
    for text in headers.values() if isinstance(headers, dict) else ():
        if isinstance(text, str) and len(text) >= _LONG and not re.fullmatch(r"[\w*]+/[\w.+*-]+", text):
            yield from (text, *_parts_of(text))


def _in_password_file(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the passwords in PGPASSFILE or ~/.pgpass; a file that we may not read, libpq does not read either."""
    path = environment.get("PGPASSFILE") or (f"{environment['HOME']}/.pgpass" if environment.get("HOME") else "")
    if not path:
        return
    with suppress(OSError):
        for line in Path(path).read_text("utf-8", "replace").splitlines():
            fields = re.split(r"(?<!\\):", line, maxsplit=4)
            if len(fields) == 5 and not line.startswith("#"):
                yield re.sub(r"\\(.)", r"\1", fields[4])


def _encoded(text: str) -> str:
    return b64encode(text.encode("utf-8", "surrogateescape")).decode()


def _decoded(text: str) -> str | None:
    """Return the text behind base64, None when there is none."""
    try:
        return b64decode(text, validate=True).decode()
    except ValueError:
        return None


def _forms(secret: str) -> set[str]:
    plain = unquote(secret)
    shown = {json.dumps(plain)[1:-1], json.dumps(plain, ensure_ascii=False)[1:-1], repr(plain)[1:-1]}
    return {secret, plain, quote(plain), quote(plain, safe="")} | shown
