"""Elements of JSON arrays and objects in a row, cut out of a stream without parsing the whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Self

import msgspec

MAX_RECORD_BYTES = 64 << 20
KEPT_BYTES = 16 << 10
_DEEPEST = 1024
"""Levels that are looked through; a value that is nested deeper is no record (`strict_json.MAX_DEPTH`)."""

MARK = b"\xef\xbb\xbf"
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
"""How a JSON export of stage 5 begins; its records follow, and `]}`."""

_HEAD_BYTES = 1 << 10
_CLOSING = {b"{": b"}", b"[": b"]"}
_CONTEXT = 256
_READ_ON_BYTES = 32 << 20
_VALUE = msgspec.json.Decoder(msgspec.Raw)


class CutText(bytes):
    """The beginning of a record that is longer than `MAX_RECORD_BYTES`, with a NUL at its end: no JSON for sure."""

    @classmethod
    def of(cls, text: bytes) -> Self:
        """Cut a text."""
        return cls(text[:KEPT_BYTES] + b"\0")


def is_json(text: bytes) -> bool:
    """Tell whether the text is one JSON value, as far as its structure goes."""
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
    """Tell whether a bracket may stand here: after a colon in an object, after a comma or first in an array.

    It may not where a record was cut off and the next one begins; without this, the rest of the file would be
    searched for the missing end.
    """
    previous = before.rstrip()[-1:]
    return previous in ((b":", b"") if parent == b"{" else (b",", b"[", b""))


class ElementReader:
    """Iterates over the raw text of each element; text that is no JSON comes as it is, up to where reading resumes.

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
        while len(self._text) - self._at < _HEAD_BYTES and self._refill():
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
