"""Execute one notebook: the entry for everybody else.

    outcome = execute_notebook(source, target, {"records": 100}, ExecutionOptions(deadline_seconds=60))

papermill injects the parameters; its own loop is not used, because it saves in place, twice per cell, fills `{}` in
paths, and calls the cells after a dead kernel completed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from pipeline_lib.errors import NotebookRefused
from pipeline_lib.execution.document import NotebookDocument
from pipeline_lib.execution.injection import inject, prepared
from pipeline_lib.execution.options import ExecutionOptions
from pipeline_lib.execution.outcome import NotebookOutcome
from pipeline_lib.execution.session import Session, run_session
from pipeline_lib.redaction import keep_secrets_of


def execute_notebook(
    source: Path, target: Path, parameters: Mapping[str, Any], options: ExecutionOptions | None = None
) -> NotebookOutcome:
    """Execute `source` with `parameters` on a kernel of its own, saved at `target` as it goes; blocks.

    Returns the outcome, good or bad, a target that cannot be written included. Raises `NotebookRefused` and
    `InvalidParameter` before anything is started, and what the observer raises.
    """
    options = options or ExecutionOptions()
    keep_secrets_of({**os.environ, **options.environment})
    notebook = inject(read_notebook(source), parameters)
    document = NotebookDocument(notebook, target)
    document.note_parameters(parameters)
    return run_session(Session(document, options.folder or source.resolve().parent, options))


def read_notebook(path: Path) -> NotebookNode:
    """Read a notebook, upgraded to the newest format papermill writes; raises `NotebookRefused`."""
    try:
        notebook = nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
        raise NotebookRefused(f"{path}: cannot be read as a notebook ({type(error).__name__})") from error
    return prepared(notebook)


__all__ = ["ExecutionOptions", "execute_notebook"]
