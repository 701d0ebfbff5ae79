"""Hostile input: texts that something on the way may take for code, records made of them, and lines that are none.

What is here is legal JSON of legal records, except for `BROKEN`; so it must come out of the export as it went in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

REFERENCE = "2026-11-23T08:00:00+00:00"
SCRIPT = "<script>alert('script')</script>"
TEXTS = (
    # SQL, COPY, psycopg and libpq
    "'; drop table pipelines; --", '"; drop schema analytics cascade; --', "$$;select 1;$$", "$1", ":name", "%s",
    "%(name)s",
    "%%", "NULL", "\\N", "\\.", "\\", "\\\\", "\\x41", "E'\\n'", "a\tb", "a\nb", "a\r\nb", "a\rb", "'", "''", '"',
    '""', '","', ";",
    "run_20261123t083012_a1b2c3.item_metrics", "/* */", "--",
    # templates, shells, paths
    "{{ var('transformed_at') }}", "{% raw %}", "{# x #}", "{pm}", "{}", "{0.__class__}", "${HOME}", "$(id)", "`id`",
    "%(asctime)s",
    "../../etc/passwd", "C:\\CON", "file:///etc/passwd", "%00", "%2e%2e%2f",
    # spreadsheets
    "=1+1", "+1", "-1", "@SUM(1)", "=cmd|' /C calc'!A0", "＝1+1", "＋1", "－1", "＠A1", "−1", "\t=1", "\r=1", "\n=1",
    "  =1", "'=1",
    # HTML, JavaScript, Plotly's own markup, terminals
    SCRIPT, "\"><img src=x onerror=alert('attribute')>", "</script><script>alert('end')</script>", "<!--", "]]>",
    "&lt;b&gt;", "&amp;",
    "<b>bold</b>", "<a href=\"javascript:alert('link')\">press</a>", "<br>", "javascript:alert('url')",
    "<svg onload=alert('svg')>",
    "%{x}<extra></extra>", "$\\alpha$", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x08\x08",
    # Unicode
    "\u202egnp.exe\u202c", "\u2066\u2069", "שלום", "مرحبا", "\u200b", "\ufeff", "\u2028", "\u2029", "\x85", "\x7f",
    "\x01", "\x1f", "\xad",
    "😀👩‍👩‍👧‍👦🇩🇪", "e\u0301", "é", "İıſßẞ", "ﷺ", "𝔘𝔫𝔦", "\U0010ffff", "\ufffe", "\uffff", "\ufffd", "Z̸̡͓a̶͇l̴g̵o",
    "名前",
    # words that parsers take for something else
    "null", "None", "undefined", "NaN", "Infinity", "1e309", "true", "0x10", "1_000", "[]", '{"id": 1}', "unknown",
    "", " ", "\t", "0",
)  # fmt: skip
KEYS = (
    "select", "from", "table", "user", "order", "group", "a.b", "a..b", ".", 'a"b', "a'b", "a`b", "a\\b", "", " ",
    "id ", "ID", "Name",
    "customer.name", "customer_name", "extra", "data", "processed_at", "$ref", "$schema", "__proto__", "constructor",
    "__class__", "0", "-1",
    "a\nb", "a\tb", "é", "\u202e", "\ufeffid", "😀", "%s", "{{ x }}", "<b>", "k" * 5_000, "[0]", "*", "key=value",
)  # fmt: skip
NUMBERS = (0, -1, 2**63 - 1, -(2**63), 2**64 - 1, 0.1, -0.0, 1.7976931348623157e308, 5e-324, 1e16, 123456789.123456789)
MOMENTS = {
    "0001-01-01T00:00:00Z": "0001-01-01T00:00:00.000000Z",
    "0001-01-02T00:00:00+14:00": "0001-01-01T10:00:00.000000Z",
    "9999-12-31T23:59:59.999999Z": "9999-12-31T23:59:59.999999Z",
    "1582-10-10T12:00:00": "1582-10-10T12:00:00.000000Z",
    "1900-01-01T00:00:00+00:53:28": "1899-12-31T23:06:32.000000Z",
    "2024-02-29": "2024-02-29T00:00:00.000000Z",
    "20261123T083012,5Z": "2026-11-23T08:30:12.500000Z",
    "2026-W48-1 23:59-01:00": "2026-11-24T00:59:00.000000Z",
}
BROKEN = (
    b'{"id": NaN}', b'{"id": 1, "name": "x", "category": "A", "value": Infinity, "quantity": 1}', b"{", b"}", b"{}",
    b"null", b'"text"',
    b"0", b"[]", b"nonsense", b"\xff\xfe{", b"\x00", b'{"id": 1} {"id": 2}', b'{"id": 1, "id": 2}', b"{'id': 1}",
    b'{"id": 1,}',
    b'{"id": 900000, "name": "nul \\u0000", "category": "A", "value": 1, "quantity": 1}',
    b'{"id": 900001, "name": "lone \\ud800", "category": "A", "value": 1, "quantity": 1}',
    b'{"id": 900002, "name": "x", "category": "A", "value": 1, "quantity": 1, "\\udfff": 1}',
    b'{"id": 900003, "name": "x", "category": "A", "value": 1e999, "quantity": 1}',
    b'{"id": 900004, "name": "x", "category": "A", "value": 1, "quantity": 1, "big": 18446744073709551616}',
    b'{"id": 900005, "name": "x", "category": "A", "value": 1, "quantity": 1, "created_at": "0000-00-00"}',
    b'{"id": 900006, "name": "raw \xff", "category": "A", "value": 1, "quantity": 1}',
    b'{"id": 900007, "name": "' + b"x" * 10_000_000 + b'", "category": "A", "value": 1, "quantity": 1}',
    b'{"id": 900008, "name": "x", "category": "A", "value": 1, "deep": ' + b"[" * 9999 + b"]" * 9999 + b"}",
    b'{"id": 900009, "name": "cut of',
)  # fmt: skip


def record(number: int, /, **fields: Any) -> dict[str, Any]:
    """Return a good record with these fields changed or added."""
    return {"id": number, "name": f"Lamp {number}", "category": "ABCD"[number % 4], "value": 10, "quantity": 3} | fields


def records() -> list[dict[str, Any]]:
    """Return hostile records that are all legal: every text and key in every place that takes one."""
    wanted = list(_wanted())
    return [record(number, **fields) for number, fields in enumerate(wanted)] + [record(2**63 - 1, value=99999999.99)]


def _wanted() -> Iterator[dict[str, Any]]:
    for text in TEXTS:
        name = {"name": text} if text.strip() else {}
        customer = {"name": text, "email": text, "country": text, "phone": text}
        yield {**name, "customer": customer, "note": text, "list": [text, {text: text}]}
    yield from ({"customer": {key: key}, key: {key: 1}} for key in KEYS if key != "extra")
    yield from ({"number": number, "numbers": [number, {"n": number}]} for number in NUMBERS)
    yield from ({"created_at": moment} for moment in MOMENTS)
    yield {"name": "名" * 200, "long": "x" * 10_000_000}
    yield {"deep": _nested(60), "extra": {"extra": None}, "nothing": None, "all": [True, False, None, [], {}]}
    yield {"name": "\t padded \r\n", "category": " b ", "value": 0.005, "quantity": 1_000_000, "is_active": False}
    yield {"customer": {"country": None}}


def _nested(depth: int) -> Any:
    return {"in": [_nested(depth - 2)]} if depth > 0 else "deep"


def as_line(fields: dict[str, Any]) -> bytes:
    """Write a record in one of four ways that mean the same: escaped or not, tight or loose."""
    escaped, loose = fields["id"] % 2 == 0, fields["id"] % 4 < 2
    text = json.dumps(fields, ensure_ascii=escaped, separators=(" , ", " : ") if loose else (",", ":"))
    return text.encode()


def as_file(lines: list[bytes]) -> bytes:
    """Write lines with a byte order mark in front, CRLF between them, and no line end at the end."""
    return b"\xef\xbb\xbf" + b"\r\n".join(lines)


def expected(fields: dict[str, Any]) -> dict[str, Any]:
    """Return what the export must hold of a record of `records`, as JSON reads it."""
    customer = fields.get("customer") or {}
    known = {"id", "name", "category", "value", "quantity", "is_active", "created_at", "customer"}
    extra = {key: value for key, value in fields.items() if key not in known}
    if unknown := {key: value for key, value in customer.items() if key not in ("name", "email", "country")}:
        extra["customer"] = unknown
    return {
        "id": fields["id"],
        "name": fields["name"].strip(),
        "category": fields["category"].strip().upper(),
        "value": {0.005: 0.01}.get(fields["value"], float(fields["value"])),
        "quantity": fields["quantity"],
        "is_active": fields.get("is_active", True),
        "created_at": MOMENTS.get(fields.get("created_at", ""), "2026-11-23T08:00:00.000000Z"),
        **{f"customer_{part}": customer.get(part) for part in ("name", "email", "country")},
        "extra": extra,
    }
