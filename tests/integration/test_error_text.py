"""One line of an exception holds its meaning: real exceptions of each library that this project works with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import adbc_driver_postgresql.dbapi as adbc
import grpc  # type: ignore[import-untyped]
import httpx
import pika
import psycopg2
import pytest
from prefect.exceptions import PrefectHTTPStatusError
from pyspark.errors.exceptions.connect import SparkConnectGrpcException
from pyspark.sql.connect.client import SparkConnectClient
from pyspark.sql.connect.client.retries import DefaultPolicy
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from workbench.base.error_text import joined, one_line
from workbench.services.database_errors import in_one_line
from workbench.services.processes import free_port

VIEWS = """
create table sales (id int);
create view sales_by_day as select id from sales;
create view sales_of_today as select id from sales;
"""
JVM = """org.apache.spark.SparkException: Job aborted due to stage failure
\tat org.apache.spark.scheduler.DAGScheduler.failJob(DAGScheduler.scala:2898)
\tat java.base/java.lang.Thread.run(Unknown Source)
Caused by: org.apache.spark.SparkException: Task failed while writing rows
\t... 12 more
Caused by: java.io.IOException: No space left on device
\tat java.base/sun.nio.ch.UnixFileDispatcherImpl.write0(Native Method)
\t... 20 more
"""
DBT = """Database Error in model fct_orders (models/marts/fct_orders.sql)
  relation "stg_orders" does not exist
  LINE 12: select * from stg_orders
                         ^
  compiled code at target/run/fct_orders.sql
  > in macro materialization_table_default (macros/table.sql)
"""


def raised_by(attempt: Callable[[], object]) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011  the text is what is looked at
        attempt()
    return caught.value


def test_grpc_tells_code_and_details() -> None:
    with grpc.insecure_channel(f"127.0.0.1:{free_port()}") as channel:
        error = raised_by(lambda: channel.unary_unary("/a/b")(b"", timeout=10))
    assert one_line(error).startswith("UNAVAILABLE: failed to connect to all addresses")
    assert one_line(error).endswith("Connection refused")
    assert "RPC that terminated" not in one_line(error)


@pytest.mark.filterwarnings("ignore:.*RETRIES_EXCEEDED")
def test_sparks_client_tells_code_and_details() -> None:
    client = SparkConnectClient(f"sc://127.0.0.1:{free_port()}")
    client.set_retry_policies([DefaultPolicy(max_retries=0)])
    error = raised_by(lambda: client.get_configs("spark.app.name"))
    assert isinstance(error, SparkConnectGrpcException)
    assert "Connection refused" in one_line(error)
    assert "RPC that terminated" not in one_line(error)


def test_postgresql_names_the_dependent_objects_and_the_way_out(database_url: str) -> None:
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(VIEWS)
        line = one_line(raised_by(lambda: cursor.execute("drop table sales")))
        connection.rollback()
        assert line == (
            "cannot drop table sales because other objects depend on it "
            "DETAIL: view sales_by_day depends on table sales view sales_of_today depends on table sales "
            "HINT: Use DROP ... CASCADE to drop the dependent objects too."
        )
        line = one_line(raised_by(lambda: cursor.execute("select nothing from pg_class")))
        assert line == 'column "nothing" does not exist'


def test_a_statement_that_fails_does_not_send_to_doctor_and_a_lost_connection_does(database_url: str) -> None:
    engine = create_engine(database_url.replace("postgresql:", "postgresql+psycopg2:"))
    with engine.connect() as connection:
        connection.execute(text(VIEWS))
        error = raised_by(lambda: connection.execute(text("drop view if exists pg_class, sales")))
        assert isinstance(error, DBAPIError)
    engine.dispose()
    assert "doctor" not in in_one_line(error, "here")
    assert "HINT" in in_one_line(error, "here")
    gone = create_engine(f"postgresql+psycopg2://127.0.0.1:{free_port()}/x")
    error = raised_by(gone.connect)
    assert isinstance(error, DBAPIError)
    assert in_one_line(error, "here").endswith("accepting TCP/IP connections?; see `workbench doctor`")
    assert "SQL" not in in_one_line(error, "here")


def test_adbc_tells_what_libpq_says() -> None:
    line = one_line(raised_by(lambda: adbc.connect(f"postgresql://127.0.0.1:{free_port()}/x")))
    assert "Connection refused" in line
    assert "\n" not in line


def test_a_broker_that_is_away_is_told_by_its_reason() -> None:
    port = free_port()
    address = pika.ConnectionParameters("127.0.0.1", port, connection_attempts=1)
    error = raised_by(lambda: pika.BlockingConnection(address))
    assert str(error) == ""
    assert one_line(error).startswith("AMQPConnectionError: ")
    assert one_line(error).endswith("[Errno 111] Connection refused")


@pytest.mark.parametrize(("status", "body"), [(401, '{"exception_message": "Unauthorized"}'), (503, "")])
def test_prefect_tells_status_address_and_answer(status: int, body: str) -> None:
    request = httpx.Request("GET", "http://prefect/api/flows")
    answer = httpx.Response(status, text=body, request=request)
    error = raised_by(answer.raise_for_status)
    assert isinstance(error, httpx.HTTPStatusError)
    line = one_line(PrefectHTTPStatusError.from_httpx_error(error))
    assert str(status) in line
    assert "http://prefect/api/flows" in line
    assert ("Unauthorized" in line) == (status == 401)
    assert "developer.mozilla" not in line


def test_the_jvm_tells_its_last_cause_and_no_frame() -> None:
    told = "org.apache.spark.SparkException: Job aborted due to stage failure (Caused by: java.io.IOException: "
    assert joined(JVM) == f"{told}No space left on device)"
    long = joined(JVM.replace("aborted", "aborted" * 500), 200)
    assert long.endswith("… (Caused by: java.io.IOException: No space left on device)")
    assert len(long) == 200


def test_dbt_tells_model_reason_and_compiled_file() -> None:
    assert joined(DBT) == (
        "Database Error in model fct_orders (models/marts/fct_orders.sql) "
        'relation "stg_orders" does not exist compiled code at target/run/fct_orders.sql'
    )


def test_an_exception_without_a_text_tells_its_class_or_what_it_was_made_of() -> None:
    assert one_line(TimeoutError()) == "TimeoutError"
    empty = RuntimeError()
    empty.__cause__ = ValueError("a\n b")
    assert one_line(empty) == "RuntimeError: a b"
    empty.__cause__.args = ()
    empty.__cause__.__cause__ = empty
    assert one_line(empty) == "RuntimeError: ValueError"
