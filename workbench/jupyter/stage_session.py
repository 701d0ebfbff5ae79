"""The session of a stage's notebook: its run's folder, input and services, and how to finish the stage.

The same calls serve both ways a notebook runs. Headless, the flow has made the run, holds its lease, and records the
stage after it has verified the manifest. By hand (in JupyterLab), the session finds or makes the run, or a copy of one
that is completed, starts the services it needs for as long as the kernel lives, and records the stage itself, marked
interactive.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.base.errors import UnknownRun
from workbench.jupyter.interactive_tracking import StageByHand
from workbench.jupyter.kernel_services import KernelServices, kernel_services
from workbench.jupyter.progress_bar import CellProgress
from workbench.run.completion import complete_if_done, counts_before
from workbench.run.crash_recovery import look_after
from workbench.run.derived_runs import changeable_run, effect_of
from workbench.run.publisher import check_readers
from workbench.stage.artefacts import (
    Manifest,
    RunFolder,
    StageResult,
    describe_artefact,
    schema_of,
    sha256_of,
    versions,
)
from workbench.stage.conservation import check_borders
from workbench.stage.parameter_types import StageParameters
from workbench.stage.pipeline import PIPELINE, STAGES, Stage, StageName, stage_before
from workbench.stage.progress import RECORDS
from workbench.stage.run_parameters import STAGE_PARAMETERS, RunParameters
from workbench.state import queries
from workbench.state.database_identity import mark_folder
from workbench.state.runs import Origin, OwnedRun, create_run
from workbench.state.states import StageStatus

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

HEADLESS = "WORKBENCH_HEADLESS"


def open_stage(pipeline_id: str, parameters: StageParameters) -> StageSession:
    """Open a stage for the cells that follow; its kind is that of `parameters`.

    Without a `pipeline_id` it works on the newest run that has the stage's input; the first stage, and ingestion of
    an own file, start a new run. By hand, a completed run stays as it is: then it works on a copy, and says so. Raises
    `UnknownRun` when there is no run, `RunStateError` when a process works it, `ManifestBroken` when it cannot be
    copied, and what reaching the database raises.
    """
    services = kernel_services()
    stage = next(name for name, model in STAGE_PARAMETERS.items() if type(parameters) is model)
    run_id = pipeline_id if _is_headless() else _run_by_hand(services, stage, pipeline_id, parameters)
    row = queries.run_row(services.engine, run_id)
    session = StageSession(services, row, stage, as_the_run_has_it(parameters, row))
    session.begin()
    return session


def as_the_run_has_it(parameters: StageParameters, run: queries.Row) -> StageParameters:
    """Return the parameters with the run's reference time and input file, where the stage takes them."""
    names = {"reference_time", "input_file"} & set(type(parameters).model_fields)
    return parameters.model_copy(update={name: run["parameters"][name] for name in names})


def _is_headless() -> bool:
    return bool(os.environ.get(HEADLESS))


def _run_by_hand(services: KernelServices, stage: StageName, pipeline_id: str, parameters: StageParameters) -> str:
    """Return the run that the cells may change, and say what becomes of it."""
    look_after(services.engine, services.settings, once=True)
    chosen = pipeline_id or _find_run(services, stage, parameters)
    changeable = changeable_run(services.engine, services.settings, chosen, stage)
    print(effect_of(queries.run_row(services.engine, changeable), stage))
    return changeable


def _find_run(services: KernelServices, stage: StageName, parameters: StageParameters) -> str:
    before = stage_before(stage)
    if before is None or parameters.model_dump().get("input_file"):
        return _new_run(services, stage, parameters)
    newest = queries.runs_ready_for(services.engine, before, limit=1)
    if not newest:
        raise UnknownRun(f"no run has a finished stage {before} yet: run its notebook first, or `workbench run`")
    return str(newest[0]["id"])


def _new_run(services: KernelServices, stage: StageName, parameters: StageParameters) -> str:
    engine = services.engine
    check_readers(engine, services.settings.workbench_schema)
    chosen = RunParameters.trusted(parameters.model_dump())
    run = create_run(engine, chosen, Origin("notebook"), lease_seconds=None)
    for earlier in STAGES[: PIPELINE.position(stage) - 1]:
        if not earlier.runs_with(chosen):
            run.stage_passed(earlier.name, StageStatus.SKIPPED, "own input file")
    return run.pipeline_id


