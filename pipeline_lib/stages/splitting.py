"""Where one record ends and the next begins: JSON Lines, or arrays and objects one after the other.

A broken record must not take its neighbours with it. In JSON Lines that is what lines are for. In an array,
reading resumes at the next line that begins with `{` at the indentation of the broken element; when elements do
not begin lines, at the next `,{`; in any case at a line that begins with `[` and an object, and outside of arrays at
one that begins with `{`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from pipeline_lib.errors import InputEmpty, InputUnreadable
from pipeline_lib.stages.elements import KEPT_BYTES, MAX_RECORD_BYTES, ElementReader, end_of_value, is_json
from pipeline_lib.stages.reading import CHUNK_BYTES, Noted, Source, unnoted

_HEAD_BYTES = 1 << 20


class Layout(StrEnum):
    """How records follow each other."""

    LINES = "jsonl"
    ARRAY = "array"
    """An array to begin with; more of them, or objects, may follow."""
    OBJECTS = "objects"
    """One object after the other, each over several lines, as pretty-printers write them; arrays may follow."""

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
        """Yield all records in order, about 8 MiB at a time; blank lines are no records.

        `noted` gets the bytes of the file as they are read.
        """
        chunks = self.source.chunks(noted)
        return _line_batches(chunks) if self.layout is Layout.LINES else _element_batches(ElementReader(chunks))


def detect(source: Source, allow_empty: bool = False) -> RecordStream:
    """Find out the layout from the first bytes; raises `InputUnreadable` (no JSON at all), `InputEmpty` if not allowed.

    No message quotes the file: what is no JSON may be a key or a list of passwords.
    """
    head = _head(source)
    if not head and not allow_empty:
        raise InputEmpty(f"{source.path}: holds no record; allow_empty lets a run complete without one")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in head[:4]:
        raise InputUnreadable(f"{source.path}: is not UTF-8 text; JSON must be UTF-8")
    if head.startswith(b"["):
        return RecordStream(source, Layout.ARRAY)
    if head.startswith(b"{") and _spans_lines(head):
        return RecordStream(source, Layout.OBJECTS)
    if head and not any(line.lstrip().startswith(b"{") for line in head.split(b"\n")):
        raise InputUnreadable(f"{source.path}: is no JSON; give JSON Lines or a JSON array")
    return RecordStream(source, Layout.LINES)


def _head(source: Source) -> bytes:
    head = b""
    for chunk in source.chunks():
        head = (head + chunk).lstrip()
        if len(head) >= _HEAD_BYTES:
            break
    return head[:_HEAD_BYTES]


def _spans_lines(head: bytes) -> bool:
    """Tell whether the first object goes on beyond its first line."""
    first_line = head.partition(b"\n")[0]
    end = end_of_value(head, 0)
    return end is not None and end > len(first_line) and is_json(head[:end])


def _line_batches(chunks: Iterator[bytes]) -> Iterator[Batch]:
    """Split at line ends; of an endless line only the beginning is kept, which is malformed: memory stays flat."""
    number, rest, is_cut = 1, b"", False
    for chunk in chunks:
        *lines, rest = (rest + (_from_line_end(chunk) if is_cut else chunk)).split(b"\n")
        if lines:
            yield _without_blanks(number, lines)
            number, is_cut = number + len(lines), False
        if len(rest) > MAX_RECORD_BYTES and len(rest := rest.strip()) > MAX_RECORD_BYTES:
            rest, is_cut = rest[:KEPT_BYTES], True
    yield _without_blanks(number, [rest])


def _from_line_end(chunk: bytes) -> bytes:
    _, line_end, others = chunk.partition(b"\n")
    return line_end + others


def _without_blanks(first: int, lines: list[bytes]) -> Batch:
    numbered = [(number, line) for number, line in enumerate(lines, first) if line and not line.isspace()]
    return Batch([number for number, _ in numbered], [line for _, line in numbered])


def _element_batches(elements: Iterable[bytes]) -> Iterator[Batch]:
    number, size = 1, 0
    texts: list[bytes] = []
    for text in elements:
        texts.append(text)
        size += len(text)
        if size >= CHUNK_BYTES:
            yield Batch(list(range(number, number + len(texts))), texts)
            number, size, texts = number + len(texts), 0, []
    yield Batch(list(range(number, number + len(texts))), texts)
