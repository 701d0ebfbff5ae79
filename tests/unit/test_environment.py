"""What is installed is one and the same set of versions, whichever file one reads it from."""

from __future__ import annotations

import re
import subprocess
import tomllib
from typing import Any

import pytest
import yaml

from workbench.base.settings import PROJECT

LOCK = (PROJECT / "requirements.lock").read_text("utf-8")
LOCKED = dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", LOCK, re.M))
META: dict[str, Any] = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
WANTED = [*META["dependencies"], *META["optional-dependencies"]["dev"]]


def _name(requirement: str) -> str:
    return re.split(r"[\[=<>]", requirement)[0].lower()


def _conda() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((PROJECT / "environment.yml").read_text("utf-8"))
    return document


@pytest.mark.promise("S16", "what is committed holds no secret, no path of a machine, no address; the lock has hashes")
def test_the_lock_holds_hashes_for_everything_and_no_address() -> None:
    assert "://" not in LOCK
    blocks = re.split(r"\n(?=\S)", LOCK.strip())
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []


@pytest.mark.parametrize("requirement", WANTED)
def test_a_pin_of_the_project_is_the_pin_of_the_lock(requirement: str) -> None:
    assert _name(requirement) in LOCKED
    if "==" in requirement:
        assert LOCKED[_name(requirement)] == requirement.split("==")[1]


def test_conda_users_get_the_versions_of_the_lock() -> None:
    pinned = dict(line.split("==") for line in _conda()["dependencies"][-1]["pip"])
    expected = {re.split(r"[=<>]", wanted)[0]: LOCKED[_name(wanted)] for wanted in WANTED}
    assert pinned == expected


def test_conda_users_get_a_python_that_the_project_takes() -> None:
    assert "python=3.11" in _conda()["dependencies"]
    assert META["requires-python"].startswith(">=3.11")


def test_make_lists_every_target_with_what_it_does() -> None:
    shown = subprocess.run(["make", "help"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    listed = set(re.findall(r"^  make ([\w-]+) +\S", shown, re.M))
    makefile = (PROJECT / "Makefile").read_text("utf-8")
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.M)
    assert phony is not None
    assert listed == set(phony[1].split())
