"""The output file: batches of records as json, jsonl, csv or parquet, streamed, in place only when it is whole.

    pipeline_<id>_results_<UTC time>.json      {"pipeline_id", "generated_at", "record_count", "data": [...]}
                                    .jsonl     one record a line
                                    .csv       RFC 4180, safe to open in a spreadsheet
                                    .parquet   typed; compressed inside, so its name stays
    …                               .gz .zst   added by compression to the first three

Batches hold decimals and timestamps as text, so that no number passes through a float.
"""

from __future__ import annotations

import codecs
import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import IO, Any, cast

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

from workbench.base.durable_files import written_whole
from workbench.base.errors import ConservationBroken
from workbench.stage.artefacts import StageResult, describe_artefact, versions
from workbench.stage.progress import Progress

Batches = Iterable[pa.RecordBatch]

# Spreadsheets skip blanks and invisible characters in front, and some take full-width signs for the plain ones.
_FORMULA = r"^[\s\p{Cc}\p{Cf}]*[=+@\-\u2212\uFF0B\uFF0D\uFF1D\uFF20]|^[\t\r\n]"
_CODECS = {"none": "NONE", "gzip": "GZIP", "zstd": "ZSTD"}
_SUFFIXES = {"none": "", "gzip": ".gz", "zstd": ".zst"}


@dataclass(frozen=True)
class Fields:
    """Names and Arrow types of the fields, in their order; those named in `json` hold a JSON value as text."""

    types: Mapping[str, pa.DataType]
    json: frozenset[str] = frozenset()

    @property
    def schema(self) -> pa.Schema:
        """The fields as a schema of Arrow."""
        return pa.schema(list(self.types.items()))

    @property
    def texts(self) -> list[str]:
        """The names of the fields that hold plain text."""
        return [name for name, kind in self.types.items() if pa.types.is_string(kind) and name not in self.json]

    def is_raw(self, name: str) -> bool:
        """Return whether the field's text is JSON as it is: a decimal, or a JSON value."""
        return name in self.json or pa.types.is_decimal(self.types[name])


Writer = Callable[[IO[bytes], Fields, Batches, Mapping[str, Any]], int]


@dataclass(frozen=True)
class Records:
    """`batches` have the fields in order, decimals and timestamps as text; `count` is how many rows follow."""

    count: int
    batches: Iterator[pa.RecordBatch]


def write_json(file: IO[bytes], fields: Fields, batches: Batches, head: Mapping[str, Any]) -> int:
    """Write one JSON document, {**head, "data": [...]} with one record a line; return the records written."""
    file.write(json.dumps(dict(head), ensure_ascii=False).removesuffix("}").encode() + b', "data": [')
    rows = 0
    for batch in batches:
        lines = ",\n".join(json_lines(fields, batch))
        file.write((b",\n" if rows else b"\n") + lines.encode() if lines else b"")
        rows += batch.num_rows
    file.write(b"\n]}\n")
    return rows


def write_jsonl(file: IO[bytes], fields: Fields, batches: Batches, _head: Mapping[str, Any]) -> int:
    """Write one JSON object a line; return the records written."""
    rows = 0
    for batch in batches:
        file.write("".join(f"{line}\n" for line in json_lines(fields, batch)).encode())
        rows += batch.num_rows
    return rows


def json_lines(fields: Fields, batch: pa.RecordBatch) -> pl.Series:
    """Return each record as a JSON object: decimals as numbers with all their places, JSON fields as their values.

    Polars encodes the runs of plain fields; decimals and JSON fields are JSON already and are joined as they are.
    """
    frame = pl.DataFrame(batch)
    pieces = [pl.lit("{")]
    for names in _runs(fields):
        comma = "," if len(pieces) > 1 else ""
        if fields.is_raw(names[0]):
            pieces += [pl.lit(f'{comma}"{names[0]}":'), pl.col(names[0])]
        else:
            pieces += [pl.lit(comma), pl.struct(names).struct.json_encode().str.strip_prefix("{").str.strip_suffix("}")]
    return frame.select(line=pl.concat_str(*pieces, pl.lit("}")))["line"]


def _runs(fields: Fields) -> Iterator[list[str]]:
    """Cut the fields, in order, into runs that are encoded together; a field that is JSON already stands alone."""
    for is_raw, group in groupby(fields.types, fields.is_raw):
        names = list(group)
        yield from [[name] for name in names] if is_raw else [names]


