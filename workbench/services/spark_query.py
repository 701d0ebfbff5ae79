"""Has a Spark Connect server answer a query.

Runs as a script, in a process that can be given up on: a Spark Connect client waits for its server without a limit.
"""

from __future__ import annotations

import os
import subprocess
import sys

from workbench.base.environment import passed_on
from workbench.base.errors import ServiceUnavailable
from workbench.services import spark

_SECONDS = 30.0


def check_query(url: str) -> None:
    """Raise `ServiceUnavailable` when no answer comes within half a minute; its message holds no token."""
    place, environment = "{}:{}".format(*spark.place_of(url)), passed_on(os.environ) | {"SPARK_REMOTE": url}
    command = [sys.executable, "-P", "-W", "ignore", "-m", __name__]
    advice = "see the server's log, or mend SPARK_REMOTE"
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ServiceUnavailable(f"Spark at {place}: no query is answered within {_SECONDS:g} s; {advice}") from None
    if done.returncode:
        raise ServiceUnavailable(f"Spark at {place}: {done.stdout.strip() or 'a query fails'}; {advice}")


def main(url: str) -> None:
    """Ask, and print in one line why there is no answer."""
    from pyspark.sql.connect.session import SparkSession

    from workbench.base.error_text import one_line

    try:
        session = SparkSession.builder.remote(url).create()
        session.sql("select 1").collect()
        session.stop()
    except Exception as error:  # noqa: BLE001  whatever the client raises is the finding
        print(one_line(error))
        raise SystemExit(1) from None


if __name__ == "__main__":
    main(os.environ["SPARK_REMOTE"])
