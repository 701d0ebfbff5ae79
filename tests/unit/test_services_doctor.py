"""The doctor tells what is where and how to mend it, and no secret."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from workbench.base.settings import Settings
from workbench.cli.commands_manage import doctor
from workbench.prefect.runner import check_prefect
from workbench.services.health_checks import examine
from workbench.services.processes import free_port

SECRET = "canary-7f3a"


def test_every_component_has_a_finding_and_nothing_is_made(tmp_path: Path) -> None:
    findings = examine(Settings(_env_file=None, workbench_home=tmp_path / "home"))
    assert [finding.component for finding in findings] == [
        "python", "disk", "java", "postgres", "spark", "prefect", "broker", "datadog", "browser",
    ]  # fmt: skip
    assert not (tmp_path / "home").exists()


def test_what_is_embedded_and_not_up_needs_no_mending(tmp_path: Path) -> None:
    findings = {finding.component: finding for finding in examine(Settings(_env_file=None, workbench_home=tmp_path))}
    for component in ("postgres", "spark", "prefect"):
        assert findings[component].kind == "embedded"
        assert findings[component].reachable is None
        assert findings[component].mend == ""


def test_udp_is_not_claimed_to_be_reachable(tmp_path: Path) -> None:
    findings = {finding.component: finding for finding in examine(Settings(_env_file=None, workbench_home=tmp_path))}
    assert findings["datadog"].reachable is None


def test_what_is_away_is_named_with_its_place_and_its_setting_but_no_secret(tmp_path: Path) -> None:
    place = f"127.0.0.1:{free_port()}"
    settings = Settings(
        _env_file=None,
        workbench_home=tmp_path,
        database_url=f"postgresql://user:{SECRET}@{place}/db",
        amqp_url=f"amqp://user:{SECRET}@{place}/",
        spark_remote=f"sc://{place}/;token={SECRET}",
        prefect_api_url=f"http://{place}/api",
    )
    findings = {finding.component: finding for finding in examine(settings)}
    wanted = {
        "postgres": "DATABASE_URL", "broker": "AMQP_URL", "spark": "SPARK_REMOTE", "prefect": "PREFECT_API_URL",
    }  # fmt: skip
    for component, variable in wanted.items():
        assert findings[component].reachable is False
        assert place in findings[component].detail
        assert variable in findings[component].mend
    assert SECRET not in str(findings)


def test_what_is_away_is_told_by_the_exit_code_and_what_only_tests_want_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", "")
    doctor(check_prefect, as_json=True)
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port()}/api")
    with pytest.raises(typer.Exit) as left:
        doctor(check_prefect, as_json=True)
    assert left.value.exit_code == 1
