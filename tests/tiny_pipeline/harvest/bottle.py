"""Stage 3: a bottle for the juice of each fruit."""

from __future__ import annotations

import csv
from pathlib import Path

from harvest.parameters import BottleParameters
from workbench.stage.artefacts import StageResult
from workbench.stage.progress import Progress


def bottle(parameters: BottleParameters, source: Path, target: Path, progress: Progress) -> StageResult:
    """Write the juice to `target`, with the label."""
    with source.open(newline="") as file:
        juice = list(csv.DictReader(file))
    with target.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(("label", "fruit", "millilitres"))
        lines.writerows((parameters.label, each["fruit"], each["millilitres"]) for each in juice)
    progress(len(juice), len(juice), "bottles")
    return StageResult({"bottled": len(juice)}, {target.name: len(juice)})
