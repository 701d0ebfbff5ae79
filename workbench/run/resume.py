"""Resumes a run: stages whose results verify are reused, the first that fails verification and all later ones rerun."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from workbench.base.errors import ManifestBroken, RunCancelled
from workbench.run.stage_runner import RunAtWork
from workbench.run.verification import Proven, prove_stage
from workbench.stage.pipeline import StageName
from workbench.state import queries
from workbench.state.next_attempt import redo_stages
from workbench.state.queries import Row
from workbench.state.states import StageStatus

log = logging.getLogger(__name__)


def reuse_proven(work: RunAtWork) -> frozenset[StageName]:
    """Record every stage of a resumed run as reused, up to the first whose result does not hold, and why.

    That one and all after it lose their results. Returns the stages that need not run, skipped ones among them.
    Raises `RunCancelled` and `LeaseLost`.
    """
    proven, broken = _proven_until_first_broken(work)
    rows = queries.stage_rows(work.run.engine, work.run.pipeline_id)
    redo_stages(work.run, _reasons_to_redo(rows, len(proven), broken))
    for each in filter(None, proven):
        work.run.stage_reused(each.manifest, each.reason)
    log.info("run resumed", extra={"attempt": work.run.attempt, "reused": len(proven), "broken": broken})
    return frozenset(row["name"] for row in rows[: len(proven)])


def _proven_until_first_broken(work: RunAtWork) -> tuple[list[Proven | None], str]:
    """Return a proof for each stage in order (None: skipped, nothing to prove), and why there is none for the next."""
    proven: list[Proven | None] = []
    for row in queries.stage_rows(work.run.engine, work.run.pipeline_id):
        if work.watch.stop.is_set():
            raise RunCancelled(f"run {work.run.pipeline_id} was cancelled while its results were verified")
        if row["status"] == StageStatus.PENDING:
            return proven, row["reason"] or "not reached before"
        try:
            skipped = row["status"] == StageStatus.SKIPPED
            proven.append(None if skipped else prove_stage(work.run.engine, work.folder, row))
        except ManifestBroken as error:
            return proven, f"redone: {error}"
    return proven, ""


def _reasons_to_redo(rows: Sequence[Row], first: int, broken: str) -> dict[StageName, str]:
    names = [row["name"] for row in rows[first:]]
    later = {row["name"]: _later(row, names[0]) for row in rows[first + 1 :]}
    return {names[0]: broken, **later} if names else {}


def _later(row: Row, first: StageName) -> str:
    """Return the reason of a later stage; one that was never reached is not redone."""
    unreached = row["status"] == StageStatus.PENDING and row["attempt"] == 0
    return "not reached before" if unreached else f"redone: after {first}"
