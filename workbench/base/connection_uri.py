"""PostgreSQL connection URIs as libpq reads them, completed by the settings that every session of ours needs.

A session depends on its URI alone: not on libpq's environment variables, nor on a role's or a database's settings.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from urllib.parse import quote

import psycopg2
from psycopg2.extensions import parse_dsn

SCHEMES = ("postgresql", "postgres", "postgresql+psycopg2")
DEFAULT_PORT = "5432"
CLIENT_CHECK = "client_connection_check_interval"
_SETTINGS = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "default_transaction_read_only": "off",
    "extra_float_digits": "1",
    CLIENT_CHECK: "2000",  # ms; a statement ends with its client even when no process is left to cancel it
}
_SINCE_17 = {"transaction_timeout": "0"}

# The variables that libpq may read: who we are, and how the connection is encrypted. None of them names another
# server, database or session setting. PGAPPNAME is how the sessions of a run's kernels are found.
_PASSING_VARIABLES = frozenset(
    {
        "PGAPPNAME", "PGPASSWORD", "PGPASSFILE", "PGSERVICEFILE", "PGSYSCONFDIR", "PGCONNECT_TIMEOUT",
        "PGCHANNELBINDING", "PGREQUIREAUTH", "PGREQUIREPEER",
        "PGSSLMODE", "PGSSLCERT", "PGSSLKEY", "PGSSLCERTMODE", "PGSSLROOTCERT", "PGSSLCRL", "PGSSLCRLDIR",
        "PGSSLSNI", "PGSSLNEGOTIATION", "PGSSLMINPROTOCOLVERSION", "PGSSLMAXPROTOCOLVERSION",
        "PGGSSENCMODE", "PGGSSLIB", "PGGSSDELEGATION", "PGKRBSRVNAME",
    }
)  # fmt: skip
_OTHER_VARIABLES = frozenset(
    {
        "PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGOPTIONS", "PGCLIENTENCODING",
        "PGSERVICE", "PGTARGETSESSIONATTRS", "PGLOADBALANCEHOSTS", "PGREPLICATION", "PGREQUIRESSL", "PGSSLCOMPRESSION",
        "PGDATESTYLE", "PGTZ", "PGGEQO", "PGMINPROTOCOLVERSION", "PGMAXPROTOCOLVERSION", "PGREALM", "PGLOCALEDIR",
    }
)  # fmt: skip


def plain(uri: str) -> str:
    """Return SQLAlchemy's form of a URI as libpq's."""
    return uri.replace("postgresql+psycopg2://", "postgresql://", 1)


def parameters_of(uri: str) -> dict[str, str]:
    """Return libpq's parameters in a URI; several hosts stand in one, with commas. Raises `ValueError`."""
    try:
        parameters: dict[str, str] = parse_dsn(plain(uri))
    except psycopg2.ProgrammingError:
        raise ValueError("libpq cannot read this URI") from None  # libpq's own text repeats it, password included
    if not all(port.isdecimal() and 0 < int(port) < 1 << 16 for port in parameters.get("port", "").split(",") if port):
        raise ValueError("a port is no number from 1 to 65535")
    return parameters


def hosts_of(uri: str) -> list[str]:
    """Return every host a URI names; none means a local socket in libpq's own place."""
    parameters = parameters_of(uri)
    listed = [host for name in ("host", "hostaddr") for host in parameters.get(name, "").split(",")]
    return [host for host in listed if host]


def place_of(uri: str) -> str:
    """Return where the database is, for messages: host:port of each server, or a socket; never user or password."""
    parameters = parameters_of(uri)
    hosts = (parameters.get("host") or parameters.get("hostaddr") or "/").split(",")
    ports = parameters.get("port", "").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    if hosts[0].startswith("/"):
        return "a unix socket"
    places = zip(hosts, ports, strict=False)
    return ",".join(f"{f'[{host}]' if ':' in host else host}:{port or DEFAULT_PORT}" for host, port in places)


def shown(uri: str) -> str:
    """Return a database's name and place, for messages that begin with the word database."""
    name = parameters_of(uri).get("dbname")
    return f"{name} at {place_of(uri)}" if name else f"at {place_of(uri)}"


def complete(uri: str, major_version: int = 0) -> str:
    """Return the URI with what no session may take from elsewhere: UTF-8, our settings, and the port.

    Options that the URI itself names come after ours, so they hold. Completing twice changes nothing more.
    """
    given = parameters_of(uri)
    wanted = {"client_encoding": "UTF8", "options": _options(given.get("options", ""), major_version)}
    if "port" not in given:
        wanted["port"] = DEFAULT_PORT
    more = "&".join(f"{name}={quote(value, safe='')}" for name, value in wanted.items() if given.get(name) != value)
    return _joined(uri, more)


def named(uri: str, application: str) -> str:
    """Return the URI for sessions that the database shows under this name."""
    return _joined(uri, f"application_name={quote(application, safe='')}")


def forget_variables(environment: MutableMapping[str, str], passing: frozenset[str] = _PASSING_VARIABLES) -> list[str]:
    """Remove libpq's variables except those that may pass: libpq reads them inside of this process. Returns them."""
    removed = sorted((_OTHER_VARIABLES | _PASSING_VARIABLES) - passing & set(environment))
    for name in removed:
        environment.pop(name, None)
    return removed


def _options(given: str, major_version: int) -> str:
    """Return the options of a session, those given last. What stands there twice, libpq's last one holds."""
    settings = _SETTINGS | (_SINCE_17 if major_version >= 17 else {})
    ours = [f"-c {name}={value}" for name, value in settings.items()]
    return " ".join([*(option for option in ours if option not in given), *([given] if given else [])])


def _joined(uri: str, more: str) -> str:
    if not more:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}{more}"
