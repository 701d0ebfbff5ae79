"""A sixth stage is a notebook and one `[[stage]]`: no line of the engine knows how many stages there are."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tests.conftest import fresh_database
from tests.e2e.conftest import Workbench
from tests.web.served import served
from workbench.base.settings import PROJECT, Settings
from workbench.prefect.actions import actions_on
from workbench.stage.artefacts import RunFolder
from workbench.state import database

DECLARED = """
[[stage]]
name = "digest"
title = "Digest"
notebook = "06_digest.ipynb"
parameters_model = "digest:DigestParameters"
leaves = "digest.txt"
counts = ["digested"]
"""
MODEL = '''
from typing import Annotated

from pydantic import Field

from workbench.stage.parameter_types import StageParameters


class DigestParameters(StageParameters):
    """Stage 6: what it says."""

    greeting: Annotated[str, Field(description="the first word")] = "hello"
'''
CELLS = (
    'pipeline_id: str = ""\ngreeting: str = "hello"',
    "from digest import DigestParameters\n"
    "from workbench import open_stage\n\n"
    "stage = open_stage(pipeline_id, DigestParameters.from_variables(globals()))",
    "from workbench.stage.artefacts import StageResult\n\n"
    'exported = stage.manifest("export").counts["exported"]\n'
    '(stage.folder / "digest.txt").write_text(f"{stage.parameters.greeting} {exported} {stage.source.name}")\n'
    'stage.finish(StageResult({"digested": exported}, {"digest.txt": 1}))',
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of this project with a sixth stage."""
    folder = tmp_path / "project"
    for part in ("notebooks", "pipeline_lib", "flows", "dbt"):
        shutil.copytree(PROJECT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "target", "logs"))
    declared = (
        (PROJECT / "pipeline.toml")
        .read_text()
        .replace('"transformed = exported",', '"transformed = exported",\n    "exported = digested",')
    )
    (folder / "pipeline.toml").write_text(declared + DECLARED)
    (folder / "digest.py").write_text(MODEL)
    notebook = new_notebook(cells=[new_code_cell(source) for source in CELLS])
    notebook.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(notebook, folder / "notebooks" / "06_digest.ipynb")
    return folder


def test_a_notebook_and_one_declared_stage_are_all_that_a_sixth_stage_takes(
    workbench: Workbench, server_url: str, project: Path, settings: Settings
) -> None:
    with fresh_database(server_url) as url:
        here = {"DATABASE_URL": url, "WORKBENCH_PROJECT": str(project)}
        run = workbench.json("run", "--records", "50", "--greeting", "good morning", **here)
        assert [stage["name"] for stage in run["stages"]][4:] == ["export", "digest"]
        assert run["stages"][-1]["counts"] == {"digested": 50}
        again: dict[str, Any] = workbench.json("resume", run["pipeline_id"], "--from", "digest", **here)
        assert [stage["status"] for stage in again["stages"]] == [*["reused"] * 5, "completed"]
        shown = subprocess.run(["cat", *again["reports"]], capture_output=True, text=True, check=True).stdout
        assert "Digest" in shown
        left = RunFolder(settings.home, run["pipeline_id"]).stage("digest")
        assert left.name == "06_digest"
        said = (left / "digest.txt").read_text()
        assert said == f"good morning 50 {Path(run['output_file']).name}"
        assert workbench.json("show", run["pipeline_id"], **here)["stages"][-1]["status"] == "completed"
        engine = database.connect(url)
        with served(settings, engine, actions_on(settings, engine)) as page, page.entitled() as client:
            html = client.get(f"/runs/{run['pipeline_id']}").text
        engine.dispose()
        assert "Digest" in html
        assert "exported = digested" in html
