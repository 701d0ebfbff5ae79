"""The fast path and the exact path of ingestion give the same answer for every record."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline_lib.fast_validation import frame_of, screen
from pipeline_lib.validation import validate
from workbench.data.dataset_file import DENSE_IDS, SeenIds
from workbench.data.rejects import RecordRejected

REFERENCE = datetime(2026, 11, 23, 8, tzinfo=UTC)

OFFSETS = st.integers(-840, 840).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1, 1, 1), timezones=st.one_of(st.none(), st.just(UTC), OFFSETS))
TEXTS = st.one_of(
    st.text(max_size=8), st.sampled_from(["", " ", "\0", "\ud800", 'a"b', "\\u0000", "x" * 200, "ä" * 201])
)
NUMBERS = st.one_of(
    st.integers(-2, 120).map(str),
    st.decimals(-1, 100_000_000, places=2).map(str),
    st.decimals(0, 1000, places=3).map(str),
    st.floats().map(json.dumps),
    st.sampled_from(["5.0", "1e2", "-0", "0.005", "10.00499999999999999999", "99999999.99", "99999999.994", "9" * 19]),
    st.sampled_from([str(2**63 - 1), str(2**63), "01", "1.", "9007199254740993", "5.00000000000000000001"]),
)
DATES = st.one_of(
    MOMENTS.map(lambda moment: json.dumps(moment.isoformat())),
    st.sampled_from(
        [
            '"2026-11-23T08:00:00Z"',
            '"2026-02-30T08:00:00Z"',
            '"2016-12-31T23:59:60Z"',
            '"2026-11-23T08:00:00.1234567Z"',
            '"2026-11-23T08:00:00.5+05:30"',
            '"2026-11-23T08:00:00+24:00"',
            '"0000-01-01T00:00:00Z"',
            '"0001-01-01T00:00:00+01:00"',
            '"9999-12-31T23:59:59-01:00"',
            '"2026-11-23T08:00:00"',
            '"2026-11-23T08:00:00z"',
            '"2026-11-23"',
            '"2026-11-23+02:00"',
            '"2026-11-23-05:00"',
            '"2026-11-23.10:00"',
            '"2026-11-23 08:00:00+00:00"',
            '"2026-11-23t08:00:00+00:00"',
        ]
    ),
)
JSON_TEXTS = TEXTS.flatmap(
    lambda text: st.sampled_from([json.dumps(text), json.dumps(text, ensure_ascii=not text.isprintable())])
)
CUSTOMERS = st.dictionaries(st.sampled_from(["name", "email", "country", "age"]), JSON_TEXTS, max_size=4).map(
    lambda parts: "{" + ",".join(f'"{name}":{text}' for name, text in parts.items()) + "}"
)
CATEGORIES = st.sampled_from(['"A"', '"D"', '"a"', '" B"', '"E"', '"\\u0041"'])
ANY = st.one_of(JSON_TEXTS, NUMBERS, CUSTOMERS, st.sampled_from(["null", "true", "[]", "NaN", "{"]))
VALUES = {
    "id": NUMBERS,
    "name": JSON_TEXTS,
    "category": CATEGORIES,
    "value": NUMBERS,
    "quantity": NUMBERS,
    "is_active": st.sampled_from(["true", "false", "null"]),
    "created_at": DATES,
    "customer": CUSTOMERS,
}
SOUND = {
    "id": "7",
    "name": '"Lamp"',
    "category": '"C"',
    "value": "12.50",
    "quantity": "3",
    "is_active": "false",
    "created_at": '"2026-11-20T01:02:03+00:00"',
    "customer": '{"name":"Ada","email":"ada@example.com","country":"GB"}',
}


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """A sound record with a few fields changed, dropped, repeated or added."""
    fields = list(SOUND.items())
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 3]))):
        name = draw(st.sampled_from([*SOUND, "note"]))
        text = draw(st.one_of(VALUES.get(name, ANY), VALUES.get(name, ANY), ANY))
        change = draw(st.sampled_from(["change", "change", "drop", "repeat"]))
        if change != "repeat":
            fields = [field for field in fields if field[0] != name]
        if change != "drop":
            fields.insert(draw(st.integers(0, len(fields))), (name, text))
    gap = draw(st.sampled_from(["", " ", "\r\n"]))
    body = ",".join(f'{gap}"{name}":{gap}{text}' for name, text in fields)
    return f"{{{body}{gap}}}{gap}".encode("utf-8", errors="surrogatepass")


def _written(fields: dict[str, str]) -> bytes:
    return ("{" + ", ".join(f'"{name}": {text}' for name, text in fields.items()) + "}").encode()


@given(records())
@example(b'{"id":7,"name":"L","category":"C","value":1.5,"quantity":3,"id":8}')
@example(b'{"id":7,"id":8,"name":"L","category":"C","value":1.5,"quantity":3,"is_active":true}')
@settings(max_examples=1_500, deadline=None)
def test_what_the_fast_path_takes_the_exact_path_accepts_unrepaired_and_equal(raw: bytes) -> None:
    clean, doubtful = screen([raw], REFERENCE)
    assert len(clean) + len(doubtful) == 1
    if len(clean):
        record = validate(raw, REFERENCE)
        assert record.repaired == frozenset()
        assert clean.equals(frame_of([0], [record]))


@given(st.text("0123456789-+:.,TtZz W", min_size=1, max_size=2), st.integers(10, 19))
@settings(max_examples=500, deadline=None)
def test_a_date_with_other_characters_in_it_is_the_same_moment_on_both_paths_or_refused(text: str, at: int) -> None:
    sound = SOUND["created_at"].strip('"')
    fields = {**SOUND, "created_at": json.dumps(sound[:at] + text + sound[at + 1 :])}
    raw = _written(fields)
    clean, doubtful = screen([raw], REFERENCE)
    try:
        expected = frame_of([0], [validate(raw, REFERENCE)])
    except RecordRejected:
        assert doubtful == [0]
    else:
        assert doubtful == [0] or clean.equals(expected)


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_no_bytes_whatever_raise_anything_but_a_reject(raw: bytes) -> None:
    assert screen([raw], REFERENCE)[1] == [0]
    with pytest.raises(RecordRejected):
        validate(raw, REFERENCE)


def test_the_usual_record_takes_the_fast_path() -> None:
    usual = _written(SOUND)
    bare = _written({name: SOUND[name] for name in ("quantity", "value", "category", "name", "id")})
    escaped = usual.replace(b"Lamp", b"L\\u00e4mp\\n\\u00e4")
    assert screen([usual, bare, escaped, b"{}"], REFERENCE)[1] == [3]


@given(
    st.lists(
        st.lists(st.one_of(st.integers(0, 40), st.integers(DENSE_IDS - 5, DENSE_IDS + 5), st.integers(0, 2**63 - 1)))
    )
)
@settings(deadline=None)
def test_an_id_is_new_exactly_once(batches: list[list[int]]) -> None:
    seen, expected = SeenIds(), set[int]()
    for batch in batches:
        is_new = seen.add(np.array(batch, dtype=np.int64))
        for number, new in zip(batch, is_new.tolist(), strict=True):
            assert new == (number not in expected)
            expected.add(number)
