"""Execute one notebook: the entry point of this package.

    outcome = execute_notebook(source, target, {"records": 100}, ExecutionOptions(deadline_seconds=60))

papermill injects the parameters; its own loop is not used, because it saves in place, twice per cell, fills `{}` in
paths, and calls the cells after a dead kernel completed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.base.redaction import keep_secrets_of
from workbench.notebook.executed_notebook import NotebookDocument
from workbench.notebook.execution_options import ExecutionOptions
from workbench.notebook.injection import inject, read_notebook
from workbench.notebook.notebook_executor import Session, run_session
from workbench.notebook.results import NotebookOutcome


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


__all__ = ["ExecutionOptions", "execute_notebook"]
