"""Refuses credentials that everybody knows, unless they open something that only this machine can reach."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from workbench.base import connection_uri
from workbench.base.errors import InvalidSetting
from workbench.base.redaction import WELL_KNOWN

# With one of these libpq has other proof of who we are than a password in the URL.
_OTHER_PROOF_PARAMETERS = frozenset({"passfile", "service", "sslcert", "sslkey"})
_OTHER_PROOF_VARIABLES = frozenset({"PGPASSFILE", "PGSSLCERT"})


def check_credentials(name: str, url: str, environment: Mapping[str, str]) -> None:
    """Raise `InvalidSetting` when the URL in setting `name` leaves this machine with no or a well-known password.

    RabbitMQ's client takes guest:guest where an AMQP URL names no user. PostgreSQL may have other proof (a password
    file, a certificate); Spark Connect has no user, and is asked for nothing.
    """
    scheme = url.partition("://")[0].lower()  # urllib refuses some URLs of several hosts that libpq takes
    if scheme == "sc":
        return
    if scheme in connection_uri.SCHEMES:
        hosts, user, password = _of_database(url, environment)
    else:
        hosts, user, password = _of_broker(url)
    remote = [host for host in hosts if not is_loopback(host)]
    if not remote:
        return
    if not password or password.lower() in WELL_KNOWN or password == user:
        raise InvalidSetting(
            f"{name}: leaves this machine (for {remote[0]}) without a password, or with one that everybody knows; "
            "give that server a password of its own, or use loopback"
        )


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine only; a path is the folder of a unix socket."""
    name = host.lower().rstrip(".")
    if name.startswith(("/", "@")) or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False  # a name may resolve to another machine


def _of_database(uri: str, environment: Mapping[str, str]) -> tuple[list[str], str, str]:
    """Return hosts, user and password of a libpq URI; `…` stands for other proof than a password."""
    parameters = connection_uri.parameters_of(uri)
    password = parameters.get("password") or environment.get("PGPASSWORD") or ""
    if not password and _has_other_proof(parameters, environment):
        password = "…"
    return connection_uri.hosts_of(uri), parameters.get("user", ""), password


def _of_broker(url: str) -> tuple[list[str], str, str]:
    parts = urlsplit(url)
    return [parts.hostname or "localhost"], unquote(parts.username or ""), unquote(parts.password or "")


def _has_other_proof(parameters: Mapping[str, str], environment: Mapping[str, str]) -> bool:
    return (
        not _OTHER_PROOF_PARAMETERS.isdisjoint(parameters)
        or any(environment.get(variable) for variable in _OTHER_PROOF_VARIABLES)
        or (Path.home() / ".pgpass").exists()
    )
