"""What the stages' notebooks import: `open_stage`, and the tuning form."""

from pipeline_lib.workbench.form import tuning_form
from pipeline_lib.workbench.session import StageSession, open_stage

__all__ = ["StageSession", "open_stage", "tuning_form"]
