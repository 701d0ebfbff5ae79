"""Recovers crashed runs: the next command that reads the database marks their notebooks and reports as crashed.

`reap` records the crash in the database. Notebook and report are then amended from the run's events, which are newer
than the last save: a cell is completed when its event says so, killed when it had only started, else it did not run.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from sqlalchemy import Engine, select

from workbench.base.settings import Settings
from workbench.notebook.attempt_files import notebook_of
from workbench.notebook.results import CellStatus
from workbench.stage.artefacts import RunFolder
from workbench.stage.pipeline import StageName
from workbench.state import queries
from workbench.state.cell_states import RUNNING, cell_states
from workbench.state.crash_detection import CRASH, reap, reap_patiently
from workbench.state.models import PipelineStage
from workbench.state.states import StageStatus

log = logging.getLogger(__name__)
_SETTLED = ".settled"
_LEFT_BEHIND = (".*.partial", ".processed.*")


def look_after(engine: Engine, settings: Settings, *, once: bool = False) -> list[str]:
    """Find runs whose owner has died and finish what they left open; returns the ids of those found now.

    Every entry point that shows runs calls this: again and again, or `once`, which then takes some seconds when there
    is a lease in doubt. Safe to repeat, and by several at once.
    """
    crashed = reap_patiently(engine) if once else reap(engine)
    for folder, stage, attempt in _crashed_stages(engine, settings):
        _settle(engine, folder, stage, attempt)
    return crashed


def _crashed_stages(engine: Engine, settings: Settings) -> Iterator[tuple[RunFolder, StageName, int]]:
    query = select(PipelineStage.pipeline_id, PipelineStage.name, PipelineStage.attempt).where(
        PipelineStage.status == StageStatus.CRASHED.value
    )
    with engine.connect() as connection:
        rows = connection.execute(query).all()
    for row in rows:
        folder, stage = RunFolder(settings.home, row.pipeline_id), row.name
        if folder.stage(stage).is_dir() and not _marker(folder.stage(stage), row.attempt).exists():
            yield folder, stage, row.attempt


def _settle(engine: Engine, folder: RunFolder, stage: StageName, attempt: int) -> None:
    """Finish one crashed stage; after a disk error the next caller tries again."""
    here = folder.stage(stage)
    try:
        _remove_leftovers(here)
        _amend(notebook_of(here, attempt), _cells(engine, folder.pipeline_id, stage))
        _marker(here, attempt).touch()
    except OSError as error:
        log.warning("crashed stage not settled", extra={"stage": stage, "error_type": type(error).__name__})


def _amend(notebook: Path, cells: Mapping[int, CellStatus]) -> None:
    """Amend the notebook, if there is one; one that a person has edited meanwhile is left as it is."""
    from workbench.notebook.executed_notebook import (
        amend_after_crash,  # costs a second, and most callers find no crash
    )

    try:
        amend_after_crash(notebook, cells, CRASH["name"], CRASH["message"])
    except FileNotFoundError:
        return
    except OSError:
        raise
    except Exception:
        log.exception("notebook of a crashed stage not amended", extra={"notebook": notebook.name})


def _marker(here: Path, attempt: int) -> Path:
    return here / f"{_SETTLED}.attempt-{attempt}"


def _remove_leftovers(here: Path) -> None:
    for pattern in _LEFT_BEHIND:
        for path in here.glob(pattern):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _cells(engine: Engine, pipeline_id: str, stage: StageName) -> dict[int, CellStatus]:
    """Return the status of each cell of the stage's last attempt; a cell that had only started was killed."""
    cells = cell_states(queries.events_after(engine, pipeline_id)).stages.get(stage, {})
    return {
        number: CellStatus.KILLED if cell.status == RUNNING else CellStatus(cell.status)
        for number, cell in cells.items()
    }
