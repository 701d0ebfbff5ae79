"""What an input that is refused as a whole is told: what was found, what was wanted, and nothing that may be secret."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tests.unit.json_files import LINES, ingested, rejects
from workbench.base.errors import InputRejected, InputUnreadable, NothingAccepted, TooManyRejects

FOREIGN = [{"sku": f"A-{number}", "price": 9.5, "api_key": "canary-71f0", "tags": ["x"]} for number in range(40)]
SECRET = "canary-5b1e9d"
KEY = "-----BEGIN PRIV" + f"ATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n"


def refusal(folder: Path, content: bytes, max_reject_rate: float = 1.0) -> InputRejected:
    with pytest.raises(InputRejected) as caught:
        ingested(folder, content, max_reject_rate)
    assert "\n" not in str(caught.value)
    return caught.value


def lines(records: list[dict[str, object]]) -> bytes:
    return "\n".join(map(json.dumps, records)).encode()


def test_an_input_of_which_no_record_is_accepted_is_refused_at_any_rate_unless_it_is_asked_for(tmp_path: Path) -> None:
    told = refusal(tmp_path, lines(FOREIGN))
    assert isinstance(told, NothingAccepted)
    assert "max_reject_rate allows more" not in str(told)
    assert not (tmp_path / "out" / "dataset.parquet").exists()
    assert len(rejects(tmp_path)) == 40
    result = ingested(tmp_path, lines(FOREIGN), allow_empty=True)
    assert result.counts == {"read": 40, "ingested": 0, "rejected": 40}


@pytest.mark.parametrize("content", [b"", b"[]", b"\n \n", gzip.compress(b"", mtime=0)])
def test_a_file_without_a_record_is_no_failure_when_that_is_asked_for(content: bytes, tmp_path: Path) -> None:
    result = ingested(tmp_path, content, max_reject_rate=0, allow_empty=True)
    assert result.counts == {"read": 0, "ingested": 0, "rejected": 0}


def test_an_empty_result_that_is_allowed_is_still_bound_to_the_reject_rate(tmp_path: Path) -> None:
    with pytest.raises(TooManyRejects):
        ingested(tmp_path, lines(FOREIGN), max_reject_rate=0.5, allow_empty=True)


@pytest.mark.parametrize("rate", [0.1, 1.0])
def test_records_of_another_kind_are_told_all_fields_found_and_wanted_and_the_first_record(
    rate: float, tmp_path: Path
) -> None:
    told = str(refusal(tmp_path, lines(FOREIGN), rate))
    assert "first: line 1, field 'id': missing_field" in told
    assert "fields found: sku, price, api_key, tags;" in told
    assert "wanted: id, name, category, value, quantity, and may be is_active, created_at, customer;" in told
    assert 'the record: {"sku": "A-0", "price": 9.5, "api_key": "***", "tags": []};' in told


def test_the_first_record_is_cut_and_printable(tmp_path: Path) -> None:
    wide = {f"field {number} \x1b[31m" + "x" * 500: "\x1b]0;title\x07" + "y" * 500 for number in range(300)}
    told = str(refusal(tmp_path, lines([wide])))
    assert len(told) < 2_000
    assert told.isprintable()
    assert "and 280 more" in told


def test_rejects_that_are_only_some_of_the_records_say_nothing_of_fields(tmp_path: Path) -> None:
    told = str(refusal(tmp_path, LINES + b'\n{"id": 7}', 0.0))
    assert "max_reject_rate allows more" in told
    assert "fields found" not in told


@pytest.mark.parametrize(
    ("wrapped", "path"),
    [
        ({"data": FOREIGN}, "data"),
        ({"count": 40, "next": None, "items": FOREIGN}, "items"),
        ({"response": {"meta": {"tags": ["a"]}, "rows": FOREIGN}}, "response.rows"),
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_inside_of_an_object_is_named_by_its_key(
    wrapped: dict[str, object], path: str, indent: int | None, tmp_path: Path
) -> None:
    told = str(refusal(tmp_path, json.dumps(wrapped, indent=indent).encode()))
    assert f"holds an array, {path!r}: give that array, or JSON Lines (jq -c '.{path}[]')" in told


@pytest.mark.parametrize("indent", [1, None])
def test_an_object_of_more_than_a_mebibyte_over_several_lines_is_one_record(indent: int | None, tmp_path: Path) -> None:
    wrapped = json.dumps({"items": FOREIGN * 420}, indent=indent).replace("[", "[\n").encode()
    assert len(wrapped) > 1_200_000
    told = str(refusal(tmp_path, wrapped))
    assert "holds an array, 'items': give that array" in told
    assert "1 of 1 " in told or "no record of 1 " in told


@pytest.mark.promise("S17", "a message about an input that is no JSON quotes nothing of it")
@pytest.mark.parametrize(
    "content",
    [
        f"root:$6${SECRET}:19000:0:99999:7:::\ndaemon:*:19000::::::\n",
        KEY,
        f"PASSWORD={SECRET}\nOTHER=1\n",
        f"server {{\n  password {SECRET};\n}}\n{{{SECRET}}}\n",
        f"{{ {SECRET}\n",
        f"[{SECRET}, {SECRET}]",
        f"{{'password': '{SECRET}'}}\n" * 50,
        SECRET + "\0\1\2",
    ],
)
@pytest.mark.parametrize("rate", [0.1, 1.0])
def test_a_file_that_is_no_json_is_quoted_nowhere(content: str, rate: float, tmp_path: Path) -> None:
    told = refusal(tmp_path, content.encode(), rate)
    assert isinstance(told, InputUnreadable)
    assert SECRET[:6] not in str(told)
    assert list((tmp_path / "out").glob("*")) == []


def test_a_json_file_of_credentials_does_not_come_out_in_the_message(tmp_path: Path) -> None:
    account = {"type": "service_account", "private_key_id": "1", "private_key": KEY, "auths": {"x": {"auth": SECRET}}}
    assert SECRET not in str(refusal(tmp_path, json.dumps(account).encode()))
