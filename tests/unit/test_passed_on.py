"""What of the shell's environment reaches our processes and kernels."""

from __future__ import annotations

import pytest

from workbench.base.environment import PROJECT, is_read_at_start, passed_on

SHELL = {"PATH": "/usr/bin", "HOME": "/home/me", "AWS_PROFILE": "mine", "TZ": "Asia/Kathmandu", "OMP_NUM_THREADS": "3"}
OWN = {"DATABASE_URL": "postgresql://me@db/marts", "SPARK_REMOTE": "sc://spark", "WORKBENCH_LEASE_SECONDS": "9"}
WITHHELD = (
    "CLASSPATH", "DBT_EXCLUDE_RESOURCE_TYPES", "DBT_TARGET", "GRPC_POLL_STRATEGY", "HADOOP_HOME", "JAVA_TOOL_OPTIONS",
    "OTEL_PROPAGATORS", "PGHOSTADDR", "PGOPTIONS", "PGPORT", "PLOTLY_RENDERER", "PREFECT_API_KEY", "PREFECT_PROFILE",
    "PYTHONINSPECT", "PYTHONOPTIMIZE", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONWARNINGS", "SPARK_CONF_DIR", "SPARK_HOME",
    "WEB_CONCURRENCY", "_JAVA_OPTIONS",
)  # fmt: skip
ALWAYS = {"PYTHONUTF8": "1", "WORKBENCH_PROJECT": str(PROJECT)}


def test_what_changes_no_component_passes_as_it_is() -> None:
    assert passed_on(SHELL | OWN) == SHELL | OWN | ALWAYS


@pytest.mark.parametrize("name", WITHHELD)
def test_what_changes_a_component_is_withheld(name: str) -> None:
    assert passed_on(SHELL | {name: "x"}) == passed_on(SHELL)


@pytest.mark.parametrize("name", ["PGPASSWORD", "PGPASSFILE", "PGSSLROOTCERT"])
def test_what_opens_a_database_passes_only_to_one_that_a_setting_names(name: str) -> None:
    assert name not in passed_on(SHELL | {name: "x"})
    assert passed_on(SHELL | OWN | {name: "x"})[name] == "x"


def test_what_opens_prefect_passes_only_to_one_that_a_setting_names() -> None:
    named = {"PREFECT_API_URL": "https://prefect.example/api", "PREFECT_API_KEY": "k", "PREFECT_PROFILE": "other"}
    assert passed_on(named) == {name: named[name] for name in named if name != "PREFECT_PROFILE"} | ALWAYS


@pytest.mark.parametrize(
    ("given", "hosts"),
    [
        ({}, "127.0.0.1,localhost,::1"),
        ({"NO_PROXY": "intra.example, 127.0.0.1"}, "intra.example,127.0.0.1,localhost,::1"),
        ({"no_proxy": "a", "NO_PROXY": "b"}, "a,127.0.0.1,localhost,::1"),
        ({"no_proxy": "*"}, "*"),
    ],
)
def test_a_proxy_passes_but_never_stands_between_us_and_loopback(given: dict[str, str], hosts: str) -> None:
    passed = passed_on({"https_proxy": "http://host:3128", **given})
    assert passed["https_proxy"] == "http://host:3128"
    assert {passed[name] for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy")} == {hosts}


def test_without_a_proxy_no_variable_of_proxies_is_set() -> None:
    assert not [name for name in passed_on(SHELL) if "proxy" in name.lower()]


def test_doing_it_again_changes_nothing() -> None:
    once = passed_on(SHELL | {"http_proxy": "http://host", "PYTHONPATH": "/x"})
    assert passed_on(once) == once
    assert not is_read_at_start(once)


@pytest.mark.parametrize("name", ["PYTHONPATH", "PYTHONWARNINGS", "PYTHONOPTIMIZE", "PYTHONDEVMODE"])
def test_what_an_interpreter_reads_at_its_start_asks_for_a_new_one(name: str) -> None:
    assert is_read_at_start(SHELL | {name: "1"})
    assert not is_read_at_start(SHELL | {"PYTHONSTARTUP": "x", "PYTHONUNBUFFERED": "1"})
