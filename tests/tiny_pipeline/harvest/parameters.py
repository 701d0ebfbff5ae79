"""The parameters of the harvest's stages."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from workbench.stage.parameter_types import InputFile, ReferenceTime, StageParameters

HoldUntil = Annotated[str, Field(description="STAGE=FILE: the stage waits until this file exists")]
FailUntil = Annotated[str, Field(description="STAGE=FILE: the stage makes this file and fails, unless it exists")]
AbortUntil = Annotated[str, Field(description="STAGE=FILE: the stage makes this file and aborts, unless it exists")]


class _OfEachStage(StageParameters):
    hold_until: HoldUntil = ""
    fail_until: FailUntil = ""
    abort_until: AbortUntil = ""
    reference_time: ReferenceTime = ""


class PickParameters(_OfEachStage):
    """Stage 1: how much fruit."""

    trees: Annotated[int, Field(ge=1, le=1_000_000, description="how many trees to pick")] = 12
    fruit_per_tree: Annotated[int, Field(ge=1, le=1_000, description="how many fruit a tree bears")] = 25
    weather: Annotated[int, Field(ge=0, description="same weather: same fruit")] = 3


class PressParameters(_OfEachStage):
    """Stage 2: which fruit is good."""

    input_file: InputFile = ""
    least_grams: Annotated[int, Field(ge=0, description="lighter fruit is spoiled")] = 60


class BottleParameters(_OfEachStage):
    """Stage 3: how to label."""

    label: Annotated[str, Field(pattern=r"^\w{1,20}$", description="what stands on each bottle")] = "orchard"
