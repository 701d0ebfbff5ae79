"""Reuses results of earlier runs (`--reuse`) made with equal code, parameters, inputs and environment.

Files are linked, tables copied, and all is verified in its new place: the runs stay independent of each other.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import Engine, Row, select
from sqlalchemy.exc import DBAPIError

from workbench.base.errors import ManifestBroken
from workbench.run.completion import announcement, verified_manifest
from workbench.run.fingerprint import Code
from workbench.run.stage_runner import RunAtWork
from workbench.run.takeover import take_over
from workbench.run.verification import counted, inputs_of
from workbench.stage.artefacts import Manifest, RunFolder, sha256_of
from workbench.stage.pipeline import PIPELINE, Stage, StageName
from workbench.stage.run_parameters import RunParameters
from workbench.state.models import Pipeline, PipelineStage
from workbench.state.next_attempt import explain_stage
from workbench.state.states import StageStatus

log = logging.getLogger(__name__)
_CANDIDATES = 20
_DONE = (StageStatus.COMPLETED.value, StageStatus.REUSED.value)
_FOR_EACH_RUN = "run: its output names the run, so every run writes its own"

EarlierResult = Row[tuple[str, dict[str, object], int]]


def reuse_earlier_result(work: RunAtWork, stage: Stage) -> bool:
    """Take over an earlier run's equal result, if there is one that verifies, and record the stage as reused.

    Returns whether it did; if not, the stage's reason says what differs from the newest earlier result. A resumed
    run continues from its own results only.
    """
    if work.run.attempt > 1:
        return False
    if not stage.reuse:
        explain_stage(work.run, stage.name, _FOR_EACH_RUN)
        return False
    inputs = inputs_of(work.folder, stage.name, work.parameters)
    wanted = work.resources.code.fingerprint(stage, work.parameters, inputs)
    results = _earlier_results(work.run.engine, stage.name)
    for earlier in results:
        if wanted and earlier.manifest.get("fingerprint") == wanted and _is_taken_over(work, earlier):
            return True
    explain_stage(work.run, stage.name, _difference(wanted, results))
    return False


def with_reusable_clock(engine: Engine, code: Code, parameters: RunParameters) -> RunParameters:
    """Return the parameters of a new run with the clock of the newest run whose first stage it could reuse.

    Only when reuse is asked for and no reference time is given: every run's own clock would make every result new.
    """
    if not parameters.reuse or parameters.reference_time:
        return parameters
    own = parameters.input_file
    first = PIPELINE.first(parameters)
    inputs = {own: sha256_of(Path(own))} if own else {}
    for earlier in _earlier_results(engine, first.name):
        manifest = Manifest.model_validate(earlier.manifest)
        clocked = parameters.model_copy(update={"reference_time": manifest.parameters["reference_time"]})
        if manifest.fingerprint and code.fingerprint(first, clocked, inputs) == manifest.fingerprint:
            return clocked
    return parameters


def _earlier_results(engine: Engine, stage: StageName) -> list[EarlierResult]:
    query = (
        select(PipelineStage.pipeline_id, PipelineStage.manifest, PipelineStage.attempt)
        .join(Pipeline)
        .where(PipelineStage.name == stage, PipelineStage.status.in_(_DONE), PipelineStage.manifest.is_not(None))
        .order_by(Pipeline.number.desc())
        .limit(_CANDIDATES)
    )
    with engine.connect() as connection:
        return list(connection.execute(query))


def _is_taken_over(work: RunAtWork, earlier: EarlierResult) -> bool:
    """Return whether the result was taken over; if it is unavailable or does not verify, the stage runs."""
    try:
        manifest = _taken_over(work, earlier)
    except (ManifestBroken, OSError, DBAPIError) as error:
        log.warning("result not reused", extra={"earlier_run": earlier.pipeline_id, "error_type": type(error).__name__})
        return False
    clock = manifest.parameters.get("reference_time")
    note = f", on its clock {clock}" if clock else ""
    reason = f"verified: {counted(len(manifest.artefacts), 'artefact')} of run {earlier.pipeline_id}{note}"
    work.run.stage_reused(manifest, reason, announcement(work.folder, manifest))
    return True


def _taken_over(work: RunAtWork, earlier: EarlierResult) -> Manifest:
    found = Manifest.model_validate(earlier.manifest)
    origin = RunFolder(work.resources.settings.home, earlier.pipeline_id)
    take_over(work.run.engine, origin, work.folder, found, earlier.attempt)
    return verified_manifest(work.folder, found.stage)


def _difference(wanted: Mapping[str, str], results: list[EarlierResult]) -> str:
    """Say why nothing was reused, as against the newest earlier result."""
    if not wanted:
        return "run: code changed while the run went on"
    for earlier in results:
        found = earlier.manifest.get("fingerprint")
        if isinstance(found, dict) and found:
            differing = [part for part in wanted if wanted[part] != found.get(part)]
            difference = f"other {' and '.join(differing)} than in" if differing else "no whole result is left of"
            return f"run: {difference} run {earlier.pipeline_id}"
    return "run: no earlier result to compare with"
