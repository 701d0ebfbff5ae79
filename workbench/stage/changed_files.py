"""Which files of a run are no longer as its stages left them: a check that is cheap enough for each look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from workbench.base.errors import ManifestBroken
from workbench.stage.artefacts import MANIFEST, Artefact, Manifest, RunFolder, sha256_of

MISSING, CHANGED = "missing", "changed since the run"


def changed_files(folder: RunFolder, stages: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return `path` (relative to the run's folder) and `problem` of each file that its stage's row does not describe.

    A file of the recorded size that is older than its manifest counts as unchanged; one that is younger (an edit, or a
    copy) is compared by its sha256. What is edited in its size and set back in time is found by `workbench resume`.
    """
    return [
        {"path": f"{folder.stage(row['name']).name}/{path}", "problem": problem}
        for row in stages
        if row["manifest"]
        for path, problem in _changed(folder.stage(row["name"]), Manifest.model_validate(row["manifest"]))
    ]


def _changed(folder: Path, recorded: Manifest) -> Iterator[tuple[str, str]]:
    problem, written_ns = _manifest_state(folder, recorded)
    if problem:
        yield MANIFEST, problem
    for artefact in recorded.artefacts:
        if problem := _problem(folder / artefact.path, artefact, written_ns):
            yield artefact.path, problem


def _manifest_state(folder: Path, recorded: Manifest) -> tuple[str, int]:
    """Return what is wrong with the manifest's file, if anything, and when it was written (0: nobody knows)."""
    try:
        written_ns = (folder / MANIFEST).stat().st_mtime_ns
        return ("", written_ns) if Manifest.read(folder) == recorded else (CHANGED, 0)
    except OSError:
        return MISSING, 0
    except ManifestBroken:
        return CHANGED, 0


def _problem(path: Path, artefact: Artefact, written_ns: int) -> str:
    try:
        found = path.stat()
        if found.st_size != artefact.bytes:
            return CHANGED
        is_younger = found.st_mtime_ns > written_ns
        return CHANGED if is_younger and _sha256(path, found.st_mtime_ns, found.st_ino) != artefact.sha256 else ""
    except OSError:
        return MISSING


@lru_cache(maxsize=1024)
def _sha256(path: Path, _modified_ns: int, _inode: int) -> str:
    return sha256_of(path)


def changed_files_text(pipeline_id: str, changed: Sequence[Mapping[str, str]]) -> str:
    """Name the files that are no longer as the run left them, the first three of them; empty when there is none."""
    if not changed:
        return ""
    first = min(each["path"] for each in changed).partition("/")[0].partition("_")[2]
    named = ", ".join(f"{each['path']} ({each['problem']})" for each in changed[:3])
    more = f" and {len(changed) - 3:,} more" if len(changed) > 3 else ""
    return f"Not as the run left it: {named}{more}; `workbench resume {pipeline_id} --from {first}` makes it anew"
