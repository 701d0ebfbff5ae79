"""The `workbench` command: its error handling, and the commands run and resume."""

from __future__ import annotations

import inspect
import logging
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, NoReturn, Protocol

import typer

from workbench.base import logs
from workbench.base.errors import Refused, WorkbenchError
from workbench.base.redaction import redacted
from workbench.base.run_id import checked_run_id
from workbench.base.settings import Settings, load_settings
from workbench.cli.hangup import end_when_terminal_closes
from workbench.cli.options import asked_for, one_stage, parameter_options
from workbench.cli.output import Json, print_json, printable, write_in
from workbench.stage.pipeline import STAGE_NAMES, StageName
from workbench.stage.run_parameters import RunParameters

if TYPE_CHECKING:
    from workbench.cli.doctor import Check
    from workbench.run.lifecycle import Following

log = logging.getLogger(__name__)

_INTERRUPTED = 130


Assignments = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="any parameter by its name")]


class StartRun(Protocol):
    """Works a run to its end and returns its id; `following` is entered as soon as there is one."""

    def __call__(self, parameters: RunParameters, settings: Settings, following: Following) -> str: ...


class ResumeRun(Protocol):
    """Resumes an ended run and returns its id; raises `ResumeRefused` before anything starts."""

    def __call__(
        self, pipeline_id: str, from_stage: StageName | None, settings: Settings, following: Following
    ) -> str: ...


class Work(Protocol):
    """Works the runs in Prefect's queue, up to `limit` at once, until a signal ends it."""

    def __call__(self, settings: Settings, limit: int) -> None: ...


class ServePage(Protocol):
    """Serves the page until a signal; `on_ready` is called with its address once it answers there."""

    def __call__(self, settings: Settings, on_ready: Callable[[str], None]) -> None: ...


def create_cli(
    start_run: StartRun, resume_run: ResumeRun, work: Work, serve_page: ServePage, check_prefect: Check
) -> Callable[[], None]:
    """Return the command; what it does with runs is handed in by the composition file."""
    app = typer.Typer(
        no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Pipelines made of notebooks."
    )
    _add_run(app, start_run)
    _add_resume(app, resume_run)
    from workbench.cli import commands_lab, commands_manage, commands_page, commands_read, commands_services

    for commands in (commands_read, commands_lab):
        commands.add_commands(app)
    commands_manage.add_commands(app, check_prefect)
    commands_page.add_commands(app, serve_page)
    commands_services.add_commands(app, work)
    return lambda: _run_with_errors_in_one_line(app)


def _run_with_errors_in_one_line(app: typer.Typer) -> None:
    """Run the command; an error on purpose becomes one line and its exit code, never a traceback."""
    sys.excepthook = _tell_traceback
    threading.excepthook = _tell_thread_traceback
    write_in(errors="replace")
    end_when_terminal_closes()
    try:
        _with_database_in_words(app)
    except _Summarised as reported:
        _leave(reported.error)
    except WorkbenchError as error:
        text = printable(redacted(str(error)))
        print("workbench:", text.replace("\n", r"\n") if isinstance(error, Refused) else text, file=sys.stderr)
        _leave(error)
    except OSError as error:  # of files and of a stdout that takes no more
        log.info("failed", exc_info=error)
        print(f"workbench: {printable(redacted(str(error)))}", file=sys.stderr)
        sys.exit(1)
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # Typer's answer to Ctrl-C, which says nothing
            print("workbench: stopped by Ctrl-C", file=sys.stderr)
        raise


def _with_database_in_words(app: typer.Typer) -> None:
    """Run the command; what the database's driver raises becomes `ServiceUnavailable`."""
    try:
        app()
    except (_Summarised, WorkbenchError, OSError):
        raise
    except Exception as error:
        from sqlalchemy.exc import DBAPIError  # not above: `--help` wants none of it

        if not isinstance(error, DBAPIError):
            raise
        from workbench.services.database_errors import as_unavailable

        raise as_unavailable(error, load_settings()) from error


class _Summarised(Exception):
    """A run has ended badly, and its summary on stderr has said why."""

    def __init__(self, error: WorkbenchError) -> None:
        super().__init__(str(error))
        self.error = error


def _leave(error: WorkbenchError) -> NoReturn:
    log.info("refused or failed", exc_info=error)
    sys.exit(error.exit_code)


def _tell_traceback(kind: type[BaseException], error: BaseException, frames: TracebackType | None) -> None:
    """Print an internal error without the secrets that its texts may quote."""
    print(redacted("".join(traceback.format_exception(kind, error, frames))), file=sys.stderr, end="")


def _tell_thread_traceback(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None and not isinstance(ended.exc_value, SystemExit):
        _tell_traceback(ended.exc_type, ended.exc_value, ended.exc_traceback)


def _add_run(app: typer.Typer, start_run: StartRun) -> None:
    def run(set_: Assignments = None, as_json: Json = False, **given: str | None) -> None:
        """Run the whole chain once: five notebooks, one summary."""
        parameters = asked_for(given, set_ or [])
        settings = load_settings()
        logs.configure(settings)
        _work_and_show(partial(start_run, parameters, settings), settings, as_json)

    own = [each for each in inspect.signature(run, eval_str=True).parameters.values() if each.name != "given"]
    own = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
    options = [*parameter_options(RunParameters), *own]
    run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    run.__annotations__ = {option.name: option.annotation for option in options}
    app.command()(run)


_FROM = "run this stage and all after it again"


def _add_resume(app: typer.Typer, resume_run: ResumeRun) -> None:
    @app.command()
    def resume(
        pipeline_id: Annotated[str, typer.Argument(metavar="ID", help="a run's id")],
        from_: Annotated[
            StageName | None,
            typer.Option("--from", parser=one_stage, metavar="|".join(STAGE_NAMES), help=_FROM),
        ] = None,
        as_json: Json = False,
    ) -> None:
        """Go on with a run that has ended, from its first stage whose result does not verify."""
        settings = load_settings()
        logs.configure(settings)
        _work_and_show(partial(resume_run, checked_run_id(pipeline_id), from_, settings), settings, as_json)


def _work_and_show(work: Callable[[Following], str], settings: Settings, as_json: bool) -> None:
    from workbench.cli.live_table import Follower

    follower = Follower(settings, quiet=as_json)
    try:
        with follower.shown():
            work(follower.following)
    except WorkbenchError as error:
        if not follower.shows(error):
            raise
        raise _Summarised(error) from error
    finally:
        if as_json and follower.document is not None:
            print_json(follower.document)
        else:
            follower.show_summary()
