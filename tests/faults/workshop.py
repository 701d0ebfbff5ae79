"""Runs inside the test's own process: the whole path of a run but for Prefect, with kernels that are warm already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import nbformat
import psutil

from tests.faults.bench import Bench
from tests.faults.invariants import stored_problems
from tests.faults.looking import Row, backends_of, row_of, stage_of
from tests.integration.executing import kernels_of_this_process
from workbench.base.errors import WorkbenchError
from workbench.base.settings import Settings
from workbench.notebook.attempt_files import notebook_of
from workbench.run.lifecycle import claimed, stages_to_execute, worked_to_its_end
from workbench.run.resources import Resources
from workbench.run.stage_runner import RunAtWork, run_stage
from workbench.stage.artefacts import RunFolder
from workbench.stage.pipeline import Stage, StageName
from workbench.stage.run_parameters import RunParameters
from workbench.state.lease import Watch
from workbench.state.runs import Origin, create_run


@dataclass(frozen=True)
class WorkedRun:
    """A run that has come to its end, whichever that was."""

    bench: Bench
    pipeline_id: str
    others: frozenset[psutil.Process] = frozenset()  # children that were there before the run

    @property
    def row(self) -> Row:
        return row_of(self.bench.engine, self.pipeline_id)

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self.bench.settings.home, self.pipeline_id)

    def stage(self, name: StageName) -> Row:
        return stage_of(self.bench.engine, self.pipeline_id, name)

    def notebook(self, name: StageName) -> nbformat.NotebookNode:
        """Return the executed notebook of the stage's last attempt."""
        path = notebook_of(self.folder.stage(name), self.stage(name)["attempt"])
        return nbformat.read(path, as_version=4)

    def check(self) -> None:
        """Fail with every invariant that does not hold."""
        problems = stored_problems(self.bench, self.pipeline_id)
        problems += [f"kernel left: {kernel}" for kernel in {*kernels_of_this_process()} - self.others]
        problems += [
            f"database session left: {dict(each)}" for each in backends_of(self.bench.engine, self.pipeline_id)
        ]
        assert not problems, "\n".join(problems)


ExecuteOn = Callable[[RunAtWork, Stage], object]


def _once(work: RunAtWork, stage: Stage) -> object:
    return run_stage(work, stage, lambda _name: False)


@dataclass(frozen=True)
class Workshop:
    """Works runs with the resources of a whole module of tests."""

    resources: Resources

    def work(
        self, parameters: RunParameters, notebooks: Path, watch: Watch | None = None, execute: ExecuteOn = _once
    ) -> WorkedRun:
        """Work a new run with the notebooks of this folder to its end; unless `execute` says more, without retries."""
        others = frozenset(kernels_of_this_process())
        settings = changed(self.resources.settings, workbench_notebooks=notebooks)
        resources = replace(self.resources, settings=settings)
        run = create_run(resources.engine, parameters, Origin("cli"), lease_seconds=30)
        with claimed(resources, run.pipeline_id, watch or Watch()) as work:
            work.run.start()
            with suppress(WorkbenchError), worked_to_its_end(work):  # what it was is recorded, and compared
                for stage in stages_to_execute(work):
                    execute(work, stage)
        return WorkedRun(Bench(resources.engine, settings, notebooks), run.pipeline_id, others)


def changed(settings: Settings, **changes: object) -> Settings:
    """Return the settings with some of them changed."""
    values = {name: getattr(settings, name) for name in type(settings).model_fields}
    return type(settings)(_env_file=None, **{**values, **changes})


def statuses(notebook: nbformat.NotebookNode) -> Sequence[str]:
    """Return the statuses of the code cells, in order."""
    return [cell.metadata.workbench.status for cell in notebook.cells if cell.cell_type == "code"]
