"""Which ids were seen before, at one bit for a dense id and eight bytes for any other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

DENSE_IDS = 1 << 28
_FIRST_BYTES = 1 << 17

Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


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
