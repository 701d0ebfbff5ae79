"""Runs, stages, events, and the view of key figures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, UUID

revision = "0001"
down_revision = None

_RUN_STATES = "status in ('pending', 'running', 'completed', 'failed', 'cancelled', 'crashed')"
_STAGE_STATES = "status in ('pending', 'running', 'completed', 'failed', 'cancelled', 'crashed', 'reused', 'skipped')"
_NOW = sa.text("clock_timestamp()")

KEY_FIGURES = """
create view key_figures as
with stage_figures as (
    select
        pipeline_id,
        jsonb_object_agg(name, round(extract(epoch from finished_at - started_at), 3) order by position)
            filter (where finished_at is not null and started_at is not null) as stage_seconds,
        count(*) filter (where status in ('failed', 'crashed')) as stage_errors,
        sum(greatest(attempt - 1, 0)) as retries
    from pipeline_stages
    group by pipeline_id
)
select
    pipelines.id as pipeline_id,
    pipelines.status,
    pipelines.trigger,
    pipelines.created_at,
    pipelines.started_at,
    pipelines.finished_at,
    round(extract(epoch from pipelines.finished_at - pipelines.started_at), 3) as total_seconds,
    coalesce((pipelines.counts ->> 'generated')::bigint, 0) as records_read,
    coalesce((pipelines.counts ->> 'processed')::bigint, 0) as records_processed,
    coalesce((pipelines.counts ->> 'rejected')::bigint, 0) as records_rejected,
    coalesce(stage_figures.stage_seconds, '{}') as stage_seconds,
    coalesce(stage_figures.stage_errors, 0) as error_count,
    coalesce(stage_figures.retries, 0) as retries,
    avg((pipelines.status = 'completed')::int)
        filter (where pipelines.finished_at is not null)
        over (order by pipelines.created_at, pipelines.id) as success_rate
from pipelines
left join stage_figures on stage_figures.pipeline_id = pipelines.id
"""


def upgrade() -> None:
    op.create_table(
        "pipelines",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("trigger", sa.Text, nullable=False),
        sa.Column("attempt", sa.BigInteger, nullable=False, server_default="1"),
        sa.Column("parameters", JSONB, nullable=False),
        sa.Column("counts", JSONB, nullable=False, server_default="{}"),
        sa.Column("input_file", sa.Text),
        sa.Column("output_file", sa.Text),
        sa.Column("error", JSONB),
        sa.Column("prefect_flow_run_id", sa.Text),
        sa.Column("idempotency_key", sa.Text, unique=True),
        sa.Column("lease_owner", UUID),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True)),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True)),
        sa.Column("event_sequence", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=_NOW),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(_RUN_STATES, name="status"),
    )
    op.create_index("pipelines_by_creation", "pipelines", ["created_at"])
    alive = sa.text("status in ('pending', 'running')")
    op.create_index("pipelines_alive", "pipelines", ["lease_expires_at"], postgresql_where=alive)
    _create_stages()
    _create_events()
    op.execute(KEY_FIGURES)


def _create_stages() -> None:
    op.create_table(
        "pipeline_stages",
        sa.Column("pipeline_id", sa.Text, sa.ForeignKey("pipelines.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("attempt", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("progress", JSONB, nullable=False, server_default="{}"),
        sa.Column("interactive", sa.Boolean, nullable=False, server_default="false"),
        sa.Column("counts", JSONB, nullable=False, server_default="{}"),
        sa.Column("manifest", JSONB),
        sa.Column("error", JSONB),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(_STAGE_STATES, name="status"),
    )


def _create_events() -> None:
    op.create_table(
        "pipeline_events",
        sa.Column("id", UUID, primary_key=True),
        sa.Column("pipeline_id", sa.Text, sa.ForeignKey("pipelines.id", ondelete="CASCADE"), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("stage", sa.Text),
        sa.Column("data", JSONB, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=_NOW),
        sa.Column("published_at", sa.DateTime(timezone=True)),
        sa.UniqueConstraint("pipeline_id", "sequence", name="pipeline_events_in_order"),
    )
    waiting = sa.text("published_at is null")
    op.create_index("pipeline_events_outbox", "pipeline_events", ["pipeline_id", "sequence"], postgresql_where=waiting)


def downgrade() -> None:
    op.execute("drop view key_figures")
    for table in ("pipeline_events", "pipeline_stages", "pipelines"):
        op.drop_table(table)
