"""P10: what it costs a run that broker, agent or Prefect is away, each for a whole run; prints seconds, asserts none.

Run with `pytest -m benchmark -s tests/benchmarks/test_services_away.py`; WORKBENCH_BENCHMARK_ROUNDS changes the number
of runs of each kind. The kinds take turns, so that whatever else the machine does meets all of them.
"""

from __future__ import annotations

import os
import statistics
import time
from collections import defaultdict

import pytest

from tests.conftest import OWN_BROKER
from tests.faults.bench import Bench
from tests.faults.silence import silent_server
from tests.soak import soaking

pytestmark = pytest.mark.benchmark
ROUNDS = int(os.environ.get("WORKBENCH_BENCHMARK_ROUNDS", "5"))


def seconds_of(bench: Bench, **environment: str) -> float:
    began = time.monotonic()
    run = bench.run(**{"AMQP_URL": OWN_BROKER, **environment})
    assert run.wait() == 0, run.said()
    return time.monotonic() - began


@pytest.mark.timeout(3600)
def test_runs_without_broker_agent_or_prefect_beside_runs_with_all_of_them() -> None:
    seconds: dict[str, list[float]] = defaultdict(list)
    with soaking() as bench, silent_server() as port:
        kinds = {
            "all there": {},
            "broker silent": {"AMQP_URL": f"amqp://guest:guest@127.0.0.1:{port}/%2F"},
            "agent's host unknown": {"DD_AGENT_HOST": "agent.invalid"},
            "Prefect refuses": {"PREFECT_API_URL": "http://127.0.0.1:1/api"},
        }
        seconds_of(bench)  # the first run on new services is slower than any other
        for _ in range(ROUNDS):
            for name, environment in kinds.items():
                seconds[name].append(seconds_of(bench, **environment))
    usual = statistics.median(seconds["all there"])
    for name, taken in seconds.items():
        median = statistics.median(taken)
        print(
            f"\n{name:22} {median:6.2f} s  {100 * (median / usual - 1):+5.1f} %  of {sorted(map(round, taken))}", end=""
        )
    assert {len(taken) for taken in seconds.values()} == {ROUNDS}
