"""Bytes of an input file, decompressed; the compression is detected from the first bytes, never from the name."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import zstandard

from workbench.base.errors import InputUnreadable

CHUNK_BYTES = 8 << 20
# What is read at once bounds what comes out at once. gzip: at most 1,032 bytes of one (zlib, "Maximum compression
# factor"), 16 MiB of 16 KiB. zstd: 128 KiB of a block of 4 bytes (RFC 8878, 3.1.1.2), 64 MiB of 2 KiB.
_PIECES = {"gzip": 1 << 14, "zstd": 1 << 11}
_WINDOW_BYTES = 1 << 27
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


OnBytes = Callable[[bytes], None]
"""Called with the bytes of a file as they are read, for example to hash them."""


def ignore_bytes(_piece: bytes) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class FileState:
    """Inode, size and time: they differ once a file is changed or replaced, except within one tick of the clock."""

    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> Self:
        """Take it from the result of `stat`."""
        return cls(found.st_ino, found.st_size, found.st_mtime_ns)


@dataclass(frozen=True)
class Source:
    """An input file that may be read, as it was when it was opened: `compression` is none, gzip or zstd."""

    path: Path
    compression: str
    state: FileState

    def chunks(self, on_bytes: OnBytes = ignore_bytes) -> Iterator[bytes]:
        """Yield the uncompressed content in pieces of 8 MiB; memory stays flat, whatever the ratio.

        `on_bytes` gets the bytes as they stand in the file, by the end all of them. Raises `InputUnreadable` that says
        where the file breaks.
        """
        pieces = self._plain(on_bytes) if self.compression == "none" else self._decompressed(on_bytes)
        yield from _gathered(pieces)

    def check_unchanged(self) -> None:
        """Raise `InputUnreadable` when the file has changed: what has been read may be parts of two files."""
        try:
            state = FileState.of(self.path.stat())
        except OSError as error:
            raise InputUnreadable(f"{self.path}: cannot be read any more ({error.strerror or error})") from error
        if state != self.state:
            raise InputUnreadable(f"{self.path}: changed while it was read; run again when it is complete")

    def _plain(self, on_bytes: OnBytes) -> Iterator[bytes]:
        try:
            with self.path.open("rb") as file:
                while piece := file.read(CHUNK_BYTES):
                    on_bytes(piece)
                    yield piece
        except OSError as error:
            raise InputUnreadable(f"{self.path}: {error.strerror or error}") from error

    def _decompressed(self, on_bytes: OnBytes) -> Iterator[bytes]:
        done = 0
        try:
            with self.path.open("rb") as file:
                size = _PIECES[self.compression]
                for piece in _inflate(lambda: _read(file, size, on_bytes), _DECOMPRESSORS[self.compression]):
                    done += len(piece)
                    yield piece
        except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
            if "too much memory" in str(error):
                window = f"a window of more than {_WINDOW_BYTES >> 20} MiB"
                raise InputUnreadable(f"{self.path}: needs {window}; compress it with --long=27 or less") from error
            where = f"broken {self.compression} after {done:,} uncompressed bytes"
            raise InputUnreadable(f"{self.path}: {where} ({error}); copy the file again") from error


def open_source(path: Path) -> Source:
    """Detect the compression of the file; raises `InputUnreadable` when it is missing, no file, or not readable."""
    try:
        if path.exists() and not path.is_file():
            raise InputUnreadable(f"{path}: is not a file")
        with path.open("rb") as file:
            state = FileState.of(os.fstat(file.fileno()))
            head = file.read(4)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputUnreadable(f"{path}: {(reason or 'cannot be opened').lower()}") from error
    compression = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "none")
    return Source(path, compression, state)


_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "zstd": lambda: zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES).decompressobj(),
}


def _read(file: IO[bytes], size: int, on_bytes: OnBytes) -> bytes:
    piece = file.read(size)
    on_bytes(piece)
    return piece


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
    """Join small pieces and cut large ones to chunks of 8 MiB; the last one may be smaller."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= CHUNK_BYTES:
            joined = b"".join(waiting) if len(waiting) > 1 else piece
            whole = size - size % CHUNK_BYTES
            for start in range(0, whole, CHUNK_BYTES):
                yield joined[start : start + CHUNK_BYTES]
            waiting, size = [joined[whole:]], size - whole
    if size:
        yield b"".join(waiting)
