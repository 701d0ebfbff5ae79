"""What Prefect's own page shows beside a run: key figures, and links to the reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect.artifacts import create_link_artifact, create_table_artifact

from pipeline_lib.artefacts import RunFolder
from pipeline_lib.stages.chain import Stage


def publish_report_links(folder: RunFolder, stage: Stage) -> None:
    """Link the stage's newest report from its task run."""
    reports = sorted(folder.stage(stage.name).glob("report*.html"))
    if reports:
        create_link_artifact(reports[-1].as_uri(), f"{stage.title}: report", description=f"Run {folder.pipeline_id}")


def publish_key_figures(figures: Mapping[str, Any]) -> None:
    """Show the run's row of the view `key_figures` as a table."""
    rows = [{"figure": name.replace("_", " "), "value": str(value)} for name, value in figures.items()]
    create_table_artifact(rows, key="key-figures", description=f"Run {figures['pipeline_id']}")
