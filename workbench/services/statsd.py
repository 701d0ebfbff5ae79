"""Reach DogStatsD. Without an agent metrics are lost, and sending neither waits nor fails."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from datadog.dogstatsd.base import DogStatsd

from workbench.base.settings import Settings

_QUEUED_PACKETS = 1_000
_LAST_SECONDS = 1.0


@contextmanager
def client(settings: Settings) -> Iterator[DogStatsd]:
    """Yield a client that tags everything with service, env and version, and sends queued metrics when the block ends.

    A thread of its own sends, because a host name's lookup may take seconds. Not for a process that forks.
    The client's warning for each packet without an agent is turned off: no agent is the normal case.
    """
    logging.getLogger("datadog.dogstatsd").setLevel(logging.ERROR)
    sender = DogStatsd(
        host=settings.dd_agent_host,
        port=settings.dd_dogstatsd_port,
        disable_telemetry=True,
        disable_background_sender=False,
        sender_queue_size=_QUEUED_PACKETS,
        origin_detection_enabled=False,
    )
    sender.constant_tags = constant_tags(settings)
    try:
        yield sender
    finally:
        sender.stop(_LAST_SECONDS)


def constant_tags(settings: Settings) -> list[str]:
    """Return Datadog's unified service tags."""
    return [f"env:{settings.dd_env}", f"service:{settings.dd_service}", f"version:{settings.dd_version}"]
