"""Every error the workbench raises on purpose, as one tree.

WorkbenchError                    exit code 1, shown as one line
├── Refused                       exit code 2: nothing has started, nothing is written
│   ├── InvalidParameter          a parameter is unknown, missing, mistyped or out of range
│   ├── InvalidPipeline           pipeline.toml is not the declaration of a pipeline
│   ├── InvalidSetting            the environment or .env holds something unusable
│   ├── MigrationNeeded           the database's tables are of an older version, and this command changes none
│   ├── MigrationRefused          they cannot be brought up to date while runs of that version are at work
│   ├── NoProject                 no pipeline.toml at or above the working directory
│   ├── NotebookRefused           a notebook cannot be executed
│   ├── ReaderSchemaRefused       the schema for readers holds objects that are not ours, or may not be written
│   ├── ResumeRefused             the run has not ended, or it is not said from which stage (an IllegalTransition, too)
│   └── UnknownRun                no run has this id, or none fits
│       └── NoRunYet              the database has no tables of ours
├── ServiceUnavailable            a component cannot be reached or started (transient)
├── StatementFailed               PostgreSQL refused or cancelled a statement
├── InputRejected                 the input as a whole cannot be used
│   ├── InputUnreadable           missing, no permission, broken compression, not JSON
│   ├── InputEmpty                holds no record
│   ├── TooManyRejects            more than max_reject_rate is defective
│   └── NothingAccepted           not one record is accepted, and allow_empty is not set
├── ConservationBroken            records were lost or made at a border
├── ModelTestFailed               a dbt model or test failed
├── NotPublished                  a completed run cannot be shown to readers now; it is tried again
├── ManifestBroken                an artefact is missing or is not what its manifest says
├── NotebookFailed                a cell raised, or its kernel died, hung or was cancelled
├── RunCancelled                  exit code 130: the run was asked to stop
└── RunStateError                 the state of the run does not allow it
    ├── IllegalTransition         this state has no transition to that one
    └── LeaseLost                 another process owns the run now

`str(error)` is the whole message to a person: what, where, how to fix it.
"""

from __future__ import annotations


class WorkbenchError(Exception):
    """Base of all errors that are shown as one line instead of a traceback."""

    exit_code = 1
    transient = False
    stage: str | None = None  # the stage that ended so, once it is known


class Refused(WorkbenchError):
    """Refused before anything started."""

    exit_code = 2


class InvalidParameter(Refused):
    """`field` is the parameter's name, `reason` what is wrong with its value."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"parameter {field}: {reason}")
        self.field = field
        self.reason = reason

    def __reduce__(self) -> tuple[type[InvalidParameter], tuple[str, str]]:
        return type(self), (self.field, self.reason)


class InvalidSetting(Refused):
    """A setting from the environment or .env is unusable; the message names the variable, never its value."""


class InvalidPipeline(Refused):
    """`pipeline.toml` cannot be read as the declaration of a pipeline."""


class NoProject(Refused):
    """No project is found, and this command needs one; the message says where one was looked for."""


class NotebookRefused(Refused):
    """The notebook is unreadable, or has not exactly one `parameters` cell; the message says which."""


class UnknownRun(Refused):
    """No run has this id, or no run fits what was asked for."""


class NoRunYet(UnknownRun):
    """The database has no tables of the workbench: no run was begun in it, and a command that reads makes none."""


class MigrationNeeded(Refused):
    """The database's tables are of an older version; `workbench migrate` brings them up to date."""


class MigrationRefused(Refused):
    """The tables are of an older version, whose runs are at work; the message names them."""


class ReaderSchemaRefused(Refused):
    """An object in the schema for readers is not ours, or a right is missing; the message names object and schema."""


class ServiceUnavailable(WorkbenchError):
    """A component cannot be reached or started. The message says which, where, and how to fix it."""

    transient = True


class StatementFailed(WorkbenchError):
    """PostgreSQL answers, and has refused or cancelled a statement; the message quotes its reason."""


class InputRejected(WorkbenchError):
    """The input as a whole cannot be used; the message names the file and the first bad line."""


class InputUnreadable(InputRejected):
    """The input file is missing, may not be read, or is not what its first bytes say."""


class InputEmpty(InputRejected):
    """The input file holds no record."""


class TooManyRejects(InputRejected):
    """More than `max_reject_rate` of the records are defective."""


class NothingAccepted(InputRejected):
    """Not one record of the input is accepted; `allow_empty` lets a run complete all the same."""


class ConservationBroken(WorkbenchError):
    """Two counts that must be equal differ: records were lost or made at a border."""


class ModelTestFailed(WorkbenchError):
    """A dbt model, contract or test failed; the message names it."""


class ManifestBroken(WorkbenchError):
    """An artefact is missing, or its rows, bytes or sha256 are not what its manifest says."""


class NotPublished(WorkbenchError):
    """A completed run cannot be published now; the message says what prevents it."""


class NotebookFailed(WorkbenchError):
    """A stage's notebook did not complete; the message names cell and reason.

    `exception` is the class name that the kernel reported, `status` failed, killed, timed_out or cancelled, `record`
    what execution knows: number (cell), source, value, traceback, kernel (exit, signal, peak memory).
    """

    def __init__(self, message: str, exception: str, status: str, record: dict[str, object]) -> None:
        super().__init__(message)
        self.exception = exception
        self.status = status
        self.record = record

    def __reduce__(self) -> tuple[type[NotebookFailed], tuple[str, str, str, dict[str, object]]]:
        return type(self), (str(self), self.exception, self.status, self.record)


class RunCancelled(WorkbenchError):
    """The run was cancelled on request."""

    exit_code = 130


class RunStateError(WorkbenchError):
    """The state of the run does not allow the action."""


class IllegalTransition(RunStateError):
    """The present state has no transition to the requested one. A terminal state is final."""


class ResumeRefused(Refused, IllegalTransition):
    """The run cannot be resumed: it has not ended, or it has completed and no stage is named to go back to."""


class LeaseLost(RunStateError):
    """This process no longer owns the run, so it writes nothing more about it."""


TRANSIENT_NAMES = frozenset(
    {
        "ServiceUnavailable",
        "ConnectionError",
        "ConnectionResetError",
        "ConnectionRefusedError",
        "BrokenPipeError",
        "TimeoutError",
        "OperationalError",
        "InterfaceError",
        "SparkConnectGrpcException",
    }
)


def is_transient(name: str) -> bool:
    """Return whether an exception of this class name is transient (kernels report names, not classes)."""
    return name in TRANSIENT_NAMES
