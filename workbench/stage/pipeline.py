"""The chain of stages, as one readable list."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.stage.parameters import StageName


@dataclass(frozen=True)
class Stage:
    """A stage as people meet it: its name, its title, the notebook that is its logic, and what it leaves behind."""

    name: StageName
    title: str
    notebook: str
    leaves: str


STAGES = (
    Stage(StageName.GENERATE, "Generate", "01_generate.ipynb", "records.jsonl"),
    Stage(StageName.INGEST, "Ingest", "02_ingest.ipynb", "dataset.parquet, rejects.jsonl"),
    Stage(StageName.PROCESS, "Process", "03_process.ipynb", "processed/, tables in run_<id>"),
    Stage(StageName.TRANSFORM, "Transform", "04_transform.ipynb", "marts in run_<id>, views for readers"),
    Stage(StageName.EXPORT, "Export", "05_export.ipynb", "pipeline_<id>_results_<time>.json"),
)


def stage_named(name: StageName) -> Stage:
    """Return the stage with this name."""
    return STAGES[list(StageName).index(name)]


def stage_before(name: StageName) -> StageName | None:
    """Return the stage whose result `name` reads; None for the first."""
    position = list(StageName).index(name)
    return list(StageName)[position - 1] if position else None
