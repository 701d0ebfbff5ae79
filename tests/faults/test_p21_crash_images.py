"""One image of a disk at a random moment of a run: the next commands work, and what was told before is still there.

`make crash-images` does so at twenty moments of `up`, runs and `clean`.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.crash_images import RUN, images_of_one_disk, work_on

pytestmark = pytest.mark.promise("P21", "the home survives a power loss at any moment")
MOMENT = random.SystemRandom().randrange(10_000)


@pytest.mark.timeout(600)
def test_after_a_power_loss_in_a_run_the_next_commands_work(tmp_path: Path) -> None:
    for image in images_of_one_disk(tmp_path, 1, random.Random(MOMENT), steps=[(RUN, 20.0)]):
        work_on(image, tmp_path / "disk", whole=False)
        assert image.problems == [], f"at {image.seconds:.1f} s, seed {MOMENT}"
