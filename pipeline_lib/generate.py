"""Stage 1: make records of products and customers as one JSON file, the same bytes for the same parameters.

Distinct values a field can take: `id` as many as there are records; `name` at most 4,096; `category` 4;
`value` 99,001 (10.00 to 1000.00 in cents); `quantity` 100; `is_active` 2; `created_at` 2,592,000 (the seconds of
30 days); `customer` 3,072 people, each with one mail address and one of at most 250 countries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import polars as pl

from pipeline_lib.parameters import GenerateParameters
from pipeline_lib.record import CATEGORIES
from pipeline_lib.record_blocks import (
    SEPARATORS,
    Block,
    block_count,
    make_block,
    reference_second,
)
from pipeline_lib.vocabulary import Vocabulary, vocabulary_of
from workbench.base.durable_files import written_whole
from workbench.stage.artefacts import StageResult
from workbench.stage.progress import Progress, silent

GENERATED_FILES = {"jsonl": "records.jsonl", "array": "records.json"}
"""The name of the file, by `input_format`."""


def generate(parameters: GenerateParameters, folder: Path, progress: Progress = silent) -> StageResult:
    """Write `records.jsonl` (or `records.json`, an array) into `folder`, a block of 65,536 records at a time.

    Memory stays flat. `details`: `defects` by kind and `distinct` values per field drawn from a vocabulary.
    Raises `InvalidParameter` for an empty reference time.
    """
    check(parameters)
    blocks = (make_block(parameters, number) for number in range(block_count(parameters.records)))
    return write_blocks(parameters, folder, blocks, progress)


def is_distributed(parameters: GenerateParameters) -> bool:
    """Return whether Spark makes the records, because there are so many (`generate_on_spark`, the same bytes)."""
    return parameters.records > parameters.distributed_threshold


def check(parameters: GenerateParameters) -> None:
    """Refuse before anything is written: raises `InvalidParameter` for an open reference time."""
    reference_second(parameters)


def write_blocks(
    parameters: GenerateParameters, folder: Path, blocks: Iterable[Block], progress: Progress = silent
) -> StageResult:
    """Write the blocks in the order given, whole or not at all, and count what is in them."""
    name, total = GENERATED_FILES[parameters.input_format], parameters.records
    done, defects = 0, Counter[str]()
    with written_whole(folder / name) as file:
        _open_array(file, parameters)
        for block in blocks:
            done += block.records
            _write_block(file, block, parameters, is_last=done == total)
            defects.update(block.defects)
            progress(done, total)
    return StageResult({"generated": done}, {name: done}, {"defects": dict(defects), "distinct": distinct(parameters)})


def distinct(parameters: GenerateParameters) -> dict[str, int]:
    """Return how many different values the fields with a vocabulary can take."""
    words = vocabulary_of(parameters.locale, parameters.seed)
    return {
        "name": len(words.products),
        "category": len(CATEGORIES),
        "customer": len(words.customers),
        "country": words.countries,
    }


def vocabulary_sample(parameters: GenerateParameters, rows: int = 8) -> pl.DataFrame:
    """Return the first products and customers as a table to look at: product, customer, email, country."""
    words: Vocabulary = vocabulary_of(parameters.locale, parameters.seed)
    people = words.customers[:rows]
    return pl.DataFrame(
        {
            "product": words.products[:rows],
            "customer": [person.name for person in people],
            "email": [person.email for person in people],
            "country": [person.country for person in people],
        }
    )


def first_lines(path: Path, rows: int = 5) -> list[str]:
    """Return the first lines of the generated file, each cut at 500 characters."""
    with path.open(encoding="utf-8") as file:
        return [line.rstrip("\n")[:500] for line, _ in zip(file, range(rows), strict=False)]


def _open_array(file: IO[bytes], parameters: GenerateParameters) -> None:
    if parameters.input_format == "array":
        file.write(b"[\n")


def _write_block(file: IO[bytes], block: Block, parameters: GenerateParameters, is_last: bool) -> None:
    if is_last and parameters.input_format == "array":
        file.write(block.text[: -len(SEPARATORS["array"])])
        file.write(b"\n]\n")
    else:
        file.write(block.text)
