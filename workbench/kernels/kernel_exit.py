"""How a kernel process ended."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KernelExit:
    """How a kernel process ended. Peak memory is that of its largest process, in bytes, where the system tells.

    `code` is the exit code, None after a signal; `signal` is its name; both None: the end was seen, its cause was not.
    """

    code: int | None = None
    signal: str | None = None
    peak_bytes: int | None = None

    def __str__(self) -> str:
        cause = f"by {self.signal}" if self.signal else f"with exit code {self.code}"
        if self.code is None and self.signal is None:
            cause = "without a trace"
        peak = f", peak memory {self.peak_bytes / 2**20:,.0f} MiB" if self.peak_bytes else ""
        return f"{cause}{peak}"
