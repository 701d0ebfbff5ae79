"""Says in sentences how two runs differ, what differs most first.

To be ranked, differences need one scale: 1 is an effect that is called large (see workbench.run.drift), a count
or a time that has doubled or halved. Another outcome comes before everything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import log2
from typing import Any

_WORTH_TELLING = 0.15
_LISTED = 3
Document = Mapping[str, Any]


def in_words(document: Document) -> list[str]:
    """Return one sentence per kind of difference, the greatest first; one sentence when there is none."""
    found = [each for part in (_outcome, _record_words, _rejects, _shift_words, _seconds, _models) for each in part(document)]
    found = [each for each in found if each[0] >= _WORTH_TELLING]
    ranked = [sentence for _, sentence in sorted(found, key=lambda each: -each[0])]
    most = [f"What differs most: {ranked[0]}", *ranked[1:]] if ranked else ["The results hardly differ."]
    return [*most, _chosen(document["parameters"]), *_code(document["code"])]


def _outcome(document: Document) -> Iterator[tuple[float, str]]:
    a, b = document["runs"]["a"], document["runs"]["b"]
    if a["status"] != b["status"]:
        yield 100.0, f"run a is {a['status']}, run b is {b['status']}."
    for name, run in (("a", a), ("b", b)):
        if run["error"]:
            yield 99.0, f"run {name} ended with: {run['error']}"


def _record_words(document: Document) -> Iterator[tuple[float, str]]:
    exported = next(row for row in document["records"] if row["name"] == "exported")
    generated = next(row for row in document["records"] if row["name"] == "generated")
    row = exported if exported["change"] is not None else generated
    if row["change"] and row["a"] and row["b"]:
        yield (
            abs(log2(row["b"] / row["a"])),
            f"b {row['name']} {row['b']:,} records, a {row['a']:,} ({_percent(row)}).",
        )


def _rejects(document: Document) -> Iterator[tuple[float, str]]:
    """Compare shares of what was read, not counts, which follow the number of records."""
    read = next(row for row in document["records"] if row["name"] == "generated")
    if not read["a"] or not read["b"] or any(row[run] is None for row in document["rejects"] for run in "ab"):
        return
    shares = [sum(row[run] for row in document["rejects"]) / read[run] for run in "ab"]
    changed = [row for row in document["rejects"] if row["change"]]
    reasons = sorted(changed, key=lambda row: -abs(row["b"] / read["b"] - row["a"] / read["a"]))
    if shares[0] != shares[1]:
        named = ", ".join(str(row["name"]).replace("_", " ") for row in reasons[:_LISTED])
        strength = 20 * abs(shares[1] - shares[0])  # five percentage points more or less are a large difference
        yield strength, f"b rejected {shares[1]:.2%} of its records, a {shares[0]:.2%}; most for {named}."


def _shift_words(document: Document) -> Iterator[tuple[float, str]]:
    named: dict[str, Document] = {}
    for row in document["shifts"]:
        if row["size"] != "none":
            named.setdefault(row["column"], row)
    strongest = list(named.values())[:_LISTED]
    if strongest:
        told = "; ".join(
            f"{row['column']} ({row['size']}, {row['measure']} {row['value']:.2f}: {row['a']} in a, {row['b']} in b)"
            for row in strongest
        )
        yield strongest[0]["strength"], f"distributions have shifted: {told}."


def _seconds(document: Document) -> Iterator[tuple[float, str]]:
    """Compare how long runs took that ended alike: one that failed half way is no faster, nor is a person."""
    runs = document["runs"]
    a, b = (runs[run]["seconds"] for run in "ab")
    if not a or not b or runs["a"]["status"] != runs["b"]["status"]:
        return
    if runs["a"].get("interactive") or runs["b"].get("interactive"):
        return
    stages = [row for row in document["stages"] if row["change"] is not None]
    slowest = max(stages, key=lambda row: row["change"] * (1 if b > a else -1), default=None)
    part = f", {abs(slowest['change']):,.1f} s of it in stage {slowest['name']}" if slowest else ""
    yield abs(log2(b / a)), f"b took {b:,.1f} s, {abs(b - a):,.1f} s {'more' if b > a else 'less'} than a{part}."


def _models(document: Document) -> Iterator[tuple[float, str]]:
    timed = [row for row in document["models"] if row["change"] is not None]
    most = max(timed, key=lambda row: abs(row["change"]), default=None)
    if most and abs(most["change"]) >= 1 and most["a"] and most["b"]:
        took = f"{most['b']:.1f} s in b, {most['a']:.1f} s in a"
        yield abs(log2(most["b"] / most["a"])), f"dbt model {most['name']} took {took}."


def _chosen(parameters: Sequence[Document]) -> str:
    if not parameters:
        return "Both runs had the same parameters."
    return "Parameters: " + ", ".join(f"{row['name']} {row['a']!r} in a, {row['b']!r} in b" for row in parameters) + "."


def _code(changes: Sequence[Document]) -> Iterator[str]:
    if changes:
        yield "Changed between them: " + ", ".join(str(row["name"]) for row in changes) + "."


def _percent(row: Document) -> str:
    return f"{(row['b'] - row['a']) / row['a']:+.1%}"
