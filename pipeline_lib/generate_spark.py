"""Stage 1 for more records than one machine should make: the blocks of `generate`, made by Spark, the same bytes."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

import pipeline_lib
import workbench
from pipeline_lib.generate import check, write_blocks
from pipeline_lib.parameters import GenerateParameters
from pipeline_lib.record_blocks import Block, block_count, make_block
from workbench.base.durable_files import written_whole
from workbench.base.errors import ServiceUnavailable
from workbench.data.spark_files import limit_retries, spark_errors_translated, watched
from workbench.stage.artefacts import StageResult
from workbench.stage.progress import Progress, silent

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_MADE = "number long, records long, defects string"
_FIRST_DATE = (1980, 1, 1, 0, 0, 0)


def generate_on_spark(
    spark: SparkSession, parameters: GenerateParameters, folder: Path, progress: Progress = silent
) -> StageResult:
    """Write what `generate` writes: each Spark task makes one block, the blocks are joined here in their order.

    `folder` must be on storage that Spark's workers share with this machine. Raises `InvalidParameter` as
    `generate` does, `ServiceUnavailable` when Spark does not answer or the workers' files do not arrive here.
    """
    check(parameters)
    limit_retries(spark)
    parts = folder.absolute() / "blocks"
    shutil.rmtree(parts, ignore_errors=True)
    parts.mkdir(parents=True)
    try:
        with spark_errors_translated(folder), watched(spark, parameters.records, progress):
            ship_code(spark)
            made = make_parts(spark, parameters, parts)
        return write_blocks(parameters, folder, read_parts(parts, made))
    finally:
        shutil.rmtree(parts, ignore_errors=True)


def make_parts(spark: SparkSession, parameters: GenerateParameters, parts: Path) -> Mapping[int, Block]:
    """Have every block written to a file of its own; returns records and defects by block number, without text."""

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column("id").to_pylist():
                yield _write_part(parameters, parts, number)

    count = block_count(parameters.records)
    rows = spark.range(0, count, 1, numPartitions=count).mapInArrow(write, _MADE).collect()
    return {row.number: Block(memoryview(b""), row.records, json.loads(row.defects)) for row in rows}


def read_parts(parts: Path, made: Mapping[int, Block]) -> Iterator[Block]:
    """Yield the blocks with their text, in order, one in memory at a time."""
    for number in sorted(made):
        path = _part(parts, number)
        try:
            text = memoryview(path.read_bytes())
        except FileNotFoundError as error:
            hint = "WORKBENCH_HOME must be on storage that this machine shares with Spark's workers"
            raise ServiceUnavailable(f"Spark wrote {path}, but it is not here; {hint}") from error
        yield Block(text, made[number].records, made[number].defects)
        path.unlink()


def ship_code(spark: SparkSession) -> None:
    """Send our packages to Spark's workers, so that they run the very code that runs here."""
    packages = [Path(str(package.__file__)).parent for package in (pipeline_lib, workbench)]
    with tempfile.TemporaryDirectory() as temporary:
        archive = Path(temporary) / "pipeline_lib.zip"
        with zipfile.ZipFile(archive, "w") as file:
            for package in packages:
                for source in sorted(package.rglob("*.py")):
                    name = source.relative_to(package.parent).as_posix()
                    file.writestr(zipfile.ZipInfo(name, _FIRST_DATE), source.read_bytes())
        spark.addArtifacts(str(archive), pyfile=True)


def _write_part(parameters: GenerateParameters, parts: Path, number: int) -> pa.RecordBatch:
    block = make_block(parameters, number)
    with written_whole(_part(parts, number)) as file:
        file.write(block.text)
    columns = {"number": [number], "records": [block.records], "defects": [json.dumps(dict(block.defects))]}
    return pa.RecordBatch.from_pydict(columns)


def _part(parts: Path, number: int) -> Path:
    return parts / f"{number:06}"
