"""Files appear whole or not at all, manifests notice damage, run ids have one form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.base.durable_files import written_whole
from workbench.base.errors import ManifestBroken, UnknownRun
from workbench.base.run_id import checked_run_id, new_run_id
from workbench.stage.artefacts import CHAIN, Manifest, RunFolder, describe_artefact, schema_of
from workbench.stage.pipeline import PIPELINE, STAGE_NAMES, Pipeline


def _manifest(folder: Path) -> Manifest:
    (folder / "data").write_bytes(b"twelve bytes")
    return Manifest(
        pipeline_id="20260102t030405_a1b2c3", stage="ingest", parameters={}, counts={"read": 1}, inputs={},
        artefacts=(describe_artefact(folder, "data", 1),), details={}, versions={},
    )  # fmt: skip


def test_a_file_that_was_written_to_its_end_stands_there_alone(tmp_path: Path) -> None:
    with written_whole(tmp_path / "deep" / "file") as file:
        file.write(b"new")
        assert not (tmp_path / "deep" / "file").exists()
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "deep").iterdir()] == [("file", b"new")]


@pytest.mark.parametrize("reason", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failed_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path, reason: type[BaseException]) -> None:
    (tmp_path / "file").write_bytes(b"old")

    def write_half() -> None:
        with written_whole(tmp_path / "file") as file:
            file.write(b"half")
            raise reason

    with pytest.raises(reason):
        write_half()
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"old")]


def test_a_manifest_comes_back_as_it_was_written_and_verifies(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path)
    manifest.write(tmp_path)
    assert Manifest.read(tmp_path) == manifest
    manifest.verify(tmp_path)


@pytest.mark.parametrize("damage", [b"twelve Bytes", b"twelve byte", b"twelve bytes!", b"", None])
def test_damage_to_an_artefact_is_noticed_and_named(tmp_path: Path, damage: bytes | None) -> None:
    manifest = _manifest(tmp_path)
    (tmp_path / "data").unlink() if damage is None else (tmp_path / "data").write_bytes(damage)
    with pytest.raises(ManifestBroken, match="data: missing or not what the stage wrote"):
        manifest.verify(tmp_path)


@pytest.mark.parametrize("content", [None, "", "{}", "[1]", '{"pipeline_id":'])
def test_a_manifest_that_is_missing_or_no_manifest_is_broken(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ManifestBroken, match="no usable manifest"):
        Manifest.read(tmp_path)


def test_a_new_run_id_fits_its_form_and_its_schema() -> None:
    run_id = new_run_id()
    assert checked_run_id(run_id) == run_id
    assert schema_of(run_id) == f"run_{run_id}"


@given(st.text() | st.sampled_from(["../20260102t030405_a1b2c3", "20260102t030405_a1b2c3\n", "20260102T030405_A1B2C3"]))
def test_a_text_of_another_form_never_becomes_a_path_or_schema(text: str) -> None:
    with pytest.raises(UnknownRun):
        schema_of(text)
    with pytest.raises(UnknownRun):
        _ = RunFolder(Path("home"), text).path


def test_stage_folders_sort_in_the_order_of_the_stages() -> None:
    folder = RunFolder(Path("home"), "20260102t030405_a1b2c3")
    names = [folder.stage(stage).name for stage in STAGE_NAMES]
    assert names == ["01_generate", "02_ingest", "03_process", "04_transform", "05_export"]


def test_a_runs_folder_follows_the_chain_that_the_run_was_begun_with(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "20260102t030405_a1b2c3")
    folder.path.mkdir(parents=True)
    other = Pipeline.model_validate(PIPELINE.snapshot | {"stage": list(reversed(PIPELINE.snapshot["stage"]))})
    (folder.path / CHAIN).write_text(json.dumps(other.snapshot))
    assert folder.chain == other
    assert folder.stage("export").name == "01_export"
    (folder.path / "07_export").mkdir()
    assert folder.stage("export").name == "07_export", "what is there counts"
    assert folder.stage("of_another_project") == folder.path / "of_another_project"
