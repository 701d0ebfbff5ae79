"""Clients of a Prefect API that is already up; starts no server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import httpx
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import PrefectException
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from workbench.base.error_text import one_line
from workbench.base.errors import ServiceUnavailable
from workbench.base.settings import Settings
from workbench.services import prefect

WORK_POOL = "workbench"
FLOW = "pipeline"
DEPLOYMENT = f"{FLOW}/workbench"
_SECONDS = 10.0
_REFUSALS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_RETRIES = 2  # after 2 s, then 4 s


@contextmanager
def contacted(settings: Settings) -> Iterator[SyncPrefectClient]:
    """Yield a client of the Prefect that is up; raises `ServiceUnavailable`, also for what fails within the block."""
    with prefect.reached(settings) as url:
        # It has just answered, but answers 503 while other clients lock its store.
        patient = {PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: _RETRIES}
        try:
            with (
                temporary_settings(patient),
                get_client(httpx_settings={"timeout": _SECONDS}, sync_client=True) as client,
            ):
                yield client
        except (httpx.HTTPError, PrefectException) as error:
            raise ServiceUnavailable(f"Prefect at {prefect.place_of(url)}: {_in_words(error)}") from error


def _in_words(error: Exception) -> str:
    status = error.response.status_code if isinstance(error, httpx.HTTPStatusError) else None
    if status in _REFUSALS:
        keys = "PREFECT_API_AUTH_STRING, PREFECT_API_KEY or PREFECT_CLIENT_CUSTOM_HEADERS"
        return f"it refuses us ({status}); set {keys} as the server, or the proxy before it, wants"
    return f"{type(error).__name__}: {one_line(error)}; see `workbench doctor`"


def check_access(settings: Settings) -> None:
    """Raise `ServiceUnavailable` when the Prefect that is up refuses our credentials; /health needs none."""
    with contacted(settings) as client:
        try:
            client.api_version()
        except ValueError as error:
            raise ServiceUnavailable(f"{client.api_url}: this is no API of Prefect; correct PREFECT_API_URL") from error
