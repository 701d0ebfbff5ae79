"""docker-compose.yml: valid by the compose schema, reachable on loopback only, no password written in, and true."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import pytest
import yaml

from workbench.base.settings import PROJECT, Settings
from workbench.services.readiness import VARIABLE

FILE = PROJECT / "docker-compose.yml"
TEXT = FILE.read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def test_the_file_fits_the_compose_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_watched_restarted_and_pinned(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"]
    assert service["restart"] == "unless-stopped"
    assert re.search(r":v?\d", service["image"])
    assert not service["image"].endswith(":latest")


@pytest.mark.promise("S4", "everything listens on loopback only")
@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_published_on_loopback_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))
    assert "network_mode" not in SERVICES[name]


@pytest.mark.promise("S5", "passwords that everybody knows are refused off loopback, and none has a default")
def test_every_password_is_asked_for_and_none_has_a_default() -> None:
    variables = dict(re.findall(r"\$\{([A-Z_]+)([^}]*)\}", TEXT))
    required = {name for name, rest in variables.items() if rest.startswith(":?")}
    assert required == {"POSTGRES_PASSWORD", "RABBITMQ_PASSWORD", "JUPYTER_TOKEN", "WORKBENCH_WEB_TOKEN"}
    assert variables["DD_API_KEY"] == ":-"


@pytest.mark.parametrize("name", ["worker", "page", "jupyterlab"])
def test_our_own_services_are_given_settings_that_exist(name: str) -> None:
    given = {key.lower() for key in SERVICES[name]["environment"]} - {"jupyter_token", VARIABLE.lower()}
    assert given <= set(Settings.model_fields)
    assert {"database_url", "amqp_url", "spark_remote", "prefect_api_url"} <= given


def test_spark_has_the_version_of_its_client() -> None:
    assert SERVICES["spark"]["image"] == f"apache/spark:{version('pyspark')}"


def test_volumes_are_named_and_all_of_them_are_used() -> None:
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert used == set(COMPOSE["volumes"])


def test_whoever_waits_for_a_service_waits_for_one_that_exists() -> None:
    for service in SERVICES.values():
        for name, condition in service.get("depends_on", {}).items():
            assert name in SERVICES
            assert condition == {"condition": "service_healthy"}
