"""Reach RabbitMQ where AMQP_URL names one. There is no embedded broker: without one events wait in their table."""

from __future__ import annotations

from urllib.parse import urlsplit

import pika
from pika.exceptions import AMQPError

from workbench.base.errors import InvalidSetting, ServiceUnavailable
from workbench.base.settings import Settings

_HEARTBEAT_SECONDS = 30
_BLOCKED_SECONDS = 5.0  # a broker short of memory or disk; events wait in their table as well
_SOCKET_SECONDS = 3.0
_STACK_SECONDS = 6.0


def parameters(settings: Settings) -> pika.connection.Parameters | None:
    """Return how to connect to the broker, None without one.

    One attempt, with a time limit; a dead or blocked connection is detected. Raises `InvalidSetting`.
    """
    if settings.amqp_url is None:
        return None
    try:
        found = pika.URLParameters(settings.amqp_url.get_secret_value())
    except (ValueError, TypeError) as error:
        raise InvalidSetting(f"AMQP_URL: not usable ({type(error).__name__}); see .env.example") from None
    found.heartbeat = _HEARTBEAT_SECONDS
    found.blocked_connection_timeout = _BLOCKED_SECONDS
    found.socket_timeout = _SOCKET_SECONDS
    found.stack_timeout = _STACK_SECONDS
    found.connection_attempts = 1
    return found


def check(settings: Settings) -> str:
    """Connect once and return the broker's product and version; raises `ServiceUnavailable`, which names no secret."""
    found = parameters(settings)
    if found is None:
        raise ServiceUnavailable("RabbitMQ: AMQP_URL is not set, events wait in their table")
    try:
        connection = pika.BlockingConnection(found)
    except (AMQPError, OSError) as error:
        raise ServiceUnavailable(
            f"RabbitMQ at {place_of(settings)}: {_reason(error)}; start it or correct AMQP_URL"
        ) from error
    properties = connection._impl.server_properties or {}
    connection.close()
    return f"{properties.get('product', 'AMQP broker')} {properties.get('version', '')}".strip()


def place_of(settings: Settings) -> str:
    """Return the broker's host:port."""
    parts = urlsplit(settings.amqp_url.get_secret_value() if settings.amqp_url else "")
    return f"{parts.hostname or 'localhost'}:{parts.port or (5671 if parts.scheme == 'amqps' else 5672)}"


def _reason(error: Exception) -> str:
    """Name the kind of failure; the client's own texts may hold the whole address."""
    names = {"ProbableAuthenticationError": "user or password refused", "ProbableAccessDeniedError": "vhost refused"}
    return names.get(type(error).__name__, "no server answers")
