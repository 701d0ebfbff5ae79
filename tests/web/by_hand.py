"""Works runs as their owner does, with real files and real writes, step by step under a test's control."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError

from workbench.base.settings import Settings
from workbench.notebook.report import render_report
from workbench.stage.artefacts import Manifest, RunFolder, describe_artefact, versions
from workbench.stage.pipeline import STAGE_NAMES, StageName
from workbench.stage.run_parameters import RunParameters
from workbench.state.events import Event, EventType
from workbench.state.lease import request_cancel
from workbench.state.models import Pipeline
from workbench.state.runs import Origin, OwnedRun, create_run
from workbench.state.states import RunStatus, StageStatus
from workbench.web.dependencies import Actions

LEASE_SECONDS = 120
SOURCES = ("records = 1_000  # how many", "print('hello')", "show(figure)")
COUNTS: dict[StageName, dict[str, int]] = {
    "generate": {"generated": 1000},
    "ingest": {"read": 1000, "ingested": 990, "rejected": 10},
    "process": {"processed": 990, "loaded": 990},
    "transform": {"transformed": 990},
    "export": {"exported": 990},
}


@dataclass
class Worker:
    """Owns the runs it was asked for. `outputs` are what the second cell of each stage shows."""

    engine: Engine
    settings: Settings
    runs: dict[str, OwnedRun] = field(default_factory=dict)
    outputs: list[Any] = field(default_factory=list)

    def actions(self, **more: Any) -> Actions:
        """Return what a page needs, done by this worker."""
        return Actions(trigger=self.trigger, cancel=lambda each: request_cancel(self.engine, each), **more)

    def trigger(self, parameters: RunParameters, key: str | None = None) -> str:
        """Record a run, or find the one with this key."""
        try:
            run = create_run(self.engine, parameters, Origin("page", key), LEASE_SECONDS)
        except IntegrityError:
            with self.engine.connect() as connection:
                return connection.execute(select(Pipeline.id).where(Pipeline.idempotency_key == key)).scalar_one()
        self.runs[run.pipeline_id] = run
        return run.pipeline_id

    def started(self, **parameters: Any) -> OwnedRun:
        """Return a run that is running."""
        run = self.runs[self.trigger(RunParameters(**parameters))]
        run.start()
        return run

    def completed(self, **parameters: Any) -> OwnedRun:
        """Return a run that has completed all its stages."""
        run = self.started(**parameters)
        for stage in STAGE_NAMES:
            self.stage(run, stage)
        output = self.folder(run, "export") / "export.jsonl"
        run.complete(str(output))
        return run

    def failed(self, stage: StageName = "ingest", message: str = "too many rejects") -> OwnedRun:
        """Return a run that failed in the second cell of a stage."""
        run = self.started()
        run.stage_started(stage)
        self.cell(run, stage, 1)
        data = {"cell": 2, "status": "failed", "name": "TooManyRejects", "message": message}
        run.record(Event(EventType.CELL_STARTED, {"cell": 2, "cells": 3, "source": SOURCES[1]}, stage))
        run.record(Event(EventType.CELL_FAILED, data, stage))
        error = {"name": "TooManyRejects", "message": message, "cell": 2, "source": SOURCES[1], "stage": stage}
        run.stage_ended_badly(stage, StageStatus.FAILED, error)
        run.end_badly(RunStatus.FAILED, error)
        return run

    def stage(self, run: OwnedRun, stage: StageName, between: Callable[[], object] = lambda: None) -> None:
        """Work a stage to its end; `between` is called after each cell."""
        run.stage_started(stage)
        for number in range(1, len(SOURCES) + 1):
            self.cell(run, stage, number)
            between()
        self.write_notebook(run, stage)
        run.stage_completed(stage, self._manifest(run, stage))

    def cell(self, run: OwnedRun, stage: StageName, number: int) -> None:
        """Work one cell."""
        started = {"cell": number, "cells": len(SOURCES), "source": SOURCES[number - 1]}
        run.record(Event(EventType.CELL_STARTED, started, stage))
        run.note_progress(stage, {"cell": number, "cells": len(SOURCES)})
        run.record(Event(EventType.CELL_COMPLETED, {"cell": number, "seconds": 0.25 * number}, stage))

    def folder(self, run: OwnedRun, stage: StageName) -> Path:
        return RunFolder(self.settings.home, run.pipeline_id).stage(stage)

    def write_notebook(self, run: OwnedRun, stage: StageName) -> None:
        """Leave an executed notebook and its report."""
        cells = [new_code_cell(source) for source in SOURCES]
        cells[1].outputs = [new_output("stream", name="stdout", text=f"hello from {stage}\n"), *self.outputs]
        for cell in cells:
            cell.metadata["workbench"] = {"status": "completed", "seconds": 0.5}
        notebook = new_notebook(cells=[*cells, new_markdown_cell(f"# {stage}")])
        notebook.metadata["workbench"] = {
            "status": "completed",
            "started_at": "2026-11-23T08:00:00+00:00",
            "seconds": 2,
        }
        folder = self.folder(run, stage)
        folder.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, folder / "notebook.ipynb")
        render_report(notebook, folder / "report.html")

    def _manifest(self, run: OwnedRun, stage: StageName) -> Manifest:
        folder = self.folder(run, stage)
        (folder / "parts").mkdir(parents=True, exist_ok=True)
        (folder / f"{stage}.jsonl").write_bytes(b"".join(b'{"id": %d}\n' % number for number in range(1000)))
        (folder / "parts" / "part-00000.parquet").write_bytes(b"PAR1 of a test")
        names = (f"{stage}.jsonl", "parts/part-00000.parquet")
        manifest = Manifest(
            pipeline_id=run.pipeline_id,
            stage=stage,
            parameters={},
            counts=COUNTS[stage],
            inputs={},
            artefacts=tuple(describe_artefact(folder, name, 1000) for name in names),
            details={"conservation": [{"name": "in = out", "left": 990, "right": 990, "holds": True}]},
            versions=versions(),
        )
        manifest.write(folder)
        return manifest
