"""The papermill engine `workbench`: `papermill in.ipynb out.ipynb --engine workbench` executes as a run does.

papermill loads this module while it is itself being imported, so everything is imported where it is used, and the
class has the methods of `papermill.engines.Engine` without being one.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.base.errors import NotebookFailed

if TYPE_CHECKING:
    from nbformat import NotebookNode


class WorkbenchEngine:
    """Executes what papermill has prepared, with our session instead of papermill's loop."""

    @classmethod
    def execute_notebook(
        cls, nb: NotebookNode, kernel_name: str, output_path: str | None = None, **options: Any
    ) -> NotebookNode:
        """Return the executed notebook; raises `NotebookFailed`, with the failed notebook saved at `output_path`.

        Of papermill's options `execution_timeout` is used: seconds for the whole notebook, not per cell.
        """
        from workbench.notebook.executed_notebook import NotebookDocument
        from workbench.notebook.execution_options import ExecutionOptions
        from workbench.notebook.injection import prepared
        from workbench.notebook.notebook_executor import Session, run_session

        document = NotebookDocument(prepared(nb), Path(output_path) if output_path else None)
        execution = ExecutionOptions(deadline_seconds=options.get("execution_timeout"))
        error = run_session(Session(document, Path.cwd(), execution)).error
        if error is not None:
            raise NotebookFailed(str(error), error.exception, error.status, asdict(error))
        return document.notebook

    @classmethod
    def nb_kernel_name(cls, nb: NotebookNode, name: str | None = None) -> str:
        """Every notebook gets the interpreter that executes it."""
        return name or "python3"

    @classmethod
    def nb_language(cls, nb: NotebookNode, language: str | None = None) -> str:
        """Only Python is executed."""
        return "python"
