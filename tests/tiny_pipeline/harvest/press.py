"""Stage 2: the fruit that is good becomes juice."""

from __future__ import annotations

import csv
from pathlib import Path

from harvest.parameters import PressParameters
from workbench.stage.artefacts import StageResult
from workbench.stage.progress import Progress

JUICE, SPOILED = "juice.csv", "spoiled.csv"


def press(parameters: PressParameters, source: Path, folder: Path, progress: Progress) -> StageResult:
    """Write a line of juice for each good fruit, and the others as they are."""
    with source.open(newline="") as file:
        fruit = list(csv.DictReader(file))
    good = [each for each in fruit if int(each["grams"]) >= parameters.least_grams]
    spoiled = [each for each in fruit if int(each["grams"]) < parameters.least_grams]
    _write(folder / JUICE, ("fruit", "millilitres"), [(each["fruit"], int(each["grams"]) * 3 // 5) for each in good])
    _write(folder / SPOILED, ("fruit", "grams"), [(each["fruit"], each["grams"]) for each in spoiled])
    progress(len(fruit), len(fruit), "fruit")
    counts = {"weighed": len(fruit), "pressed": len(good), "spoiled": len(spoiled)}
    return StageResult(counts, {JUICE: len(good), SPOILED: len(spoiled)})


def _write(path: Path, names: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(names)
        lines.writerows(rows)
