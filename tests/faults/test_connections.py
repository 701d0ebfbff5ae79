"""A run gets by with the connections that docs/components.md names, and opens about as many."""

from __future__ import annotations

import time

from sqlalchemy import text

from tests.faults.bench import Bench
from tests.faults.invariants import check_invariants
from tests.faults.roles import administer, ordinary_role
from workbench.services.postgres_requirements import connections_needed

OPEN = text("select count(*) from pg_stat_activity where usename = :user and backend_type = 'client backend'")


def test_a_run_completes_with_the_connections_that_are_named(bench: Bench, database_url: str) -> None:
    with ordinary_role(database_url) as url:
        user = url.split("//")[1].split("@")[0]
        administer(database_url, url, "alter role {user} connection limit " + str(connections_needed()))
        run = bench.run("--records", "20000", DATABASE_URL=url)
        peak = 0
        with bench.engine.connect() as connection:
            while run.process.poll() is None:
                peak = max(peak, connection.execute(OPEN, {"user": user}).scalar_one())
                connection.rollback()
                time.sleep(0.02)
        print(f"{peak} connections at most, {connections_needed()} are named")
        assert run.wait() == 0, run.said()
        check_invariants(run)
        assert connections_needed() - 4 <= peak <= connections_needed()
