"""Where one record ends and the next begins: JSON Lines, or arrays and objects one after the other.

A broken record must not take its neighbours with it. In JSON Lines that is what lines are for. In an array,
reading resumes at the next line that begins with `{` at the indentation of the broken element; when elements do
not begin lines, at the next `,{`; in any case at a line that begins with `[` and an object, and outside of arrays at
one that begins with `{`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from pipeline_lib.elements import (
    EXPORT_HEAD,
    KEPT_BYTES,
    MARK,
    MAX_RECORD_BYTES,
    CutText,
    ElementReader,
    end_of_value,
    is_json,
)
from pipeline_lib.input_file import CHUNK_BYTES, Noted, Source, unnoted
from workbench.base.errors import InputEmpty, InputUnreadable

BATCH_RECORDS = 1 << 16
_HEAD_BYTES = 1 << 20
_EXPORTS = " (of this pipeline's exports, json and jsonl are read)"
_BLANKS = MARK + b" \t\r\n"
_BLANK = re.compile(rb"(?:\s|" + MARK + rb")*+")
_MARK_BETWEEN = re.compile(rb"(?<=\})\s*+(?:" + MARK + rb"\s*+)++(?=\{)")


class Layout(StrEnum):
    """How records follow each other."""

    LINES = "jsonl"
    ARRAY = "array"
    """An array to begin with; more of them, or objects, may follow."""
    OBJECTS = "objects"
    """One object after the other, each over several lines, as pretty-printers write them; arrays may follow."""
    EXPORT = "export"
    """A JSON export of stage 5, {"pipeline_id", "generated_at", "record_count", "data": [...]}."""

    @property
    def unit(self) -> str:
        """What a record's number counts."""
        return "line" if self is Layout.LINES else "position"


@dataclass(frozen=True)
class Batch:
    """Records as they stand in the file, and the number of each: line or position, from 1."""

    numbers: list[int]
    texts: list[bytes]


@dataclass(frozen=True)
class RecordStream:
    """A source together with its layout."""

    source: Source
    layout: Layout

    def batches(self, noted: Noted = unnoted) -> Iterator[Batch]:
        """Yield all records in order, at most about 8 MiB and 65,536 at a time; blank lines are no records.

        A byte order mark may stand at the start of any line, as when files are put together.

        `noted` gets the bytes of the file as they are read.
        """
        chunks = self.source.chunks(noted)
        return _line_batches(chunks) if self.layout is Layout.LINES else _element_batches(ElementReader(chunks))


def detect(source: Source, allow_empty: bool = False) -> RecordStream:
    """Find out the layout from the first bytes; raises `InputUnreadable` (no JSON at all), `InputEmpty` if not allowed.

    No message quotes the file: what is no JSON may be a key or a list of passwords.
    """
    chunks = source.chunks()
    head = _more(b"", chunks, _HEAD_BYTES)
    if not head and not allow_empty:
        raise InputEmpty(f"{source.path}: holds no record; allow_empty lets a run complete without one")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in head[:4]:
        raise InputUnreadable(f"{source.path}: is not UTF-8 text but perhaps UTF-16; save it as UTF-8")
    if head.startswith(b"["):
        return RecordStream(source, Layout.ARRAY)
    if EXPORT_HEAD.match(head):
        return RecordStream(source, Layout.EXPORT)
    if head.startswith(b"{") and _spans_lines(head, chunks):
        return RecordStream(source, Layout.OBJECTS)
    if head and not any(line.lstrip(_BLANKS).startswith(b"{") for line in head.split(b"\n")):
        raise InputUnreadable(f"{source.path}: is no JSON; give JSON Lines or a JSON array{_EXPORTS}")
    return RecordStream(source, Layout.LINES)


