"""Takes over a stage's result from another run: files are linked, tables copied; the runs stay independent."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from sqlalchemy import Engine

from workbench.base.durable_files import made_folder, sync, written_whole
from workbench.data.run_schema import check_tables, copy_tables, tables_left
from workbench.notebook.attempt_files import notebook_of, report_of
from workbench.stage.artefacts import Manifest, RunFolder, schema_of
from workbench.stage.pipeline import stage_named


def take_over(engine: Engine, origin: RunFolder, folder: RunFolder, recorded: Manifest, attempt: int) -> Manifest:
    """Make the result of run `origin` that of the run of `folder`; returns its manifest there.

    `recorded` is the origin's manifest, `attempt` the one whose notebook made it. Raises `ManifestBroken`, `OSError`
    and what the database raises.
    """
    maker = recorded.reused_from or origin.pipeline_id
    manifest = recorded.model_copy(update={"pipeline_id": folder.pipeline_id, "reused_from": maker})
    old, new = origin.stage(manifest.stage), folder.stage(manifest.stage)
    _copy_tables(engine, manifest, origin.pipeline_id)
    for artefact in manifest.artefacts:
        _link(old / artefact.path, new / artefact.path)
    _link_notebook(old, new, attempt)
    manifest.write(new)
    return manifest


def _copy_tables(engine: Engine, manifest: Manifest, earlier_run: str) -> None:
    tables = tables_left(manifest.stage, manifest.details)
    if tables:
        target = schema_of(manifest.pipeline_id)
        with engine.begin() as connection:
            copy_tables(connection, tables, schema_of(earlier_run), target, views=stage_named(manifest.stage).views)
            check_tables(connection, target, tables)


def _link_notebook(origin: Path, folder: Path, attempt: int) -> None:
    """Link the notebook that made the result, and its report, as this run's; they name the run that executed them."""
    made, here = notebook_of(origin, max(attempt, 1)), notebook_of(folder, 1)
    for source, target in ((made, here), (report_of(made), report_of(here))):
        if source.exists():
            _link(source, target)


def _link(source: Path, target: Path) -> None:
    """Put one file in its place under a second name; a copy where the disk cannot link. Files are never edited."""
    made_folder(target.parent)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        with source.open("rb") as original, written_whole(target) as copy:
            shutil.copyfileobj(original, copy)
    sync(target.parent)
