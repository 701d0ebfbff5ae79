"""Reach a Prefect API: the one PREFECT_API_URL names, else an embedded server."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from urllib.parse import urlsplit

from workbench.base.errors import InvalidSetting, ServiceUnavailable
from workbench.base.settings import Settings
from workbench.services import embedded

_SECONDS = 5.0


@contextmanager
def held(settings: Settings, full: bool = False, given_up: threading.Event | None = None) -> Iterator[str]:
    """Yield the URL of a Prefect API that answers, while the block lasts; the environment stays as it is.

    `full`: with Prefect's user interface and background services (schedules); a light one starts in half the time.
    `given_up`: set by another thread to abandon the start.
    Raises `ServiceUnavailable` when it cannot be reached or started.
    """
    if settings.prefect_api_url is not None:
        yield checked(settings.prefect_api_url)
        return
    with embedded.held_if_live("prefect-full", settings.home) as live:
        if live is not None:
            yield str(live.url)
            return
    with embedded.held("prefect-full" if full else "prefect", settings.home, given_up) as state:
        yield str(state.url)


@contextmanager
def reached(settings: Settings) -> Iterator[str]:
    """Yield the URL of the Prefect API that is up, while the block lasts; never starts one.

    Raises `ServiceUnavailable` when none is up or it does not answer.
    """
    if settings.prefect_api_url is not None:
        yield checked(settings.prefect_api_url)
        return
    with ExitStack() as stack:
        for name in ("prefect-full", "prefect"):
            live = stack.enter_context(embedded.held_if_live(name, settings.home))
            if live is not None:
                yield checked(str(live.url))
                return
    raise ServiceUnavailable("Prefect: no server is up; `workbench up` starts one")


def checked(url: str) -> str:
    """Return `url` when an API answers there; a refusal for a missing key is an answer, too."""
    status = health_status(url, _SECONDS)
    if status is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise ServiceUnavailable(f"Prefect at {place_of(url)}: no API answers; start it or correct PREFECT_API_URL")
    return url


def place_of(url: str) -> str:
    """Return host:port; raises `InvalidSetting` when the URL has none."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidSetting("PREFECT_API_URL: must be like http://127.0.0.1:4200/api; see .env.example")
    return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def health_status(url: str, seconds: float) -> int | None:
    """Return the HTTP status of the API's `/health`, None when no HTTP server answers within so many seconds."""
    place, parts = place_of(url), urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(place, timeout=seconds)
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}/health")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
