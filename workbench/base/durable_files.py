"""Files that outlive a power loss: written whole and synced, folder included. What cannot be read counts as absent.

A file that was renamed into place but not synced is there after a power loss with 0 bytes, or full of zeros.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

log = logging.getLogger(__name__)
_CHUNK = 1 << 20
T = TypeVar("T")


@contextmanager
def written_whole(path: Path, *, private: bool = False) -> Iterator[IO[bytes]]:
    """Open a file beside `path` for writing; moved into place, synced, when the block ends well, else removed.

    A reader of `path` sees the old file or the new one, never a part (P8), after a power loss too (P21). `private`:
    for its owner only. Raises what the disk raises.
    """
    made_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.partial")
    try:
        with _opened(temporary, 0o600 if private else 0o666) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def keep(path: Path, content: bytes) -> None:
    """Write a small private file whole."""
    with written_whole(path, private=True) as file:
        file.write(content)


def kept(path: Path, parse: Callable[[bytes], T]) -> T | None:
    """Return what `parse` makes of a file; None when there is none, or, with a warning, when `parse` raises ValueError.

    The warning names no content, which may be a secret.
    """
    try:
        return parse(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        log.warning("%s cannot be read (%s) and counts as absent", path, type(error).__name__)
        return None


def private_folder(folder: Path) -> Path:
    """Make a folder and what is missing above it, for their owner only; folders that exist keep their mode."""
    return made_folder(folder, 0o700)


def made_folder(folder: Path, mode: int = 0o777) -> Path:
    """Make a folder and what is missing above it, synced, so that they survive a power loss; return it."""
    for path in (*reversed(folder.parents), folder):
        if not path.is_dir():
            path.mkdir(mode, exist_ok=True)
            sync(path.parent)
    return folder


def sync(path: Path) -> None:
    """Flush a file's content, or a folder's entries, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _opened(path: Path, mode: int) -> IO[bytes]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    return os.fdopen(descriptor, "wb", buffering=_CHUNK)
