"""Where each attempt of a stage keeps its executed notebook and its report, in the stage's folder."""

from __future__ import annotations

from pathlib import Path


def notebook_of(folder: Path, attempt: int) -> Path:
    """Return where an attempt's executed notebook lies: notebook.ipynb, notebook.attempt-2.ipynb …"""
    return folder / ("notebook.ipynb" if attempt == 1 else f"notebook.attempt-{attempt}.ipynb")


def report_of(notebook: Path) -> Path:
    """Return where the report of an executed notebook lies: notebook.attempt-2.ipynb has report.attempt-2.html."""
    return notebook.with_name(f"{notebook.stem.replace('notebook', 'report', 1)}.html")
