"""The parameter models: what they refuse, what they coerce, and how they say it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.parameters import GenerateParameters
from pipeline_lib.record_blocks import make_block
from workbench.base.errors import InvalidParameter
from workbench.stage.pipeline import STAGE_NAMES
from workbench.stage.run_parameters import STAGE_PARAMETERS, RunParameters

MOMENTS = st.datetimes(
    min_value=datetime(1970, 1, 2),
    max_value=datetime(2199, 1, 1),
    timezones=st.just(UTC) | st.just(timezone(timedelta(hours=5, minutes=30))),
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("records", 0),
        ("records", 100_000_001),
        ("seed", -1),
        ("seed", 2**32),
        ("defect_rate", 1.01),
        ("defect_rate", float("nan")),
        ("locale", "english"),
        ("locale", "xx_XX"),
        ("input_format", "xml"),
        ("input_file", "a\x00b"),
        ("input_file", "a\nb"),
        ("input_file", "a\x1b[2Jb"),
        ("input_file", "a\x85b"),
        ("input_file", "a\u2028b"),
        ("input_file", "a\u2029b"),
        ("input_file", "a\udcffb"),
        ("max_reject_rate", -0.1),
        ("partitions", 10_001),
        ("dbt_threads", 0),
        ("export_format", "xlsx"),
        ("compression", "rar"),
        ("stage_timeout", 0),
        ("reference_time", "yesterday"),
        ("reference_time", "2024-01-01+02:00"),
        ("reference_time", "2024-01-01-05:00"),
        ("reference_time", "2024-01-01.10:00"),
        ("reference_time", "2024-01-01_10:00"),
        ("reference_time", "0001-01-01T00:00:00+14:00"),
        ("reference_time", "0001-06-01"),
        ("reference_time", "0002-01-01T00:59:59+01:00"),
        ("reference_time", "9999-12-31T23:59:59-01:00"),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_its_name(name: str, value: object) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        RunParameters.checked({name: value})
    assert refusal.value.field == name
    assert str(refusal.value).startswith(f"parameter {name}: ")
    assert refusal.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "bounds"), [("records", (1, 100_000_000)), ("seed", (0, 2**32 - 1)), ("defect_rate", (0, 1))]
)
def test_both_bounds_themselves_are_accepted(name: str, bounds: tuple[int, int]) -> None:
    assert [getattr(RunParameters.checked({name: bound}), name) for bound in bounds] == list(bounds)


def test_a_text_of_a_terminal_becomes_a_number() -> None:
    parameters = RunParameters.checked({"records": "500", "defect_rate": "0.05"})
    assert (parameters.records, parameters.defect_rate) == (500, 0.05)


@pytest.mark.parametrize("text", ["ten", "", "1.5", "1e400", "0x10"])
def test_a_text_that_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match="parameter records: "):
        RunParameters.checked({"records": text})


NUMBERS = [name for name, field in RunParameters.model_fields.items() if field.annotation in (int, float)]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [True, False])
def test_true_and_false_are_no_numbers(name: str, value: bool) -> None:
    for model in (RunParameters, *STAGE_PARAMETERS.values()):
        if name in model.model_fields:
            with pytest.raises(InvalidParameter, match=f"parameter {name}: must be a number, not '{value}'"):
                model.checked({name: value})


def test_an_unknown_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(InvalidParameter, match=r"parameter recrods: there is no such parameter; .*\brecords\b"):
        RunParameters.checked({"recrods": 5})


@given(MOMENTS)
def test_a_reference_time_is_kept_as_the_same_moment_in_utc(moment: datetime) -> None:
    kept = datetime.fromisoformat(RunParameters.checked({"reference_time": moment.isoformat()}).reference_time)
    assert kept == moment
    assert kept.utcoffset() == timedelta(0)


def test_a_reference_time_without_offset_is_utc() -> None:
    assert (
        RunParameters.checked({"reference_time": "2026-01-02T03:04:05"}).reference_time == "2026-01-02T03:04:05+00:00"
    )


@pytest.mark.parametrize(
    "text", ["2026-01-02T03:04:05Z", "2026-01-02t05:04:05+02:00", "20260102 030405,0", "2026-W01-5T03:04:05z"]
)
def test_a_reference_time_is_read_as_a_record_s_date_is(text: str) -> None:
    assert RunParameters.checked({"reference_time": text}).reference_time == "2026-01-02T03:04:05+00:00"


def test_a_reference_time_without_room_for_the_days_before_it_says_so() -> None:
    with pytest.raises(InvalidParameter, match="reference_time: must leave room for the 30 days before it: year 2"):
        RunParameters.checked({"reference_time": "0001-12-31T23:59:59"})


@pytest.mark.parametrize("text", ["0002-01-01T00:00:00", "9999-12-31T23:59:59.999999"])
def test_the_first_and_last_reference_times_are_such_that_records_can_be_made(text: str) -> None:
    parameters = GenerateParameters.checked({"reference_time": text, "records": 5})
    assert len(bytes(make_block(parameters, 0).text).splitlines()) == 5


@pytest.mark.parametrize("between", ["\u00a0", "\u202f", "\u3000", "\u00ad", "\u200d", "\ue000", "ä", "😀"])
def test_a_file_may_be_named_with_any_character_that_is_no_control_character(between: str) -> None:
    name = f"Screenshot 8.00{between}AM.json"
    assert RunParameters.checked({"input_file": name}).input_file == name


def test_an_empty_reference_time_becomes_the_start_of_the_run() -> None:
    start = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert RunParameters().started_at(start).reference_time == start.isoformat()


def test_a_given_reference_time_outlasts_the_start_of_the_run() -> None:
    given_time = RunParameters.checked({"reference_time": "2020-01-01"})
    assert given_time.started_at(datetime.now(UTC)) == given_time


@given(st.integers(1, 10**8), st.floats(0, 1), st.integers(0, 10_000))
def test_a_stage_takes_its_slice_and_nothing_else(records: int, rate: float, partitions: int) -> None:
    run = RunParameters(records=records, defect_rate=rate, partitions=partitions)
    for stage, model in STAGE_PARAMETERS.items():
        values = run.for_stage(stage).model_dump()
        assert set(values) == set(model.model_fields)
        assert values == {name: getattr(run, name) for name in values}


def test_what_a_row_holds_is_taken_as_it_is_with_defaults_for_what_came_later() -> None:
    stored = {"records": 5, "of_an_older_model": 1}
    assert RunParameters.trusted(stored) == RunParameters(records=5)


def test_the_stages_and_the_run_know_the_same_defaults() -> None:
    for stage in STAGE_NAMES:
        assert RunParameters().for_stage(stage) == STAGE_PARAMETERS[stage]()


def test_every_parameter_is_described() -> None:
    assert all(field.description for field in RunParameters.model_fields.values())
