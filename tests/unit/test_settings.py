"""Settings come from the environment; what is unusable is refused by name, and never shown."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path

import pytest

from workbench.base.errors import InvalidSetting
from workbench.base.settings import PROJECT, Settings, load_settings

CANARY = "s3cr3t-canary"
SECRETS = {
    "DATABASE_URL": f"postgresql://user:{CANARY}@host/db",
    "AMQP_URL": f"amqp://user:{CANARY}@host/",
    "SPARK_REMOTE": f"sc://host/;token={CANARY}",
}


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("name", SECRETS)
def test_a_url_of_another_scheme_is_refused_without_showing_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, f"ftp://user:{CANARY}@host")
    with pytest.raises(InvalidSetting, match=f"^{name}: must begin with") as refusal:
        load_settings()
    assert CANARY not in str(refusal.value)
    assert refusal.value.exit_code == 2


@pytest.mark.parametrize(("name", "value"), [("DD_DOGSTATSD_PORT", "66000"), ("WORKBENCH_LEASE_SECONDS", "soon")])
def test_an_unusable_number_is_refused_by_its_variable(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidSetting, match=f"^{name}: "):
        load_settings()


@pytest.mark.parametrize("name", [*SECRETS, "PREFECT_API_URL"])
@pytest.mark.parametrize("port", ["word", "99999"])
def test_a_url_whose_port_is_none_is_refused_without_showing_it(
    name: str, port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, SECRETS.get(name, "http://localhost/api").replace("host/", f"host:{port}/"))
    with pytest.raises(
        InvalidSetting, match=f"^{name}: is no URL (of one host and one port|for PostgreSQL)"
    ) as refusal:
        load_settings()
    assert CANARY not in str(refusal.value)


@pytest.mark.parametrize("url", ["localhost:4200/api", "127.0.0.1:4200/api", "ftp://host/api", "http:///api", "/api"])
def test_an_address_of_prefect_without_scheme_or_host_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", url)
    with pytest.raises(InvalidSetting, match=r"^PREFECT_API_URL: must begin with http://"):
        load_settings()


@pytest.mark.parametrize("url", ["http://localhost:4200/api", "HTTPS://prefect.example/api", "http://[::1]:4200/api"])
def test_an_address_of_prefect_is_taken_as_it_is(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", url)
    assert load_settings().prefect_api_url == url


def test_secrets_do_not_show_in_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, url in SECRETS.items():
        monkeypatch.setenv(name, url)
    settings = load_settings()
    assert CANARY not in repr(settings) + str(settings) + settings.model_dump_json()
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == SECRETS["DATABASE_URL"]


def test_a_folder_without_notebooks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_NOTEBOOKS", str(tmp_path))
    with pytest.raises(InvalidSetting, match=f"^WORKBENCH_NOTEBOOKS: no notebook lies in {tmp_path}"):
        load_settings()


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    assert load_settings().database_url is None


def test_a_relative_home_lies_below_the_project_and_an_absolute_one_where_it_says(tmp_path: Path) -> None:
    assert Settings(workbench_home=Path("elsewhere")).home == PROJECT / "elsewhere"
    assert Settings(workbench_home=tmp_path).home == tmp_path.resolve()


def test_the_example_names_every_setting_with_its_default_and_sets_none() -> None:
    text = (PROJECT / ".env.example").read_text("utf-8")
    fields = Settings.model_fields
    expected = {
        (field.description, name.upper(), "" if field.default is None else str(field.default))
        for name, field in fields.items()
    }
    assert set(re.findall(r"^# (.+)\n#([A-Z_]+)=(.*)$", text, re.M)) == expected
    assert all(line.startswith("#") for line in text.splitlines() if line)


@pytest.mark.parametrize("value", ["AWS_PROFILE=mine", '["A"]', '{"A": {}}'])
def test_variables_for_kernels_that_are_no_object_of_texts_are_refused(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_KERNEL_ENV", value)
    with pytest.raises(InvalidSetting, match=r"^WORKBENCH_KERNEL_ENV: "):
        load_settings()


@pytest.mark.parametrize(("name", "refused"), [("a:b", False), ("a[b", False), ("a:[b", True), ("a:b\\c", True)])
def test_a_home_that_spark_cannot_read_is_refused(
    name: str, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / name))
    with pytest.raises(InvalidSetting, match=r"^WORKBENCH_HOME ") if refused else nullcontext():
        load_settings()
