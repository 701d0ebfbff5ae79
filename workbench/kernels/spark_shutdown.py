"""Ends the Spark session that SPARK_REMOTE names: interrupts its queries, then closes it.

Runs as a script, in a process with a time limit: a Spark Connect client waits for its server without one.
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
