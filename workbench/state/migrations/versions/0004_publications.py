"""Runs are numbered in the order of their creation, and a completed run says whether readers see it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0006"

_NOW = sa.text("clock_timestamp()")
_NUMBER = """
alter table pipelines add column number bigint;
update pipelines set number = numbered.number
from (select id, row_number() over (order by created_at, id) as number from pipelines) as numbered
where numbered.id = pipelines.id;
alter table pipelines
    alter column number set not null,
    alter column number add generated always as identity,
    add constraint pipelines_number_key unique (number);
select setval(pg_get_serial_sequence('pipelines', 'number'), greatest(max(number), 1), max(number) is not null)
from pipelines;
"""

_COMPLETED = """
insert into pipeline_publications (pipeline_id, schema, status, reason)
select id, 'analytics', 'superseded', 'a newer run was published' from pipelines where status = 'completed'
"""

_PUBLISHED = """
update pipeline_publications set status = 'published', reason = null, published_at = published_run.published_at
from analytics.published_run
where published_run.pipeline_id = pipeline_publications.pipeline_id
"""

_HAS_PUBLISHED = """
select count(*) = 2 from information_schema.columns
where table_schema = 'analytics' and table_name = 'published_run' and column_name in ('pipeline_id', 'published_at')
"""


def upgrade() -> None:
    op.execute(_NUMBER)
    op.create_table(
        "pipeline_publications",
        sa.Column("pipeline_id", sa.Text, sa.ForeignKey("pipelines.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("schema", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("attempts", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False, server_default=_NOW),
        sa.Column("attempted_at", sa.DateTime(timezone=True)),
        sa.Column("published_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("status in ('pending', 'published', 'superseded')", name="status"),
    )
    pending = sa.text("status = 'pending'")
    op.create_index("pipeline_publications_pending", "pipeline_publications", ["schema"], postgresql_where=pending)
    op.execute(_COMPLETED)
    if op.get_bind().execute(sa.text(_HAS_PUBLISHED)).scalar():
        op.execute(_PUBLISHED)


def downgrade() -> None:
    op.drop_table("pipeline_publications")
    op.drop_column("pipelines", "number")
