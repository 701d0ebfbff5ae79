"""An input file's path may hold what a shell, a pattern, a URL or a template takes for its own: it is read as named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from pipeline_lib.ingest import ingest
from pipeline_lib.parameters import IngestParameters
from pipeline_lib.record import DATASET
from tests.unit.json_files import LINES, REFERENCE
from workbench.base.errors import InvalidParameter
from workbench.base.settings import NOTEBOOKS
from workbench.cli.options import asked_for
from workbench.data.rejects import read_rejects
from workbench.notebook.injection import inject, read_notebook
from workbench.run.verification import inputs_of
from workbench.stage.artefacts import RunFolder, sha256_of
from workbench.stage.run_parameters import RunParameters
from workbench.web.run_form import refusals

pytestmark = pytest.mark.promise("P22", "an input file is read by any path, or its path is refused at once")
NAMES = [
    "[a-c]", "a[0].json", "*", "**", "a*?.json", "{a,b}", "{}", "{0!r:>{1}}", "{{ x }}", "{% x %}", "two  spaces",
    " front", "end ", "a#b", "a%20b", "100%", "%s%d", "what?", "a,b;c", "a'b", 'a"b', "a\\b", "a\\", "$HOME", "${HOME}",
    "`id`", "a&b|c<d>", "~", "-", "--input-file", "äöüß", "a\u0308", "日本語", "😀", "\u00a0", "a=b", "a:b", "file:",
    "\u202egnp.json", "s3:", "a@b", "!x", "(a)", "x" * 200,
]  # fmt: skip
CONTENT = LINES + b"\nbroken\n"


def path_as_asked_for(path: Path) -> RunParameters:
    return asked_for({"input_file": str(path), "max_reject_rate": "1", "reference_time": REFERENCE}, [])


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_file_in_a_folder_of_any_name_is_read_as_it_is_named(name: str, tmp_path: Path) -> None:
    source = tmp_path / name / name
    source.parent.mkdir()
    source.write_bytes(CONTENT)
    decoy = tmp_path / "a" / "a.json"
    decoy.parent.mkdir(exist_ok=True)
    decoy.write_bytes(b"{}\n")
    parameters = path_as_asked_for(source).for_stage("ingest")
    assert refusals(parameters.model_dump(mode="json")) == {}
    as_injected = injected(parameters.model_dump())
    assert as_injected["input_file"] == str(source)
    chosen = IngestParameters(**{field: as_injected[field] for field in IngestParameters.model_fields})
    folder = tmp_path / "out" / name
    result = ingest(chosen, Path(chosen.input_file), folder)
    assert result.counts == {"read": 6, "ingested": 5, "rejected": 1}
    assert result.details["source"]["path"] == str(source)
    run = path_as_asked_for(source)
    assert inputs_of(RunFolder(tmp_path, "x"), "ingest", run) == {str(source): sha256_of(source)}
    assert pq.ParquetFile(folder / DATASET).read()["id"].to_pylist() == [0, 1, 2, 3, 4]
    assert read_rejects(folder).select(pl.col("raw")).item() == "broken"


def injected(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return what the cell that is put into the notebook sets."""
    notebook = inject(read_notebook(NOTEBOOKS / "02_ingest.ipynb"), {"pipeline_id": "x", **parameters})
    cell = next(each for each in notebook.cells if "injected-parameters" in each.metadata.get("tags", []))
    names: dict[str, Any] = {}
    exec(cell.source, names)
    return names


@pytest.mark.parametrize("name", ["line\nend", "tab\t", "bell\x07", os.fsdecode(b"\xff\xfe.json")], ids=ascii)
def test_a_path_that_no_line_or_table_can_hold_is_refused_at_once(name: str, tmp_path: Path) -> None:
    source = tmp_path / name
    source.write_bytes(CONTENT)
    with pytest.raises(InvalidParameter, match="input_file"):
        path_as_asked_for(source)


def test_a_file_that_is_not_there_is_never_looked_for_as_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(CONTENT)
    with pytest.raises(InvalidParameter, match="no such file"):
        path_as_asked_for(tmp_path / "*.json")
