"""What a person may choose about each of the five stages: names, defaults, bounds and descriptions, written once.

The `parameters` cell of each notebook repeats names, types and defaults (a test compares them).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from workbench.stage.parameter_types import InputFile, ReferenceTime, StageParameters, counted_in

_LOCALE = "en_US"


def _known_locale(text: str) -> str:
    """Refuse what Faker does not know; importing it costs 0.1 s, which the default is spared."""
    if text == _LOCALE:
        return text
    from faker.config import AVAILABLE_LOCALES

    if text not in AVAILABLE_LOCALES:
        known = ", ".join(sorted(each for each in AVAILABLE_LOCALES if "_" in each))
        raise ValueError(f"must be one that Faker knows: {known}")
    return text


class GenerateParameters(StageParameters):
    """Stage 1: how many records, how random, how broken."""

    records: Annotated[
        int, counted_in("records"), Field(ge=1, le=100_000_000, description="how many records to make")
    ] = 10_000
    seed: Annotated[int, Field(ge=0, le=2**32 - 1, description="same seed and reference time: same bytes")] = 42
    defect_rate: Annotated[
        float, counted_in("share"), Field(ge=0, le=1, description="share of records made defective on purpose")
    ] = 0.0
    locale: Annotated[
        str,
        Field(pattern=r"^[a-z]{2,3}_[A-Z]{2}$", description="Faker locale of names and products"),
        AfterValidator(_known_locale),
    ] = _LOCALE
    input_format: Annotated[Literal["jsonl", "array"], Field(description="JSON Lines, or one JSON array")] = "jsonl"
    distributed_threshold: Annotated[
        int, counted_in("records"), Field(ge=1, description="above this many records the generator runs on Spark")
    ] = 5_000_000
    reference_time: ReferenceTime = ""


class IngestParameters(StageParameters):
    """Stage 2: what to read and how much of it may be defective."""

    input_file: InputFile = ""
    max_reject_rate: Annotated[
        float,
        counted_in("share"),
        Field(ge=0, le=1, description="share of rejected records above which the run fails"),
    ] = 0.1
    allow_empty: Annotated[bool, Field(description="complete also when no record is accepted")] = False
    reference_time: ReferenceTime = ""


class ProcessParameters(StageParameters):
    """Stage 3: how Spark cuts the work."""

    partitions: Annotated[
        int,
        counted_in("partitions"),
        Field(ge=0, le=10_000, description="Spark partitions of the result; 0: one per 250,000 records"),
    ] = 0
    reference_time: ReferenceTime = ""


class TransformParameters(StageParameters):
    """Stage 4: how dbt runs."""

    dbt_threads: Annotated[
        int, counted_in("threads"), Field(ge=1, le=64, description="dbt models built at the same time")
    ] = 4
    reference_time: ReferenceTime = ""


class ExportParameters(StageParameters):
    """Stage 5: what the output looks like."""

    export_format: Annotated[
        Literal["json", "jsonl", "csv", "parquet"], Field(description="format of the output file")
    ] = "json"
    compression: Annotated[Literal["none", "gzip", "zstd"], Field(description="compression of the output file")] = (
        "none"
    )
    csv_bom: Annotated[bool, Field(description="begin CSV with a byte order mark, for spreadsheets")] = False
