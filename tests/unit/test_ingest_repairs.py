"""What ingestion accepts in more than one form, and what it makes of it."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Clamped, Context, FloatOperation, Inexact, Rounded, Subnormal, localcontext

import pytest

from tests.unit.records_in_json import REFERENCE, accepted, record, refusal
from workbench.base.settings import PROJECT
from workbench.data.rejects import Reason


@pytest.mark.parametrize(
    ("text", "cents", "is_rounded"),
    [
        ("10", 1000, False),
        ("10.5", 1050, False),
        ("10.50000", 1050, False),
        ("1e1", 1000, False),
        ("10.005", 1001, True),
        ("10.0049999999999999999", 1000, True),
        ("10.00499999999999999999999999999999999999999999999999999999999999", 1000, True),
        ("1.005", 101, True),
        ("0.005", 1, True),
        ("0.00499", 0, True),
        ("1e-400", 0, True),
        ("1e-999999999", 0, True),
        ("0", 0, False),
        ("-0.0", 0, False),
        ("99999999.99", 9_999_999_999, False),
    ],
)
def test_values_are_rounded_half_up_from_their_decimal_text(text: str, cents: int, is_rounded: bool) -> None:
    assert accepted(value=text).cents == cents
    assert accepted(value=text).repaired == ({"value"} if is_rounded else set())


CONTEXTS = (
    Context(prec=1, rounding=ROUND_DOWN),
    Context(prec=3, Emin=-1, Emax=1, clamp=1),
    Context(traps=[Inexact, Rounded, Subnormal, Clamped, FloatOperation]),
    Context(traps=[]),
)


@pytest.mark.promise("P22", "no decimal context that a start-up file has set changes an amount")
@pytest.mark.parametrize("context", CONTEXTS)
def test_no_decimal_context_of_the_process_changes_an_amount(context: Context) -> None:
    with localcontext(context):
        for text, cents in (("12345.67", 1_234_567), ("99999999.99", 9_999_999_999), ("10.005", 1001), ("1e-400", 0)):
            assert accepted(value=text).cents == cents
        assert accepted(id="9007199254740993.0", quantity="123456.0").quantity == 123_456
        assert refusal(record(value="1e9999999999999999999"))[1] == Reason.OUT_OF_RANGE
        assert refusal(record(quantity="12345.5"))[1] == Reason.WRONG_TYPE


def test_a_default_decimal_context_of_before_the_import_changes_no_amount() -> None:
    program = (
        "import decimal; decimal.DefaultContext.prec = 2; decimal.DefaultContext.Emax = 1\n"
        "decimal.DefaultContext.traps = {each: True for each in decimal.DefaultContext.traps}\n"
        "decimal.setcontext(decimal.DefaultContext.copy())\n"
        "from tests.unit.records_in_json import accepted; print(accepted(value='12345.675').cents)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=PROJECT, check=True)
    assert done.stdout == "1234568\n"


@pytest.mark.parametrize(("text", "number"), [("5.0", 5), ("5e0", 5), ("50e-1", 5), ("0.0", 0), ("-0", 0)])
def test_an_integer_may_be_written_with_a_fraction_of_zero(text: str, number: int) -> None:
    assert accepted(quantity=text).quantity == number
    assert accepted(id="9007199254740993.0").id == 9_007_199_254_740_993


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        (None, REFERENCE),
        ("null", REFERENCE),
        ('"2026-11-23T10:00:00+02:00"', REFERENCE),
        ('"2026-11-23T08:00:00"', REFERENCE),
        ('"2026-11-23 08:00:00z"', REFERENCE),
        ('"20261123T080000Z"', REFERENCE),
        ('"2026-11-23"', REFERENCE.replace(hour=0)),
        ('"2026-11-23T08:00:00.1234567Z"', REFERENCE.replace(microsecond=123_456)),
        ('"0001-01-01T00:00:00Z"', datetime(1, 1, 1, tzinfo=UTC)),
        ('"9999-12-31T23:59:59.999999Z"', datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_dates_are_iso_8601_and_utc_without_offset(text: str | None, moment: datetime) -> None:
    assert accepted(created_at=text).created_at == moment
    assert accepted(created_at=text).created_at.utcoffset() == REFERENCE.utcoffset()


def test_padded_and_lower_case_text_is_repaired_and_noted() -> None:
    repaired = accepted(name='"  Lamp\\n"', category='" b "')
    assert (repaired.name, repaired.category, repaired.repaired) == ("Lamp", "B", {"name", "category"})
    assert accepted(name='"' + " " * 300 + "x" * 200 + '"').name == "x" * 200


def test_absent_optional_fields_take_their_defaults() -> None:
    plain = accepted()
    assert (plain.is_active, plain.customer_name, plain.extra) == (True, None, None)
    assert accepted(is_active="null", customer="null") == plain
    assert accepted(customer="{}") == plain
    assert accepted(customer='{"name": null, "country": ""}').customer_country == ""


def test_unknown_fields_are_kept_exactly() -> None:
    kept = accepted(
        size='{"b": 1.10, "a": [1E5, -0, 18446744073709551615, 0.1000000000000000055511151231257827]}',
        customer='{"name": "Ada", "age": 36}',
        emoji='"\\ud83d\\ude00"',
        nothing="null",
    )
    assert kept.customer_name == "Ada"
    assert kept.extra == (
        '{"size":{"b":1.10,"a":[1E5,-0,18446744073709551615,0.1000000000000000055511151231257827]},'
        '"emoji":"😀","nothing":null,"customer":{"age":36}}'
    )
