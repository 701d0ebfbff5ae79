"""What is decided whatever the clock says.

`lease_seconds` is how long a lease is renewed for: one that ends later than that was set before the clock went back.
`hand_number` says which of two runs a person has worked on last; and the success rate follows the runs' numbers.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0004"

_REORDER = """
do $$
begin
    execute 'create or replace view key_figures as '
        || replace(pg_get_viewdef('key_figures'::regclass), 'ORDER BY {before})', 'ORDER BY {after})');
end
$$
"""
_BY_CLOCK = "pipelines.created_at, pipelines.id"
_BY_NUMBER = "pipelines.number"


def upgrade() -> None:
    op.add_column("pipelines", sa.Column("lease_seconds", sa.BigInteger))
    op.add_column("pipeline_stages", sa.Column("hand_number", sa.BigInteger))
    op.execute(_REORDER.format(before=_BY_CLOCK, after=_BY_NUMBER))


def downgrade() -> None:
    op.execute(_REORDER.format(before=_BY_NUMBER, after=_BY_CLOCK))
    op.drop_column("pipeline_stages", "hand_number")
    op.drop_column("pipelines", "lease_seconds")
