"""The chain that each run was begun with; all runs until now had the same five stages."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"

_FIVE_STAGES: dict[str, Any] = {
    "name": "demo",
    "title": "The five stages",
    "size": "records",
    "conserve": [
        "generated = read",
        "read = ingested + rejected",
        "ingested = processed",
        "processed = loaded",
        "loaded = transformed",
        "transformed = exported",
    ],
    "figures": {
        "generated": ["generated", "read"],
        "ingested": ["ingested"],
        "rejected": ["rejected"],
        "processed": ["processed"],
        "transformed": ["transformed"],
        "exported": ["exported"],
    },
    "publish": {"tables": ["item_metrics", "category_summary", "country_summary", "daily_summary"]},
    "rejects": {"count": "rejected", "file": "rejects.jsonl"},
    "compare": [
        {
            "stage": "process",
            "table": "items",
            "columns": [
                "name",
                "category",
                "value",
                "quantity",
                "is_active",
                "customer_country",
                "total_value",
                "value_tier",
            ],
            "ages": {"age_in_days": "created_at"},
            "files": True,
        },
        {"stage": "transform", "table": "item_metrics", "columns": ["pricing_tier", "is_high_value", "stock_status"]},
    ],
    "stage": [
        {
            "name": "generate",
            "title": "Generate",
            "notebook": "01_generate.ipynb",
            "parameters_model": "pipeline_lib.parameters:GenerateParameters",
            "leaves": "records.jsonl",
            "when": "not input_file",
            "uses": [{"service": "spark", "when": "records > distributed_threshold"}],
            "counts": ["generated"],
        },
        {
            "name": "ingest",
            "title": "Ingest",
            "notebook": "02_ingest.ipynb",
            "parameters_model": "pipeline_lib.parameters:IngestParameters",
            "leaves": "dataset.parquet, rejects.jsonl",
            "counts": ["read", "ingested", "rejected"],
            "announce": "dataset.ingested",
        },
        {
            "name": "process",
            "title": "Process",
            "notebook": "03_process.ipynb",
            "parameters_model": "pipeline_lib.parameters:ProcessParameters",
            "leaves": "processed/, tables in run_<id>",
            "uses": [{"service": "spark"}],
            "counts": ["processed", "loaded"],
            "tables": "loaded",
        },
        {
            "name": "transform",
            "title": "Transform",
            "notebook": "04_transform.ipynb",
            "parameters_model": "pipeline_lib.parameters:TransformParameters",
            "leaves": "marts in run_<id>, views for readers",
            "counts": ["transformed"],
            "code": ["dbt"],
            "tables": "marts",
            "views": True,
        },
        {
            "name": "export",
            "title": "Export",
            "notebook": "05_export.ipynb",
            "parameters_model": "pipeline_lib.parameters:ExportParameters",
            "leaves": "pipeline_<id>_results_<time>.json",
            "counts": ["exported"],
            "announce": "dataset.exported",
            "reuse": False,
            "output": True,
        },
    ],
}


def upgrade() -> None:
    op.add_column("pipelines", sa.Column("chain", JSONB))
    pipelines = sa.table("pipelines", sa.column("chain", JSONB))
    op.execute(pipelines.update().values(chain=_FIVE_STAGES))
    op.alter_column("pipelines", "chain", nullable=False)


def downgrade() -> None:
    op.drop_column("pipelines", "chain")
