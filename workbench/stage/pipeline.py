"""The chain of stages as `pipeline.toml` declares it: what each needs, leaves, counts and announces."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from workbench.base.environment import DECLARATION, HAS_PROJECT, PROJECT
from workbench.base.errors import InvalidPipeline
from workbench.stage.condition import checked_condition, holds

FILE = DECLARATION
_NAME = r"^[a-z][a-z0-9_]{0,39}$"

STAGE_NAME = re.compile(_NAME)
StageName: TypeAlias = str
Condition = Annotated[str, AfterValidator(lambda text: text and checked_condition(text))]
Count = Annotated[str, Field(pattern=_NAME)]


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Use(_Declared):
    """A service that a stage needs, where `when` holds."""

    service: Literal["spark"]
    when: Condition = ""


class Stage(_Declared):
    """One stage.

    `parameters_model`: module and class of its parameters. `when`: the stage is skipped where this does not hold.
    `counts`: what its notebook counts, by name. `announce`: the event that tells of its first artefact. `reuse`: if
    `--reuse` may take its result over from another run.
    `code`: folders of the project, beside the notebook's modules, whose change makes its result another. `tables`: the
    detail of its manifest that tells the rows of each table it leaves in the run's schema; `views`: it leaves views
    there, too. `output`: its first artefact is the run's output file.
    """

    name: Annotated[StageName, Field(pattern=_NAME)]
    title: str
    notebook: str
    parameters_model: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")]
    leaves: str = ""
    when: Condition = ""
    uses: tuple[Use, ...] = ()
    counts: tuple[Count, ...] = ()
    announce: str = ""
    reuse: bool = True
    code: tuple[str, ...] = ()
    tables: str = ""
    views: bool = False
    output: bool = False

    def runs_with(self, parameters: BaseModel) -> bool:
        """Return whether a run with these parameters has this stage, or skips it."""
        return holds(self.when, parameters.model_dump())

    def needs(self, service: str, parameters: BaseModel) -> bool:
        """Return whether the stage needs this service with these parameters."""
        values = parameters.model_dump()
        return any(use.service == service and holds(use.when, values) for use in self.uses)


class Equation(_Declared):
    """An equation between counts: both sides are sums, here as the names of what is summed."""

    left: tuple[Count, ...]
    right: tuple[Count, ...]

    @classmethod
    def parsed(cls, text: str) -> Self:
        """Read `read = ingested + rejected`; raises `ValueError`."""
        left, equals, right = text.partition("=")
        if not equals:
            raise ValueError(f"{text!r} is not an equation; write for example: read = ingested + rejected")
        return cls(left=_summands(left), right=_summands(right))

    def __str__(self) -> str:
        return f"{' + '.join(self.left)} = {' + '.join(self.right)}"

    @property
    def names(self) -> frozenset[str]:
        return frozenset((*self.left, *self.right))


def _summands(side: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in side.split("+"))


class Publish(_Declared):
    """What readers see of the newest run: tables of its schema."""

    tables: tuple[str, ...] = ()


class Rejects(_Declared):
    """What a run refuses of its input: the count of it, and the file in which a stage lists it."""

    count: str = ""
    file: str = ""


class Compared(_Declared):
    """Columns whose distributions a comparison of two runs puts side by side, of what `stage` has left.

    `table` is a table of the run's schema, or the Parquet files of this name in the stage's folder where `files` is
    set. `ages` are columns of times, by the name under which their age in days at the run's clock is compared.
    """

    stage: StageName
    table: str
    columns: tuple[str, ...]
    ages: Mapping[str, str] = {}
    files: bool = False


class Pipeline(_Declared):
    """The chain: stages in their order, and the equations that hold between their counts.

    `size`: the parameter that an estimate of the time goes by. `figures`: the key figures of a run, each with counts of
    which the first that is known tells it.
    """

    name: Annotated[str, Field(pattern=_NAME)]
    title: str = ""
    size: str = ""
    conserve: tuple[str, ...] = ()
    figures: Mapping[str, Annotated[tuple[Count, ...], Field(min_length=1)]] = {}
    publish: Publish = Publish()
    rejects: Rejects = Rejects()
    compare: tuple[Compared, ...] = ()
    stages: Annotated[tuple[Stage, ...], Field(alias="stage", min_length=1)]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a declaration; raises `InvalidPipeline` naming file, place and what is wrong."""
        try:
            return cls.model_validate(tomllib.loads(path.read_text("utf-8")))
        except ValidationError as error:
            raise InvalidPipeline(f"{path}: {_in_words(error.errors()[0])}") from None
        except (OSError, ValueError) as error:
            raise InvalidPipeline(f"{path}: {error}") from error

    @staticmethod
    def of_snapshot(snapshot: Mapping[str, Any]) -> Pipeline:
        """Return the chain that a run was begun with, from its row."""
        return _validated(json.dumps(snapshot))

    @property
    def snapshot(self) -> dict[str, Any]:
        """The declaration as JSON, for the runs that are begun with it."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)

    def difference_to(self, other: Pipeline) -> str:
        """Say how the stages of a run's chain differ from another chain's; empty where they are the same."""
        own, others = ([stage.name for stage in each.stages] for each in (self, other))
        return "" if own == others else f"its stages are {', '.join(own)}, the project's are {', '.join(others)}"

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        for kind, names in (
            ("stage", [stage.name for stage in self.stages]),
            ("count", [count for stage in self.stages for count in stage.counts]),
        ):
            double = [name for name, times in Counter(names).items() if times > 1]
            if double:
                raise ValueError(f"{kind} {double[0]} is declared twice")
        known = {count for stage in self.stages for count in stage.counts}
        for figure, counts in self.figures.items():
            if strange := sorted(set(counts) - known):
                raise ValueError(f"figures, {figure}: no stage counts {strange[0]}")
        for each in self.compare:
            if each.stage not in [stage.name for stage in self.stages]:
                raise ValueError(f"compare, {each.table}: there is no stage {each.stage}")
        if self.rejects.count and self.rejects.count not in known:
            raise ValueError(f"rejects: no stage counts {self.rejects.count}")
        for equation in self.equations:
            if unknown := sorted(equation.names - known):
                raise ValueError(f"conserve, {equation}: no stage counts {unknown[0]}")
        return self

    def title_of(self, name: str) -> str:
        """Return the title of a stage, or its name where the chain has no such stage."""
        return self._by_name[name].title if name in self._by_name else name

    @cached_property
    def equations(self) -> tuple[Equation, ...]:
        return tuple(Equation.parsed(text) for text in self.conserve)

    @cached_property
    def key_figures(self) -> Mapping[str, tuple[Count, ...]]:
        """The figures in the order in which the stages count them: JSON in the database keeps none."""
        order = [count for stage in self.stages for count in stage.counts]
        return dict(sorted(self.figures.items(), key=lambda figure: order.index(figure[1][0])))

    def named(self, name: str) -> Stage:
        """Return the stage of this name; raises `KeyError`."""
        return self._by_name[name]

    def uses(self, service: str) -> bool:
        """Return whether any stage may need this service."""
        return any(use.service == service for stage in self.stages for use in stage.uses)

    def position(self, name: str) -> int:
        """Return the stage's place in the chain, from 1."""
        return self.stages.index(self.named(name)) + 1

    def before(self, name: str) -> Stage | None:
        """Return the stage whose result this one reads; None for the first."""
        return self.stages[self.position(name) - 2] if self.position(name) > 1 else None

    def input_of(self, name: str, parameters: BaseModel) -> Stage | None:
        """Return the last earlier stage that a run with these parameters has; None for the first that it has."""
        earlier = self.stages[: self.position(name) - 1]
        return next((stage for stage in reversed(earlier) if stage.runs_with(parameters)), None)

    def first(self, parameters: BaseModel) -> Stage:
        """Return the first stage that a run with these parameters has: the one that reads an own input file."""
        return next(stage for stage in self.stages if stage.runs_with(parameters))

    def closed_by(self, name: str, known: Iterable[str]) -> list[Equation]:
        """Return the equations that this stage is the first to know all counts of.

        `known` are the counts up to and with it: the equations of a stage that was skipped are left out.
        """
        own, counts = set(self.named(name).counts), frozenset(known)
        later = {count for stage in self.stages[self.position(name) :] for count in stage.counts}
        ended = [each for each in self.equations if each.names & own and not each.names & later]
        return [each for each in ended if each.names <= counts]

    @cached_property
    def _by_name(self) -> Mapping[str, Stage]:
        return {stage.name: stage for stage in self.stages}


@lru_cache(maxsize=64)
def _validated(snapshot: str) -> Pipeline:
    return Pipeline.model_validate_json(snapshot)


def _in_words(problem: Mapping[str, Any]) -> str:
    places = [f"{part + 1}" if isinstance(part, int) else str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        return f"{' '.join(places)}: there is no such key"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{' '.join(places)}: {message}" if places else message


PIPELINE = Pipeline.read(PROJECT / FILE) if HAS_PROJECT else Pipeline.model_construct(name="none", stage=())
STAGES = PIPELINE.stages
STAGE_NAMES = [stage.name for stage in STAGES]


def _known(name: str) -> str:
    if name not in STAGE_NAMES:
        raise ValueError(f"must be a stage: {', '.join(STAGE_NAMES)}")
    return name


KnownStage = Annotated[StageName, AfterValidator(_known), Field(json_schema_extra={"enum": STAGE_NAMES})]


def stage_named(name: StageName) -> Stage:
    """Return the stage with this name."""
    return PIPELINE.named(name)


def stage_before(name: StageName) -> StageName | None:
    """Return the name of the stage whose result `name` reads; None for the first."""
    before = PIPELINE.before(name)
    return before.name if before else None
