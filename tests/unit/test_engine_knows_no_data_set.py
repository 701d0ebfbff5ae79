"""The engine knows none of the words that this project's pipeline.toml declares: not its stages, counts and tables."""

from __future__ import annotations

import re
from collections.abc import Iterator

from workbench.base.settings import PROJECT
from workbench.stage.pipeline import PIPELINE, STAGE_NAMES, STAGES

ENGINE = PROJECT / "workbench"
WORDS = {*STAGE_NAMES, *PIPELINE.publish.tables, *(count for stage in STAGES for count in stage.counts)}
# Tables of earlier versions are migrated by the names they had.
EXCEPTED = "state/migrations"
KNOWN = {
    ("charts/figures.py", "processed"),  # a column of the view key_figures, whose names are a contract with dashboards
    ("charts/figures.py", "rejected"),
    ("cli/text_tables.py", "rejected"),  # headings of the tables of runs, for columns of key_figures
    ("jupyter/panel_view.py", "read"),
    ("jupyter/panel_view.py", "rejected"),
    ("data/json_stream.py", "export"),  # a layout of input: a document that the engine's own writer made
    ("data/output_formats.py", "exported"),
    ("data/spark_files.py", "processed"),  # the folder of the Parquet files, part of the artefact layout
}


def quoted_words() -> Iterator[tuple[str, str]]:
    """Yield each declared word that stands in quotes in a source or template of the engine, with the file."""
    quoted = re.compile(rf"""(["'])({"|".join(map(re.escape, sorted(WORDS)))})\1""")
    for file in sorted(ENGINE.rglob("*")):
        name = file.relative_to(ENGINE).as_posix()
        if file.suffix in (".py", ".html", ".j2", ".js") and not name.startswith(EXCEPTED):
            yield from ((name, found[2]) for found in quoted.finditer(file.read_text("utf-8")))


def test_no_source_of_the_engine_names_a_stage_a_count_or_a_table_of_this_project() -> None:
    assert {"process", "rejected", "item_metrics"} <= WORDS
    assert set(quoted_words()) == KNOWN
