"""A hostile text in a parameter reaches the kernel as it was, byte by byte, or is refused, everywhere alike."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_notebook
from prefect.exceptions import ParameterTypeError

from flows.pipeline import pipeline
from pipeline_lib.parameters import IngestParameters
from tests.conftest import fresh_database
from tests.e2e.conftest import WORKBENCH
from tests.hostile import KEYS, TEXTS
from tests.integration.executing import KERNEL_ONLY
from tests.web.by_hand import Worker
from tests.web.served import Page
from workbench.base.errors import InvalidParameter, UnknownRun
from workbench.jupyter.kernel_services import kernel_services
from workbench.jupyter.stage_session import open_stage
from workbench.kernels.kernel_pool import warm_kernels
from workbench.kernels.kernel_provisioner import Kernels
from workbench.notebook.execute import ExecutionOptions, execute_notebook
from workbench.stage.artefacts import RunFolder, schema_of
from workbench.stage.run_parameters import RunParameters
from workbench.state import queries

pytestmark = pytest.mark.promise(
    "S13",
    "a hostile parameter reaches the kernel as it was or is refused everywhere; ids lead nowhere else",
)

UGLY = (
    *TEXTS,
    *KEYS,
    *(quote * 3 + "\\" + quote for quote in "'\"`"),
    "'''\n\"\"\"\nimport os; os._exit(1)  # \\",
    "\x00",
    "a\x00b",
    "\ud800",
    "\udfff and \ud83d alone",
    "{{ env_var('HOME') }}",
    "%s %(x)s {0} {} ${x} $(id) `id`",
    "\N{ZERO WIDTH JOINER}\N{RIGHT-TO-LEFT OVERRIDE}",
    "e\u0301 é",
    "long " * 200_000,
)
TEXT_FIELDS = ("locale", "reference_time", "input_file", "input_format", "export_format", "compression")


@pytest.fixture(scope="module")
def kernels() -> Iterator[Kernels]:
    with warm_kernels(KERNEL_ONLY, later=()) as kernels:
        yield kernels


def through_a_kernel(values: list[str], folder: Path, kernels: Kernels) -> list[str]:
    """Inject the texts as a parameter, and have the kernel tell, in hexadecimal, what it has got."""
    told = folder / "told"
    code = "from pathlib import Path\n" + (
        "Path(told).write_text('\\n'.join(text.encode('utf-32-le', 'surrogatepass').hex() for text in values))"
    )
    declared = new_code_cell("values = []\ntold = ''", metadata={"tags": ["parameters"]})
    notebook = new_notebook(cells=[declared, new_code_cell(code)], metadata={"language_info": {"name": "python"}})
    nbformat.write(notebook, folder / "source.ipynb")
    given_values = {"values": values, "told": str(told)}
    options = ExecutionOptions(kernels=kernels)
    outcome = execute_notebook(folder / "source.ipynb", folder / "executed.ipynb", given_values, options)
    assert outcome.completed, outcome.error
    saved = nbformat.read(folder / "executed.ipynb", as_version=4)
    assert len(saved.metadata.workbench.parameters["values"]) == len(values)
    return [bytes.fromhex(line).decode("utf-32-le", "surrogatepass") for line in told.read_text().split("\n")]


def test_every_ugly_text_reaches_a_real_kernel_as_it_was(tmp_path: Path, kernels: Kernels) -> None:
    assert through_a_kernel(list(UGLY), tmp_path, kernels) == list(UGLY)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(), max_size=200), min_size=1, max_size=40))
def test_whatever_text_there_is_reaches_a_real_kernel_as_it_was(
    tmp_path: Path, kernels: Kernels, texts: list[str]
) -> None:
    assert through_a_kernel(texts, tmp_path, kernels) == texts


def accepted(field: str, text: str) -> bool:
    """Tell whether the parameter models take the text for this field."""
    return not RunParameters.problems_of({field: text})


@pytest.mark.parametrize("field", TEXT_FIELDS)
def test_models_page_and_prefect_judge_alike_and_keep_what_they_take(page: Page, field: str) -> None:
    with page.entitled() as client:
        for text in UGLY[::4] + UGLY[-12:]:
            fine = accepted(field, text)
            assert _by_prefect(field, text) is fine, ascii(text[:80])
            if fine:
                assert getattr(RunParameters.checked({field: text}), field) == text
            else:
                assert _by_page(client, field, text) == 422, ascii(text[:80])


def _by_prefect(field: str, text: str) -> bool:
    """Tell whether Prefect's own check of the flow's parameters takes the text."""
    try:
        pipeline.validate_parameters({field: text})
    except ParameterTypeError:
        return False
    return True


def _by_page(client: httpx.Client, field: str, text: str) -> int:
    document = json.dumps({field: text})
    return client.post("/api/v1/runs", content=document, headers={"Content-Type": "application/json"}).status_code


@pytest.mark.parametrize("field", TEXT_FIELDS)
def test_refusals_name_the_field_in_one_printable_line(field: str) -> None:
    for text in UGLY:
        if accepted(field, text):
            continue
        with pytest.raises(InvalidParameter) as refusal:
            RunParameters.checked({field: text})
        assert str(refusal.value).startswith(f"parameter {field}: ")
        assert len(str(refusal.value)) < 600
        assert str(refusal.value).isprintable(), ascii(text[:80])


COMMANDS = [
    *(["run", f"--locale={text}"] for text in ("x\ny", "$(id)", "{{ 1 }}", "'; drop table x", "é" * 5000, "\x1b[2J")),
    ["run", "--set", "input_file=a\nb\x1b]0;title\x07"],
    ["run", "--set", "nonsense\n=1"],
    ["run", "--set", "=\x1b[31m"],
    ["run", "--records", "1\n2"],
    ["run", "--locale=\udcff"],  # a byte that is no UTF-8
    ["run", "--reference-time", "0001-01-01T00:00:00+14:00"],
    *([command, "../../etc/passwd"] for command in ("show", "cancel", "resume")),
    *(["show", identifier] for identifier in ("\x1b[2J\n", "\udcff")),
    ["open", "../../x", "ingest"],
    ["compare", "../x", "../y"],
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: ascii(" ".join(words))[:60])
def test_the_command_line_refuses_in_one_line_with_exit_code_2(
    command: list[str], tmp_path_factory: pytest.TempPathFactory, database_url_of_module: str
) -> None:
    home = tmp_path_factory.mktemp("home")
    environment = {**os.environ, "WORKBENCH_HOME": str(home), "DATABASE_URL": database_url_of_module}
    done = subprocess.run([WORKBENCH, *command], env=environment, capture_output=True, timeout=120, check=False)
    said = done.stderr.decode()
    assert done.returncode == 2, said
    assert (done.stdout, len(said.splitlines())) == (b"", 1), said
    assert said.startswith("workbench: ")
    assert said.rstrip("\n").isprintable(), ascii(said)
    assert not (home / "runs").exists()


IDENTIFIERS = (
    "../../x",
    "20261123t083012_a1b2c3/../..",
    "20261123t083012_a1b2c3\n",
    "x\0",
    "\ud800",
    "'; --",
    "%2e%2e",
)


@pytest.mark.parametrize("identifier", IDENTIFIERS, ids=ascii)
def test_an_id_that_leads_elsewhere_is_no_runs_id_anywhere(
    identifier: str, page: Page, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ask in (
        lambda: queries.run_row(worker.engine, identifier),
        lambda: schema_of(identifier),
        lambda: RunFolder(worker.settings.home, identifier).path,
        lambda: RunFolder(worker.settings.home, identifier).stage("ingest"),
    ):
        with pytest.raises(UnknownRun):
            ask()
    monkeypatch.setenv("DATABASE_URL", worker.engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("WORKBENCH_HOME", str(worker.settings.home))
    kernel_services.cache_clear()
    try:
        with pytest.raises(UnknownRun):
            open_stage(identifier, IngestParameters())
    finally:
        kernel_services.cache_clear()
    with page.entitled() as client:
        place = quote(identifier, safe="", errors="surrogatepass")
        assert client.get(f"/api/v1/runs/{place}").status_code == 404
        assert client.post(f"/api/v1/runs/{place}/cancel", json={}).status_code == 404
        assert client.get("/api/v1/compare", params={"a": place, "b": place}).status_code == 404
        assert client.get(f"/runs/{place}/live").status_code == 404


@pytest.fixture(scope="module")
def database_url_of_module(server_url: str) -> Iterator[str]:
    with fresh_database(server_url) as url:
        yield url
