"""The data of one run, byte by byte: a change of code that is no change of data leaves these hashes as they are.

A hash that changes on purpose (a new field, another version of Faker or Arrow) is written here anew, with the reason
in the commit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from operator import itemgetter
from pathlib import Path
from typing import Any

import psycopg2
import pyarrow.parquet as pq

from tests.e2e.conftest import Workbench
from workbench.base.settings import Settings
from workbench.stage.artefacts import RunFolder, schema_of, sha256_of

ARGUMENTS = ("--records", "5000", "--seed", "7", "--defect-rate", "0.05", "--reference-time", "2026-11-01T12:00:00Z")
TABLES = ("items", "by_category", "by_country", "by_day")
MARTS = ("item_metrics", "category_summary", "country_summary", "daily_summary")
PINNED = {
    "01_generate/records.jsonl": "5eaf9f108359a1e8c9fbe8615a203970df00ad36a39784a63afe6d00e072e640",
    "02_ingest/dataset.parquet": "59e52f92d7328a3dbf8f44095000daf29d177b61febe94791f0f7c9e67936af2",
    "02_ingest/rejects.jsonl": "bc0c6026d13d48920920e79604f658afd08cb370c33102a2f60653329695b793",
    "processed items": "32b4db48c8477c0cb533cfcd25b14264bff92ff371163d6ade71326aebc6fbc8",
    "processed by_category": "0c9b0b77f888fe65e30fb655e12f0e74cdbfff48cd28c559aa87a83c30a1e48b",
    "processed by_country": "16928b5f5c703569ac225f6df76060ea48f86b2e851d7774d3bf9a1dfb6ac27e",
    "processed by_day": "66c21ba1945d7a05da2655f9e6068597f857e2ed4bd5e3a87ca1d988e4bbd364",
    "mart item_metrics": "e16d3745cbbd7ebb2d97d84f456b2a18b6a6f059a37d024435c9e4a85108381d",
    "mart category_summary": "0c9b0b77f888fe65e30fb655e12f0e74cdbfff48cd28c559aa87a83c30a1e48b",
    "mart country_summary": "16928b5f5c703569ac225f6df76060ea48f86b2e851d7774d3bf9a1dfb6ac27e",
    "mart daily_summary": "66c21ba1945d7a05da2655f9e6068597f857e2ed4bd5e3a87ca1d988e4bbd364",
    "exported data": "37f21ede26748c8642b3bf5a7bda74840ed37c69fa7db894f35f0c470d3a1a00",
}


def test_the_same_parameters_make_the_same_data_in_every_stage(elsewhere: Workbench, settings: Settings) -> None:
    run, database_url = elsewhere.json("run", *ARGUMENTS), elsewhere.environment["DATABASE_URL"]
    folder = RunFolder(settings.home, run["pipeline_id"]).path
    files = ("01_generate/records.jsonl", "02_ingest/dataset.parquet", "02_ingest/rejects.jsonl")
    found = {
        **{name: sha256_of(folder / name) for name in files},
        **dict(_processed(folder / "03_process" / "processed")),
        **(marts := dict(_marts(database_url, schema_of(run["pipeline_id"])))),
        "exported data": exported(Path(run["output_file"])),
    }
    assert found == PINNED
    assert dict(_marts(database_url, "analytics")) == marts, "what readers see is what the run has built"


def _processed(folder: Path) -> Iterator[tuple[str, str]]:
    for name in TABLES:
        table = pq.read_table(folder / name)
        yield f"processed {name}", _hash(table.column_names, zip(*table.to_pydict().values(), strict=True))


def _marts(database_url: str, schema: str) -> Iterator[tuple[str, str]]:
    with closing(psycopg2.connect(database_url, options="-c timezone=UTC")) as connection:
        for name in MARTS:
            with connection.cursor() as cursor:
                cursor.execute(f"select * from {schema}.{name}")
                rows = cursor.fetchall()
                yield f"mart {name}", _hash([column.name for column in cursor.description or ()], rows)


def exported(path: Path) -> str:
    """Hash what follows the document's head, which names the run."""
    return hashlib.sha256(path.read_bytes().partition(b'"data": ')[2]).hexdigest()


def _hash(columns: list[str], rows: Iterable[tuple[Any, ...]]) -> str:
    """Hash the rows in the order of their first column, which is each table's key."""
    lines = [json.dumps(row, default=str) for row in sorted(rows, key=itemgetter(0))]
    return hashlib.sha256("\n".join([*columns, *lines]).encode()).hexdigest()
