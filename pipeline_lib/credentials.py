"""Refuses credentials that everybody knows, unless they open something that only this machine can reach."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from pipeline_lib.errors import InvalidSetting
from pipeline_lib.redaction import WELL_KNOWN

# With one of these libpq has other proof of who we are than a password in the URL.
_OTHER_PROOF_PARAMETERS = frozenset({"passfile", "password", "service", "sslcert", "sslkey"})
_OTHER_PROOF_VARIABLES = frozenset({"PGPASSWORD", "PGPASSFILE", "PGSERVICE", "PGSSLCERT"})


def check_credentials(name: str, url: str, environment: Mapping[str, str]) -> None:
    """Raise `InvalidSetting` when the URL in setting `name` leaves this machine with no or a well-known password.

    RabbitMQ's client takes guest:guest where an AMQP URL names nobody. PostgreSQL may have other proof (a password
    file, a certificate); Spark Connect has no user, and is asked for nothing.
    """
    remote = [host for host in hosts_of(url) if not is_loopback(host)]
    if not remote or urlsplit(url).scheme == "sc":
        return
    password = _password_of(url)
    if password is None and not urlsplit(url).scheme.startswith("amqp"):
        password = "…" if _has_other_proof(url, environment) else ""
    if not password or password.lower() in WELL_KNOWN or password == _user_of(url):
        raise InvalidSetting(
            f"{name}: leaves this machine (for {remote[0]}) without a password, or with one that everybody knows; "
            "give that server a password of its own, or use loopback"
        )


def hosts_of(url: str) -> list[str]:
    """Return the hosts a URL names, in the authority or as libpq's parameters; none means a local socket."""
    parts = urlsplit(url)
    listed = parts.netloc.rpartition("@")[2].split(",")
    parameters = parse_qs(parts.query)
    listed += [host for key in ("host", "hostaddr") for value in parameters.get(key, []) for host in value.split(",")]
    return [host for host in map(_without_port, listed) if host]


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine and nothing else; a path is a unix socket's folder."""
    name = host.lower().rstrip(".")
    if name.startswith(("/", "@")) or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False  # a name: whoever answers to it, it is not this machine alone


def _without_port(place: str) -> str:
    if place.startswith("["):
        return place[1:].partition("]")[0]
    return unquote(place) if place.startswith("/") or place.count(":") > 1 else unquote(place.partition(":")[0])


def _password_of(url: str) -> str | None:
    """Return the password in the URL, None where there is none at all."""
    user_info, at, _ = urlsplit(url).netloc.rpartition("@")
    _, colon, password = user_info.partition(":")
    return unquote(password) if at and colon else None


def _user_of(url: str) -> str:
    return unquote(urlsplit(url).netloc.rpartition("@")[0].partition(":")[0])


def _has_other_proof(url: str, environment: Mapping[str, str]) -> bool:
    parameters = parse_qs(urlsplit(url).query)
    password = parameters.get("password", [environment.get("PGPASSWORD", "")])[0]
    if password:
        return password.lower() not in WELL_KNOWN
    return (
        not _OTHER_PROOF_PARAMETERS.isdisjoint(parameters)
        or any(environment.get(variable) for variable in _OTHER_PROOF_VARIABLES)
        or (Path.home() / ".pgpass").exists()
    )
