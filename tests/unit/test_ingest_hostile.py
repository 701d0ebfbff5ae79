"""Promise P15: every input record is accounted for, whatever it is."""

from __future__ import annotations

import json

import pytest

from pipeline_lib.validation import UNKNOWN_CATEGORY
from tests.unit.records_in_json import accepted, record, refusal
from workbench.data.rejects import Reason


@pytest.mark.parametrize("name", ["id", "name", "category", "value", "quantity"])
@pytest.mark.parametrize("text", [None, "null"])
def test_a_required_field_that_is_absent_or_null_is_missing(name: str, text: str | None) -> None:
    assert refusal(record(**{name: text})) == (name, Reason.MISSING_FIELD)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("id", '"5"'),
        ("id", "true"),
        ("id", "5.5"),
        ("id", "[5]"),
        ("id", "5.00000000000000000000000001"),
        ("name", "5"),
        ("name", '{"a": 1}'),
        ("category", "true"),
        ("value", '"10.00"'),
        ("value", "false"),
        ("quantity", "2.5"),
        ("quantity", '"2"'),
        ("is_active", "1"),
        ("is_active", '"true"'),
        ("created_at", "1700000000"),
        ("customer", '"Ada"'),
        ("customer", "[]"),
    ],
)
def test_another_json_type_is_a_wrong_type(name: str, text: str) -> None:
    assert refusal(record(**{name: text})) == (name, Reason.WRONG_TYPE)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("id", "-1"),
        ("id", "9223372036854775808"),
        ("id", "1e30"),
        ("id", "1e999999999"),
        ("id", "1e99999999999999999999999"),
        ("value", "-0.001"),
        ("value", "-1"),
        ("value", "99999999.995"),
        ("value", "100000000"),
        ("value", "1e400"),
        ("quantity", "-1"),
        ("quantity", "1000001"),
        ("quantity", "1" * 5000),
        ("name", '""'),
        ("name", '" \\t "'),
        ("name", '"' + "x" * 201 + '"'),
        ("extra_number", "123456789012345678901234567890"),
        ("extra_number", "-9223372036854775809"),
        ("extra_number", "1e400"),
    ],
)
def test_a_number_or_length_beyond_its_bounds_is_out_of_range(name: str, text: str) -> None:
    assert refusal(record(**{name: text})) == (name, Reason.OUT_OF_RANGE)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("name", ["id", "value", "quantity", "name", "is_active", "note"])
def test_nan_and_infinity_are_not_finite(name: str, text: str) -> None:
    assert refusal(record(**{name: text})) == (name, Reason.NOT_FINITE)


@pytest.mark.parametrize("text", ['"E"', '""', '"AB"', '"A\\u0000"', '"Ａ"'])
def test_a_category_that_is_none_of_the_four_is_unknown(text: str) -> None:
    assert refusal(record(category=text)) == ("category", UNKNOWN_CATEGORY)


@pytest.mark.parametrize(
    "text",
    [
        '"yesterday"',
        '""',
        '"2026-02-30"',
        '"2026-11-23T24:30:00Z"',
        '"2026-11-23T08:00:60Z"',
        '"0000-01-01T00:00:00Z"',
        '"10000-01-01T00:00:00Z"',
        '"0001-01-01T00:00:00+14:00"',
        '"9999-12-31T23:59:59-01:00"',
        '"2026-11-23T08:00:00\\u0000"',
        '"2026-11-23x08:00:00"',
        '"2024-01-01+02:00"',
        '"2024-01-01-05:00"',
        '"2024-W01-05:00"',
        '"2024-01-01.10:00"',
        '"2024-01-01:10:00"',
        '"2024-01-01,10:00"',
        '"2024-01-01010:00"',
        '"2024-01-01  10:00"',
        '"2024-01-01T10,5"',
        '"2024-01-01Z"',
        '"2024-01-01T10:00+"',
        '"2024-01-01\\n"',
    ],
)
def test_what_is_no_date_or_beyond_the_calendar_is_an_invalid_date(text: str) -> None:
    assert refusal(record(created_at=text)) == ("created_at", Reason.INVALID_DATE)


@pytest.mark.parametrize("character", ["\\u0000", "\\ud800", "\\udfff"])
@pytest.mark.parametrize(
    ("name", "text", "path"),
    [
        ("name", '"La%smp"', "name"),
        ("customer", '{"email": "%s"}', "customer.email"),
        ("note", '"%s"', "note"),
        ("note", '{"deep": ["x", {"y": "a%s"}]}', "note.deep.y"),
        ("customer", '{"phone": "%s"}', "customer.phone"),
    ],
)
def test_nul_and_lone_surrogates_are_forbidden_at_any_depth(name: str, text: str, path: str, character: str) -> None:
    assert refusal(record(**{name: text % character})) == (path, Reason.FORBIDDEN_TEXT)


def test_nul_and_lone_surrogates_are_forbidden_in_keys() -> None:
    assert refusal(record(note='{"a\\u0000": 1}')) == ("note.a\0", Reason.FORBIDDEN_TEXT)
    assert refusal(record(note='{"a\\ud800": 1}')) == ("note.a?", Reason.FORBIDDEN_TEXT)


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (record()[:-1] + b', "id": 1}', "id"),
        (record()[:-1] + b', "i\\u0064": 2}', "id"),
        (record(customer='{"name": "a", "name": "a"}'), "customer.name"),
        (record(note='{"a": {"b": 1, "b": 2}}'), "note.a.b"),
    ],
)
def test_a_repeated_key_is_a_duplicate_key_at_any_depth(raw: bytes, path: str) -> None:
    assert refusal(raw) == (path, Reason.DUPLICATE_KEY)


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"nonsense",
        record()[:-1],
        record()[:40],
        record() + b"x",
        record() + record(),
        record(value="010"),
        record(value="1."),
        record(value="+1"),
        record(name="'Lamp'"),
        record(name='"La\nmp"'),
        record(name='"La\x00mp"'),
        record(name='"\\x41"'),
        record().replace(b"Lamp", b"La\xffmp"),
        record().replace(b"Lamp", b"La\xed\xa0\x80mp"),
        record().replace(b"Lamp", b"La\xc0\x80mp"),
        b"\xef\xbb\xbf" + record(),
        record(note="[" * 100_000 + "]" * 100_000),
        record(note='{"a":' * 100_000 + "1" + "}" * 100_000),
        record(note="[" * 100_000),
    ],
)
def test_what_is_not_one_json_value_is_malformed(raw: bytes) -> None:
    assert refusal(raw) == (None, Reason.MALFORMED)


def test_nesting_is_accepted_up_to_64_levels() -> None:
    assert accepted(note="[" * 62 + "]" * 62).extra is not None
    assert refusal(record(note="[" * 64 + "]" * 64)) == ("note", Reason.MALFORMED)


@pytest.mark.parametrize("raw", [b"5", b'"text"', b"[1]", b"null", b"true"])
def test_a_record_that_is_no_object_is_a_wrong_type(raw: bytes) -> None:
    assert refusal(raw) == (None, Reason.WRONG_TYPE)


def test_a_line_of_ten_megabytes_is_read() -> None:
    long = "x" * 10_000_000
    assert refusal(record(name=f'"{long}"')) == ("name", Reason.OUT_OF_RANGE)
    assert json.loads(accepted(note=f'"{long}"').extra or "") == {"note": long}
