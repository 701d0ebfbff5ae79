"""The shapes of the API's answers, for OpenAPI. Documents that the terminal shows too keep their own contract."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from workbench.stage.pipeline import KnownStage, StageName
from workbench.state.states import RunStatus


class RunAccepted(BaseModel):
    """A run that is recorded: a worker executes it, or it ends as crashed."""

    pipeline_id: str
    href: str
    events: str


class RunFigures(BaseModel):
    """Key figures of one run: seconds of work over all its attempts; null means unknown, never zero."""

    pipeline_id: str
    status: RunStatus
    trigger: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    total_seconds: float | None
    records_read: int | None
    records_processed: int | None
    records_rejected: int | None
    stage_seconds: dict[str, float]
    error_count: int
    retries: int
    success_rate: float | None = Field(description="share of the ended runs up to this one that completed, 0 to 1")
    derived_from: str | None = Field(description="the completed run of which this one, done by hand, is a copy")


class RunsPage(BaseModel):
    """Runs, newest first. `next` is the address of the next page, null on the last."""

    runs: list[RunFigures]
    next: str | None


class RunDocument(BaseModel):
    """Everything about one run, as `workbench show --json` prints it."""

    model_config = ConfigDict(extra="allow")

    pipeline_id: str
    status: RunStatus
    trigger: str
    derived_from: str | None
    created_at: datetime
    parameters: dict[str, Any]
    seconds: float | None
    records: dict[str, int | None]
    stages: list[dict[str, Any]]
    error: dict[str, Any] | None
    output_file: str | None
    publication: dict[str, Any] | None
    rejects_file: str | None
    notebooks: list[str]
    reports: list[str]
    changed_files: list[dict[str, str]]


class EventDocument(BaseModel):
    """One event of a run."""

    id: str
    pipeline_id: str
    sequence: int
    type: str
    stage: str | None
    time: datetime
    data: dict[str, Any]


class EventsPage(BaseModel):
    """Events in their order; go on with `after` = the last one's sequence."""

    events: list[EventDocument]


class Asked(BaseModel):
    """The request was passed on; the run's events show when it is done."""

    pipeline_id: str
    asked: str


class ResumeOptions(BaseModel):
    """Where to go on; null: at the first stage whose result is missing or does not verify."""

    model_config = ConfigDict(extra="forbid")

    from_stage: KnownStage | None = None


class ArtefactEntry(BaseModel):
    """One file that a stage has left; rows, bytes and sha256 are those recorded when the stage ended."""

    stage: StageName
    name: str
    rows: int | None
    bytes: int
    sha256: str
    href: str


class FileEntry(BaseModel):
    """A report or an executed notebook of one attempt at a stage."""

    stage: StageName
    attempt: int
    href: str


class FilesPage(BaseModel):
    """Everything of a run that can be fetched."""

    artefacts: list[ArtefactEntry]
    reports: list[FileEntry]
    notebooks: list[FileEntry]


class Health(BaseModel):
    """`checks` says of each component "ok", or what is wrong with it."""

    status: str
    checks: dict[str, str] = {}
