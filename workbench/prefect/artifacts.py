"""Prefect artifacts of a run: key figures, and links to the reports. Their loss changes no outcome (P10)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.exceptions import PrefectException

from workbench.run.stage_runner import RunAtWork
from workbench.stage.artefacts import RunFolder
from workbench.stage.pipeline import Stage
from workbench.state import queries

log = logging.getLogger(__name__)


def publish_report_links(folder: RunFolder, stage: Stage) -> None:
    """Link the stage's newest report from its task run."""
    reports = sorted(folder.stage(stage.name).glob("report*.html"), key=lambda path: path.stat().st_mtime)
    if reports:
        with _prefect_may_be_away():
            description = f"Run {folder.pipeline_id}"
            create_link_artifact(reports[-1].as_uri(), f"{stage.title}: report", description=description)


def publish_key_figures(work: RunAtWork) -> None:
    """Show the run's row of the view `key_figures` as a table."""
    figures = queries.key_figures_of(work.run.engine, work.run.pipeline_id)
    rows = [
        {"figure": name.replace("_", " "), "value": "–" if value is None else str(value)}
        for name, value in figures.items()
    ]
    with _prefect_may_be_away():
        create_table_artifact(rows, key="key-figures", description=f"Run {work.run.pipeline_id}")


@contextmanager
def _prefect_may_be_away() -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, PrefectException) as error:
        log.warning("not shown in Prefect", extra={"error_type": type(error).__name__})
