"""JupyterLab as the workbench starts it: loopback, token kept, no outputs in the repository's notebooks, no news."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterlab_server.workspaces_handler import WorkspacesManager

from workbench.base.settings import NOTEBOOKS, Settings
from workbench.cli.lab_save_hook import drop_outputs
from workbench.cli.lab_server import WORKSPACE, lab_command, lab_environment, lab_root


def settings_in(home: Path, notebooks: Path = NOTEBOOKS) -> Settings:
    return Settings(_env_file=None, workbench_home=home, workbench_notebooks=notebooks)


def saved(settings: Settings, path: str) -> dict[str, Any]:
    """Return a notebook with an output after JupyterLab's hook before saving, in the server's environment."""
    cell = {
        "cell_type": "code",
        "outputs": [{"text": "secret"}],
        "execution_count": 7,
        "metadata": {"tags": ["parameters"], "execution": {"iopub.execute_input": "2026"}},
    }
    metadata = {"kernelspec": {"name": "python3"}, "widgets": {"state": {}}}
    model = {"type": "notebook", "content": {"cells": [cell], "metadata": metadata}}
    with pytest.MonkeyPatch.context() as server:
        server.setenv("WORKBENCH_NOTEBOOKS", lab_environment(settings)["WORKBENCH_NOTEBOOKS"])
        drop_outputs(model=model, path=path, contents_manager=SimpleNamespace(root_dir=str(lab_root(settings))))
    return model["content"]


def test_the_folder_holds_notebooks_runs_and_opened_copies_and_making_it_twice_changes_nothing(tmp_path: Path) -> None:
    root = lab_root(settings_in(tmp_path))
    assert lab_root(settings_in(tmp_path)) == root
    assert {each.name for each in root.iterdir()} == {"notebooks", "runs", "opened"}
    assert (root / "notebooks" / "00_workbench.ipynb").exists()
    assert (root / "runs").resolve() == tmp_path.resolve() / "runs"


def test_the_server_listens_on_loopback_keeps_its_token_and_asks_nobody_for_news(tmp_path: Path) -> None:
    command = lab_command(settings_in(tmp_path))
    assert "--ServerApp.ip=127.0.0.1" in command
    assert not any("token" in each or "password" in each for each in command)
    assert "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate" in command
    assert "--LabApp.news_url=" in command


@pytest.mark.parametrize("given", ["--ServerApp.ip=0.0.0.0", "--ip=0.0.0.0", "--ip 0.0.0.0"])
def test_an_option_of_jupyter_replaces_the_default_of_the_workbench(tmp_path: Path, given: str) -> None:
    command = lab_command(settings_in(tmp_path), more=given.split())
    assert "--ServerApp.ip=127.0.0.1" not in command
    assert command[-len(given.split()) :] == given.split()
    assert f"--ServerApp.root_dir={lab_root(settings_in(tmp_path))}" in command


def test_a_layout_that_a_person_has_changed_stays(tmp_path: Path) -> None:
    lab_command(settings_in(tmp_path))
    layouts = WorkspacesManager(str(tmp_path / "lab-workspaces"))
    assert layouts.load(WORKSPACE)["data"]["layout-restorer:data"]["left"]["current"] == "filebrowser"
    layouts.save(WORKSPACE, json.dumps({"data": {"mine": 1}, "metadata": {"id": WORKSPACE}}))
    lab_command(settings_in(tmp_path))
    assert layouts.load(WORKSPACE)["data"] == {"mine": 1}


def test_the_terminals_of_jupyterlab_know_the_command(tmp_path: Path) -> None:
    found = shutil.which("workbench", path=lab_environment(settings_in(tmp_path))["PATH"])
    assert found == str(Path(sys.executable).with_name("workbench"))


def test_our_defaults_show_times_and_leave_a_persons_own_configuration_in_place(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "/mine")
    paths = lab_environment(settings_in(tmp_path))["JUPYTER_CONFIG_PATH"].split(":")
    assert paths[1:] == ["/mine"]
    defaults = json.loads((Path(paths[0]) / "labconfig" / "default_setting_overrides.json").read_text())
    assert defaults["@jupyterlab/notebook-extension:tracker"]["recordTiming"] is True
    assert defaults["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"


def test_a_notebook_of_the_repository_is_saved_without_what_its_cells_showed(tmp_path: Path) -> None:
    content = saved(settings_in(tmp_path), "notebooks/02_ingest.ipynb")
    assert content["cells"][0] == {
        "cell_type": "code",
        "outputs": [],
        "execution_count": None,
        "metadata": {"tags": ["parameters"]},
    }
    assert content["metadata"] == {"kernelspec": {"name": "python3"}}


def test_the_notebooks_are_those_of_the_setting(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    lab_root(settings_in(tmp_path))  # a link to the notebooks of an earlier start is replaced
    settings = settings_in(tmp_path, mine)
    assert (lab_root(settings) / "notebooks").resolve() == mine.resolve()
    assert saved(settings, "notebooks/02_ingest.ipynb")["cells"][0]["outputs"] == []


def test_a_copy_keeps_what_its_cells_showed(tmp_path: Path) -> None:
    content = saved(settings_in(tmp_path), "opened/02_ingest_of_a_run.ipynb")
    assert content["cells"][0]["outputs"]


def test_our_notebooks_name_the_kernel_that_the_workbench_offers() -> None:
    offered = json.loads((NOTEBOOKS.parent / "workbench/cli/lab_assets/kernels/python3/kernel.json").read_text())
    for path in NOTEBOOKS.glob("*.ipynb"):
        assert json.loads(path.read_text())["metadata"]["kernelspec"]["display_name"] == offered["display_name"]
