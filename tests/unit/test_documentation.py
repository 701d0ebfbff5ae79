"""Documents that are written from the code, or point into it, are up to date."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from workbench.base.settings import PROJECT

PAGES = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])


def test_the_page_of_parameters_is_what_the_models_say() -> None:
    written = runpy.run_path(str(PROJECT / "docs" / "write_parameters.py"))["document"]()
    assert (PROJECT / "docs" / "parameters.md").read_text("utf-8") == written, "run `make docs`"


@pytest.mark.parametrize(("letter", "name"), [("P", "reliability.md"), ("S", "security.md")])
def test_the_promises_of_a_page_are_those_that_tests_are_marked_with(letter: str, name: str) -> None:
    written = runpy.run_path(str(PROJECT / "docs" / "write_reliability.py"))["document"](letter)
    assert (PROJECT / "docs" / name).read_text("utf-8") == written, "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_link_to_a_file_of_the_project_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?![a-z]+:)([^)#]+)", page.read_text("utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []
