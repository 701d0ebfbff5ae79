"""All parameters of a run: those of the pipeline's stages, in their order, and those of every run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, create_model

from workbench.base.environment import put_project_on_path
from workbench.base.errors import InvalidPipeline
from workbench.stage.parameter_types import InputFile, ReferenceTime, StageParameters, counted_in
from workbench.stage.pipeline import FILE, STAGES, Stage, StageName


class OfEveryRun(StageParameters):
    """The parameters that the engine itself reads."""

    input_file: InputFile = ""
    reference_time: ReferenceTime = ""

    stage_timeout: Annotated[
        int,
        counted_in("seconds"),
        Field(ge=1, le=7 * 86_400, description="seconds a stage may take before it is ended"),
    ] = 3_600
    reuse: Annotated[
        bool, Field(description="take over results of earlier runs made with equal code, parameters and inputs")
    ] = False

    def started_at(self, moment: datetime) -> Self:
        """Fix the run's clock: an empty reference time becomes the moment the run starts."""
        return self if self.reference_time else self.model_copy(update={"reference_time": moment.isoformat()})

    def for_stage(self, stage: StageName) -> StageParameters:
        """Return the slice of these parameters that one stage takes; its notebook checks it."""
        model = STAGE_PARAMETERS[stage]
        return model.trusted({name: getattr(self, name) for name in model.model_fields})


def _model_of(stage: Stage) -> type[StageParameters]:
    """Import the model that a stage declares, `module:class`; raises `InvalidPipeline`."""
    module, _, name = stage.parameters_model.partition(":")
    try:
        model: type[StageParameters] = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InvalidPipeline(
            f"{FILE}: stage {stage.name}: parameters_model {stage.parameters_model}: {error}"
        ) from error
    return model


put_project_on_path()
STAGE_PARAMETERS: Mapping[StageName, type[StageParameters]] = {stage.name: _model_of(stage) for stage in STAGES}

if TYPE_CHECKING:
    RunParameters = OfEveryRun
else:
    RunParameters = create_model(
        "RunParameters",
        __base__=(OfEveryRun, *reversed(STAGE_PARAMETERS.values())),
        __doc__="All parameters of a run: its stages' and its own.",
    )
