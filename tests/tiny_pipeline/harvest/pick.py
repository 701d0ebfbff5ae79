"""Stage 1: fruit, by tree and weight."""

from __future__ import annotations

import csv
import random
from pathlib import Path

from harvest.parameters import PickParameters
from workbench.stage.artefacts import StageResult
from workbench.stage.progress import Progress

FRUIT = "fruit.csv"


def pick(parameters: PickParameters, folder: Path, progress: Progress) -> StageResult:
    """Write a line for each fruit: its number, its tree, its weight in grams."""
    chance = random.Random(parameters.weather)
    count = parameters.trees * parameters.fruit_per_tree
    with (folder / FRUIT).open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(("fruit", "tree", "grams"))
        for number in range(count):
            lines.writerow((number, number // parameters.fruit_per_tree, chance.randint(40, 240)))
    progress(count, count, "fruit")
    return StageResult({"picked": count}, {FRUIT: count})
