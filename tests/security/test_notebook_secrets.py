"""Whatever a cell prints, raises or shows: the saved notebook and its report hold no secret of the kernel's."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from workbench.base import redaction
from workbench.notebook.execute import ExecutionOptions, execute_notebook
from workbench.notebook.report import render_report
from workbench.notebook.results import NotebookOutcome

pytestmark = pytest.mark.promise(
    "S2", "whatever a cell prints, shows or raises: notebook, report and error hold no secret of the kernel's"
)

CANARY = "canary-5f1c77e0"
ENVIRONMENT = {
    "DATABASE_URL": f"postgresql://nobody:{CANARY}@127.0.0.1:1/nothing",
    "SPARK_REMOTE": f"sc://localhost:1/;token={CANARY}-spark",
    "DD_API_KEY": f"{CANARY}-dd",
}
CELLS = {
    "prints its environment": "import os; print(dict(os.environ)); print(os.environ['DATABASE_URL'])",
    "prints in pieces": (
        "import os, sys, time\n"
        "for letter in os.environ['DD_API_KEY']:\n"
        "    sys.stdout.write(letter); sys.stdout.flush(); time.sleep(0.02)"
    ),
    "writes to file descriptor 1": "import os; os.write(1, os.environ['DATABASE_URL'].encode())",
    "shows a table": "import os, pandas; pandas.DataFrame({'a': [os.environ['DATABASE_URL']]})",
    "draws a figure": "import os, plotly.graph_objects as go; go.Figure(go.Bar(x=[os.environ['DD_API_KEY']], y=[1]))",
    "raises it": "import os; raise RuntimeError(os.environ['SPARK_REMOTE'])",
    "fails in psycopg2": "import os, psycopg2; psycopg2.connect(os.environ['DATABASE_URL'] + '?nonsense=1')",
    "fails in SQLAlchemy": (
        "import os, sqlalchemy\n"
        "url = os.environ['DATABASE_URL'].replace('postgresql', 'postgresql+psycopg2')\n"
        "sqlalchemy.create_engine(url).connect()"
    ),
    "fails in ADBC": "import os, adbc_driver_postgresql.dbapi as adbc; adbc.connect(os.environ['DATABASE_URL'])",
    "quotes it in a chain of errors": (
        "import os\ntry:\n    int(os.environ['DD_API_KEY'])\nexcept ValueError as error:\n"
        "    raise KeyError(os.environ['DATABASE_URL']) from error"
    ),
    "dies with it as its last words": "import os; os.write(2, os.environ['DD_API_KEY'].encode()); os.abort()",
}


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_known", ())


def execute(code: str, target: Path) -> NotebookOutcome:
    cells = [new_code_cell("", metadata={"tags": ["parameters"]}), new_code_cell(code)]
    source = target.with_name("source.ipynb")
    nbformat.write(new_notebook(cells=cells, metadata={"language_info": {"name": "python"}}), source)
    return execute_notebook(source, target, {}, ExecutionOptions(environment=ENVIRONMENT))


def told(outcome: NotebookOutcome) -> str:
    return str(vars(outcome.error)) if outcome.error else ""


@pytest.mark.parametrize("cell", CELLS)
def test_no_secret_of_the_environment_is_kept_when_a_cell(cell: str, tmp_path: Path) -> None:
    target = tmp_path / "executed.ipynb"
    outcome = execute(CELLS[cell], target)
    report = render_report(target, tmp_path / "report.html")
    outputs = nbformat.read(target, as_version=4).cells[1].outputs
    assert outputs or outcome.error, "the cell has not done what it is there for"
    for place, text in {"notebook": target.read_text(), "report": report.read_text(), "error": told(outcome)}.items():
        assert CANARY not in text, place


def test_data_that_only_looks_like_a_credential_is_shown_as_it_is(tmp_path: Path) -> None:
    target = tmp_path / "executed.ipynb"
    code = "import pandas; pandas.DataFrame({'a': ['http://me:mine@host/?token=5']})"
    execute(code, target)
    assert "http://me:mine@host/?token=5" in target.read_text()
