"""Which database this is, in one row."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import UUID

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "workbench_database",
        sa.Column("single", sa.Boolean, primary_key=True, server_default="true"),
        sa.Column("id", UUID, nullable=False),
        sa.Column("place", sa.Text, nullable=False),
        sa.CheckConstraint("single", name="single"),
    )


def downgrade() -> None:
    op.drop_table("workbench_database")
