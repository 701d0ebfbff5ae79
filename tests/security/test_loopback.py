"""The broker that `make services` starts listens on loopback only, with all its ports (the rest: e2e/test_up.py)."""

from __future__ import annotations

import psutil
import pytest

from tests.integration.service_watch import LOOPBACK, listening_addresses

OURS = "inet_dist_use_interface"


@pytest.mark.promise("S4", "everything listens on loopback only")
def test_a_broker_as_make_services_starts_it_listens_on_loopback_only(broker_url: str) -> None:
    nodes = [each for each in psutil.process_iter() if each.name() == "beam.smp" and OURS in " ".join(each.cmdline())]
    if not nodes:
        pytest.skip("NO BROKER OF OURS: the one that runs here was not started by `make services`")
    names = [each for each in psutil.process_iter() if each.name() == "epmd"]
    addresses = listening_addresses([*nodes, *names])
    assert addresses
    assert addresses <= LOOPBACK
