"""The tables that say what is known about runs. PostgreSQL is the truth; everything else mirrors it."""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from workbench.state.states import PublicationStatus, RunStatus, StageStatus

_NOW = text("clock_timestamp()")


def _one_of(column: str, states: type[RunStatus] | type[StageStatus] | type[PublicationStatus]) -> CheckConstraint:
    return CheckConstraint(f"{column} in ({', '.join(repr(state.value) for state in states)})", name=column)


class Base(DeclarativeBase):
    """Column types shared by all tables: text without length, times with zone, JSON as jsonb."""

    type_annotation_map: ClassVar = {
        str: Text,
        int: BigInteger,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
    }


class Pipeline(Base):
    """One row per run. `lease_*` say who may write about it; `event_sequence` is the number of its last event.

    `seconds_before` is the work done before `started_at`: in earlier attempts, and in stages stepped through by hand.
    `derived_from` is the completed run whose results this one began with, where a person went on from a copy of it.
    `chain` is the declaration of the stages that the run was begun with.
    `number` grows with every new run, whatever the clock says: it decides which of two runs is the newer one.
    """

    __tablename__ = "pipelines"
    __table_args__ = (
        _one_of("status", RunStatus),
        Index("pipelines_by_creation", "created_at"),
        Index("pipelines_alive", "lease_expires_at", postgresql_where=text("status in ('pending', 'running')")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str]
    trigger: Mapped[str]
    attempt: Mapped[int] = mapped_column(server_default="1")
    parameters: Mapped[dict[str, Any]]
    chain: Mapped[dict[str, Any]]
    counts: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    input_file: Mapped[str | None]
    output_file: Mapped[str | None]
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    prefect_flow_run_id: Mapped[str | None]
    idempotency_key: Mapped[str | None] = mapped_column(unique=True)
    derived_from: Mapped[str | None]
    lease_owner: Mapped[uuid.UUID | None] = mapped_column(UUID)
    lease_expires_at: Mapped[datetime | None]
    lease_seconds: Mapped[int | None]
    cancel_requested_at: Mapped[datetime | None]
    event_sequence: Mapped[int] = mapped_column(server_default="0")
    seconds_before: Mapped[Decimal] = mapped_column(server_default="0")
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    number: Mapped[int] = mapped_column(Identity(always=True), unique=True)


class PipelineStage(Base):
    """One row per stage of a run: its latest attempt. Earlier attempts stand in the events.

    `progress` holds cell, cells, done, total and their unit while the stage runs: for people who watch, never for
    decisions. Its `records` is what is done where the unit is records, else null.
    `reason` is the ledger of resume and reuse: why the stage was reused, skipped or run again. `hand_number` is the
    number that a new run would have got when a person finished the stage.
    """

    __tablename__ = "pipeline_stages"
    __table_args__ = (_one_of("status", StageStatus),)

    pipeline_id: Mapped[str] = mapped_column(ForeignKey("pipelines.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int]
    status: Mapped[str]
    attempt: Mapped[int] = mapped_column(server_default="0")
    progress: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    interactive: Mapped[bool] = mapped_column(server_default="false")
    reason: Mapped[str | None]
    counts: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    manifest: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    hand_number: Mapped[int | None]


class PipelinePublication(Base):
    """One row per completed run: whether readers of `schema` see it, and if not, why not.

    `attempts` counts the failed ones, of which `reason` tells the last.
    """

    __tablename__ = "pipeline_publications"
    __table_args__ = (
        _one_of("status", PublicationStatus),
        Index("pipeline_publications_pending", "schema", postgresql_where=text("status = 'pending'")),
    )

    pipeline_id: Mapped[str] = mapped_column(ForeignKey("pipelines.id", ondelete="CASCADE"), primary_key=True)
    schema: Mapped[str]
    status: Mapped[str]
    reason: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    requested_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    attempted_at: Mapped[datetime | None]
    published_at: Mapped[datetime | None]


class PipelineEvent(Base):
    """The durable event log and the outbox in one: `published_at` is null until the broker has confirmed.

    `returned_at` is when the broker last gave the event back, because no queue takes it.
    """

    __tablename__ = "pipeline_events"
    __table_args__ = (
        UniqueConstraint("pipeline_id", "sequence", name="pipeline_events_in_order"),
        Index("pipeline_events_outbox", "pipeline_id", "sequence", postgresql_where=text("published_at is null")),
    )

    id: Mapped[uuid.UUID] = mapped_column(UUID, primary_key=True)
    pipeline_id: Mapped[str] = mapped_column(ForeignKey("pipelines.id", ondelete="CASCADE"))
    sequence: Mapped[int]
    type: Mapped[str]
    stage: Mapped[str | None]
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    published_at: Mapped[datetime | None]
    returned_at: Mapped[datetime | None]


class DatabaseIdentity(Base):
    """The one row that says which database this is, and where it was when it was told so (database_identity.py)."""

    __tablename__ = "workbench_database"
    __table_args__ = (CheckConstraint("single", name="single"),)

    single: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    id: Mapped[uuid.UUID] = mapped_column(UUID)
    place: Mapped[str]
