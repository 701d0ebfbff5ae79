"""Strikes secrets out of text before it is kept or shown: those that are known, and what looks like one.

A secret is known once it has come into this process by a setting or an environment variable: see `keep_secrets_of`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Any
from urllib.parse import quote, unquote

STRUCK = "***"
WELL_KNOWN = frozenset(
    {"guest", "postgres", "password", "admin", "secret", "changeme", "rabbitmq", "workbench", "root"}
)
"""Passwords that everybody knows: no secrets, and good for loopback only."""

_SHORTEST = 6  # striking out shorter ones would garble every other word
_KEYS = "api|app|access|secret|private|account|signing|encryption"
_LABELS = rf"password|passwd|passphrase|token|secret|(?:{_KEYS})[-_]?key|auth[-_]?string|credentials?"
_CREDENTIAL_NAME = re.compile(rf"(?:{_LABELS}|(?:^|_)pass)$", re.IGNORECASE)
_USER_INFO = re.compile(r"(?<=://)([^\s:/@'\"<>]*):([^\s/'\"<>]+)@")
# Quotes may have backslashes before them: the text of a text that somebody has encoded.
_ASSIGNED = re.compile(rf"""(?i)({_LABELS})=(\\*'[^']+'|\\*"[^"]+"|[^\s;&'"]+)""")
_AUTHORITY = re.compile(r"://[^/?#\s@:]*:([^/?#\s]+)@")
_HEADER = re.compile(r"(?i)(authorization[\\'\"]*\s*[:=]\s*[\\'\"]*\w+\s+)[^\s'\",\\]+")
_known: tuple[str, ...] = ()


def redacted(text: str) -> str:
    """Return `text` with *** for known secrets, passwords in URLs, `token=` values, authorization headers."""
    text = without_known_secrets(text)
    text = _USER_INFO.sub(rf"\1:{STRUCK}@", text)
    return _HEADER.sub(rf"\1{STRUCK}", _ASSIGNED.sub(rf"\1={STRUCK}", text))


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
    """Return a value as JSON can hold it, every text in it `redacted`, at any depth, before anybody encodes it.

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
    named = _CREDENTIAL_NAME.search(name) or name.lower().endswith("authorization")
    return STRUCK if named and isinstance(value, str) else redacted_json(value)


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
    """Know from now on the passwords and tokens that these variables hold, by their names or inside of URLs."""
    for name, value in environment.items():
        if _CREDENTIAL_NAME.search(name):
            keep_secrets([value])
        if "://" in value:
            keep_secrets(secrets_in(value))


def keep_secrets(secrets: Iterable[str]) -> None:
    """Know these secrets from now on, also as they look when quoted; short and well-known ones are none."""
    global _known
    worthy = (secret for secret in secrets if len(secret) >= _SHORTEST and secret.lower() not in WELL_KNOWN)
    forms = {form for secret in worthy for form in _forms(secret)}
    # Longest first, for one may be part of another; a new tuple, for other threads may be reading the old one.
    _known = tuple(sorted(forms.union(_known), key=len, reverse=True))


def secrets_in(text: str) -> Iterator[str]:
    """Yield the passwords of the URLs in a text, and what stands behind password=, token= and the like."""
    yield from _AUTHORITY.findall(text)
    yield from (value.strip("'\"") for _, value in _ASSIGNED.findall(text))


def _forms(secret: str) -> set[str]:
    plain = unquote(secret)
    shown = {json.dumps(plain)[1:-1], json.dumps(plain, ensure_ascii=False)[1:-1], repr(plain)[1:-1]}
    return {secret, plain, quote(plain), quote(plain, safe="")} | shown
