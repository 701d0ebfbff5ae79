"""The layers are what design and import-linter say, and files stay small enough to be read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from workbench.base.settings import PROJECT

SOURCES = sorted(
    path
    for folder in ("workbench", "pipeline_lib", "flows", "tests", "docs")
    for path in (PROJECT / folder).rglob("*.py")
)


def test_imports_point_down_only() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    checked = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_every_file_is_short_enough_to_be_read() -> None:
    lengths = {str(path.relative_to(PROJECT)): len(path.read_text("utf-8").splitlines()) for path in SOURCES}
    assert {path: length for path, length in lengths.items() if length > 400} == {}
