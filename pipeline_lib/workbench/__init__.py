"""What the stages' notebooks import: `open_stage`."""

from pipeline_lib.workbench.session import StageSession, open_stage

__all__ = ["StageSession", "open_stage"]
