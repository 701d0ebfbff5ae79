"""Row conservation: no record is lost or made between two stages; the equations stand in `pipeline.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from workbench.base.errors import ConservationBroken
from workbench.stage.pipeline import PIPELINE, Pipeline, StageName


@dataclass(frozen=True)
class Border:
    """One equation between two counts; `holds` is whether they are equal."""

    name: str
    left: int
    right: int

    @property
    def holds(self) -> bool:
        return self.left == self.right


def borders(stage: StageName, counts: Mapping[str, int], chain: Pipeline = PIPELINE) -> list[Border]:
    """Return the equations that `stage` closes; `counts` are those of all stages up to and with it.

    Raises `ConservationBroken` when the stage has not counted what it is declared to count.
    """
    missing = [name for name in chain.named(stage).counts if name not in counts]
    if missing:
        raise ConservationBroken(f"stage {stage}: its notebook has not counted {missing[0]}")
    return [
        Border(str(equation), _sum(equation.left, counts), _sum(equation.right, counts))
        for equation in chain.closed_by(stage, counts)
    ]


def _sum(names: tuple[str, ...], counts: Mapping[str, int]) -> int:
    return sum(counts[name] for name in names)


def check_borders(stage: StageName, counts: Mapping[str, int], chain: Pipeline = PIPELINE) -> list[dict[str, Any]]:
    """Return the stage's equations as JSON; raises `ConservationBroken` naming the first that does not hold."""
    checked = borders(stage, counts, chain)
    for border in checked:
        if not border.holds:
            sides = f"{border.left:,} and {border.right:,}"
            raise ConservationBroken(f"stage {stage}: {border.name} does not hold: {sides}")
    return [{**asdict(border), "holds": border.holds} for border in checked]
