"""Ends the Spark session that SPARK_REMOTE names: its queries are interrupted, then it is closed.

Runs as a script, in a process that can be given up on: a Spark Connect client waits for its server without a limit.
"""

from __future__ import annotations

import os


def end_session(url: str) -> None:
    """Interrupt and release the session; raises what the client raises."""
    from pyspark.sql.connect.client import SparkConnectClient

    client = SparkConnectClient(url)
    client.interrupt_all()
    client.release_session()
    client.close()


if __name__ == "__main__":
    end_session(os.environ["SPARK_REMOTE"])
