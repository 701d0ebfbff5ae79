"""P16: notebook, report, database, page and Prefect tell the same story of a failure."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import httpx
import nbformat
import pytest
from markupsafe import escape

from tests.faults.bench import Bench, StartedRun, until
from tests.faults.faulty_notebooks import with_cell
from tests.faults.invariants import check_invariants
from tests.faults.looking import events_of, stage_of, stages_of
from tests.faults.resuming import lease_is_over
from tests.faults.stories import BADGES
from tests.web.served import served
from workbench.notebook.attempt_files import notebook_of, report_of
from workbench.prefect.actions import actions_on
from workbench.prefect.api import contacted
from workbench.stage.pipeline import STAGE_NAMES, StageName

pytestmark = pytest.mark.promise("P16", "notebook, report, database, page and Prefect tell the same story of a failure")
SLEEP = "import time; time.sleep(600)"
KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
_RUN_OF_NOTEBOOK = {"failed": "failed", "killed": "failed", "timed_out": "failed", "cancelled": "cancelled"}


@dataclass(frozen=True)
class Story:
    """How a run ended: its status, and the stage, the number of the cell and the exception that ended it."""

    status: str
    stage: str
    cell: int
    exception: str


@dataclass(frozen=True)
class Fault:
    """What goes wrong in an added cell of stage 2, what is done from outside, and the story that everybody tells."""

    code: str
    status: str
    exception: str
    options: tuple[str, ...] = ()
    signalled: signal.Signals | None = None


FAULTS = {
    "a cell raises": Fault(r"raise LookupError('<b>no</b> & never \0')", "failed", "LookupError"),
    "the kernel is killed": Fault(KILL, "failed", "KernelDied"),
    "time runs out": Fault(SLEEP, "failed", "DeadlinePassed", options=("--set", "stage_timeout=8")),
    "it is cancelled": Fault(SLEEP, "cancelled", "Cancelled", signalled=signal.SIGTERM),
    "its process is killed": Fault(SLEEP, "crashed", "Crashed", signalled=signal.SIGKILL),
}


@pytest.mark.parametrize("name", FAULTS)
def test_all_five_tell_the_same_story(bench: Bench, tmp_path: Path, name: str) -> None:
    fault = FAULTS[name]
    run, cell = ended_by(bench, tmp_path, fault)
    told = Story(fault.status, "press", cell, fault.exception)
    assert told_by_database(run) == told
    assert told_by_page(run) == told
    assert told_by_notebook(run) == told
    assert told_by_report(run) == told
    state, message = told_by_prefect(run)
    assert state == told.status
    assert run.row["error"]["message"] in message


def ended_by(bench: Bench, folder: Path, fault: Fault) -> tuple[StartedRun, int]:
    """Return a run that this fault has ended, looked after and compared, and the number of the cell it hit."""
    notebooks = with_cell(folder, "press", fault.code)
    cells = nbformat.read(notebooks / "02_press.ipynb", as_version=4).cells
    cell = 1 + next(index for index, each in enumerate(cells) if each.source == fault.code)
    run = bench.run(*fault.options, WORKBENCH_NOTEBOOKS=str(notebooks))
    if fault.signalled:
        until(lambda: fault.code in [event["data"].get("source") for event in events_of(bench.engine, run.pipeline_id)],
              f"the cell runs\n{run.said()}")  # fmt: skip
        run.signal(fault.signalled)
    run.wait()
    until(lambda: run.row["lease_expires_at"] is None or lease_is_over(run), "the lease runs out")
    check_invariants(run)
    injected = nbformat.read(executed(run, "press"), as_version=4).cells
    return run, cell + len(injected) - len(cells)


def told_by_database(run: StartedRun) -> Story:
    """The rows; of a crash, which nobody could tell of, the last cell that has begun."""
    stage = next(row for row in stages_of(run.bench.engine, run.pipeline_id) if row["status"] != "completed")
    begun = [
        event["data"]["cell"]
        for event in events_of(run.bench.engine, run.pipeline_id)
        if event["type"] == "cell.started"
    ]
    return Story(run.row["status"], stage["name"], stage["error"].get("cell", begun[-1]), stage["error"]["name"])


def told_by_notebook(run: StartedRun) -> Story:
    """The first executed notebook that has not completed."""
    ends = {stage: nbformat.read(executed(run, stage), as_version=4).metadata.workbench for stage in begun(run)}
    stage = next(stage for stage, end in ends.items() if end.status != "completed")
    error = ends[stage].error
    return Story(status_of(ends[stage].status, error.exception), stage, error.number, error.exception)


def told_by_report(run: StartedRun) -> Story:
    """The first screen of the first report that does not say Completed."""
    pages = {stage: report_of(executed(run, stage)).read_text("utf-8") for stage in begun(run)}
    assert not any("\0" in page for page in pages.values())
    badges = {stage: re.findall(r'<p class="badge \w+">([^<]*)</p>', page)[0] for stage, page in pages.items()}
    stage = next(stage for stage, badge in badges.items() if badge != BADGES["completed"])
    trouble = re.findall(r'<section class="trouble.*?</section>', pages[stage], re.DOTALL)[0]
    exception = re.findall(r'<p class="message">(\w+):', trouble)[0]
    cell = re.findall(r'<a href="#cell-(\d+)">', trouble)[0]
    words = {badge: status for status, badge in BADGES.items()}
    return Story(status_of(words[badges[stage]], exception), stage, int(cell), exception)


def begun(run: StartedRun) -> list[StageName]:
    return [stage for stage in STAGE_NAMES if executed(run, stage).exists()]


def executed(run: StartedRun, stage: StageName) -> Path:
    """The notebook of the stage's last attempt."""
    return notebook_of(run.folder.stage(stage), stage_of(run.bench.engine, run.pipeline_id, stage)["attempt"])


def status_of(notebook_status: str, exception: str) -> str:
    """Return what a run is called whose notebook ended so; that of a process that died is told by its exception."""
    return "crashed" if exception == "Crashed" else _RUN_OF_NOTEBOOK[notebook_status]


def told_by_page(run: StartedRun) -> Story:
    """What a person who opens the run's page reads."""
    with page_of(run.bench) as client:
        page = client.get(f"/runs/{run.pipeline_id}").raise_for_status().text
    status = re.findall(r'<header class="headline (\w+)"', page)[0]
    stage = re.findall(r'<li id="stage-(\w+)" class="stage (?!completed|pending)', page)[0]
    cell = re.findall(rf'<li id="cell-{stage}-\d+-(\d+)" class="cell (?!completed)', page)[0]
    exception = re.findall(r'<h2 id="wrong">(?:[^<]*: )?(\w+)</h2>', page)[0]
    assert escape(run.row["error"]["message"]) in page
    return Story(status, stage, int(cell), exception)


@contextmanager
def page_of(bench: Bench) -> Iterator[httpx.Client]:
    with (
        served(bench.settings, bench.engine, actions_on(bench.settings, bench.engine)) as page,
        page.client() as client,
    ):
        yield client


def told_by_prefect(run: StartedRun) -> tuple[str, str]:
    """State and reason of the flow run."""
    with contacted(run.bench.settings) as client:
        state = client.read_flow_run(UUID(run.row["prefect_flow_run_id"])).state
    assert state is not None
    return state.type.value.lower(), str(state.message)
