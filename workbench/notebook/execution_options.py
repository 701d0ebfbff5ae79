"""How a notebook is to be executed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from workbench.kernels.kernel_provisioner import Kernels, PlainKernels
from workbench.notebook.results import Observer, SilentObserver


@dataclass(frozen=True)
class ExecutionOptions:
    """Times in seconds, `output_cap` in characters per cell.

    `deadline_seconds` is for the whole notebook, kernel start included. `environment` is added to this process's
    and is the only way for a secret into a kernel. `cancel`, once set, interrupts the cell and gives the kernel
    `grace_seconds` to leave; `kill` ends it at once. `folder` is the kernel's working folder, by default that of
    the notebook.
    """

    deadline_seconds: float | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    observer: Observer = field(default_factory=SilentObserver)
    kernels: Kernels = field(default_factory=PlainKernels)
    cancel: Event = field(default_factory=Event)
    kill: Event = field(default_factory=Event)
    folder: Path | None = None
    output_cap: int = 2_000_000
    grace_seconds: float = 5.0
