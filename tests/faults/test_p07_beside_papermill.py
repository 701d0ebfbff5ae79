"""P7, beside plain papermill: the page of reliability shows what both really save when a kernel is killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.beside_papermill import comparison
from tests.faults.workshop import Workshop
from workbench.base.settings import PROJECT


@pytest.mark.promise("P7", "success needs a kernel that ended well and a manifest that verifies")
def test_what_a_killed_kernel_leaves_is_shown_beside_what_plain_papermill_leaves(
    workshop: Workshop, tmp_path: Path
) -> None:
    page = (PROJECT / "docs" / "reliability.md").read_text("utf-8")
    assert comparison(workshop, tmp_path) in page, "run python -m tests.faults.beside_papermill"
