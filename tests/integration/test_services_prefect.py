"""Prefect's API: embedded light or full, or external; loopback only, one store, nothing left behind."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.service_watch import all_gone, family_of, listening_addresses, wait_until
from workbench.base.errors import InvalidSetting, ServiceUnavailable
from workbench.base.settings import Settings
from workbench.services import prefect
from workbench.services.processes import free_port


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a home whose store is migrated once for all tests of this module."""
    return Settings(_env_file=None, workbench_home=tmp_path_factory.mktemp("Ein Heim mit ü"))


@pytest.fixture(scope="module")
def light(settings: Settings) -> Iterator[str]:
    """The URL of a light server."""
    with prefect.held(settings) as url:
        yield url


def _get(url: str) -> object:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return json.load(answer)


def _make_flow(url: str, name: str) -> object:
    body, kind = json.dumps({"name": name}).encode(), {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{url}/flows/", body, kind), timeout=20) as answer:
        return json.load(answer)


def test_the_light_server_answers_and_keeps_what_it_is_told(light: str) -> None:
    _make_flow(light, "some-flow")
    assert isinstance(_get(f"{light}/flows/name/some-flow"), dict)


@pytest.mark.promise("S4", "everything listens on loopback only")
def test_it_listens_on_loopback_only(light: str, settings: Settings) -> None:
    assert listening_addresses(family_of("prefect", settings.home)) == {"127.0.0.1"}


def test_the_users_environment_stays_as_it_is(light: str) -> None:
    assert "PREFECT_API_URL" not in os.environ
    assert "PREFECT_HOME" not in os.environ


def test_a_full_server_shares_the_store_has_a_page_and_serves_light_users_too(light: str, settings: Settings) -> None:
    _make_flow(light, "shared-flow")
    with prefect.held(settings, full=True) as full:
        assert full != light
        assert isinstance(_get(f"{full}/flows/name/shared-flow"), dict)
        with urllib.request.urlopen(full.removesuffix("/api"), timeout=20) as page:
            assert b"<html" in page.read().lower()
        with prefect.held(settings) as third:
            assert third == full
        assert listening_addresses(family_of("prefect-full", settings.home)) == {"127.0.0.1"}
        family = family_of("prefect-full", settings.home)
    assert wait_until(lambda: all_gone(family), 15)


def test_an_external_api_is_taken_and_nothing_is_started(light: str, tmp_path: Path) -> None:
    with prefect.held(Settings(_env_file=None, workbench_home=tmp_path / "home", prefect_api_url=light)) as url:
        assert url == light
    assert not (tmp_path / "home").exists()


def test_an_api_that_is_away_is_named(tmp_path: Path) -> None:
    port = free_port()
    away = Settings(_env_file=None, workbench_home=tmp_path, prefect_api_url=f"http://127.0.0.1:{port}/api")
    with pytest.raises(ServiceUnavailable, match=rf"127.0.0.1:{port}.*PREFECT_API_URL"), prefect.held(away):
        pass


def test_a_url_that_is_none_is_refused(tmp_path: Path) -> None:
    wrong = Settings(_env_file=None, workbench_home=tmp_path, prefect_api_url="localhost:4200")
    with pytest.raises(InvalidSetting, match="PREFECT_API_URL"), prefect.held(wrong):
        pass
