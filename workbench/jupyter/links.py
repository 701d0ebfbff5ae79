"""Links from widgets to a run's files, through the JupyterLab that `workbench lab` serves."""

from __future__ import annotations

import html
import os
from pathlib import Path
from urllib.parse import quote

from workbench.base.settings import Settings
from workbench.stage.artefacts import RunFolder

LAB = "WORKBENCH_LAB"


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
