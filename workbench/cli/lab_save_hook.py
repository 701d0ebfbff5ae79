"""Removes outputs from the pipeline's notebooks when JupyterLab saves them; copies for a run keep theirs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def drop_outputs(model: dict[str, Any], path: str, contents_manager: Any, **_others: Any) -> None:
    """Remove the outputs of a notebook in WORKBENCH_NOTEBOOKS before it is saved (JupyterLab's `pre_save_hook`).

    Outputs on the screen stay until the notebook is loaded again.
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
    """Return kernel and language; the Python version of the last kernel is no part of a notebook."""
    kept = {name: metadata[name] for name in ("kernelspec", "language_info") if name in metadata}
    if "language_info" in kept:
        kept["language_info"] = {"name": kept["language_info"]["name"]}
    return kept
