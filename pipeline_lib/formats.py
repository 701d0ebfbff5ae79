"""The output formats: how batches of records become json, jsonl, csv or parquet, one batch at a time.

Batches come with decimals and timestamps as text (see `mart_records`), so that no number passes through a float.
"""

from __future__ import annotations

import codecs
import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, cast

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

from pipeline_lib.exported_fields import DECIMALS, FIELDS, SCHEMA, TEXTS

Batches = Iterable[pa.RecordBatch]
Writer = Callable[[IO[bytes], Batches, Mapping[str, Any]], int]

# Spreadsheets skip blanks and invisible characters in front, and some take full-width signs for the plain ones.
_FORMULA = r"^[\s\p{Cc}\p{Cf}]*[=+@\-\u2212\uFF0B\uFF0D\uFF1D\uFF20]|^[\t\r\n]"
_CODECS = {"none": "NONE", "gzip": "GZIP", "zstd": "ZSTD"}


def write_json(file: IO[bytes], batches: Batches, head: Mapping[str, Any]) -> int:
    """Write one JSON document, {**head, "data": [...]} with one record a line; return the records written."""
    file.write(json.dumps(dict(head), ensure_ascii=False).removesuffix("}").encode() + b', "data": [')
    rows = 0
    for batch in batches:
        lines = ",\n".join(json_lines(batch))
        file.write((b",\n" if rows else b"\n") + lines.encode() if lines else b"")
        rows += batch.num_rows
    file.write(b"\n]}\n")
    return rows


def write_jsonl(file: IO[bytes], batches: Batches, _head: Mapping[str, Any]) -> int:
    """Write one JSON object a line; return the records written."""
    rows = 0
    for batch in batches:
        file.write("".join(f"{line}\n" for line in json_lines(batch)).encode())
        rows += batch.num_rows
    return rows


def json_lines(batch: pa.RecordBatch) -> pl.Series:
    """Return each record as a JSON object: decimals as numbers with all their places, `extra` as an object.

    Polars encodes the runs of plain fields; decimals and `extra` are JSON already and go in between as they are.
    """
    frame = pl.DataFrame(batch)
    pieces = [pl.lit("{")]
    for names in _runs():
        comma = "," if len(pieces) > 1 else ""
        if names[0] in DECIMALS or names[0] == "extra":
            pieces += [pl.lit(f'{comma}"{names[0]}":'), pl.col(names[0])]
        else:
            pieces += [pl.lit(comma), pl.struct(names).struct.json_encode().str.strip_prefix("{").str.strip_suffix("}")]
    return frame.select(line=pl.concat_str(*pieces, pl.lit("}")))["line"]


def _runs() -> Iterator[list[str]]:
    """Cut the fields, in order, into runs that are encoded together; decimals and `extra` stand alone."""
    run: list[str] = []
    for name in FIELDS:
        if name not in DECIMALS and name != "extra":
            run.append(name)
            continue
        yield from [run] if run else []
        run = []
        yield [name]
    yield from [run] if run else []


def write_csv(file: IO[bytes], batches: Batches, _head: Mapping[str, Any], bom: bool = False) -> int:
    """Write RFC 4180 CSV with a header; return the records written.

    A text that a spreadsheet would take for a formula gets an apostrophe in front: it begins with = + - @, in whatever
    width and after whatever blanks, or with a tab or line end.
    No text is an empty cell, an empty text is "". With `bom` the file begins with a byte order mark, without which
    spreadsheets on Windows take UTF-8 for a code page.
    """
    file.write(codecs.BOM_UTF8 if bom else b"")
    file.write(",".join(FIELDS).encode() + b"\r\n")
    rows = 0
    for batch in batches:
        frame = pl.DataFrame(batch).with_columns(_neutralised(name) for name in TEXTS)
        frame.write_csv(file, include_header=False, line_terminator="\r\n", quote_style="necessary")
        rows += batch.num_rows
    return rows


def _neutralised(name: str) -> pl.Expr:
    text = pl.col(name)
    return pl.when(text.str.contains(_FORMULA)).then(pl.concat_str(pl.lit("'"), text)).otherwise(text).alias(name)


def write_parquet(file: IO[bytes], batches: Batches, _head: Mapping[str, Any], codec: str = "none") -> int:
    """Write typed Parquet (decimal128, timestamp UTC, `extra` as JSON text); return the records written."""
    rows = 0
    with pq.ParquetWriter(file, SCHEMA, compression=_CODECS[codec]) as writer:
        for batch in batches:
            writer.write_batch(
                pa.RecordBatch.from_arrays([_typed(batch[n], t) for n, t in FIELDS.items()], schema=SCHEMA)
            )
            rows += batch.num_rows
    return rows


def _typed(column: pa.Array, kind: pa.DataType) -> pa.Array:
    return pc.cast(column, kind)


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
