"""Row conservation: no record is lost or made between two stages.

generated (or read) = ingested + rejected; ingested = processed = loaded = item_metrics = exported
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from workbench.base.errors import ConservationBroken
from workbench.stage.parameters import StageName


@dataclass(frozen=True)
class Border:
    """One equation between two counts; `holds` is whether they are equal."""

    name: str
    left: int
    right: int

    @property
    def holds(self) -> bool:
        return self.left == self.right


def borders(stage: StageName, counts: Mapping[str, int]) -> list[Border]:
    """Return the equations that `stage` closes; `counts` are those of all stages up to and with it."""
    if stage is StageName.INGEST:
        both = counts["ingested"] + counts["rejected"]
        generated = [Border("generated = read", counts["generated"], counts["read"])] if "generated" in counts else []
        return [*generated, Border("read = ingested + rejected", counts["read"], both)]
    pairs = {
        StageName.PROCESS: [("ingested", "processed"), ("processed", "loaded")],
        StageName.TRANSFORM: [("loaded", "transformed")],
        StageName.EXPORT: [("transformed", "exported")],
    }.get(stage, [])
    return [Border(f"{left} = {right}", counts[left], counts[right]) for left, right in pairs]


def check_borders(stage: StageName, counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return the stage's equations as JSON; raises `ConservationBroken` naming the first that does not hold."""
    checked = borders(stage, counts)
    for border in checked:
        if not border.holds:
            sides = f"{border.left:,} and {border.right:,}"
            raise ConservationBroken(f"stage {stage}: {border.name} does not hold: {sides}")
    return [{**asdict(border), "holds": border.holds} for border in checked]
