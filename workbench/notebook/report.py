"""An executed notebook as one HTML page: it needs no network, and only its own scripts are active.

The page's Content-Security-Policy lets two scripts run, known by their hashes: the loader and plotly.js, which is
embedded once, compressed. A script that the data contains has neither hash.
"""

from __future__ import annotations

import ast
import base64
import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from markupsafe import Markup
from nbformat import NotebookNode
from plotly.offline import get_plotlyjs

from workbench.base.durable_files import written_whole
from workbench.base.errors import ManifestBroken
from workbench.base.text_formats import seconds_text
from workbench.notebook.report_contents import ASSETS, StageLink, contents_of, stage_of, templates
from workbench.notebook.report_outputs import OutputRenderer, code_html, highlight_style, text_html
from workbench.stage.artefacts import MANIFEST, Manifest

COLOURS = ASSETS / "colours.js"
# Plotly sets style attributes, and makes one empty style element that it fills rule by rule.
EMPTY_STYLE = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
_WORDS = {
    "completed": ("Completed", "good"),
    "failed": ("Failed", "bad"),
    "killed": ("Kernel died", "bad"),
    "timed_out": ("Timed out", "bad"),
    "cancelled": ("Cancelled", "warn"),
    "running": ("Not finished", "warn"),
    "not_run": ("Not run", "quiet"),
    "skipped": ("Skipped", "quiet"),
}
_UNKNOWN = ("Not executed", "quiet")


@dataclass(frozen=True)
class Cell:
    """One cell as the template shows it; `text` or `code` is set."""

    number: int
    text: Markup | None = None
    code: Markup | None = None
    head: str = ""
    seconds: str = ""
    status_words: str = ""
    tone: str = ""
    open: bool = False
    outputs: tuple[Markup, ...] = ()


@dataclass(frozen=True)
class Page:
    """Everything the template shows."""

    title: str
    status_words: str
    tone: str
    facts: list[tuple[str, str]]
    timeline: Markup
    error: Mapping[str, Any] | None
    parameters: list[tuple[str, str]]
    summary: Summary
    cells: list[Cell]


def render_report(notebook: NotebookNode | Path, target: Path) -> Path:
    """Write the report of an executed notebook, whole, and return its path; the file stays under 5 MB.

    Raises `OSError` when it cannot be written.
    """
    executed: NotebookNode = nbformat.read(notebook, as_version=4) if isinstance(notebook, Path) else notebook
    renderer = OutputRenderer()
    page = _page(executed, renderer, target)
    content = _html(page, with_figures=renderer.figures > 0)
    with written_whole(target) as file:
        file.write(content.replace("\0", "\ufffd").encode("utf-8", "replace"))
    return target


def _html(page: Page, *, with_figures: bool) -> str:
    style = f"{(ASSETS / 'report.css').read_text()}\n{highlight_style()}"
    loader = COLOURS.read_text() + (ASSETS / "figures.js").read_text()
    library, library_hash = _library() if with_figures else ("", "")
    scripts = f"{_hash(loader)} {library_hash}" if with_figures else "'none'"
    return (
        templates()
        .get_template("report.html.j2")
        .render(
            page=page,
            policy=_policy(scripts, _hash(style)),
            style=Markup(style),
            loader=Markup(loader),
            library=Markup(library),
        )
    )


