"""The contents at the top of a report: the stages of the run, with a link to each that has a report.

A report is written when its stage ends, before the later ones. So the contents are rewritten at the end of the run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from workbench.base.durable_files import written_whole
from workbench.stage.artefacts import RunFolder, chain_in, stage_folder
from workbench.stage.pipeline import Stage, StageName

ASSETS = Path(__file__).parent / "report_assets"
_CONTENTS = re.compile(rb'<nav class="contents".*?</nav>', re.DOTALL)
_TOP = b'<header class="top'
_EARLIER = b'<aside class="earlier'
_ATTEMPT = re.compile(r"report(?:\.attempt-([0-9]+))?\.html")


@dataclass(frozen=True)
class StageLink:
    """One of the run's stages: its title; its newest report as seen from this one, none if empty; is that this one."""

    title: str
    place: str
    is_here: bool


@cache
def templates() -> Environment:
    """Return the templates of reports."""
    return Environment(loader=FileSystemLoader(ASSETS), autoescape=True, undefined=StrictUndefined)


def stage_of(report: Path) -> Stage | None:
    """Return the stage in whose folder a report lies, None elsewhere."""
    run = report.parent.parent
    return next((each for each in chain_in(run).stages if stage_folder(run, each.name) == report.parent), None)


def contents_of(report: Path) -> tuple[StageLink, ...]:
    """Return the contents for a report that exists, or is about to; none for one outside a stage's folder."""
    if stage_of(report) is None:
        return ()
    return tuple(_link(stage, report) for stage in chain_in(report.parent.parent).stages)


def _link(stage: Stage, report: Path) -> StageLink:
    folder = stage_folder(report.parent.parent, stage.name)
    own = [report] if folder == report.parent else []
    newest = max([*own, *folder.glob("report*.html")], key=_attempt, default=None)
    place = f"../{folder.name}/{newest.name}" if newest else ""
    return StageLink(stage.title, place, newest == report)


def _attempt(report: Path) -> int:
    found = _ATTEMPT.fullmatch(report.name)
    return int(found[1] or 1) if found else 0


def renew_contents(folder: RunFolder) -> None:
    """Update the links in each report of the run to the present reports. Raises `OSError`."""
    for report in sorted(folder.path.glob("*/report*.html")):
        content = report.read_bytes()
        found = _CONTENTS.search(content)
        renewed = templates().get_template("contents.html.j2").render(contents=contents_of(report)).strip().encode()
        if found and found[0] != renewed:
            with written_whole(report) as file:
                file.write(content[: found.start()] + renewed + content[found.end() :])


def mark_earlier(folder: RunFolder, stage: StageName) -> None:
    """Write into the reports of this stage and all later ones that a new attempt replaces their results.

    The report of the new attempt is another file, or replaces this one. Raises `OSError`.
    """
    chain = folder.chain
    begun = chain.named(stage)
    line = templates().get_template("earlier.html.j2").render(stage=begun.title, moment=datetime.now(UTC)).encode()
    for each in chain.stages[chain.position(stage) - 1 :]:
        for report in sorted(folder.stage(each.name).glob("report*.html")):
            head, top, rest = report.read_bytes().partition(_TOP)
            if top and _EARLIER not in head:
                with written_whole(report) as file:
                    file.write(head + line + b"\n" + top + rest)
