"""Ways to hold or break a stage, as its parameters `hold_until`, `fail_until` and `abort_until` say."""

from __future__ import annotations

import os
import time
from pathlib import Path

from workbench.stage.parameter_types import StageParameters
from workbench.stage.progress import Progress


def interrupt(stage: str, parameters: StageParameters, progress: Progress) -> None:
    """Fail or abort the first time, or wait for a file, where the parameters name this stage."""
    values = parameters.model_dump()
    if _is_first_time(stage, values["fail_until"]):
        raise RuntimeError(f"stage {stage} fails the first time")
    if _is_first_time(stage, values["abort_until"]):
        os.abort()
    if awaited := _file_of(stage, values["hold_until"]):
        while not awaited.exists():
            progress(0, 1, "files")
            time.sleep(0.02)


def _is_first_time(stage: str, text: str) -> bool:
    file = _file_of(stage, text)
    if file is None or file.exists():
        return False
    file.touch()
    return True


def _file_of(stage: str, text: str) -> Path | None:
    name, _, path = text.partition("=")
    return Path(path) if name == stage else None
