"""Documents that are written from the code, or point into it, are up to date."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from pipeline_lib.settings import PROJECT

PAGES = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])


def test_the_page_of_parameters_is_what_the_models_say() -> None:
    written = runpy.run_path(str(PROJECT / "docs" / "write_parameters.py"))["document"]()
    assert (PROJECT / "docs" / "parameters.md").read_text("utf-8") == written, "run `make docs`"


def test_the_promises_of_the_page_of_reliability_are_those_that_tests_are_marked_with() -> None:
    page = (PROJECT / "docs" / "reliability.md").read_text("utf-8")
    assert runpy.run_path(str(PROJECT / "docs" / "write_reliability.py"))["document"](page) == page, "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_link_to_a_file_of_the_project_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?![a-z]+:)([^)#]+)", page.read_text("utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_page_of_security_names_every_file_of_its_tests() -> None:
    page = (PROJECT / "docs" / "security.md").read_text("utf-8")
    files = (PROJECT / "tests" / "security").glob("test_*.py")
    assert [path.name for path in files if f"(../tests/security/{path.name})" not in page] == []
