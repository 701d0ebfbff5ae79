"""What the control panel shows, as HTML: every text in it is escaped, every colour is JupyterLab's own."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from workbench.base.settings import Settings
from workbench.base.text_formats import Tone, count_text, run_status_words, seconds_text, size_text, tone_of
from workbench.stage.artefacts import RunFolder
from workbench.stage.progress import RECORDS
from workbench.state.cell_states import RUNNING, CellState
from workbench.state.run_document import done_of
from workbench.state.run_estimate import Estimate
from workbench.state.run_snapshot import RunSnapshot

_COLOURS = {
    Tone.GOOD: "var(--jp-success-color0, #1a7f37)",
    Tone.BUSY: "var(--jp-brand-color1, #1976d2)",
    Tone.BAD: "var(--jp-error-color1, #c62828)",
    Tone.WARN: "var(--jp-warn-color0, #b45309)",
    Tone.QUIET: "var(--jp-ui-font-color2, #616161)",
}
_QUIET = _COLOURS[Tone.QUIET]
_NUMBER = 'style="text-align:right;font-variant-numeric:tabular-nums;padding:2px 12px 2px 0"'
_WORD = 'style="text-align:left;padding:2px 12px 2px 0"'
_STRIPS = ("running", "failed", "crashed", "cancelled")
LAB = "WORKBENCH_LAB"


def estimate_html(records: int, judged: Estimate | None) -> str:
    """Return how long a run of so many records will take, and on how many past runs that rests."""
    if judged is None:
        return f"{records:,} records. How long that takes can be said once a run has gone from start to end by itself."
    rests = (
        f"{size_text(judged.bytes)} of artefacts. Rests on {judged.runs} completed run{'s' if judged.runs > 1 else ''}"
    )
    least, most = seconds_text(judged.least), seconds_text(judged.most)
    if judged.seconds is None:
        return f"{records:,} records: <b>at least {least}</b>, {rests}, none of them nearly as large."
    span = f" ({least} to {most})" if least != most else ""
    return f"{records:,} records: <b>about {seconds_text(judged.seconds)}</b>{span}, {rests}."


def run_badge(status: str, trigger: str) -> str:
    """Return a run's status in its colour."""
    return f'<b style="color:{_COLOURS[tone_of(status)]}">{html.escape(run_status_words(status, trigger))}</b>'


def badge(status: str, interactive: bool = False) -> str:
    """Return a status in its colour; work by hand is marked."""
    hand = f' <small style="color:{_QUIET}">by hand</small>' if interactive else ""
    return f'<b style="color:{_COLOURS[tone_of(status)]}">{html.escape(status)}</b>{hand}'


def run_html(run: RunSnapshot) -> str:
    """Return one run: headline, its stages with cells, records and seconds, what went wrong, conservation."""
    document = run.document
    seconds = seconds_text(document["seconds"]) if document["seconds"] is not None else ""
    status = run_badge(document["status"], document["trigger"])
    origin = f", a copy of run <code>{document['derived_from']}</code>" if document["derived_from"] else ""
    head = f"<div>Run <code>{document['pipeline_id']}</code> {status} {seconds}{origin}</div>"
    rows = "".join(_stage_row(stage, run) for stage in document["stages"])
    names = ("stage", "status", "cell", "progress", "records", "time")
    heads = "".join(
        f"<th {_WORD if name in ('stage', 'status', 'progress') else _NUMBER}>{name}</th>" for name in names
    )
    table = f'<table class="workbench-stages"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    return head + table + _strips(run) + _trouble(document) + _conservation(document)


def _stage_row(stage: Mapping[str, Any], run: RunSnapshot) -> str:
    name, running, progress = stage["name"], stage["status"] == "running", stage["progress"]
    done, total = _done(stage)
    records = done_of(progress) if running else max(stage["counts"].values(), default=None)
    unit = f" {html.escape(progress['unit'])}" if running and progress.get("unit", RECORDS) != RECORDS else ""
    cell = f"{progress['cell']}/{progress['cells']}" if running and "cells" in progress else ""
    bar = f'<progress max="{total or 1}" value="{done}" style="width:12em" aria-label="{name}"></progress>'
    seconds = run.stage_seconds(name) if running else stage["seconds"]
    cells = [
        (_WORD, name),
        (_WORD, badge(stage["status"], bool(stage.get("interactive")))),
        (_NUMBER, cell),
        (_WORD, bar),
        (_NUMBER, "" if records is None else f"{records:,}{unit}"),
        (_NUMBER, seconds_text(seconds)),
    ]
    columns = "".join(f"<td {style}>{text}</td>" for style, text in cells)
    return f'<tr data-stage="{name}" data-status="{stage["status"]}">{columns}</tr>'