def _more(head: bytes, chunks: Iterator[bytes], size: int) -> bytes:
    """Return `head`, without blanks and byte order marks in front, and what follows, up to `size` or a chunk more."""
    pieces, length = [head], len(head)
    while length < size and (chunk := next(chunks, b"")):
        pieces.append(chunk if length else chunk.lstrip(_BLANKS))
        length += len(pieces[-1])
    return b"".join(pieces)


def _spans_lines(head: bytes, chunks: Iterator[bytes]) -> bool:
    """Tell whether the first object goes on beyond its first line; reads on to its end, but not beyond 64 MiB."""
    if b"\n" in head and is_json(head[: head.index(b"\n")]):
        return False
    end = end_of_value(head, 0)
    if end is None:
        head = _more(head, chunks, MAX_RECORD_BYTES)
        end = end_of_value(head, 0)
    first_line = head.partition(b"\n")[0]
    if end is None:
        return len(first_line) < len(head)
    return end > len(first_line) and is_json(head[:end])


def _line_batches(chunks: Iterator[bytes]) -> Iterator[Batch]:
    """Split at line ends; of an endless line only the beginning is kept: memory stays flat."""
    number, rest, is_cut = 1, b"", False
    for chunk in chunks:
        text = rest + (_from_line_end(chunk) if is_cut else chunk)
        *lines, rest = text.split(b"\n")
        if lines:
            lines[0] = CutText.of(lines[0]) if is_cut else _cut(lines[0])
            yield from _batches_of(number, lines, MARK in text)
            number, is_cut = number + len(lines), False
        if len(rest) > MAX_RECORD_BYTES:
            rest, is_cut = _shortened(rest)
    yield from _batches_of(number, [CutText.of(rest) if is_cut else rest], MARK in rest)


def _shortened(rest: bytes) -> tuple[bytes, bool]:
    """Return a long line without the blanks around it; when it is still too long, its beginning and True.

    Blanks at its end may be part of a text that goes on, and are removed only behind a whole value.
    """
    rest = rest.lstrip()
    if len(rest) > MAX_RECORD_BYTES and len(whole := rest.rstrip()) <= MAX_RECORD_BYTES and is_json(whole):
        return whole, False
    return (rest[:KEPT_BYTES], True) if len(rest) > MAX_RECORD_BYTES else (rest, False)


def _cut(line: bytes) -> bytes:
    return CutText.of(line.strip()) if len(line) > MAX_RECORD_BYTES < len(line.strip()) else line


def _from_line_end(chunk: bytes) -> bytes:
    _, line_end, others = chunk.partition(b"\n")
    return line_end + others


def _batches_of(first: int, lines: list[bytes], has_marks: bool) -> Iterator[Batch]:
    for start in range(0, len(lines), BATCH_RECORDS):
        numbers: list[int] = []
        texts: list[bytes] = []
        for number, line in enumerate(lines[start : start + BATCH_RECORDS], first + start):
            for text in _without_marks(line) if has_marks else (line,):
                if text and not text.isspace():
                    numbers.append(number)
                    texts.append(text)
        yield Batch(numbers, texts)


def _without_marks(line: bytes) -> list[bytes]:
    """Return the line without byte order marks around it, or the lines that lost the end between them to a mark."""
    if MARK not in line or isinstance(line, CutText):
        return [line]
    before = _BLANK.match(line)
    start = before.end() if before else 0
    text = line[start:].rstrip(_BLANKS)
    if not _BLANK.fullmatch(line, start + len(text)):
        return [line]
    return [text] if MARK not in text or is_json(text) else _MARK_BETWEEN.split(text)


def _element_batches(elements: Iterable[bytes]) -> Iterator[Batch]:
    number, size = 1, 0
    texts: list[bytes] = []
    for text in elements:
        texts.append(text)
        size += len(text)
        if size >= CHUNK_BYTES or len(texts) >= BATCH_RECORDS:
            yield Batch(list(range(number, number + len(texts))), texts)
            number, size, texts = number + len(texts), 0, []
    yield Batch(list(range(number, number + len(texts))), texts)
