"""The run that a stage opened by hand changes: the run itself, or a copy of it once it is completed."""

from __future__ import annotations

from sqlalchemy import Engine

from workbench.base.errors import ManifestBroken, RunStateError
from workbench.base.settings import Settings
from workbench.data.run_schema import check_tables, tables_left
from workbench.run.takeover import take_over
from workbench.run.verification import counted
from workbench.stage.artefacts import Manifest, RunFolder, schema_of
from workbench.stage.pipeline import STAGE_NAMES, StageName, stage_before
from workbench.stage.run_parameters import RunParameters
from workbench.state import queries
from workbench.state.next_attempt import check_same_stages
from workbench.state.runs import Origin, OwnedRun, create_run
from workbench.state.states import TERMINAL, RunStatus, StageStatus


def changeable_run(engine: Engine, settings: Settings, pipeline_id: str, stage: StageName) -> str:
    """Return the run that work by hand on this one changes: itself, or a copy of it once it is completed.

    The newest open copy that has the stage's input is used again, else a new one is made. Raises
    `UnknownRun`, `ResumeRefused` for a run of other stages, `RunStateError` while a process works the run,
    `ManifestBroken` when what is to be copied is damaged.
    """
    row = queries.run_row(engine, pipeline_id)
    if row["lease_owner"] is not None:
        raise RunStateError(f"run {pipeline_id} is {row['status']} elsewhere: wait for its end, or choose another run")
    check_same_stages(pipeline_id, row["chain"])
    if row["status"] != RunStatus.COMPLETED:
        return pipeline_id
    return queries.open_copy(engine, pipeline_id, stage_before(stage)) or _copied(engine, settings, row, stage)


def effect_of(run: queries.Row, stage: StageName) -> str:
    """Say what opening a stage of this run by hand will change."""
    name, status = f"Run {run['id']}", run["status"]
    if run["lease_owner"] is not None:
        return f"{name} is {status} elsewhere: its stages can be opened once it has ended."
    if status == RunStatus.COMPLETED:
        return f"{name} is completed and stays as it is: the cells work on a copy of it, a run of its own."
    given_up = f"opening stage {stage} gives up its result and those of later stages until they are done again"
    if status in TERMINAL:
        return f"{name} is {status}: {given_up}; `workbench resume {run['id']}` does those that are left."
    origin = f", a copy of run {run['derived_from']}" if run["derived_from"] else ""
    return f"{name} is open, by hand{origin}: {given_up}."


def _copied(engine: Engine, settings: Settings, origin: queries.Row, stage: StageName) -> str:
    """Make an open run with the results of all stages before `stage`; nothing is made of results that do not verify."""
    rows = [row for row in queries.stage_rows(engine, origin["id"]) if _is_before(row, stage)]
    folder = RunFolder(settings.home, origin["id"])
    for row in rows:
        if row["manifest"] is not None:
            _check_whole(engine, folder, Manifest.model_validate(row["manifest"]))
    source = Origin("notebook", derived_from=origin["id"])
    run = create_run(engine, RunParameters.trusted(origin["parameters"]), source, lease_seconds=None)
    try:
        for row in rows:
            _take(run, folder, RunFolder(settings.home, run.pipeline_id), row)
    except BaseException as error:
        reason = f"run {origin['id']} was not copied whole: {error}"
        run.end_badly(RunStatus.FAILED, {"name": type(error).__name__, "message": reason})
        raise
    return run.pipeline_id


def _is_before(row: queries.Row, stage: StageName) -> bool:
    return bool(row["position"] <= STAGE_NAMES.index(stage))


def _check_whole(engine: Engine, folder: RunFolder, manifest: Manifest) -> None:
    try:
        manifest.verify(folder.stage(manifest.stage))
        tables = tables_left(manifest.stage, manifest.details)
        if tables:
            with engine.connect() as connection:
                check_tables(connection, schema_of(folder.pipeline_id), tables)
    except ManifestBroken as error:
        fix = f"`workbench resume {folder.pipeline_id} --from {manifest.stage}` makes it anew"
        raise ManifestBroken(f"run {folder.pipeline_id} cannot be copied: {error}; {fix}") from error


def _take(run: OwnedRun, origin: RunFolder, folder: RunFolder, row: queries.Row) -> None:
    stage = row["name"]
    if row["status"] == StageStatus.SKIPPED:
        run.stage_passed(stage, StageStatus.SKIPPED, row["reason"] or "own input file")
        return
    manifest = take_over(run.engine, origin, folder, Manifest.model_validate(row["manifest"]), row["attempt"])
    run.stage_reused(manifest, f"verified: {counted(len(manifest.artefacts), 'artefact')} of run {origin.pipeline_id}")
