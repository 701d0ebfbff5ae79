"""Spark makes the very bytes that one process makes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline_lib.generate import generate
from pipeline_lib.generate_spark import generate_on_spark
from pipeline_lib.parameters import GenerateParameters
from workbench.base.errors import InvalidParameter

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def parameters(**changes: object) -> GenerateParameters:
    values = {"records": 150_000, "defect_rate": 0.05, "reference_time": "2026-11-23T08:00:00+00:00", **changes}
    return GenerateParameters.model_validate(values)


@pytest.mark.parametrize("input_format", ["jsonl", "array"])
def test_spark_makes_the_same_bytes_and_leaves_nothing_else(
    input_format: str, spark: SparkSession, tmp_path: Path
) -> None:
    chosen = parameters(input_format=input_format)
    told: list[tuple[int, int | None]] = []
    alone = generate(chosen, tmp_path / "alone")
    spread = generate_on_spark(spark, chosen, tmp_path / "spread", lambda done, total: told.append((done, total)))
    assert spread == alone
    (name,) = alone.files
    assert [path.name for path in (tmp_path / "spread").iterdir()] == [name]
    assert (tmp_path / "spread" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    assert told[-1] == (150_000, 150_000)


def test_code_can_be_shipped_twice_in_one_session(spark: SparkSession, tmp_path: Path) -> None:
    small = parameters(records=10)
    assert generate_on_spark(spark, small, tmp_path) == generate_on_spark(spark, small, tmp_path)


def test_spark_refuses_an_open_clock_before_any_work(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="reference_time"):
        generate_on_spark(spark, parameters(reference_time=""), tmp_path / "out")
    assert not (tmp_path / "out").exists()
