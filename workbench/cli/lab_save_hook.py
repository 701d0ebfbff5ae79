"""Keeps outputs out of the repository's notebooks when JupyterLab saves them; copies of a run keep theirs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def drop_outputs(model: dict[str, Any], path: str, contents_manager: Any, **_others: Any) -> None:
    """Change what is about to be saved, in place, if it is one of our own notebooks (JupyterLab's hook before saving).

    What a person sees on the screen stays until the notebook is loaded again.
    """
    target = Path(contents_manager.root_dir, path.strip("/")).resolve()
    if model.get("type") != "notebook" or target.parent != Path(os.environ["WORKBENCH_NOTEBOOKS"]):
        return
    content = model["content"]
    content["metadata"] = _kept(content["metadata"])
    for cell in content["cells"]:
        cell["metadata"] = {name: value for name, value in cell["metadata"].items() if name == "tags" and value}
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None


def _kept(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return kernel and language; the version of Python that happened to be there is no part of a notebook."""
    kept = {name: metadata[name] for name in ("kernelspec", "language_info") if name in metadata}
    if "language_info" in kept:
        kept["language_info"] = {"name": kept["language_info"]["name"]}
    return kept
