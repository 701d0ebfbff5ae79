"""Verifies and records what stages leave, and completes runs.

Used by the flow (headless) and by a notebook stepped through by hand.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from workbench.base.durable_files import written_whole
from workbench.base.errors import ManifestBroken
from workbench.run.publisher import publish_soon
from workbench.stage.artefacts import MANIFEST, Manifest, RunFolder, versions
from workbench.stage.conservation import check_borders
from workbench.stage.pipeline import StageName
from workbench.state import queries
from workbench.state.events import Event, EventType
from workbench.state.publication_queue import request_publication
from workbench.state.runs import OwnedRun
from workbench.state.states import STAGE_DONE, TERMINAL, RunStatus

log = logging.getLogger(__name__)


def begin_attempt(folder: RunFolder, stage: StageName) -> Path:
    """Make the stage's folder for a new attempt, remove the manifest of an earlier result, and return the folder.

    Reports of earlier attempts, also those of later stages, are marked as such; a full disk does not end the stage.
    """
    here = folder.begin(stage)
    if any(folder.path.glob("*/report*.html")):
        from workbench.notebook.report_contents import mark_earlier  # templates: seldom needed, not at once there

        try:
            mark_earlier(folder, stage)
        except OSError as error:
            log.warning("earlier reports not marked", extra={"error_type": type(error).__name__})
    return here


def verified_manifest(folder: RunFolder, stage: StageName) -> Manifest:
    """Return the stage's manifest after comparing every artefact and every border with it.

    Raises `ManifestBroken` or `ConservationBroken`: that the kernel ended well is no proof (P7).
    """
    manifest = Manifest.read(folder.stage(stage))
    if (manifest.pipeline_id, manifest.stage) != (folder.pipeline_id, stage):
        raise ManifestBroken(f"{folder.stage(stage) / MANIFEST}: is that of run {manifest.pipeline_id}")
    manifest.verify(folder.stage(stage))
    check_borders(stage, {**counts_before(folder, stage), **manifest.counts}, folder.chain)
    return manifest


def counts_before(folder: RunFolder, stage: StageName) -> dict[str, int]:
    """Return the counts of all stages before `stage` that left a manifest."""
    counts: dict[str, int] = {}
    chain = folder.chain
    for earlier in chain.stages[: chain.position(stage) - 1]:
        if (folder.stage(earlier.name) / MANIFEST).exists():
            counts |= Manifest.read(folder.stage(earlier.name)).counts
    return counts


def record_stage(run: OwnedRun, folder: RunFolder, manifest: Manifest) -> None:
    """Write a verified stage as completed, and announce its dataset to the event bus."""
    run.stage_completed(manifest.stage, manifest, announcement(folder, manifest))


def announcement(folder: RunFolder, manifest: Manifest) -> Event | None:
    """Return the event that announces the stage's dataset; None for stages that announce none."""
    chain = folder.chain
    kind = chain.named(manifest.stage).announce
    if not kind:
        return None
    artefact = manifest.artefacts[0]
    data: dict[str, Any] = {
        "path": str(folder.stage(manifest.stage) / artefact.path),
        "rows": artefact.rows,
        "rejects": manifest.counts.get(chain.rejects.count),
        "bytes": artefact.bytes,
        "sha256": artefact.sha256,
    }
    return Event(EventType(kind), data, manifest.stage)


def complete_run(run: OwnedRun, folder: RunFolder, schema: str) -> None:
    """End a run whose stages are all done: manifest, output file, and its marts to be published to `schema`."""
    row = queries.run_row(run.engine, run.pipeline_id)
    _write_run_manifest(folder, row["parameters"], row["counts"])
    run.complete(_output_of(folder), also=lambda connection: request_publication(connection, run.pipeline_id, schema))


def _output_of(folder: RunFolder) -> str | None:
    """Return the path of the run's output file, the first artefact of the stage that is declared to leave it."""
    stage = next((stage.name for stage in folder.chain.stages if stage.output), None)
    return str(folder.stage(stage) / Manifest.read(folder.stage(stage)).artefacts[0].path) if stage else None


def complete_if_done(run: OwnedRun, folder: RunFolder, schema: str) -> bool:
    """End a run that is stepped through by hand once its last stage is done; returns whether it has ended now."""
    stages = queries.stage_rows(run.engine, run.pipeline_id)
    status = queries.run_row(run.engine, run.pipeline_id)["status"]
    if status in TERMINAL or any(stage["status"] not in STAGE_DONE for stage in stages):
        return False
    if status == RunStatus.PENDING:  # running: its completion was begun and failed
        run.start()
    complete_run(run, folder, schema)
    publish_soon(run.engine)
    return True


def _write_run_manifest(folder: RunFolder, parameters: Mapping[str, Any], counts: Mapping[str, int]) -> None:
    document = {
        "pipeline_id": folder.pipeline_id,
        "parameters": parameters,
        "records": queries.record_counts(folder.chain, counts),
        "stages": {
            name: Manifest.read(folder.stage(name)).model_dump(mode="json", include={"counts", "artefacts"})
            for name in (stage.name for stage in folder.chain.stages)
            if (folder.stage(name) / MANIFEST).exists()
        },
        "versions": versions(),
    }
    with written_whole(folder.path / MANIFEST) as file:
        file.write(orjson.dumps(document, option=orjson.OPT_INDENT_2))
