"""`make setup` where the index of packages is a company's own, with a certificate of its own authority."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.integration.company_index import company_index, make_wheel
from workbench.base.settings import PROJECT

SYSTEM = "/etc/ssl/certs/ca-certificates.crt"

PROJECT_FILE = """[project]
name = "tiny"
version = "1"
[build-system]
requires = []
build-backend = "build_tiny"
backend-path = ["."]
"""
BUILD = """import pathlib, shutil
def build_editable(folder, settings=None, metadata=None):
    [wheel] = pathlib.Path("tiny").iterdir()
    return pathlib.Path(shutil.copy(wheel, folder)).name
"""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `packages` with uv itself and a package `small`; beside it the lock and a project that are set up."""
    folder = tmp_path_factory.mktemp("company")
    uv, packages = version("uv"), folder / "packages"
    program = {f"uv-{uv}.data/scripts/uv": Path(sys.executable).with_name("uv").read_bytes()}
    lines = make_wheel(packages / "uv", "uv", uv, program) + make_wheel(
        packages / "small", "small", "1", {"small.py": b""}
    )
    (folder / "requirements.lock").write_text(lines)
    (folder / "pyproject.toml").write_text(PROJECT_FILE)
    (folder / "build_tiny.py").write_text(BUILD)
    make_wheel(folder / "tiny", "tiny", "1", {})
    return folder


def set_up(index: Path, tmp_path: Path, variables: dict[str, str], *before: str) -> None:
    """Run `.ci/setup` with no other variables than these, and look for what it had to install."""
    (tmp_path / "python3.13").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tmp_path / "python3.13").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path), **variables}
    command = [*before, PROJECT / ".ci" / "setup", tmp_path / "venv"]
    done = subprocess.run(command, cwd=index, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    subprocess.run([tmp_path / "venv/bin/python", "-c", "import small"], check=True)


def test_a_companys_own_authority_may_stand_in_a_variable(index: Path, tmp_path: Path) -> None:
    with company_index(index / "packages") as (url, authority):
        named = {"REQUESTS_CA_BUNDLE": str(authority), "PIP_INDEX_URL": url, "PIP_CONFIG_FILE": os.devnull}
        set_up(index, tmp_path, named)


@pytest.mark.parametrize("hidden", ["", "ensurepip"])
def test_index_and_authority_may_stand_in_the_configuration_of_pip(index: Path, tmp_path: Path, hidden: str) -> None:
    """Debian can do without `ensurepip`: then the environment has no pip, and the one beside it is asked."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / f"{hidden}.py").write_text("raise ImportError\n")
    with company_index(index / "packages") as (url, authority):
        configuration = tmp_path / "pip.conf"
        configuration.write_text(f"[global]\nindex-url = {url}\ncert = {authority}\n")
        variables = {"PIP_CONFIG_FILE": str(configuration), "PYTHONPATH": str(tmp_path / "hidden")}
        set_up(index, tmp_path, variables)


def test_a_companys_own_authority_may_be_one_of_the_system(index: Path, tmp_path: Path) -> None:
    with company_index(index / "packages") as (url, authority):
        own = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c"]
        mount = [*own, f'mount --bind {authority} {SYSTEM} && exec "$@"', "sh"]
        if subprocess.run([*mount, "true"], capture_output=True, check=False).returncode:
            pytest.skip(f"NO MOUNTS: nothing can take the place of {SYSTEM} here")
        set_up(index, tmp_path, {"PIP_INDEX_URL": url, "PIP_CONFIG_FILE": os.devnull}, *mount)
