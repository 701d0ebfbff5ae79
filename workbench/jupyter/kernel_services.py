"""What a kernel holds for its notebooks and widgets until it ends: database, Spark, open stage, panel, chosen runs."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import Engine

from workbench.base.settings import Settings, load_settings
from workbench.services import postgres, spark
from workbench.state import database

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession


class Closable(Protocol):
    """What a kernel has open: at most one of each kind."""

    def close(self) -> None:
        """Give it up."""


@dataclass(frozen=True)
class KernelServices:
    """Services reached on first use. A cell run twice finds them as they are: it starts and leaks nothing.

    `chosen_runs` holds, by variable, the runs chosen in lists: all cells can be run again with the same choice.
    """

    settings: Settings
    chosen_runs: dict[str, str] = field(default_factory=dict)
    _held: ExitStack = field(default_factory=ExitStack)
    _open: dict[str, Closable] = field(default_factory=dict)

    def keep_open(self, kind: str, opened: Closable) -> None:
        """Keep the one open object of a kind; the one before it is closed."""
        self.close(kind)
        self._open[kind] = opened

    def close(self, kind: str) -> None:
        """Close the open object of a kind, if there is one."""
        opened = self._open.pop(kind, None)
        if opened is not None:
            opened.close()

    @cached_property
    def database_url(self) -> str:
        """The database of runs and data; what it needs is started now and stopped after the kernel's end."""
        return self._held.enter_context(postgres.held(self.settings))

    @cached_property
    def engine(self) -> Engine:
        """An engine on up-to-date tables; raises `ServiceUnavailable`, and `MigrationNeeded` for older ones."""
        return database.connect_by_hand(self.database_url)

    @cached_property
    def spark(self) -> SparkSession:
        """A session on the Spark Connect server."""
        from pyspark.sql.connect.session import SparkSession

        return SparkSession.builder.remote(self._held.enter_context(spark.held(self.settings))).create()


@cache
def kernel_services() -> KernelServices:
    """Return this kernel's services; settings are read when it is first asked for them."""
    return KernelServices(load_settings())
