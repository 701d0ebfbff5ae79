"""Stage 2: read a JSON file of any size and sort its records into the validated dataset and the rejects.

Two paths give one answer: `fast_validation` takes the provably clean records fast, `validation` decides all others.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import polars as pl

from pipeline_lib.fast_validation import frame_of, screen
from pipeline_lib.parameters import IngestParameters
from pipeline_lib.record import DATASET, DATASET_SCHEMA, OPTIONAL_FIELDS, REQUIRED_FIELDS, as_dataset
from pipeline_lib.validation import Record, validate
from workbench.base.durable_files import written_whole
from workbench.base.errors import InputEmpty, InputRejected, InvalidParameter
from workbench.data.dataset_file import DatasetFile, SeenIds
from workbench.data.input_file import open_source
from workbench.data.input_refusal import Outcome, check_accepted, check_is_json
from workbench.data.json_stream import Batch, RecordStream, detect
from workbench.data.rejects import REJECTS, Reason, RecordRejected, Reject, RejectFile
from workbench.stage.artefacts import COUNTED, Counted, StageResult
from workbench.stage.progress import Progress, silent

REPAIRABLE = ("name", "category", "value")


def ingest(parameters: IngestParameters, source: Path, folder: Path, progress: Progress = silent) -> StageResult:
    """Read `source` (JSON Lines, arrays and objects in a row, own exports; plain, gzip or zstd) into `folder`.

    Writes `dataset.parquet` and `rejects.jsonl`; every record ends in one of them. `details`: `rejects_by_reason`,
    `repaired` (records per repaired field) and `source`, an own input file with the sha256 of the bytes that were
    read. Raises `InputUnreadable`, `InputEmpty` or, with rejects.jsonl and the counts kept, `TooManyRejects` and
    `NothingAccepted`; `InvalidParameter` for an empty reference time.
    """
    stream = detect(open_source(source), parameters.allow_empty)
    (folder / COUNTED).unlink(missing_ok=True)
    with written_whole(folder / DATASET) as accepted_file:
        with (
            written_whole(folder / REJECTS) as rejects_file,
            DatasetFile(accepted_file, DATASET_SCHEMA, as_dataset) as dataset,
        ):
            sorting = Sorting(_reference(parameters), dataset, RejectFile(rejects_file, stream.layout.unit))
            sorting.digest = hashlib.sha256() if parameters.input_file else None
            sort_records(stream, sorting, progress)
            outcome = Outcome(source, folder, sorting.read, sorting.rejects, REQUIRED_FIELDS, OPTIONAL_FIELDS)
            if sorting.read == 0 and not parameters.allow_empty:
                raise InputEmpty(f"{source}: holds no record; allow_empty lets a run complete without one")
            check_is_json(outcome)
        try:
            check_accepted(outcome, parameters.max_reject_rate, parameters.allow_empty)
        except InputRejected:
            _counted(sorting).write(folder)
            raise
    return _result(stream, sorting)


@dataclass
class Sorting:
    """The state of one ingestion: clock, both outputs, ids seen, counts, hash of the file (of an own one)."""

    reference: datetime
    dataset: DatasetFile
    rejects: RejectFile
    seen: SeenIds = field(default_factory=SeenIds)
    read: int = 0
    digest: hashlib._Hash | None = None
    repaired: Counter[str] = field(default_factory=Counter)

    def take(self, batch: Batch) -> None:
        """Sort one batch of records, in order."""
        clean, doubtful = screen(batch.texts, self.reference)
        records, refused = self._validated(batch, doubtful)
        accepted = self._merged(clean, records)
        is_new = self.seen.add(accepted["id"].to_numpy())
        refused |= {
            index: RecordRejected(Reason.DUPLICATE_ID, "id") for index in accepted.filter(~pl.Series(is_new))["index"]
        }
        self._count_repairs(records, refused)
        self.dataset.add(accepted.filter(pl.Series(is_new, dtype=pl.Boolean)))
        for index in sorted(refused):
            why = refused[index]
            self.rejects.add(Reject(batch.numbers[index], why.field, why.reason, batch.texts[index]))
        self.read += len(batch.texts)

    def add_bytes(self, piece: bytes) -> None:
        """Add a piece of the file to its hash, if one is computed."""
        if self.digest:
            self.digest.update(piece)

    def _validated(self, batch: Batch, doubtful: list[int]) -> tuple[dict[int, Record], dict[int, RecordRejected]]:
        records, refused = {}, {}
        for index in doubtful:
            try:
                records[index] = validate(batch.texts[index], self.reference)
            except RecordRejected as why:  # which holds the text, by its cause and its frames, and so is not kept
                refused[index] = RecordRejected(why.reason, why.field)
        return records, refused

    def _merged(self, clean: pl.DataFrame, records: dict[int, Record]) -> pl.DataFrame:
        if not records:
            return clean
        return pl.concat([clean, frame_of(list(records), list(records.values()))]).sort("index")

    def _count_repairs(self, records: dict[int, Record], refused: dict[int, RecordRejected]) -> None:
        for index, record in records.items():
            if index not in refused:
                self.repaired.update(record.repaired)


def sort_records(stream: RecordStream, sorting: Sorting, progress: Progress = silent) -> None:
    """Take every record of the stream; raises `InputUnreadable` when the file is broken, or changed, on the way."""
    for batch in stream.batches(sorting.add_bytes):
        sorting.take(batch)
        progress(sorting.read, None)
    stream.source.check_unchanged()


def _counted(sorting: Sorting) -> Counted:
    """Return what is known of an input that is rejected as a whole: none of its records has become a dataset."""
    rejects = sorting.rejects
    counts = {"read": sorting.read, "rejected": rejects.total}
    return Counted(counts=counts, details={"rejects_by_reason": dict(sorted(rejects.by_reason.items()))})


def _reference(parameters: IngestParameters) -> datetime:
    if not parameters.reference_time:
        raise InvalidParameter("reference_time", "must be fixed before records are read; the start of the run does")
    return datetime.fromisoformat(parameters.reference_time)


def _result(stream: RecordStream, sorting: Sorting) -> StageResult:
    ingested, rejected = sorting.dataset.rows, sorting.rejects.total
    return StageResult(
        counts={"read": sorting.read, "ingested": ingested, "rejected": rejected},
        files={DATASET: ingested, REJECTS: rejected},
        details={
            "rejects_by_reason": dict(sorted(sorting.rejects.by_reason.items())),
            "repaired": {name: sorting.repaired[name] for name in REPAIRABLE},
            "source": {
                "path": str(stream.source.path),
                "layout": str(stream.layout),
                "compression": stream.source.compression,
                "bytes": stream.source.state.size,
                **({"sha256": sorting.digest.hexdigest()} if sorting.digest else {}),
            },
        },
    )
