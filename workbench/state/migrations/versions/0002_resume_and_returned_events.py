"""Why a stage was reused or run again, and which events the broker gave back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("pipeline_stages", sa.Column("reason", sa.Text))
    op.add_column("pipeline_events", sa.Column("returned_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    op.drop_column("pipeline_events", "returned_at")
    op.drop_column("pipeline_stages", "reason")
