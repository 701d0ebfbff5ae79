"""The validated dataset: its columns, and a Parquet file written row group by row group."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Self

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

DATASET = "dataset.parquet"
ROW_GROUP = 131_072
GROUP_BYTES = 32 << 20

DATASET_SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("value", pa.decimal128(12, 2), nullable=False),
        pa.field("quantity", pa.int32(), nullable=False),
        pa.field("is_active", pa.bool_(), nullable=False),
        pa.field("created_at", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("customer_name", pa.string()),
        pa.field("customer_email", pa.string()),
        pa.field("customer_country", pa.string()),
        pa.field("extra", pa.string()),
    ]
)


class DatasetFile:
    """Collects accepted records (frames as `screening.FRAME`) and writes row groups of 131,072, or of 32 MiB of text
    if that is less; the same records in the same order make the same bytes, however they were cut into frames.
    Complete when its `with` block ends."""

    def __init__(self, file: IO[bytes]) -> None:
        self._writer = pq.ParquetWriter(file, DATASET_SCHEMA, compression="zstd")
        self._waiting: list[pl.DataFrame] = []
        self._rows_waiting = 0
        self._bytes_waiting = 0
        self.rows = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Take the records of one batch."""
        self._waiting.append(frame)
        self._rows_waiting += len(frame)
        self._bytes_waiting += int(_text_bytes(frame).sum())
        self.rows += len(frame)
        if self._rows_waiting >= ROW_GROUP or self._bytes_waiting >= GROUP_BYTES:
            self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush(is_last=True)
        self._writer.close()

    def _flush(self, is_last: bool = False) -> None:
        if not self._waiting:
            return
        rows = pl.concat(self._waiting, rechunk=True)
        texts = np.cumsum(_text_bytes(rows))
        start, before = 0, 0
        while start < len(rows):
            end = min(start + ROW_GROUP, int(np.searchsorted(texts, before + GROUP_BYTES)) + 1, len(rows))
            is_full = end - start == ROW_GROUP or texts[end - 1] - before >= GROUP_BYTES
            if not (is_full or is_last):
                break
            self._writer.write_table(as_dataset(rows[start:end]), row_group_size=ROW_GROUP)
            start, before = end, int(texts[end - 1])
        rest = rows[start:]
        self._waiting, self._rows_waiting, self._bytes_waiting = [rest], len(rest), int(_text_bytes(rest).sum())


def _text_bytes(frame: pl.DataFrame) -> np.ndarray:
    """Return the bytes of each row's texts."""
    return frame.select(pl.sum_horizontal(pl.col(pl.String).str.len_bytes()).cast(pl.Int64)).to_series().to_numpy()


def as_dataset(frame: pl.DataFrame) -> pa.Table:
    """Turn a frame with `cents` into the dataset's columns, `value` as decimal(12,2)."""
    columns = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    arrays = [
        _decimals(frame["cents"].to_numpy()) if field.name == "value" else columns[field.name].cast(field.type)
        for field in DATASET_SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=DATASET_SCHEMA)


def _decimals(cents: np.ndarray) -> pa.Array:
    """Write non-negative cents as 128-bit integers, low half first: the layout of Arrow's decimal128."""
    halves = np.zeros((len(cents), 2), dtype="<i8")
    halves[:, 0] = cents
    return pa.Decimal128Array.from_buffers(pa.decimal128(12, 2), len(cents), [None, pa.py_buffer(halves)])


def read_head(path: Path, rows: int = 5) -> pl.DataFrame:
    """Return the dataset's first rows."""
    return pl.scan_parquet(path, glob=False).head(rows).collect()
