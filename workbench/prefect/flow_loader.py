"""Finds a project's flow: `pipeline` in its flows/pipeline.py, loaded by path, or else the engine's own flow.

No name of another package matters: a `flows` elsewhere on the path is never imported.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from workbench.base.environment import PROJECT
from workbench.base.errors import InvalidPipeline

if TYPE_CHECKING:
    from prefect import Flow

FLOW_FILE = "flows/pipeline.py"
_NAME = "pipeline"
_DEFAULT = "workbench.prefect.default_flow"
_LOADED_AS = "workbench_project_flow"


def entrypoint(project: Path = PROJECT) -> str:
    """Return where a worker's processes, which start in the project's folder, find the flow."""
    return f"{FLOW_FILE}:{_NAME}" if (project / FLOW_FILE).is_file() else f"{_DEFAULT}.{_NAME}"


@cache
def load_flow(project: Path = PROJECT) -> Flow[..., Any]:
    """Import Prefect and return the project's flow; raises `InvalidPipeline` naming the file."""
    from prefect import Flow

    file = project / FLOW_FILE
    module = _loaded(file) if file.is_file() else import_module(_DEFAULT)
    flow = getattr(module, _NAME, None)
    if not isinstance(flow, Flow):
        raise InvalidPipeline(f"{file}: defines no Prefect flow named {_NAME}; decorate the function with @flow")
    return flow


def _loaded(file: Path) -> ModuleType:
    loader = SourceFileLoader(_LOADED_AS, str(file))
    spec = cast(ModuleSpec, spec_from_file_location(_LOADED_AS, file, loader=loader))
    module = sys.modules[_LOADED_AS] = module_from_spec(spec)
    try:
        loader.exec_module(module)
    except Exception as error:
        del sys.modules[_LOADED_AS]
        raise InvalidPipeline(f"{file}: cannot be imported: {type(error).__name__}: {error}") from error
    return module
