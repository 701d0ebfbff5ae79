"""Tables for people at a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from workbench.base.text_formats import Tone, count_text, run_status_words, seconds_text, tone_of
from workbench.cli.output import printable
from workbench.stage.changed_files import changed_files_text
from workbench.stage.pipeline import PIPELINE

RUN_ID_WIDTH = 22
_COLOURS = {
    Tone.GOOD: "green",
    Tone.BUSY: "blue",
    Tone.BAD: "red",
    Tone.WARN: "yellow",
    Tone.QUIET: "bright_black",
}
_PIPED_WIDTH = 10_000  # no row is as wide, so that a table keeps its words and one line a row


def show_on_terminal(renderable: RenderableType) -> None:
    """Write to stdout; coloured on a terminal, plain and never cut when piped. Brackets and colons in data are text."""
    console = Console(markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _PIPED_WIDTH
    console.print(renderable, soft_wrap=not console.is_terminal, crop=False)  # a cut path leads nowhere


def status_text(status: str) -> Text:
    """Return a status in its colour."""
    return Text(status, style=_COLOURS[tone_of(status)])


def run_status_text(status: str, trigger: str) -> Text:
    """Return a run's status in its colour; a run that a person steps through is at work."""
    words = run_status_words(status, trigger)
    return status_text(status) if words == status else Text(words, style=_COLOURS[Tone.BUSY])


def runs_table(figures: Iterable[Mapping[str, Any]]) -> RenderableType:
    """Return the newest runs, one a row."""
    run = Column("run", min_width=RUN_ID_WIDTH)  # an id that is cut off cannot be typed
    table = Table(run, "status", "started by", box=None, header_style="bold", pad_edge=False)
    for heading in ("records", "rejected", "time"):
        table.add_column(heading, justify="right")
    for row in figures:
        table.add_row(
            row["pipeline_id"],
            run_status_text(row["status"], row["trigger"]),
            row["trigger"],
            *(count_text(row[name]) for name in ("records_read", "records_rejected")),
            seconds_text(row["total_seconds"]),
        )
    return table


def stages_table(document: Mapping[str, Any]) -> Table:
    """Return the run's stages: status, attempts, records, seconds."""
    table = Table("stage", "status", box=None, header_style="bold", pad_edge=False)
    for heading in ("records", "attempts", "time"):
        table.add_column(heading, justify="right")
    for stage in document["stages"]:
        records = max(
            (value for name, value in stage["counts"].items() if name != PIPELINE.rejects.count), default=None
        )
        shown = count_text(records), str(stage["attempts"] or "–"), seconds_text(stage["seconds"])
        status = status_text(stage["status"]).append(" by hand" if stage["interactive"] else "", style="bright_black")
        table.add_row(stage["name"], status, *shown)
    return table


def run_summary(document: Mapping[str, Any]) -> RenderableType:
    """Return what stands at the end of a run: outcome, stages, conservation, files."""
    status = run_status_text(document["status"], document["trigger"])
    title = Text.assemble("\nRun ", (document["pipeline_id"], "bold"), " ", status)
    title.append(f" in {seconds_text(document['seconds'])}" if document["seconds"] is not None else "")
    title.append(f", a copy of run {document['derived_from']}\n" if document["derived_from"] else "\n")
    return Group(
        title,
        stages_table(document),
        Text(),
        *_ledger(document),
        _conservation(document),
        *_rejects(document),
        *_error(document),
        *_publication(document),
        *_changed_files(document),
        _files(document),
    )


def _conservation(document: Mapping[str, Any]) -> Text:
    borders = [border for stage in document["stages"] for border in stage["conservation"]]
    lines = [f"  {'✓' if each['holds'] else '✗'} {each['name']}: {each['left']:,}" for each in borders]
    return Text("\n".join(["Row conservation", *(lines or ["  nothing checked yet"])]))


def _ledger(document: Mapping[str, Any]) -> list[Text]:
    """Say why stages were reused, skipped or run again; nothing where there is nothing to say."""
    lines = [f"  {stage['name']}: {stage['reason']}" for stage in document["stages"] if stage["reason"]]
    return [Text("\n".join(["Why", *lines, ""]))] if lines else []


def _rejects(document: Mapping[str, Any]) -> list[Text]:
    rejected, file = document["records"].get(PIPELINE.rejects.count), document["rejects_file"]
    if not rejected or not file:
        return []
    return [
        Text(f"\nRejected: {rejected:,}, each with line, field and reason\n  {file}", no_wrap=True, overflow="ignore")
    ]


def _error(document: Mapping[str, Any]) -> list[Text]:
    error = document["error"]
    if not error:
        return []
    shown = [Text(f"\n{printable(error['message'])}", style="red")]
    stage = error.get("stage")
    return [*shown, Text(f"Step through it: workbench open {document['pipeline_id']} {stage}")] if stage else shown


def _changed_files(document: Mapping[str, Any]) -> list[Text]:
    line = changed_files_text(document["pipeline_id"], document["changed_files"])
    return [Text(f"\n{printable(line)}", style="yellow")] if line else []


def _publication(document: Mapping[str, Any]) -> list[Text]:
    publication = document["publication"]
    return [Text("\n" + publication_text(publication))] if publication else []


def publication_text(publication: Mapping[str, Any]) -> str:
    """Say whether readers see the run, and if not, why not."""
    schema, reason = publication["schema"], publication["reason"]
    match publication["status"]:
        case "published":
            return f"Published in schema {schema}"
        case "superseded":
            return f"Not published in schema {schema}: {reason}"
    return f"Not yet published in schema {schema}: {reason or 'not tried yet'}; every command tries again"


def _files(document: Mapping[str, Any]) -> Text:
    named = {"Notebooks": document["notebooks"], "Reports": document["reports"]}
    lines = [f"\nOutput\n  {document['output_file']}"] if document["output_file"] else []
    for heading, paths in named.items():
        lines += [f"\n{heading}", *(f"  {path}" for path in paths)] if paths else []
    return Text("\n".join(lines), no_wrap=True, overflow="ignore")
