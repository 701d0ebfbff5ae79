"""Key figures: unknown counts are null, seconds are those of all attempts; a run tells from which one it is derived."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0003"

_FIGURES = """
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
    {figures},
    coalesce(stage_figures.stage_seconds, '{{}}') as stage_seconds,
    coalesce(stage_figures.stage_errors, 0) as error_count,
    coalesce(stage_figures.retries, 0) as retries,
    avg((pipelines.status = 'completed')::int)
        filter (where pipelines.finished_at is not null)
        over (order by pipelines.created_at, pipelines.id) as success_rate{more}
from pipelines
left join stage_figures on stage_figures.pipeline_id = pipelines.id
"""

_MORE = ",\n    pipelines.derived_from"

_KNOWN_OR_NULL = """case
        when pipelines.finished_at is null or (pipelines.started_at is null and pipelines.seconds_before = 0) then null
        else round(
            pipelines.seconds_before + coalesce(extract(epoch from pipelines.finished_at - pipelines.started_at), 0), 3
        )
    end as total_seconds,
    coalesce((pipelines.counts ->> 'generated')::bigint, (pipelines.counts ->> 'read')::bigint) as records_read,
    (pipelines.counts ->> 'processed')::bigint as records_processed,
    (pipelines.counts ->> 'rejected')::bigint as records_rejected"""

_UNKNOWN_AS_NOUGHT = """round(extract(epoch from pipelines.finished_at - pipelines.started_at), 3) as total_seconds,
    coalesce(
        (pipelines.counts ->> 'generated')::bigint, (pipelines.counts ->> 'read')::bigint, 0
    ) as records_read,
    coalesce((pipelines.counts ->> 'processed')::bigint, 0) as records_processed,
    coalesce((pipelines.counts ->> 'rejected')::bigint, 0) as records_rejected"""

# An attempt begins with run.started and ends with the run's next event; the present one is told by the run's own times.
_SECONDS_OF_EARLIER_ATTEMPTS = """
with attempts as (
    select
        pipeline_id,
        type,
        lead(created_at) over (partition by pipeline_id order by sequence) - created_at as lasted,
        row_number() over (partition by pipeline_id, type order by sequence desc) as from_the_end
    from pipeline_events
    where starts_with(type, 'run.') and pipeline_id in (select id from pipelines where attempt > 1)
),
earlier as (
    select attempts.pipeline_id, sum(extract(epoch from attempts.lasted)) as seconds
    from attempts
    inner join pipelines on pipelines.id = attempts.pipeline_id
    where attempts.type = 'run.started' and (attempts.from_the_end > 1 or pipelines.started_at is null)
    group by attempts.pipeline_id
)
update pipelines set seconds_before = coalesce(earlier.seconds, 0)
from earlier where earlier.pipeline_id = pipelines.id
"""


def upgrade() -> None:
    op.add_column("pipelines", sa.Column("derived_from", sa.Text))
    op.add_column("pipelines", sa.Column("seconds_before", sa.Numeric, nullable=False, server_default="0"))
    op.execute(_SECONDS_OF_EARLIER_ATTEMPTS)
    op.execute("create or replace view key_figures as" + _FIGURES.format(figures=_KNOWN_OR_NULL, more=_MORE))


def downgrade() -> None:
    op.execute("drop view key_figures")
    op.execute("create view key_figures as" + _FIGURES.format(figures=_UNKNOWN_AS_NOUGHT, more=""))
    op.drop_column("pipelines", "seconds_before")
    op.drop_column("pipelines", "derived_from")
