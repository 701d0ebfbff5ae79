"""Accepted records: the ids that were seen before, and a Parquet file written row group by row group."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Self

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP = 131_072
GROUP_BYTES = 32 << 20
DENSE_IDS = 1 << 28
_FIRST_BYTES = 1 << 17

Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class DatasetFile:
    """Writes frames of records as row groups of 131,072 records, or of 32 MiB of text if that is less.

    `table_of` turns a frame into a table of `schema`. The same records in the same order make the same bytes, however
    they were cut into frames. The file is complete when the `with` block ends.
    """

    def __init__(self, file: IO[bytes], schema: pa.Schema, table_of: Callable[[pl.DataFrame], pa.Table]) -> None:
        self._writer = pq.ParquetWriter(file, schema, compression="zstd")
        self._table_of = table_of
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
            self._writer.write_table(self._table_of(rows[start:end]), row_group_size=ROW_GROUP)
            start, before = end, int(texts[end - 1])
        rest = rows[start:]
        self._waiting, self._rows_waiting, self._bytes_waiting = [rest], len(rest), int(_text_bytes(rest).sum())


def _text_bytes(frame: pl.DataFrame) -> np.ndarray:
    """Return the bytes of each row's texts."""
    return frame.select(pl.sum_horizontal(pl.col(pl.String).str.len_bytes()).cast(pl.Int64)).to_series().to_numpy()


class SeenIds:
    """All ids accepted so far. Ids below 2^28 (268 million) cost one bit of the range up to the largest one
    (at most 32 MiB); others stand in sorted runs that are merged as they grow, eight bytes each."""

    def __init__(self) -> None:
        self._bits = np.zeros(_FIRST_BYTES, dtype=np.uint8)
        self._runs: list[Ids] = []

    def add(self, ids: Ids) -> Mask:
        """Remember these ids (0 to 2^63-1); return True for each that appears here for the first time."""
        is_new = np.zeros(len(ids), dtype=bool)
        is_new[np.unique(ids, return_index=True)[1]] = True
        dense = ids < DENSE_IDS
        for mask, mark in ((dense, self._mark_dense), (~dense, self._mark_sparse)):
            candidates = np.flatnonzero(is_new & mask)
            is_new[candidates] = mark(ids[candidates])
        return is_new

    def _mark_dense(self, ids: Ids) -> Mask:
        if not len(ids):
            return np.ones(0, dtype=bool)
        self._grow(int(ids.max()) >> 3)
        cells, bits = ids >> 3, (1 << (ids & 7)).astype(np.uint8)
        unseen: Mask = (self._bits[cells] & bits) == 0
        np.bitwise_or.at(self._bits, cells, bits)
        return unseen

    def _grow(self, cell: int) -> None:
        if cell >= len(self._bits):
            size = min(DENSE_IDS >> 3, 1 << cell.bit_length())
            self._bits = np.concatenate([self._bits, np.zeros(size - len(self._bits), dtype=np.uint8)])

    def _mark_sparse(self, ids: Ids) -> Mask:
        unseen = np.ones(len(ids), dtype=bool)
        for run in self._runs:
            places = np.minimum(np.searchsorted(run, ids), len(run) - 1)
            unseen &= run[places] != ids
        self._append(np.sort(ids[unseen]))
        return unseen

    def _append(self, run: Ids) -> None:
        """Merge runs of like size, so that there are never more than about log2 of them."""
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")
        if len(run):
            self._runs.append(run)
