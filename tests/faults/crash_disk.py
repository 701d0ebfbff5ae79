"""An ext4 file system on a loop device, and images of it as a power loss would leave them.

The backing file holds what ext4 has written out, and nothing that is in the page cache only. An image is a copy of it
made while nothing was written: every image is a state that the disk really was in.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_WRITES, _IN_FLIGHT, _DISCARDS = 4, 8, 11  # fields of /sys/block/NAME/stat
_REPAIRED = 1  # e2fsck's exit code: errors were corrected
_QUIET_SECONDS = 60.0
_TRIES = 100


@dataclass(frozen=True)
class CrashDisk:
    """A mounted file system: where its files are, and which file and device hold it."""

    files: Path
    backing: Path
    device: str

    def image(self, target: Path) -> int:
        """Copy the disk as it is at one moment; returns how often that was tried. Syncs nothing."""
        deadline = time.monotonic() + _QUIET_SECONDS
        for tries in range(1, 1_000_000):
            before = self._activity()
            subprocess.run(["cp", "--sparse=always", self.backing, target], check=True)
            if before == self._activity() and before[1] == 0:
                return tries
            if time.monotonic() > deadline:
                break
        raise AssertionError(f"{self.device} was never quiet for the time of a copy in {_QUIET_SECONDS:g} s")

    def _activity(self) -> tuple[str, int, str]:
        fields = Path(f"/sys/block/{Path(self.device).name}/stat").read_text().split()
        return fields[_WRITES], int(fields[_IN_FLIGHT]), fields[_DISCARDS]


@contextmanager
def crash_disk(folder: Path, mebibytes: int) -> Iterator[CrashDisk]:
    """A new ext4 file system with its defaults, mounted below `folder` while the block lasts; skips without root."""
    backing = folder / "disk.img"
    if os.geteuid() or not Path("/dev/loop-control").exists():
        pytest.skip("NO LOOP DEVICE, OR NO ROOT: no crash image can be made here")
    with backing.open("wb") as file:
        file.truncate(mebibytes << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", backing], check=True)
    with mounted(backing, folder / "disk") as device:
        yield CrashDisk(folder / "disk", backing, device)


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[str]:
    """Mount an image while the block lasts; yields its loop device."""
    place.mkdir(exist_ok=True)
    command = ["losetup", "--find", "--show", str(image)]
    attached = subprocess.run(command, capture_output=True, text=True, check=False)
    if attached.returncode:
        pytest.skip(f"NO LOOP DEVICE: {attached.stderr.strip()}; no crash image can be made here")
    device = attached.stdout.strip()
    try:
        subprocess.run(["mount", device, place], check=True)
        try:
            yield device
        finally:
            _unmount(place)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def check(image: Path) -> None:
    """Replay the journal, as a machine does when it starts; fails when that does not leave a clean file system."""
    done = subprocess.run(["e2fsck", "-p", image], capture_output=True, text=True, check=False)
    assert done.returncode <= _REPAIRED, done.stdout + done.stderr
    done = subprocess.run(["e2fsck", "-fn", image], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _unmount(place: Path) -> None:
    """Wait for the last process that has a file open there."""
    for _ in range(_TRIES):
        done = subprocess.run(["umount", place], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        time.sleep(0.2)
    raise AssertionError(done.stderr)
