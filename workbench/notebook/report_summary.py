"""What the first screen of a report says besides the notebook itself: counts, conservation, the run's other reports."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from workbench.base.errors import ManifestBroken
from workbench.notebook.report_contents import StageLink, contents_of, stage_of
from workbench.stage.artefacts import MANIFEST, Manifest


@dataclass(frozen=True)
class Summary:
    """What is known beside the notebook; empty where a report does not lie in a stage's folder.

    `command` opens the stage in JupyterLab. `counts` are records, `conservation` (equation, records, whether it holds).
    """

    contents: tuple[StageLink, ...] = ()
    counts: tuple[tuple[str, str], ...] = ()
    conservation: tuple[tuple[str, str, bool], ...] = ()
    command: str = ""


def summary_of(report: Path, pipeline_id: str) -> Summary:
    """Return what stands beside `report`: the manifest that its stage has left, if it has, and the other stages."""
    stage = stage_of(report)
    if stage is None:
        return Summary()
    links = contents_of(report)
    command = f"workbench open {pipeline_id} {stage.name}" if pipeline_id else ""
    try:
        manifest = Manifest.read(report.parent) if (report.parent / MANIFEST).exists() else None
    except ManifestBroken:  # said where it matters: the stage does not count as completed
        manifest = None
    if manifest is None:
        return Summary(links, command=command)
    counts = tuple((name.capitalize(), f"{count:,}") for name, count in manifest.counts.items())
    borders = manifest.details.get("conservation", [])
    equations = tuple((str(each["name"]), f"{each['left']:,}", bool(each["holds"])) for each in borders)
    return Summary(links, counts, equations, command)


def head_of(source: str) -> str:
    """Return the line by which a folded cell is known: the first that does something, not an import or a comment."""
    lines = source.strip().splitlines() or [""]
    try:
        body = ast.parse(source.strip()).body
    except (SyntaxError, ValueError, RecursionError):
        return lines[0]
    doing = [statement for statement in body if not isinstance(statement, ast.Import | ast.ImportFrom)]
    return lines[doing[0].lineno - 1].strip() if doing else lines[0]
