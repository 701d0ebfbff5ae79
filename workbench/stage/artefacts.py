"""Where a run's files lie, and how a manifest proves them.

WORKBENCH_HOME/runs/<id>/manifest.json            the run: who, when, which parameters
WORKBENCH_HOME/runs/<id>/chain.json               the chain that the run was begun with
WORKBENCH_HOME/runs/<id>/database                 the identity of the database that has the run's row
WORKBENCH_HOME/runs/<id>/<nn_stage>/…             a stage's artefacts
WORKBENCH_HOME/runs/<id>/<nn_stage>/manifest.json rows, bytes and sha256 of each artefact
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from workbench.base.durable_files import made_folder, written_whole
from workbench.base.errors import ManifestBroken
from workbench.base.run_id import checked_run_id
from workbench.stage.pipeline import PIPELINE, Pipeline, StageName

MANIFEST = "manifest.json"
IDENTITY = "database"
CHAIN = "chain.json"
COUNTED = "counted.json"
_PACKAGES = ("notebook-workbench", "dbt-core", "dbt-postgres", "faker", "numpy", "polars", "pyarrow", "pyspark")


def schema_of(pipeline_id: str) -> str:
    """Return the PostgreSQL schema that holds this run's tables and marts."""
    return f"run_{checked_run_id(pipeline_id)}"


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run; paths come from ids and stage names, never from text of a user."""

    home: Path
    pipeline_id: str

    @property
    def path(self) -> Path:
        return self.home / "runs" / checked_run_id(self.pipeline_id)

    @property
    def chain(self) -> Pipeline:
        """The chain that the run was begun with; the project's own where the run left none in its folder."""
        return chain_in(self.path)

    def stage(self, stage: StageName) -> Path:
        """Return the folder of a stage."""
        return stage_folder(self.path, stage)

    def begin(self, stage: StageName) -> Path:
        """Make the folder of a stage that begins and return it; what tells of an earlier result there goes.

        So does the run's own manifest, which told of a whole run.
        """
        folder = made_folder(self.stage(stage))
        for path in (folder / MANIFEST, folder / COUNTED, self.path / MANIFEST):
            path.unlink(missing_ok=True)
        return folder


def chain_in(run: Path) -> Pipeline:
    """Return the chain of the run in this folder; the project's where the folder tells none."""
    try:
        return Pipeline.of_snapshot(json.loads((run / CHAIN).read_bytes()))
    except FileNotFoundError:
        return PIPELINE


def stage_folder(run: Path, stage: StageName) -> Path:
    """Return a stage's folder, `NN_name`: the one that is there, or else that of its place in the run's chain."""
    there = next(run.glob(f"[0-9][0-9]_{stage}"), None)
    if there is not None:
        return there
    names = [each.name for each in chain_in(run).stages]
    return run / (f"{names.index(stage) + 1:02}_{stage}" if stage in names else stage)


@dataclass(frozen=True)
class StageResult:
    """What a stage has made: the border between stage logic and everything that records it.

    `counts`: rows by the names that `pipeline.toml` declares for the stage.
    `files`: path relative to the stage's folder -> rows in it (None: not a table).
    `details`: whatever else is worth knowing, as JSON (rejects by reason, dbt models …).
    """

    counts: Mapping[str, int]
    files: Mapping[str, int | None]
    details: Mapping[str, Any] = field(default_factory=dict)


class Artefact(BaseModel):
    """One file: path relative to the stage's folder, rows (None: not a table), bytes, sha256 in hex."""

    model_config = ConfigDict(frozen=True)

    path: str
    rows: int | None
    bytes: int
    sha256: str


class Manifest(BaseModel):
    """What a stage left behind. The stage counts as done only while every artefact still matches it.

    `inputs` are the sha256 of what the stage read, by path relative to the run's folder (own input: absolute).
    `fingerprint` are hashes of all that the result depends on, none where that is not certain; `reused_from` is the
    run that made the artefacts, empty when it is this one.
    """

    model_config = ConfigDict(frozen=True)

    pipeline_id: str
    stage: StageName
    parameters: dict[str, Any]
    counts: dict[str, int]
    inputs: dict[str, str]
    artefacts: tuple[Artefact, ...]
    details: dict[str, Any]
    versions: dict[str, str]
    fingerprint: dict[str, str] = {}
    reused_from: str = ""

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read a stage folder's manifest; raises `ManifestBroken` when it is missing or unreadable."""
        try:
            return cls.model_validate_json((folder / MANIFEST).read_bytes())
        except (OSError, ValueError) as error:
            raise ManifestBroken(f"{folder / MANIFEST}: no usable manifest ({type(error).__name__})") from error

    def write(self, folder: Path) -> None:
        with written_whole(folder / MANIFEST) as file:
            file.write(self.model_dump_json(indent=2).encode())

    def verify(self, folder: Path) -> None:
        """Compare every artefact with its entry; raises `ManifestBroken` naming the first that differs."""
        for artefact in self.artefacts:
            path = folder / artefact.path
            if not path.is_file() or path.stat().st_size != artefact.bytes or sha256_of(path) != artefact.sha256:
                raise ManifestBroken(f"{path}: missing or not what the stage wrote; resume the run to make it again")


class Counted(BaseModel):
    """What a stage that fails had counted by then; `details` as those of a manifest."""

    model_config = ConfigDict(frozen=True)

    counts: dict[str, int] = {}
    details: dict[str, Any] = {}

    @classmethod
    def read(cls, folder: Path) -> Counted:
        """Read what the attempt at work has counted; nothing where it has told nothing."""
        try:
            return cls.model_validate_json((folder / COUNTED).read_bytes())
        except (OSError, ValueError):
            return cls()

    def write(self, folder: Path) -> None:
        with written_whole(folder / COUNTED) as file:
            file.write(self.model_dump_json(indent=2).encode())


def describe_artefact(folder: Path, path: str, rows: int | None) -> Artefact:
    """Measure one file of a stage's folder."""
    file = folder / path
    return Artefact(path=path, rows=rows, bytes=file.stat().st_size, sha256=sha256_of(file))


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that shape the artefacts."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def sha256_of(path: Path) -> str:
    """Return the file's SHA-256 in hex, read in chunks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
