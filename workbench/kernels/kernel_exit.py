"""How a kernel process ended: exit code or signal, and peak memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KernelExit:
    """Exit code or signal of a kernel process, and the peak memory of its largest process in bytes, if known.

    `code` is None after a signal; `signal` is a name such as SIGKILL; both are None when the cause is unknown.
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
