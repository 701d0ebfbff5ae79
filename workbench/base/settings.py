"""Where things are and which secrets open them: read from the environment and `.env`, never from a notebook.

Built by `load_settings()`, never at import. An unset component is embedded (see docs/components.md).
"""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from workbench.base import connection_uri
from workbench.base.credentials import check_credentials
from workbench.base.environment import PROJECT as PROJECT
from workbench.base.environment import check_project
from workbench.base.errors import InvalidSetting
from workbench.base.redaction import keep_secrets_of
from workbench.base.run_id import RUN_ID

NOTEBOOKS = PROJECT / "notebooks"
DBT_PROJECT = PROJECT / "dbt"
SHORTEST_TOKEN = 16
_PATTERN = re.compile(r"[{}\[\]*?\\]")
_SCHEMA_NAME = re.compile(r"(?!pg_|information_schema$)[a-z_][a-z0-9_]{0,62}")


def _schema_name(name: str) -> str:
    """Return a name that needs no quotes in SQL; raises `ValueError`, also for names of PostgreSQL's and of runs."""
    if _SCHEMA_NAME.fullmatch(name) is None or RUN_ID.fullmatch(name.removeprefix("run_")):
        raise ValueError("must be the name of a schema in lower case, which neither PostgreSQL nor a run uses")
    return name


ReaderSchema = Annotated[str, AfterValidator(_schema_name)]


class Settings(BaseSettings):
    """Names are the conventional ones of each component, so that what runs elsewhere runs here."""

    model_config = SettingsConfigDict(env_file=PROJECT / ".env", extra="ignore", frozen=True, env_ignore_empty=True)

    database_url: SecretStr | None = Field(None, description="postgresql://…; unset: an embedded server")
    amqp_url: SecretStr | None = Field(None, description="amqp://…; unset: events wait in their table")
    spark_remote: SecretStr | None = Field(None, description="sc://…; unset: an own Spark Connect server")
    prefect_api_url: str | None = Field(None, description="http://…/api; unset: an own Prefect server")
    dd_agent_host: str = Field("127.0.0.1", description="where DogStatsD listens")
    dd_dogstatsd_port: int = Field(8125, ge=1, le=65535, description="its UDP port")
    dd_env: str = Field("dev", description="environment tag of metrics and logs")
    dd_service: str = Field("notebook-workbench", description="service tag of metrics and logs")
    dd_version: str = Field("0.1.0", description="version tag of metrics and logs")
    workbench_home: Path = Field(Path(".workbench"), description="runs, services, logs")
    workbench_notebooks: Path = Field(Path("notebooks"), description="the five stage notebooks")
    workbench_schema: ReaderSchema = Field(
        "analytics", description="PostgreSQL schema that shows readers the newest run"
    )
    workbench_lease_seconds: int = Field(30, ge=2, le=3600, description="after this silence a run has crashed")
    workbench_kernel_env: dict[str, str] = Field(
        {}, description='variables that kernels get besides the shell\'s, as JSON, e.g. {"PYTHONPATH": "/srv/modules"}'
    )
    workbench_web_host: str = Field("127.0.0.1", description="where the page listens; elsewhere it wants a token")
    workbench_web_port: int = Field(8787, ge=1, le=65535, description="its TCP port")
    workbench_web_names: str = Field("", description="further host[:port] by which people reach it, comma between them")
    workbench_web_token: SecretStr | None = Field(
        None,
        min_length=SHORTEST_TOKEN,
        description="16 characters or more that everybody must show; unset: only API calls that change runs",
    )

    def model_post_init(self, _context: Any) -> None:
        """Have every secret struck out of whatever this process writes."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        keep_secrets_of({name: value.get_secret_value() for name, value in values.items() if type(value) is SecretStr})
        keep_secrets_of(self.workbench_kernel_env)

    @cached_property
    def home(self) -> Path:
        """WORKBENCH_HOME, absolute; a relative one is below the project."""
        return (PROJECT / self.workbench_home.expanduser()).resolve()

    @cached_property
    def notebooks(self) -> Path:
        """WORKBENCH_NOTEBOOKS, absolute; a relative one is below the project."""
        return (PROJECT / self.workbench_notebooks.expanduser()).resolve()


def load_settings() -> Settings:
    """Read the settings; raises `NoProject`, or `InvalidSetting` naming the variable, never its value.

    A password that everybody knows is good for loopback only.
    """
    check_project()
    try:
        settings = Settings()  # type: ignore[call-arg]  # every field has a default
    except ValidationError as error:
        problem = error.errors(include_input=False)[0]
        reason = problem["msg"].lower().removeprefix("value error, ")
        raise InvalidSetting(f"{str(problem['loc'][0]).upper()}: {reason}; see .env.example") from None
    except SettingsError:
        raise InvalidSetting("WORKBENCH_KERNEL_ENV: must be a JSON object of texts; see .env.example") from None
    _check_home(settings.home)
    _check_database(settings.database_url)
    _check_scheme("AMQP_URL", settings.amqp_url, ("amqp", "amqps"))
    _check_scheme("SPARK_REMOTE", settings.spark_remote, ("sc",))
    _check_http("PREFECT_API_URL", settings.prefect_api_url)
    for name in ("database_url", "amqp_url", "spark_remote"):
        if (url := getattr(settings, name)) is not None:
            check_credentials(name.upper(), url.get_secret_value(), os.environ)
    token = settings.workbench_web_token
    if token is not None and len(token.get_secret_value().strip()) < SHORTEST_TOKEN:
        raise InvalidSetting(f"WORKBENCH_WEB_TOKEN: wants {SHORTEST_TOKEN} characters besides spaces; see .env.example")
    if not any(settings.notebooks.glob("*.ipynb")):
        raise InvalidSetting(f"WORKBENCH_NOTEBOOKS: no notebook lies in {settings.notebooks}; see .env.example")
    keep_secrets_of(os.environ)
    return settings


def _check_home(home: Path) -> None:
    """Hadoop's file systems take a path with one of these for a pattern, and patterns have no way to write a colon."""
    if ":" in str(home) and _PATTERN.search(str(home)):
        raise InvalidSetting(
            f"WORKBENCH_HOME {home}: holds a colon beside one of {{}}[]*?\\, which Spark cannot read; see .env.example"
        )


def _check_database(url: SecretStr | None) -> None:
    if url is None:
        return
    if url.get_secret_value().partition("://")[0] not in connection_uri.SCHEMES:
        raise InvalidSetting("DATABASE_URL: must begin with postgresql://; see .env.example")
    try:
        connection_uri.parameters_of(url.get_secret_value())
    except ValueError as error:
        raise InvalidSetting(f"DATABASE_URL: is no URL for PostgreSQL: {error}; see .env.example") from None


def _check_scheme(name: str, url: SecretStr | None, schemes: tuple[str, ...]) -> None:
    if url is not None and _scheme_of(name, url.get_secret_value()) not in schemes:
        raise InvalidSetting(f"{name}: must begin with {schemes[0]}://; see .env.example")


def _check_http(name: str, url: str | None) -> None:
    if url is not None and not (_scheme_of(name, url) in ("http", "https") and urlsplit(url).hostname):
        raise InvalidSetting(f"{name}: must begin with http:// or https:// and a host; see .env.example")


def _scheme_of(name: str, url: str) -> str:
    """Return the URL's scheme; raises `InvalidSetting` when host or port cannot be read from it."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise InvalidSetting(f"{name}: is no URL of one host and one port; see .env.example") from None
    return parts.scheme
