"""Bytes of an input file, whatever compresses it: found by its first bytes, never by its name."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from pipeline_lib.errors import InputUnreadable

GENERATED_FILES = {"jsonl": "records.jsonl", "array": "records.json"}
"""What stage 1 calls its file, by `input_format`."""

CHUNK_BYTES = 8 << 20
_PIECE = 1 << 14
_BOM = b"\xef\xbb\xbf"
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True)
class Source:
    """An input file that is there and may be read: `compression` is none, gzip or zstd; `size` is in bytes."""

    path: Path
    compression: str
    size: int

    def chunks(self) -> Iterator[bytes]:
        """Yield the uncompressed content, without byte order mark, in pieces of about 8 MiB.

        Raises `InputUnreadable` that says where the file breaks.
        """
        pieces = self._plain() if self.compression == "none" else self._decompressed()
        yield from _without_mark(_gathered(pieces))

    def _plain(self) -> Iterator[bytes]:
        try:
            with self.path.open("rb") as file:
                while piece := file.read(CHUNK_BYTES):
                    yield piece
        except OSError as error:
            raise InputUnreadable(f"{self.path}: {error.strerror or error}") from error

    def _decompressed(self) -> Iterator[bytes]:
        done = 0
        try:
            with self.path.open("rb") as file:
                for piece in _inflate(lambda: file.read(_PIECE), _DECOMPRESSORS[self.compression]):
                    done += len(piece)
                    yield piece
        except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
            where = f"broken {self.compression} after {done:,} uncompressed bytes"
            raise InputUnreadable(f"{self.path}: {where} ({error}); copy the file again") from error


def open_source(path: Path) -> Source:
    """Look at the file; raises `InputUnreadable` when it is missing, no file, forbidden, or in UTF-16."""
    try:
        if path.exists() and not path.is_file():
            raise InputUnreadable(f"{path}: is not a file")
        with path.open("rb") as file:
            head = file.read(4)
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputUnreadable(f"{path}: {(reason or 'cannot be opened').lower()}") from error
    compression = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "none")
    return Source(path, compression, size)


_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "zstd": lambda: zstandard.ZstdDecompressor(max_window_size=2**31).decompressobj(),
}


def _inflate(read: Callable[[], bytes], decompressor: Callable[[], Any]) -> Iterator[bytes]:
    """Decompress frame after frame, zero padding between them aside; raises EOFError when the last is cut off."""
    frame, data = decompressor(), read()
    while data:
        yield frame.decompress(data)
        if not frame.eof:
            data = read()
        elif data := _past_padding(frame.unused_data or read(), read):
            frame = decompressor()
    if not frame.eof:
        raise EOFError("the file ends too early")


def _past_padding(data: bytes, read: Callable[[], bytes]) -> bytes:
    """Return what follows the zeros that `data` begins with, reading on as long as they go on; empty at the end."""
    while data and not data.strip(b"\0"):
        data = read()
    return data.lstrip(b"\0")


def _gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Join small pieces to chunks of at least 8 MiB; the last one may be smaller."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= CHUNK_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if size:
        yield b"".join(waiting)


def _without_mark(chunks: Iterator[bytes]) -> Iterator[bytes]:
    for number, chunk in enumerate(chunks):
        yield chunk.removeprefix(_BOM) if number == 0 else chunk
