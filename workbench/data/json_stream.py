"""Where one record ends and the next begins: JSON Lines, or arrays and objects one after the other.

A broken record must not take its neighbours with it. In JSON Lines that is what lines are for. In an array,
reading resumes at the next line that begins with `{` at the indentation of the broken element; when elements do
not begin lines, at the next `,{`; in any case at a line that begins with `[` and an object, and outside of arrays at
one that begins with `{`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import msgspec

from workbench.base.errors import InputEmpty, InputUnreadable
from workbench.data.input_file import CHUNK_BYTES, OnBytes, Source, ignore_bytes

MAX_RECORD_BYTES = 64 << 20
KEPT_BYTES = 16 << 10
_DEEPEST = 1024
"""Levels that are looked through; a value that is nested deeper is no record (`strict_json.MAX_DEPTH`)."""

MARK = codecs.BOM_UTF8
"""The byte order mark, which each of several files put together may bring along."""

_GAP = re.compile(rb"(?:[\s,]|" + MARK + rb")*+")
_QUICK_END = re.compile(rb"\}\s*+(?:,?+\s*+\{|\]\s*+\[)")
_QUICK_BYTES = 64 << 10
_STRING = rb'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"'
STRINGS = re.compile(_STRING)
_TOKEN = re.compile(_STRING + rb'|[\[\]{}"]')
_SCALAR = re.compile(_STRING + rb'|[^\s,\[\]{}"]++')
_NEXT_INLINE = rb",\s*+\{"
_NEXT_LINE = rb"\n(?:" + MARK + rb")?+"
_NEXT_OBJECT = _NEXT_LINE + rb"\{"
_NEXT_ARRAY = _NEXT_LINE + rb"\[(?=\s*+\{)"
EXPORT_HEAD = re.compile(
    rb'\{\s*+"pipeline_id"\s*+:\s*+"\w{1,40}+"\s*+,\s*+"generated_at"\s*+:\s*+"[\w:.+-]{1,40}+"\s*+,\s*+'
    rb'"record_count"\s*+:\s*+[0-9]{1,20}+\s*+,\s*+"data"\s*+:\s*+\['
)
"""How a JSON document of `output_formats.write_json` begins; its records follow, and `]}`."""

_EXPORT_HEAD_BYTES = 1 << 10
_CLOSING = {b"{": b"}", b"[": b"]"}
_CONTEXT = 256
_READ_ON_BYTES = 32 << 20
_VALUE = msgspec.json.Decoder(msgspec.Raw)
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
    """A document of `write_json`: {"pipeline_id", "generated_at", "record_count", "data": [...]}."""

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

    def batches(self, on_bytes: OnBytes = ignore_bytes) -> Iterator[Batch]:
        """Yield all records in order, at most about 8 MiB and 65,536 at a time; blank lines are no records.

        A byte order mark may stand at the start of any line, as when files are put together.

        `on_bytes` gets the bytes of the file as they are read.
        """
        chunks = self.source.chunks(on_bytes)
        return _line_batches(chunks) if self.layout is Layout.LINES else _element_batches(ElementReader(chunks))


def detect(source: Source, allow_empty: bool = False) -> RecordStream:
    """Detect the layout from the first bytes; raises `InputUnreadable` (no JSON at all), `InputEmpty` if not allowed.

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
    """Return whether the first object goes on beyond its first line; reads on to its end, but not beyond 64 MiB."""
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


class CutText(bytes):
    """The beginning of a record that is longer than `MAX_RECORD_BYTES`, and a NUL, so that it is never JSON."""

    @classmethod
    def of(cls, text: bytes) -> Self:
        """Cut a text."""
        return cls(text[:KEPT_BYTES] + b"\0")


def is_json(text: bytes) -> bool:
    """Return whether the text is one JSON value in structure."""
    try:
        _VALUE.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def end_of_value(text: bytes, start: int) -> int | None:
    """Return where the JSON value that begins at `start` ends; None when it does not end within `text`.

    A value that cannot be one (mismatched brackets, a string broken by a line's end, more than 1,024 levels) ends
    where it begins.
    """
    if text[start : start + 1] not in (b"{", b"["):
        return _end_of_scalar(text, start)
    opened: list[bytes] = []
    for token in _TOKEN.finditer(text, start):
        kind = token[0][:1]
        if kind == b'"':
            if len(token[0]) == 1:
                return start if text.find(b"\n", token.start()) >= 0 else None
        elif kind in _CLOSING:
            before = text[max(start, token.start() - _CONTEXT) : token.start()]
            if opened and (len(opened) == _DEEPEST or not _may_open(opened[-1], before)):
                return start
            opened.append(kind)
        elif _CLOSING[opened.pop()] != kind:
            return start
        if not opened:
            return token.end()
    return None


