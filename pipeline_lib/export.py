"""Stage 5: the run's mart item_metrics as one output file, streamed, ordered by id, in place only when whole.

    pipeline_<id>_results_<UTC time>.json      {"pipeline_id", "generated_at", "record_count", "data": [...]}
                                    .jsonl     one record a line
                                    .csv       RFC 4180, safe to open in a spreadsheet
                                    .parquet   typed; compressed inside, so its name stays
    …                               .gz .zst   added by compression to the first three

`extra` is an object in every record, {} when there were no unknown fields. Timestamps are ISO 8601 in UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline_lib.exported_fields import FIELDS
from pipeline_lib.formats import (
    Writer,
    compressed,
    write_csv,
    write_json,
    write_jsonl,
    write_parquet,
)
from pipeline_lib.mart_records import MART, mart_records
from pipeline_lib.parameters import ExportParameters
from workbench.base.durable_files import written_whole
from workbench.base.errors import ConservationBroken
from workbench.stage.artefacts import StageResult, describe_artefact, schema_of, versions
from workbench.stage.progress import Progress, silent

WRITERS: Mapping[str, Writer] = {"json": write_json, "jsonl": write_jsonl, "csv": write_csv, "parquet": write_parquet}
_SUFFIXES = {"none": "", "gzip": ".gz", "zstd": ".zst"}


@dataclass(frozen=True)
class Output:
    """What to export and how: run, moment that names the file, format (json, jsonl, csv, parquet), compression.

    `csv_bom`: CSV begins with a byte order mark.
    """

    pipeline_id: str
    generated_at: datetime
    format: str = "json"
    compression: str = "none"
    csv_bom: bool = False

    @classmethod
    def chosen(cls, pipeline_id: str, generated_at: datetime, parameters: ExportParameters) -> Output:
        """Return the output that these parameters ask for."""
        moment = generated_at.astimezone(UTC)
        return cls(pipeline_id, moment, parameters.export_format, parameters.compression, parameters.csv_bom)

    @property
    def file_name(self) -> str:
        """Name of the output file; the time in it is UTC."""
        suffix = "" if self.format == "parquet" else _SUFFIXES[self.compression]
        return f"pipeline_{self.pipeline_id}_results_{self.generated_at:%Y%m%dT%H%M%SZ}.{self.format}{suffix}"

    @property
    def writer(self) -> Writer:
        """The function that writes this format."""
        if self.format == "parquet":
            return partial(write_parquet, codec=self.compression)
        return partial(write_csv, bom=self.csv_bom) if self.format == "csv" else WRITERS[self.format]

    @property
    def outer_codec(self) -> str:
        """The compression around the whole file."""
        return "none" if self.format == "parquet" else self.compression


def export(database_url: str, output: Output, folder: Path, progress: Progress = silent) -> StageResult:
    """Write the mart of the run into `folder`; the same mart and `output` leave the same bytes. Counts: exported.

    Raises `ConservationBroken` when the file would not hold every record of the mart, `ManifestBroken` when there is
    no mart, `ServiceUnavailable` when the database is gone, and what the disk raises; the file is then not there.
    """
    with (
        mart_records(database_url, schema_of(output.pipeline_id)) as records,
        written_whole(folder / output.file_name) as file,
        compressed(file, output.outer_codec) as stream,
    ):
        written = output.writer(
            stream, _counted(records.batches, records.count, progress), _head(output, records.count)
        )
        if written != records.count:
            raise ConservationBroken(f"{MART} holds {records.count:,} records, but {written:,} were exported")
    artefact = describe_artefact(folder, output.file_name, written)
    details = {"columns": list(FIELDS), "bytes": artefact.bytes, "sha256": artefact.sha256, "versions": versions()}
    return StageResult({"exported": written}, {output.file_name: written}, details)


def _head(output: Output, count: int) -> dict[str, Any]:
    moment = output.generated_at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {"pipeline_id": output.pipeline_id, "generated_at": moment, "record_count": count}


def _counted(batches: Iterator[pa.RecordBatch], total: int, progress: Progress) -> Iterator[pa.RecordBatch]:
    done = 0
    progress(done, total)
    for batch in _read_ahead(batches):
        yield batch
        done += batch.num_rows
        progress(done, total)


def _read_ahead(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Have the next batch read while the last one is encoded and written."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="reader") as reader:
        waiting = reader.submit(next, batches, None)
        while (batch := waiting.result()) is not None:
            waiting = reader.submit(next, batches, None)
            yield batch
