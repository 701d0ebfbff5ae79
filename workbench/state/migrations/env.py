"""Alembic's entry: runs the migrations on the connection that `migration.migrate` hands over."""

from __future__ import annotations

from alembic import context

from workbench.state.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=context.config.attributes["version_table"],
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