def _end_of_scalar(text: bytes, start: int) -> int | None:
    scalar = _SCALAR.match(text, start)
    if scalar is None:
        return start
    return scalar.end() if scalar.end() < len(text) else None


def _may_open(parent: bytes, before: bytes) -> bool:
    """Return whether a bracket may stand here: after a colon in an object, after a comma or first in an array.

    It may not where a record was cut off and the next one begins; without this, the rest of the file would be
    searched for the missing end.
    """
    previous = before.rstrip()[-1:]
    return previous in ((b":", b"") if parent == b"{" else (b",", b"[", b""))


class ElementReader:
    """Iterates over the raw text of each element; text that is no JSON is unchanged, up to where reading resumes.

    Arrays and objects may follow each other, as when files are put together: the elements of all of them come, in
    order, and so do the records of JSON exports. An array that is never closed comes as one more element that is no
    JSON.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._in_array = self._in_export = False
        self._text = b""
        self._at = 0

    def __iter__(self) -> Iterator[bytes]:
        while self._skip_gap():
            if self._skip_export():
                continue
            if self._text[self._at : self._at + 1] == (b"]" if self._in_array else b"["):
                self._in_array = not self._in_array
                self._at += 1
            else:
                yield self._element()
        if self._in_array:
            yield b"the array is not closed"

    def _skip_export(self) -> bool:
        """Go past the head of a JSON export, or the brace that ends it; False where there is neither."""
        if self._in_array:
            return False
        if self._in_export and self._text.startswith(b"}", self._at):
            self._in_export, self._at = False, self._at + 1
            return True
        if not self._text.startswith(b"{", self._at):
            return False
        while len(self._text) - self._at < _EXPORT_HEAD_BYTES and self._refill():
            pass
        head = EXPORT_HEAD.match(self._text, self._at)
        if head:
            self._in_array = self._in_export = True
            self._at = head.end()
        return head is not None

    def _skip_gap(self) -> bool:
        """Go to the next character that is no white space, comma or byte order mark; False at the end of the file."""
        while True:
            gap = _GAP.match(self._text, self._at)
            self._at = gap.end() if gap else self._at
            if self._at + len(MARK) <= len(self._text) or not self._refill():
                return self._at < len(self._text)

    def _refill(self) -> bool:
        """Read on, at least as much as is waiting (so that a huge element is scanned but a few times)."""
        start = max(0, self._at - _CONTEXT)
        pieces = [self._text[start:]]
        wanted = min(max(len(pieces[0]), 1), _READ_ON_BYTES)
        while wanted > 0 and (chunk := next(self._chunks, b"")):
            pieces.append(chunk)
            wanted -= len(chunk)
        self._text, self._at = b"".join(pieces), self._at - start
        return len(pieces) > 1

    def _element(self) -> bytes:
        quick = _QUICK_END.search(self._text, self._at, self._at + _QUICK_BYTES)
        if quick and is_json(text := self._text[self._at : quick.start() + 1]):
            self._at = quick.start() + 1
            return text
        end = self._end()
        if end is not None and is_json(text := self._text[self._at : end]):
            self._at = end
            return text
        return self._broken()

    def _end(self) -> int | None:
        end = end_of_value(self._text, self._at)
        while end is None and len(self._text) - self._at <= MAX_RECORD_BYTES and self._refill():
            end = end_of_value(self._text, self._at)
        return end

    def _broken(self) -> bytes:
        """Return the text up to where reading resumes; of a text without end only the beginning is kept."""
        pattern, kept = self._resumption(), b""
        while not (found := pattern.search(self._text, self._at + 1)) and self._refill():
            if len(self._text) - self._at > MAX_RECORD_BYTES:
                kept = kept or CutText.of(self._text[self._at : self._at + KEPT_BYTES])
                self._at = len(self._text) - _CONTEXT
        end = found.end() - 1 if found else self._last_end()
        text = self._text[self._at : end]
        self._at = end
        self._in_array = self._in_array and self._text[end : end + 1] != b"["
        return kept or text.rstrip().removesuffix(b",")

    def _resumption(self) -> re.Pattern[bytes]:
        """Return how the next element begins: as the broken one does, or as what follows outside of an array."""
        line_start = self._text.rfind(b"\n", 0, self._at) + 1
        indentation = self._text[line_start : self._at]
        alike = _NEXT_INLINE if indentation.strip() else _NEXT_LINE + re.escape(indentation) + rb"\{"
        return re.compile(b"|".join([alike, _NEXT_ARRAY] if self._in_array else [alike, _NEXT_OBJECT, _NEXT_ARRAY]))

    def _last_end(self) -> int:
        """Return the end of the last element's text: before the bracket that closes the array, if it does."""
        rest = self._text.rstrip()
        return max(self._at + 1, len(rest) - 1) if self._in_array and rest.endswith(b"]") else len(self._text)
