"""The helper library of the notebook workbench: stages, execution, tracking, services and entry points."""

__version__ = "0.1.0"