def write_csv(file: IO[bytes], fields: Fields, batches: Batches, _head: Mapping[str, Any], *, bom: bool = False) -> int:
    """Write RFC 4180 CSV with a header; return the records written.

    A text that a spreadsheet would take for a formula gets an apostrophe in front: it begins with = + - @, of any
    width and after any blanks, or with a tab or line end. A null is an empty cell, an empty text is "". With `bom` the
    file begins with a byte order mark, without which spreadsheets on Windows take UTF-8 for a code page.
    """
    file.write(codecs.BOM_UTF8 if bom else b"")
    file.write(",".join(fields.types).encode() + b"\r\n")
    rows = 0
    for batch in batches:
        frame = pl.DataFrame(batch).with_columns(_neutralised(name) for name in fields.texts)
        frame.write_csv(file, include_header=False, line_terminator="\r\n", quote_style="necessary")
        rows += batch.num_rows
    return rows


def _neutralised(name: str) -> pl.Expr:
    text = pl.col(name)
    return pl.when(text.str.contains(_FORMULA)).then(pl.concat_str(pl.lit("'"), text)).otherwise(text).alias(name)


def write_parquet(
    file: IO[bytes], fields: Fields, batches: Batches, _head: Mapping[str, Any], *, codec: str = "none"
) -> int:
    """Write typed Parquet (decimal128, timestamp UTC, JSON fields as text); return the records written."""
    rows = 0
    with pq.ParquetWriter(file, fields.schema, compression=_CODECS[codec]) as writer:
        for batch in batches:
            columns = [pc.cast(batch[name], kind) for name, kind in fields.types.items()]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=fields.schema))
            rows += batch.num_rows
    return rows


@contextmanager
def compressed(file: IO[bytes], codec: str) -> Iterator[IO[bytes]]:
    """Compress what is written, without a name or time in it, so that the same records are the same bytes."""
    if codec == "gzip":
        with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as stream:
            yield cast(IO[bytes], stream)
    elif codec == "zstd":
        with zstandard.ZstdCompressor(level=3, write_checksum=True).stream_writer(file, closefd=False) as stream:
            yield stream
    else:
        yield file


_WRITERS: Mapping[str, Writer] = {"json": write_json, "jsonl": write_jsonl}


@dataclass(frozen=True)
class Output:
    """What is written: the run, the moment that names the file, format (json, jsonl, csv, parquet) and compression.

    `csv_bom`: CSV begins with a byte order mark.
    """

    pipeline_id: str
    generated_at: datetime
    format: str = "json"
    compression: str = "none"
    csv_bom: bool = False

    @property
    def file_name(self) -> str:
        """Name of the output file; the time in it is UTC."""
        moment = self.generated_at.astimezone(UTC)
        suffix = "" if self.format == "parquet" else _SUFFIXES[self.compression]
        return f"pipeline_{self.pipeline_id}_results_{moment:%Y%m%dT%H%M%SZ}.{self.format}{suffix}"

    @property
    def writer(self) -> Writer:
        """The function that writes this format."""
        if self.format == "parquet":
            return partial(write_parquet, codec=self.compression)
        return partial(write_csv, bom=self.csv_bom) if self.format == "csv" else _WRITERS[self.format]

    @property
    def outer_codec(self) -> str:
        """The compression around the whole file."""
        return "none" if self.format == "parquet" else self.compression

    def head(self, count: int) -> dict[str, Any]:
        """Return what stands in a JSON document before its records."""
        moment = self.generated_at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        return {"pipeline_id": self.pipeline_id, "generated_at": moment, "record_count": count}


def write_output(output: Output, fields: Fields, records: Records, folder: Path, progress: Progress) -> StageResult:
    """Write the records into `folder`; the same records and `output` leave the same bytes. Counts: exported.

    Raises `ConservationBroken` when the file would not hold every record, and what the disk raises; the file is then
    not there.
    """
    with written_whole(folder / output.file_name) as file, compressed(file, output.outer_codec) as stream:
        batches = _counted(records, progress)
        written = output.writer(stream, fields, batches, output.head(records.count))
        if written != records.count:
            raise ConservationBroken(f"there are {records.count:,} records, but {written:,} were exported")
    artefact = describe_artefact(folder, output.file_name, written)
    columns = list(fields.types)
    details = {"columns": columns, "bytes": artefact.bytes, "sha256": artefact.sha256, "versions": versions()}
    return StageResult({"exported": written}, {output.file_name: written}, details)


def _counted(records: Records, progress: Progress) -> Iterator[pa.RecordBatch]:
    done = 0
    progress(done, records.count)
    for batch in _read_ahead(records.batches):
        yield batch
        done += batch.num_rows
        progress(done, records.count)


def _read_ahead(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Have the next batch read while the last one is encoded and written."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="reader") as reader:
        waiting = reader.submit(next, batches, None)
        while (batch := waiting.result()) is not None:
            waiting = reader.submit(next, batches, None)
            yield batch
