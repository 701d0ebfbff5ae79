"""What a stage's notebook shows so far: read from the file that its execution saves whole every second or so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from markupsafe import Markup

from workbench.notebook.report_outputs import OutputRenderer, code_html, text_html
from workbench.notebook.report_summary import head_of

_QUIET = ("not_run", "running", "")


@dataclass(frozen=True)
class OutputCell:
    """One cell with what it shows; `text` for prose, else `code`."""

    number: int
    status: str = ""
    seconds: float | None = None
    head: str = ""
    text: Markup | None = None
    code: Markup | None = None
    outputs: tuple[Markup, ...] = ()


def output_cells(path: Path) -> list[OutputCell]:
    """Return the cells of an executed notebook, sanitised like its report; raises `OSError` and `ValueError`."""
    notebook = nbformat.reads(path.read_text("utf-8"), as_version=4)
    renderer = OutputRenderer()
    return [_cell(number, cell, renderer) for number, cell in enumerate(notebook.cells, 1) if cell.source.strip()]


def _cell(number: int, cell: Any, renderer: OutputRenderer) -> OutputCell:
    if cell.cell_type != "code":
        return OutputCell(number, text=text_html(cell.source))
    record = cell.metadata.get("workbench", {})
    status = str(record.get("status", ""))
    return OutputCell(
        number=number,
        status=status,
        seconds=None if status in _QUIET else record.get("seconds"),
        head=head_of(cell.source),
        code=code_html(cell.source),
        outputs=tuple(renderer.render(output) for output in cell.outputs),
    )
