"""The variables of a shell that is set up for other work, each with a value that breaks a component."""

from __future__ import annotations

from pathlib import Path

NOWHERE, NOBODY = "/nowhere", "203.0.113.1"  # an address for documentation: connecting to it waits for ever
_PROXY = "http://127.0.0.1:1"
_JAVA = "-Xmx1m"
_DECIMAL = "import decimal\ndecimal.DefaultContext.prec = 3\ndecimal.setcontext(decimal.Context(prec=3))\n"
_VARIABLES = {
    # PostgreSQL
    "PGHOST": NOBODY, "PGHOSTADDR": NOBODY, "PGPORT": "1", "PGDATABASE": "other", "PGUSER": "other", "PGSERVICE": "x",
    "PGDATA": NOWHERE, "PGCLIENTENCODING": "LATIN1", "PGOPTIONS": "-c statement_timeout=1", "PGSSLMODE": "verify-full",
    "PGCHANNELBINDING": "require", "PGREQUIREAUTH": "scram-sha-256", "PGREQUIREPEER": "other",
    # proxies
    **dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "grpc_proxy"), _PROXY),
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "GRPC_PROXY"), _PROXY),
    # Java and Spark
    "JAVA_TOOL_OPTIONS": _JAVA, "_JAVA_OPTIONS": _JAVA, "JDK_JAVA_OPTIONS": _JAVA, "CLASSPATH": NOWHERE,
    "SPARK_HOME": NOWHERE, "SPARK_CONF_DIR": NOWHERE, "SPARK_LOCAL_DIRS": NOWHERE, "SPARK_TESTING": "1",
    "SPARK_CONNECT_AUTHENTICATE_TOKEN": "other", "PYSPARK_PYTHON": NOWHERE, "HADOOP_HOME": NOWHERE,
    # dbt
    "DBT_EXCLUDE_RESOURCE_TYPES": "test unit_test", "DBT_TARGET": "other", "DBT_PROFILES_DIR": NOWHERE,
    "DBT_FAIL_FAST": "neither", "DBT_STATE": NOWHERE,
    # Prefect
    "PREFECT_PROFILE": "other", "PREFECT_PROFILES_PATH": NOWHERE, "PREFECT_HOME": NOWHERE, "PREFECT_API_KEY": "pnu_1",
    "PREFECT_API_DATABASE_CONNECTION_URL": "none", "PREFECT_LOGGING_SETTINGS_PATH": NOWHERE, "PREFECT_TEST_MODE": "1",
    # Python, IPython, Jupyter
    "PYTHONWARNINGS": "error", "PYTHONOPTIMIZE": "2", "PYTHONINSPECT": "1", "PYTHONIOENCODING": "ascii",
    "PYTHONUTF8": "0", "IPYTHONDIR": NOWHERE, "JUPYTER_CONFIG_DIR": NOWHERE, "JUPYTER_PATH": NOWHERE,
    "JUPYTER_RUNTIME_DIR": NOWHERE, "JPY_PARENT_PID": "1",
    # libraries
    "OTEL_PROPAGATORS": "none-such", "OTEL_PYTHON_CONTEXT": "none-such", "GRPC_POLL_STRATEGY": "none-such",
    "POLARS_STREAMING_CHUNK_SIZE": "none", "PLOTLY_RENDERER": "browser", "WEB_CONCURRENCY": "many",
    "UVICORN_PORT": "none", "MALLOC_PERTURB_": "165", "OMP_NUM_THREADS": "3",
    # the machine
    "TMPDIR": NOWHERE, "TZ": "Asia/Kathmandu", "LC_ALL": "tr_TR.UTF-8", "LANG": "C",
}  # fmt: skip


def hostile_shell(folder: Path) -> dict[str, str]:
    """Return the variables; what PYTHONPATH and PYTHONSTARTUP name is written to `folder`.

    It holds packages named like one of ours and like a library, and files that have money rounded to three digits.
    """
    for name in ("flows", "pandas"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"raise ImportError('the {name} of somebody else')\n")
    for name in ("sitecustomize.py", "startup.py"):
        (folder / name).write_text(_DECIMAL)
    return _VARIABLES | {"PYTHONPATH": str(folder), "PYTHONSTARTUP": str(folder / "startup.py")}
