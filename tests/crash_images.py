"""Losses of power at random moments: `python -m tests.crash_images --images 20`, or `make crash-images`. Root only.

A home on an ext4 file system of its own goes through `up`, runs and `clean`. At random moments its disk is copied as it
is, unsynced. Each image is checked, mounted where the disk was, and worked on: `runs`, `up`, `run` (and `clean`) must
succeed, and nothing that was told before is lost: a run that the database showed is still there, and one that was
completed still verifies.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2

from tests.faults.crash_disk import CrashDisk, check, crash_disk, mounted
from workbench.base.errors import WorkbenchError
from workbench.base.settings import PROJECT
from workbench.run.completion import verified_manifest
from workbench.services.processes import free_port
from workbench.services.service_file import has_supervisor, read_live_state
from workbench.stage.artefacts import RunFolder
from workbench.stage.pipeline import STAGE_NAMES

_WORKBENCH = Path(sys.executable).with_name("workbench")
_DISK_MEBIBYTES = 4096
_COMMAND_SECONDS = 300.0
_RECORDS = ("--records", "200")
Command = tuple[str, ...]
RUN: Command = ("run", *_RECORDS, "--json")
# What is done to one disk, and within how many seconds of its beginning the power is lost.
_STEPS: Sequence[tuple[Command, float]] = ((("up",), 40.0), (RUN, 30.0), (RUN, 40.0), (("clean", "--keep", "1"), 4.0))
_NOT_PRINTED = ("Traceback", "JSONDecodeError", "invalid literal")


@dataclass
class Image:
    """The disk at one moment: `told` is the status of each run that the database showed both before and after it."""

    file: Path
    step: str
    seconds: float
    tries: int
    told: dict[str, str]
    problems: list[str] = field(default_factory=list)


class Home:
    """A WORKBENCH_HOME on the disk, and commands on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("WORKBENCH_")},
            "WORKBENCH_HOME": str(path),
            "WORKBENCH_WEB_PORT": str(free_port()),
            "WORKBENCH_LEASE_SECONDS": "5",
        }

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [_WORKBENCH, *command],
            env=self._environment,
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def problems_of(self, *command: str) -> tuple[str, list[str]]:
        """Run a command to its end; return its output, and what is wrong with how it went."""
        with self.start(*command) as process:
            try:
                output, errors = process.communicate(timeout=_COMMAND_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                output, errors = process.communicate()
        said = " ".join(errors.split())[-300:]
        found = [f"{command[0]} says {words!r}: {said}" for words in _NOT_PRINTED if words in output + errors]
        if process.returncode:
            found.append(f"{command[0]} ends with {process.returncode}: {said}")
        return output, found

    def told(self) -> dict[str, str]:
        """Return the status of each run as the embedded database shows it; nothing where it is not up."""
        folder = self.path / "services" / "postgres"
        state = read_live_state(folder) if folder.is_dir() else None
        if state is None or state.url is None:
            return {}
        try:
            with closing(psycopg2.connect(state.url)) as connection, connection.cursor() as cursor:
                cursor.execute("select id, status from pipelines")
                return dict(cursor.fetchall())
        except psycopg2.Error:
            return {}

    def stop(self) -> None:
        """Stop everything, so that the disk can be unmounted."""
        self.problems_of("down")
        deadline = time.monotonic() + 60
        while any(has_supervisor(folder) for folder in self.path.glob("services/*")) and time.monotonic() < deadline:
            time.sleep(0.2)


def images_of_one_disk(
    folder: Path, count: int, chance: random.Random, steps: Sequence[tuple[Command, float]] = _STEPS
) -> Iterator[Image]:
    """Work on a new disk and lose its power `count` times; yields the images when the disk is no longer in use."""
    images: list[Image] = []
    with crash_disk(folder, _DISK_MEBIBYTES) as disk:
        home = Home(disk.files / "home")
        for number, (command, seconds) in enumerate(steps):
            moments = sorted(chance.uniform(0, seconds) for image in range(count) if image % len(steps) == number)
            images += _images_of_step(disk, home, command, moments)
        survivors = home.told()
        home.stop()
    for image in images:
        image.told = {pipeline_id: status for pipeline_id, status in image.told.items() if pipeline_id in survivors}
        yield image


def _images_of_step(disk: CrashDisk, home: Home, command: Command, moments: Sequence[float]) -> list[Image]:
    images: list[Image] = []
    began = time.monotonic()
    with home.start(*command) as process:
        for moment in moments:
            time.sleep(max(0.0, began + moment - time.monotonic()))
            file = Path(tempfile.mkstemp(prefix="image-", dir=disk.backing.parent)[1])
            before, seconds = home.told(), time.monotonic() - began
            tries = disk.image(file)
            after = home.told()
            both = {pipeline_id: status for pipeline_id, status in before.items() if pipeline_id in after}
            images.append(Image(file, command[0], seconds, tries, both))
        _output, errors = process.communicate(timeout=_COMMAND_SECONDS)
    if process.returncode:
        raise AssertionError(f"{command[0]} on the undisturbed disk ends with {process.returncode}: {errors[-500:]}")
    return images


def work_on(image: Image, place: Path, whole: bool = True) -> None:
    """Mount an image and do what a person does after a power loss; notes what goes wrong. `whole`: `up` before run."""
    check(image.file)
    with mounted(image.file, place):
        home = Home(place / "home")
        try:
            image.problems += _problems(home, image, whole)
        finally:
            home.stop()


def _problems(home: Home, image: Image, whole: bool) -> Iterator[str]:
    output, found = home.problems_of("runs", "--json")
    yield from found
    yield from _lost(home, image.told, output)
    if image.step == "clean":
        yield from home.problems_of("clean", "--keep", "1")[1]
    if whole:
        yield from home.problems_of("up")[1]
    output, found = home.problems_of(*RUN)
    yield from found
    if not found and json.loads(output)["status"] != "completed":
        yield f"the next run is {json.loads(output)['status']}"
    if whole and not (home.path / "web" / "token").read_text():
        yield "the page's token is empty"


def _lost(home: Home, told: Mapping[str, str], output: str) -> Iterator[str]:
    """Yield what was told before and is no longer so."""
    shown: dict[str, Any] = {row["pipeline_id"]: row["status"] for row in json.loads(output or "[]")}
    for pipeline_id, status in told.items():
        if pipeline_id not in shown:
            yield f"run {pipeline_id}, {status}, is lost"
        elif status == "completed":
            yield from _unproven(home, pipeline_id, shown[pipeline_id])


def _unproven(home: Home, pipeline_id: str, status: str) -> Iterator[str]:
    if status != "completed":
        yield f"run {pipeline_id} was completed and is {status}"
    for stage in STAGE_NAMES:
        try:
            verified_manifest(RunFolder(home.path, pipeline_id), stage)
        except WorkbenchError as error:
            yield f"run {pipeline_id} was completed, but: {error}"


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="wb-crash-"))
    yield folder
    shutil.rmtree(folder)


def main() -> int:
    """Lose power, tell, and return 1 when anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--disks", type=int, default=3, help="the images are shared out among so many disks")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    asked = parser.parse_args()
    chance, bad, number = random.Random(asked.seed), 0, 0
    print(f"{asked.images} images of {asked.disks} disks, seed {asked.seed}", flush=True)
    for disk in range(asked.disks):
        share = asked.images // asked.disks + (disk < asked.images % asked.disks)
        with _folder() as folder:
            for image in images_of_one_disk(folder, share, chance):
                number += 1
                began = time.monotonic()
                work_on(image, folder / "disk")
                image.file.unlink()
                bad += bool(image.problems)
                taken = f"{image.step:5} {image.seconds:5.1f} s, {image.tries} tries, {len(image.told)} runs told"
                print(
                    f"{number:3} {taken}, {time.monotonic() - began:.0f} s of work: {image.problems or 'ok'}",
                    flush=True,
                )
    print(f"{number} images, {bad} with problems")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