def _policy(scripts: str, style: str) -> str:
    return (
        f"default-src 'none'; script-src {scripts}; style-src-elem {style} {EMPTY_STYLE}; "
        "style-src-attr 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )


@cache
def _library() -> tuple[str, str]:
    """Return plotly.js, gzipped and base64-encoded, and its policy hash."""
    source = get_plotlyjs()
    return base64.b64encode(gzip.compress(source.encode(), 6, mtime=0)).decode(), _hash(source)


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def _page(notebook: NotebookNode, renderer: OutputRenderer, target: Path) -> Page:
    record = notebook.metadata.get("workbench", {})
    words, tone = _WORDS.get(record.get("status", ""), _UNKNOWN)
    title, text = _title(notebook)
    parameters = record.get("parameters") or {}
    return Page(
        title=title,
        status_words=words,
        tone=tone,
        facts=_facts(notebook, record),
        timeline=_timeline(notebook),
        error=_error(record),
        parameters=[(name, json.dumps(value, ensure_ascii=False)) for name, value in parameters.items()],
        summary=summary_of(target, str(parameters.get("pipeline_id") or "")),
        cells=[_cell(number, cell, text, renderer) for number, cell in enumerate(notebook.cells, 1)],
    )


def _title(notebook: NotebookNode) -> tuple[str, str]:
    """Return the notebook's first heading, and the first cell's text without it."""
    first = notebook.cells[0] if notebook.cells else None
    if first is None or first.cell_type != "markdown" or not first.source.startswith("# "):
        return "Notebook", first.source if first is not None else ""
    heading, _, rest = first.source.partition("\n")
    return heading.removeprefix("# ").replace("`", "").replace("*", "").strip(), rest


def _facts(notebook: NotebookNode, record: Mapping[str, Any]) -> list[tuple[str, str]]:
    counts = Counter(_status(cell) for cell in notebook.cells if cell.cell_type == "code")
    facts = [
        ("Run", (record.get("parameters") or {}).get("pipeline_id") or ""),
        ("Started", _moment(record.get("started_at"))),
        ("Took", _seconds(record)),
        ("Cells", ", ".join(f"{n} {_WORDS.get(status, _UNKNOWN)[0].lower()}" for status, n in counts.items())),
        ("Peak memory", _mebibytes((record.get("kernel") or {}).get("peak_bytes"))),
    ]
    return [(name, str(value)) for name, value in facts if value]


def _cell(number: int, cell: NotebookNode, first_text: str, renderer: OutputRenderer) -> Cell:
    if cell.cell_type == "markdown":
        return Cell(number, text=text_html(first_text if number == 1 else cell.source))
    if cell.cell_type != "code" or not cell.source.strip():
        return Cell(number)
    words, tone = _WORDS.get(_status(cell), _UNKNOWN)
    return Cell(
        number=number,
        code=code_html(cell.source),
        head=head_of(cell.source),
        seconds=_seconds(cell.metadata.get("workbench", {})) if tone != "quiet" else "",
        status_words=words,
        tone=tone,
        open=tone in ("bad", "warn"),
        outputs=tuple(renderer.render(output) for output in cell.outputs),
    )


def _error(record: Mapping[str, Any]) -> dict[str, Any] | None:
    error = record.get("error")
    if not error:
        return None
    words = _WORDS.get(error["status"], _UNKNOWN)[0]
    where = f" in cell {error['number']}" if error["number"] else ""
    kernel = error.get("kernel") or {}
    ended = f"The kernel ended by {kernel['signal']}." if kernel.get("signal") else ""
    return {
        "headline": f"{words}{where}",
        "message": f"{error['exception']}: {error['value']}",
        "kernel": ended,
        "number": error["number"],
        "traceback": error["traceback"],
    }


def _timeline(notebook: NotebookNode) -> Markup:
    """Return a timeline: one piece per code cell, as wide as the cell's duration."""
    cells = [(number, cell) for number, cell in enumerate(notebook.cells, 1) if cell.cell_type == "code"]
    # Every cell has a minimum width, so that the shortest can be seen and clicked.
    widths = [cell.metadata.get("workbench", {}).get("seconds", 0.0) for _, cell in cells]
    least_width = max(sum(widths), 0.001) * 0.012
    widths = [width + least_width for width in widths]
    scale, position, pieces = 1000 / max(sum(widths), 0.001), 0.0, []
    for (number, cell), width in zip(cells, widths, strict=True):
        words, tone = _WORDS.get(_status(cell), _UNKNOWN)
        label = f"Cell {number}: {words}, {_seconds(cell.metadata.get('workbench', {}))}"
        piece = '<a href="#cell-{}"><rect class="{}" x="{:.2f}" width="{:.2f}" height="10"><title>{}</title></rect></a>'
        pieces.append(Markup(piece).format(number, tone, position, width * scale, label))
        position += width * scale
    strip = '<svg class="timeline" viewBox="0 0 1000 10" preserveAspectRatio="none" role="img">{}</svg>'
    return Markup(strip).format(Markup("").join(pieces)) if pieces else Markup("")


def _status(cell: NotebookNode) -> str:
    return str(cell.metadata.get("workbench", {}).get("status", ""))


def _seconds(record: Mapping[str, Any]) -> str:
    """Return how long a notebook or cell took, empty while that is not known."""
    seconds = record.get("seconds")
    return "" if seconds is None else seconds_text(seconds)


def _moment(text: str | None) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S} UTC" if text else ""


def _mebibytes(size: int | None) -> str:
    return f"{size / 2**20:,.0f} MiB" if size else ""


@dataclass(frozen=True)
class Summary:
    """Facts from outside the notebook; empty for a report outside a stage's folder.

    `command` opens the stage in JupyterLab. `counts` are records, `conservation` (equation, records, whether it holds).
    """

    contents: tuple[StageLink, ...] = ()
    counts: tuple[tuple[str, str], ...] = ()
    conservation: tuple[tuple[str, str, bool], ...] = ()
    command: str = ""


def summary_of(report: Path, pipeline_id: str) -> Summary:
    """Return the summary of a report from the manifest in its folder, if there is one, and from the other stages."""
    stage = stage_of(report)
    if stage is None:
        return Summary()
    links = contents_of(report)
    command = f"workbench open {pipeline_id} {stage.name}" if pipeline_id else ""
    try:
        manifest = Manifest.read(report.parent) if (report.parent / MANIFEST).exists() else None
    except ManifestBroken:  # the run reports it: the stage does not count as completed
        manifest = None
    if manifest is None:
        return Summary(links, command=command)
    counts = tuple((name.capitalize(), f"{count:,}") for name, count in manifest.counts.items())
    borders = manifest.details.get("conservation", [])
    equations = tuple((str(each["name"]), f"{each['left']:,}", bool(each["holds"])) for each in borders)
    return Summary(links, counts, equations, command)


def head_of(source: str) -> str:
    """Return the line that stands for a folded cell: the first statement, imports and comments aside."""
    lines = source.strip().splitlines() or [""]
    try:
        body = ast.parse(source.strip()).body
    except (SyntaxError, ValueError, RecursionError):
        return lines[0]
    doing = [statement for statement in body if not isinstance(statement, ast.Import | ast.ImportFrom)]
    return lines[doing[0].lineno - 1].strip() if doing else lines[0]
