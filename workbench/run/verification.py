"""Verifies that a stage's recorded result is unchanged: manifest, files, inputs, tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from workbench.base.errors import ManifestBroken
from workbench.data.run_schema import check_tables, tables_left
from workbench.stage.artefacts import Artefact, Manifest, RunFolder, schema_of, sha256_of
from workbench.stage.pipeline import PIPELINE, StageName, stage_before
from workbench.stage.run_parameters import RunParameters
from workbench.state.database import patient
from workbench.state.queries import Row


@dataclass(frozen=True)
class Proven:
    """A verified manifest, and a sentence that lists what was verified."""

    manifest: Manifest
    reason: str


def prove_stage(engine: Engine, folder: RunFolder, row: Row) -> Proven:
    """Compare a completed stage, whose row of `pipeline_stages` is given, with what is there now.

    Raises `ManifestBroken` with what differs: `records.jsonl differs from its manifest`. Every byte is read once.
    """
    stage = row["name"]
    manifest = _recorded_manifest(folder, stage, row)
    for artefact in manifest.artefacts:
        _check_file(folder.stage(stage), artefact)
    note = _check_inputs(folder, manifest)
    tables = tables_left(stage, manifest.details)
    if tables:
        _check_tables(engine, schema_of(folder.pipeline_id), tables)
    found = [counted(len(manifest.artefacts), "artefact"), *([counted(len(tables), "table")] if tables else [])]
    return Proven(manifest, f"verified: {', '.join(found)}{note}")


def _recorded_manifest(folder: RunFolder, stage: StageName, row: Row) -> Manifest:
    path = folder.stage(stage)
    try:
        manifest = Manifest.read(path)
    except ManifestBroken as error:
        raise ManifestBroken("manifest.json is missing or unreadable") from error
    if row["manifest"] is None or manifest != Manifest.model_validate(row["manifest"]):
        raise ManifestBroken("manifest.json differs from the one that was recorded")
    return manifest


def _check_file(folder: Path, artefact: Artefact) -> None:
    path = folder / artefact.path
    if not path.is_file():
        raise ManifestBroken(f"{artefact.path} is missing")
    if path.stat().st_size != artefact.bytes or sha256_of(path) != artefact.sha256:
        raise ManifestBroken(f"{artefact.path} differs from its manifest")


def _check_inputs(folder: RunFolder, manifest: Manifest) -> str:
    """Compare what the stage read with what is there to read now; returns what else is to be said."""
    before = stage_before(manifest.stage)
    own = {path: sha256 for path, sha256 in manifest.inputs.items() if Path(path).is_absolute()}
    if own:
        return _check_own_input(own)
    expected = inputs_from(folder, before) if before else {}
    if manifest.inputs != expected:
        raise ManifestBroken(f"made from another result of {before}")
    return ""


def _check_own_input(inputs: Mapping[str, str]) -> str:
    """An own file that has changed would give another result; of one that is gone, this result is all there is."""
    for path, sha256 in inputs.items():
        if not Path(path).exists():
            return "; the own input file is gone"
        if sha256_of(Path(path)) != sha256:
            raise ManifestBroken("the own input file has changed")
    return ""


def inputs_of(folder: RunFolder, stage: StageName, parameters: RunParameters) -> dict[str, str]:
    """Return the sha256 of what the stage reads: all that the stage before it has left, or else an own input file."""
    before, own = PIPELINE.input_of(stage, parameters), parameters.input_file
    if before is not None:
        return inputs_from(folder, before.name)
    return {own: sha256_of(Path(own))} if own else {}


def inputs_from(folder: RunFolder, before: StageName) -> dict[str, str]:
    """Return the sha256 of each artefact of stage `before`, by path relative to the run's folder."""
    artefacts = Manifest.read(folder.stage(before)).artefacts
    return {f"{folder.stage(before).name}/{artefact.path}": artefact.sha256 for artefact in artefacts}


@patient
def _check_tables(engine: Engine, schema: str, tables: Mapping[str, int]) -> None:
    with engine.connect() as connection:
        check_tables(connection, schema, tables)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: 1 artefact, 2 artefacts."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
