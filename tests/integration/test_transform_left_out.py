"""What the dbt project declares and dbt does not run fails stage 4, whatever leaves it out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline_lib.parameters import TransformParameters
from pipeline_lib.transform import build_marts
from tests.integration.processed_tables import create_processed_tables
from workbench.base.errors import ModelTestFailed
from workbench.data import dbt_runner
from workbench.data.dbt_results import build_error, declared_nodes, read_build
from workbench.data.dbt_runner import DbtCall, call_dbt, profile_environment
from workbench.data.run_schema import connected

SCHEMA = "run_20261123t083012_a1b2c3"
PARAMETERS = TransformParameters(dbt_threads=2, reference_time="2026-11-23T10:00:00+02:00")


def _project_with(folder: Path, name: str, content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have dbt work on a copy of the project with this text added to one of its files."""
    copy = shutil.copytree(dbt_runner.DBT_PROJECT, folder / "project")
    with (copy / name).open("a") as file:
        file.write(content)
    monkeypatch.setattr(dbt_runner, "DBT_PROJECT", copy)


@pytest.mark.parametrize(
    ("left_out", "named"),
    [("resource_type:unit_test", "left out 8 .* unit test "), ("country_summary", "model country_summary")],
)
def test_what_a_default_selector_leaves_out_fails_the_stage_and_is_named(
    left_out: str, named: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exclude = f"{{exclude: ['{left_out}']}}"
    selector = f"selectors: [{{name: some, default: true, definition: {{union: ['*', {exclude}]}}}}]"
    _project_with(tmp_path, "selectors.yml", selector, monkeypatch)
    create_processed_tables(database_url, SCHEMA)
    with pytest.raises(ModelTestFailed, match=named):
        build_marts(database_url, SCHEMA, tmp_path, PARAMETERS)


@pytest.mark.promise("P22", "a variable of dbt that leaves out models or tests fails the stage, which names them")
def test_what_a_variable_of_dbt_leaves_out_is_named(database_url: str, tmp_path: Path) -> None:
    create_processed_tables(database_url, SCHEMA)
    with connected(database_url) as connection:
        environment = profile_environment(connection.info, SCHEMA)
    call = DbtCall("build", {**environment, "DBT_EXCLUDE_RESOURCE_TYPES": "test unit_test"}, tmp_path, 2, {})
    build = read_build(call_dbt(call), declared_nodes(call.target))
    assert (len(build.models), build.tests, build.failures) == (8, (), ())
    assert len(build.not_run) == 33
    assert "dbt left out 33 models and tests that the project declares: test " in str(build_error(build))


def test_a_failing_test_whose_severity_is_only_a_warning_fails_the_stage(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _project_with(tmp_path, "dbt_project.yml", "\ndata_tests:\n  +severity: warn\n", monkeypatch)
    create_processed_tables(database_url, SCHEMA, then="update processed_items set quantity = null where id < 2")
    with pytest.raises(ModelTestFailed, match="complete_item_metrics"):
        build_marts(database_url, SCHEMA, tmp_path, PARAMETERS)


def test_a_test_that_the_project_itself_disables_is_not_missed(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _project_with(tmp_path, "dbt_project.yml", "\nunit_tests:\n  +enabled: false\n", monkeypatch)
    create_processed_tables(database_url, SCHEMA)
    build = build_marts(database_url, SCHEMA, tmp_path, PARAMETERS)
    assert {test.kind for test in build.tests} == {"data"}
