"""Contact with Prefect's API for those who do not work runs themselves; starts no server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import PrefectException
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from pipeline_lib.error_text import one_line
from pipeline_lib.errors import ServiceUnavailable
from pipeline_lib.services import prefect
from pipeline_lib.settings import Settings

WORK_POOL = "workbench"
FLOW = "pipeline"
DEPLOYMENT = f"{FLOW}/workbench"
_SECONDS = 10.0
_RETRIES = 2  # after 2 s, then 4 s


@contextmanager
def contacted(settings: Settings) -> Iterator[SyncPrefectClient]:
    """Yield a client of the Prefect that is up; raises `ServiceUnavailable`, also for what fails within the block."""
    with prefect.reached(settings) as url:
        # It has just answered, but says 503 as long as its store is locked by others.
        patient = {PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: _RETRIES}
        try:
            with (
                temporary_settings(patient),
                get_client(httpx_settings={"timeout": _SECONDS}, sync_client=True) as client,
            ):
                yield client
        except (httpx.HTTPError, PrefectException) as error:
            reason = f"{type(error).__name__}: {one_line(error)}"
            raise ServiceUnavailable(f"Prefect at {prefect.place_of(url)}: {reason}; see `workbench doctor`") from error
