"""Key figures of a run with an own input file tell how many records were read."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

_ONLY_GENERATED = "coalesce((pipelines.counts ->> 'generated')::bigint, 0) as records_read"
_GENERATED_OR_READ = """coalesce(
        (pipelines.counts ->> 'generated')::bigint, (pipelines.counts ->> 'read')::bigint, 0
    ) as records_read"""

KEY_FIGURES = """
create or replace view key_figures as
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
    {records_read},
    coalesce((pipelines.counts ->> 'processed')::bigint, 0) as records_processed,
    coalesce((pipelines.counts ->> 'rejected')::bigint, 0) as records_rejected,
    coalesce(stage_figures.stage_seconds, '{{}}') as stage_seconds,
    coalesce(stage_figures.stage_errors, 0) as error_count,
    coalesce(stage_figures.retries, 0) as retries,
    avg((pipelines.status = 'completed')::int)
        filter (where pipelines.finished_at is not null)
        over (order by pipelines.created_at, pipelines.id) as success_rate
from pipelines
left join stage_figures on stage_figures.pipeline_id = pipelines.id
"""


def upgrade() -> None:
    op.execute(KEY_FIGURES.format(records_read=_GENERATED_OR_READ))


def downgrade() -> None:
    op.execute(KEY_FIGURES.format(records_read=_ONLY_GENERATED))