def _done(stage: Mapping[str, Any]) -> tuple[float, float]:
    """Return how much of a stage is done, and of how much: cells, the present one in part by its records."""
    if stage["status"] in ("completed", "reused", "skipped"):
        return 1, 1
    progress = stage["progress"]
    if stage["status"] != "running" or "cells" not in progress:
        return 0, 1
    part = (done_of(progress) or 0) / progress["total"] if progress.get("total") else 0
    return progress["cell"] - 1 + min(part, 1), progress["cells"]


def _strips(run: RunSnapshot) -> str:
    """Return the cells of the stages that run or went wrong, with seconds; a cell's source shows on pointing at it."""
    shown = [stage["name"] for stage in run.document["stages"] if stage["status"] in _STRIPS]
    cells = {name: run.cells_of(name) for name in shown}
    return "".join(_strip(name, each) for name, each in cells.items() if each)


def _strip(stage: str, cells: Iterable[CellState]) -> str:
    pieces = []
    for cell in cells:
        time = seconds_text(cell.seconds) if cell.seconds is not None else "…" if cell.status == RUNNING else "✗"
        title = html.escape(cell.source)
        colour = _COLOURS[tone_of(cell.status)]
        style = f"color:{colour};border:1px solid;border-radius:4px;padding:0 5px;margin-right:4px"
        pieces.append(f'<span title="{title}" style="{style}">{cell.number} · {time}</span>')
    return f'<div style="margin:4px 0">cells of {stage}: {"".join(pieces)}</div>'


def _trouble(document: Mapping[str, Any]) -> str:
    error = document["error"]
    if not error:
        return ""
    message = html.escape(str(error["message"]))
    shown = f'<div role="alert" style="color:{_COLOURS[Tone.BAD]};white-space:pre-wrap">{message}</div>'
    if not error.get("stage"):
        return shown
    command = f"workbench open {document['pipeline_id']} {error['stage']}"
    return f"{shown}<div>Step through it, from a terminal: <code>{html.escape(command)}</code></div>"


def _conservation(document: Mapping[str, Any]) -> str:
    borders = [border for stage in document["stages"] for border in stage["conservation"]]
    lines = [f"{'✓' if each['holds'] else '✗'} {html.escape(each['name'])}: {each['left']:,}" for each in borders]
    return f'<div style="color:{_QUIET}">{" · ".join(lines)}</div>' if lines else ""


def files_html(settings: Settings, pipeline_id: str) -> str:
    """Return links to a run's executed notebooks and reports, stage by stage."""
    stages = [
        f"{folder}: " + ", ".join(link(settings, path, path.stem) for path in paths)
        for folder, paths in sorted(stage_files(settings, pipeline_id).items())
    ]
    return " &nbsp; ".join(stages) or "no notebook has been executed yet"


def history_html(figures: Iterable[Mapping[str, Any]]) -> str:
    """Return the newest runs with status, who started them, records and seconds."""
    rows = "".join(
        f"<tr><td {_WORD}><code>{row['pipeline_id']}</code></td>"
        f"<td {_WORD}>{run_badge(row['status'], row['trigger'])}</td>"
        f"<td {_WORD}>{html.escape(row['trigger'])}</td><td {_NUMBER}>{count_text(row['records_read'])}</td>"
        f"<td {_NUMBER}>{count_text(row['records_rejected'])}</td>"
        f"<td {_NUMBER}>{seconds_text(row['total_seconds'])}</td></tr>"
        for row in figures
    )
    names = (("run", _WORD), ("status", _WORD), ("started by", _WORD), ("read", _NUMBER), ("rejected", _NUMBER))
    heads = "".join(f"<th {style}>{name}</th>" for name, style in (*names, ("time", _NUMBER)))
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>" if rows else "There is no run yet."


def link(settings: Settings, path: Path, words: str) -> str:
    """Return HTML that opens `path` in a new tab; elsewhere than in `workbench lab` only its words, with the path."""
    if LAB not in os.environ or not path.is_relative_to(settings.home / "runs"):
        return f'<span title="{html.escape(str(path))}">{html.escape(words)}</span>'
    below = quote(str(path.relative_to(settings.home)))
    # A report is served as it is, inside the server's sandbox; anything else opens as a document of JupyterLab.
    place = f"/files/{below}" if path.suffix == ".html" else f"/doc/tree/{below}"
    style = "color:var(--jp-content-link-color);text-decoration:underline"
    return f'<a href="{place}" target="_blank" rel="noopener" style="{style}">{html.escape(words)}</a>'


def stage_files(settings: Settings, pipeline_id: str) -> dict[str, list[Path]]:
    """Return a run's executed notebooks and reports, newest attempt last, by the name of their stage's folder."""
    found: dict[str, list[Path]] = {}
    for pattern in ("notebook*.ipynb", "report*.html"):
        paths = RunFolder(settings.home, pipeline_id).path.glob(f"*/{pattern}")
        for path in sorted(paths, key=lambda path: (path.parent, len(path.name), path.name)):
            found.setdefault(path.parent.name, []).append(path)
    return found
