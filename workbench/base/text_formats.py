"""Counts, durations, sizes and statuses as text: the same on the terminal, the page, the panel and in reports."""

from __future__ import annotations

from enum import StrEnum

UNKNOWN = "–"


class Tone(StrEnum):
    """What a status means to a reader; each surface has one colour for each tone."""

    GOOD = "good"
    BUSY = "busy"
    BAD = "bad"
    WARN = "warn"
    QUIET = "quiet"


_TONES = {
    "completed": Tone.GOOD,
    "reused": Tone.GOOD,
    "running": Tone.BUSY,
    "failed": Tone.BAD,
    "crashed": Tone.BAD,
    "killed": Tone.BAD,
    "timed_out": Tone.BAD,
    "cancelled": Tone.WARN,
}


def tone_of(status: str) -> Tone:
    """Return the tone of a run's, stage's or cell's status."""
    return _TONES.get(status, Tone.QUIET)


def run_status_words(status: str, trigger: str) -> str:
    """Return a run's status; a run that a person steps through is pending until its last stage is done."""
    return "open, by hand" if (status, trigger) == ("pending", "notebook") else status


def count_text(count: int | None) -> str:
    """Return a count with thousands separators."""
    return UNKNOWN if count is None else f"{count:,}"


def seconds_text(seconds: float | None) -> str:
    """Return a duration: 950 ms, 12.3 s, 2 min 03 s, 1 h 02 min."""
    if seconds is None:
        return UNKNOWN
    seconds = float(seconds)
    if seconds < 0.95:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60:,} h {minutes % 60:02} min"


def size_text(size: float) -> str:
    """Return a number of bytes in the largest decimal unit of which there is one."""
    for unit, divisor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= divisor:
            return f"{size / divisor:,.1f} {unit}"
    return f"{size:,.0f} B"
