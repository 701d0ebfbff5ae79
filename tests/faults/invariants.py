"""What must hold after every fault, whatever it was: one checker, run by every fault test.

The run has ended; stages, events, executed notebooks, reports, Prefect and what the page shows tell one story; what is
called completed still verifies; nothing is left of the run 15 s after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from tests.faults.bench import Bench, StartedRun, until
from tests.faults.looking import Row, backends_of, events_of, row_of, run_schemas, stages_of
from tests.faults.stories import notebook_problems, prefect_problems, replay
from workbench.base.errors import WorkbenchError
from workbench.data.publication import published_runs, published_schemas
from workbench.prefect.api import contacted
from workbench.prefect.reconciliation import mirror
from workbench.run.completion import verified_manifest
from workbench.run.crash_recovery import look_after
from workbench.run.publisher import publish_due
from workbench.stage.artefacts import RunFolder, schema_of
from workbench.state.publication_queue import pending_publications, publication_of
from workbench.state.run_document import run_document
from workbench.state.states import STAGE_DONE, TERMINAL

SECONDS_AFTER = 15.0
_BAD_STAGE = {"completed": set(), "failed": {"failed"}, "cancelled": {"cancelled", "failed"}, "crashed": {"crashed"}}
_FAILED_BEFORE_CRASH = "failed"  # the process died while it waited for the next attempt


def check_invariants(run: StartedRun) -> Row:
    """Fail with every invariant that does not hold for the run, whose process has ended; return its row."""
    bench, pipeline_id = run.bench, run.pipeline_id
    look_after(bench.engine, bench.settings, once=True)
    publish_due(bench.engine)
    with contacted(bench.settings) as prefect:
        mirror(bench.engine, prefect)
    row = row_of(bench.engine, pipeline_id)
    problems = [*stored_problems(bench, pipeline_id), *prefect_problems(bench, row), *leftovers(run)]
    assert not problems, "\n".join([f"run {pipeline_id} is {row['status']}", *problems, run.said()])
    return row


def stored_problems(bench: Bench, pipeline_id: str) -> list[str]:
    """Return what is wrong in tables, events, notebooks, reports, manifests and schemas."""
    row, stages = row_of(bench.engine, pipeline_id), stages_of(bench.engine, pipeline_id)
    events = events_of(bench.engine, pipeline_id)
    folder = RunFolder(bench.settings.home, pipeline_id)
    return [
        *_state_problems(row, stages),
        *_event_problems(row, stages, events),
        *(problem for stage in stages for problem in notebook_problems(folder, stage, events)),
        *_manifest_problems(bench, pipeline_id, stages),
        *_document_problems(bench, row, stages),
        *_publication_problems(bench),
        *_schema_problems(bench),
    ]


def _state_problems(row: Row, stages: Sequence[Row]) -> Iterator[str]:
    if row["status"] not in TERMINAL:
        yield f"the run is {row['status']}, not in a terminal state"
        return
    if row["lease_owner"] or row["lease_expires_at"] or row["finished_at"] is None:
        yield "the run has ended but still has a lease, or no end"
    names = [stage["status"] for stage in stages]
    done = [name in STAGE_DONE for name in names]
    reached = done.index(False) if False in done else len(names)
    rest = names[reached:]
    allowed = _BAD_STAGE[row["status"]] | ({_FAILED_BEFORE_CRASH} if row["status"] == "crashed" else set())
    if rest and rest[0] != "pending" and rest[0] not in allowed:
        yield f"a {row['status']} run has a stage that is {rest[0]}"
    if any(name != "pending" for name in rest[1:]) or (row["status"] == "completed" and rest):
        yield f"a {row['status']} run has the stages {names}"
    if row["status"] != "completed" and not row["error"]:
        yield "the run does not say why it ended"


def _event_problems(row: Row, stages: Sequence[Row], events: Sequence[Row]) -> Iterator[str]:
    sequence = [event["sequence"] for event in events]
    if sequence != list(range(1, len(events) + 1)) or row["event_sequence"] != len(events):
        yield f"events are numbered {sequence}, the run counts {row['event_sequence']}"
    told = replay(events)
    if told.run != row["status"]:
        yield f"events tell of a run that is {told.run}, the table of one that is {row['status']}"
    for stage in stages:
        state, attempts = told.stages.get(stage["name"], ("pending", 0))
        if (state, attempts) != (stage["status"], stage["attempt"]):
            yield f"events: {stage['name']} is {state} ({attempts}); table: {stage['status']} ({stage['attempt']})"
    errors = {None: row["error"], **{stage["name"]: stage["error"] for stage in stages}}
    for place, error in errors.items():
        if error and told.errors.get(place) != (error["name"], error["message"]):
            yield f"events give {told.errors.get(place)} as the end of {place or 'the run'}, the table {error}"


def _manifest_problems(bench: Bench, pipeline_id: str, stages: Sequence[Row]) -> Iterator[str]:
    folder = RunFolder(bench.settings.home, pipeline_id)
    for stage in stages:
        if stage["status"] not in ("completed", "reused"):
            continue
        try:
            manifest = verified_manifest(folder, stage["name"])
        except WorkbenchError as error:
            yield f"{stage['name']} counts as {stage['status']}, but: {error}"
        else:
            if manifest.counts != stage["counts"]:
                yield f"{stage['name']}: manifest counts {manifest.counts}, table {stage['counts']}"


def _document_problems(bench: Bench, row: Row, stages: Sequence[Row]) -> Iterator[str]:
    """What terminal and page show."""
    document = run_document(bench.engine, bench.settings, row["id"])
    if (document["status"], document["error"]) != (row["status"], row["error"]):
        yield f"shown as {document['status']}, {document['error']}"
    shown = [(stage["status"], stage["error"]) for stage in document["stages"]]
    if shown != [(stage["status"], stage["error"]) for stage in stages]:
        yield f"stages shown as {shown}"


def _publication_problems(bench: Bench) -> Iterator[str]:
    """Readers see what the table calls published; nothing waits that nothing is in the way of."""
    yield from (f"not published: {dict(each)}" for each in pending_publications(bench.engine))
    with bench.engine.connect() as connection:
        seen = published_runs(connection)
    told = {each for each in bench.run_ids() if (publication_of(bench.engine, each) or {}).get("status") == "published"}
    if seen != told:
        yield f"readers see {seen}, the table says {told}"


def _schema_problems(bench: Bench) -> Iterator[str]:
    with bench.engine.connect() as connection:
        known = {schema_of(pipeline_id) for pipeline_id in bench.run_ids()} | published_schemas(connection)
    yield from (f"orphan schema {name}" for name in sorted(run_schemas(bench.engine) - known))


def leftovers(run: StartedRun) -> list[str]:
    """Return what is left of the run 15 s after: processes, temporary files, unfinished files, database sessions."""
    looks: Mapping[str, Callable[[], list[str]]] = {
        "process": lambda: [f"{each.pid} {' '.join(each.cmdline())[:120]}" for each in run.processes()],
        "temporary": lambda: [str(path) for path in run.bench.temporary.iterdir()],
        "unfinished": lambda: [str(path) for path in run.folder.path.glob("*/.*") if ".settled" not in path.name],
        "database session": lambda: [str(dict(each)) for each in backends_of(run.bench.engine, run.pipeline_id)],
    }
    left: dict[str, list[str]] = {}

    def nothing_left() -> bool:
        left.update({kind: look() for kind, look in looks.items()})
        return not any(left.values())

    try:
        until(nothing_left, "nothing left", SECONDS_AFTER)
    except AssertionError:
        return [f"left behind, {kind}: {each}" for kind, those in left.items() for each in those]
    return []