@dataclass(frozen=True, repr=False)
class StageSession:
    """One stage of one run, open in a notebook."""

    services: KernelServices
    run: queries.Row
    stage: StageName
    parameters: Any
    shown: CellProgress = field(default_factory=CellProgress)

    def __repr__(self) -> str:
        mode = "headless" if self.headless else "by hand"
        return f"stage {self.stage} of run {self.pipeline_id} ({mode})\nfolder {self.folder}"

    @property
    def pipeline_id(self) -> str:
        """The run's id."""
        return str(self.run["id"])

    @property
    def schema(self) -> str:
        """The PostgreSQL schema of the run's tables and marts."""
        return schema_of(self.pipeline_id)

    @property
    def created_at(self) -> datetime:
        """When the run was created: the time that names its output file."""
        created: datetime = self.run["created_at"]
        return created

    @property
    def headless(self) -> bool:
        """Whether the flow runs this notebook, and records what becomes of it."""
        return _is_headless()

    @property
    def run_folder(self) -> RunFolder:
        """Where all stages of the run keep their artefacts."""
        return RunFolder(self.services.settings.home, self.pipeline_id)

    @property
    def folder(self) -> Path:
        """Where this stage keeps its artefacts."""
        return self.run_folder.stage(self.stage)

    @property
    def source(self) -> Path:
        """The file that the stage reads: the first artefact of the stage before, or else the run's own input."""
        before = self._before
        return self.artefact(before.name) if before else Path(self.run["parameters"]["input_file"])

    @property
    def database_url(self) -> str:
        """The database that holds the run's schema."""
        return self.services.database_url

    @property
    def spark(self) -> SparkSession:
        """The kernel's Spark session."""
        return self.services.spark

    def manifest(self, stage: StageName) -> Manifest:
        """Return what an earlier stage of this run left behind; raises `ManifestBroken` when it has not."""
        return Manifest.read(self.run_folder.stage(stage))

    def artefact(self, stage: StageName) -> Path:
        """Return the first artefact of an earlier stage: the one that the next stage reads."""
        return self.run_folder.stage(stage) / self.manifest(stage).artefacts[0].path

    def begin(self) -> None:
        """Make the stage's folder; by hand, also record that the stage is opened, which gives up its earlier result."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.headless:
            mark_folder(self.services.engine, self.run_folder)
            self._by_hand.started()

    def progress(self, done: int, total: int | None, unit: str = RECORDS, /) -> None:
        """Show how far the running cell is, here and wherever the run is shown.

        By hand, raises `RunStateError` before the cell changes what a completed run has left.
        """
        if not self.headless:
            self._by_hand.makes()
        self.shown.show(done, total, unit)

    def finish(self, result: StageResult) -> Manifest:
        """Check row conservation, write the stage's manifest, and by hand also record the stage as completed.

        Raises `ConservationBroken` when records were lost or made on the way here.
        """
        counts = {**counts_before(self.run_folder, self.stage), **result.counts}
        details = {**result.details, "conservation": check_borders(self.stage, counts, self.run_folder.chain)}
        artefacts = tuple(describe_artefact(self.folder, path, rows) for path, rows in result.files.items())
        manifest = Manifest(
            pipeline_id=self.pipeline_id,
            stage=self.stage,
            parameters=self.parameters.model_dump(),
            counts=dict(result.counts),
            inputs=self._inputs(result),
            artefacts=artefacts,
            details=details,
            versions=versions(),
        )
        if self.headless:
            manifest.write(self.folder)
        else:
            self._by_hand.finished(manifest)
            complete_if_done(self._by_hand.run, self.run_folder, self.services.settings.workbench_schema)
        return manifest

    def evidence(self, manifest: Manifest) -> pd.DataFrame:
        """Return the stage's proof as a table: one row per equation of row conservation, or per count."""
        borders = manifest.details["conservation"]
        if borders:
            return pd.DataFrame(borders).set_index("name")
        return pd.DataFrame({"records": manifest.counts})

    @cached_property
    def _by_hand(self) -> StageByHand:
        owned = OwnedRun(self.services.engine, self.pipeline_id, owner=None, lease_seconds=0)
        return StageByHand(owned, self.stage, self.run_folder)

    def _inputs(self, result: StageResult) -> dict[str, str]:
        """Return the sha256 of what the stage has read; of an own file, which may have changed since, as it was read.

        A cell that reads it by other means than `ingest` may tell none: then it is that of the file as it is now.
        """
        before = self._before
        if before is not None:
            folder = self.run_folder.stage(before.name).name
            return {f"{folder}/{artefact.path}": artefact.sha256 for artefact in self.manifest(before.name).artefacts}
        if not self.run["parameters"]["input_file"]:
            return {}
        read = result.details.get("source", {}).get("sha256")
        return {str(self.source): read or sha256_of(self.source)}

    @cached_property
    def _before(self) -> Stage | None:
        """The stage of this run whose result this one reads; None for the first that the run has."""
        return PIPELINE.input_of(self.stage, RunParameters.trusted(self.run["parameters"]))
