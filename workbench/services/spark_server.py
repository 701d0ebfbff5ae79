"""The embedded Spark Connect server: one JVM on this machine's cores, loopback only, behind a token."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from pathlib import Path

import psutil

from workbench.services import machine_requirements, processes
from workbench.services.home_identity import identity_of
from workbench.services.java import Java, find_java
from workbench.services.service import Service, ServiceKind
from workbench.services.temporary_folders import kept_temporary_folder

_MAIN = "org.apache.spark.sql.connect.service.SparkConnectServer"
_GIBI = 1 << 30
_OPENED = (
    "java.base/java.io", "java.base/java.lang", "java.base/java.lang.invoke", "java.base/java.lang.reflect",
    "java.base/java.net", "java.base/java.nio", "java.base/java.util", "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic", "java.base/jdk.internal.ref", "java.base/sun.nio.ch",
    "java.base/sun.nio.cs", "java.base/sun.security.action", "java.base/sun.util.calendar",
)  # fmt: skip
_LOGGING = """\
rootLogger.level = warn
rootLogger.appenderRef.stderr.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd'T'HH:mm:ss} %p %c{1}: %m%n%ex
"""


def prepare(folder: Path) -> Service:
    """Clean the server's folders and return how it is started."""
    port, token, java = processes.free_port(), secrets.token_urlsafe(24), find_java()
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    libraries = _library_folder(scratch, identity_of(folder.parents[1]))
    return Service(
        command=[
            str(java.program),
            *_java_options(java, folder, libraries),
            *_properties(scratch, port),
            "-cp",
            _classes(),
            _MAIN,
        ],
        environment=processes.plain_environment() | _environment(token),
        folder=scratch,
        url=f"sc://localhost:{port}/;token={token}",
        is_ready=lambda: processes.accepts_connections("127.0.0.1", port, 0.2),
        port=port,
        clean_up=lambda: _clean_up(scratch, libraries),
    )


def _library_folder(scratch: Path, home_id: str) -> Path:
    """Return the folder that the JVM unpacks native libraries into: `scratch`, unless its mount is noexec."""
    base = machine_requirements.library_base(scratch)
    if base is None:
        raise RuntimeError(f"{scratch} and the folders for temporary files are mounted with noexec")
    return scratch if base == scratch else kept_temporary_folder(base, f"workbench-java-{home_id}-")


def _clean_up(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def driver_memory(memory: int) -> int:
    """Return the heap in bytes for a machine with so many bytes: a quarter, between 1 and 4 GiB."""
    return max(_GIBI, min(4 * _GIBI, memory // 4))


def _java_options(java: Java, folder: Path, libraries: Path) -> list[str]:
    logging = folder / "log4j2.properties"
    logging.write_text(_LOGGING, "utf-8")
    heap = driver_memory(psutil.virtual_memory().total)
    options = [f"-Xmx{heap // (1 << 20)}m", f"-Dlog4j2.configurationFile={logging.as_uri()}", "-Duser.timezone=UTC"]
    options += [f"-Djava.io.tmpdir={libraries}", "-XX:-UsePerfData"]
    options += [f"--add-opens={package}=ALL-UNNAMED" for package in _OPENED]
    options += ["-Djdk.reflect.useDirectMethodHandle=false", "-Dio.netty.tryReflectionSetAccessible=true"]
    if java.version >= 24:
        options += ["--sun-misc-unsafe-memory-access=allow", "--enable-native-access=ALL-UNNAMED"]
        options += ["-Dio.netty.noUnsafe=false"]
    return options


def _properties(scratch: Path, port: int) -> list[str]:
    properties = {
        "spark.master": "local[*]",
        "spark.app.name": "notebook-workbench",
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": port,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        # Spark's other ports require a secret, too, which Spark makes for itself on a local master.
        "spark.authenticate": "true",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.local.dir": ".",  # the working folder; in a path, a comma would separate two folders
        "spark.sql.warehouse.dir": (scratch / "warehouse").as_uri(),
        "spark.sql.session.timeZone": "UTC",
        "spark.pyspark.python": sys.executable,
    }
    return [f"-D{name}={value}" for name, value in properties.items()]


def _environment(token: str) -> dict[str, str]:
    """The token goes by environment, where `ps` does not show it. Java reads file names by the locale's encoding."""
    return {
        "SPARK_HOME": str(_spark_home()),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_CONNECT_AUTHENTICATE_TOKEN": token,
        "PYSPARK_PYTHON": sys.executable,
        "TZ": "UTC",
        "LC_ALL": "C.UTF-8",
    }


def _classes() -> str:
    return os.pathsep.join(str(jar) for jar in sorted((_spark_home() / "jars").glob("*.jar")))


def _spark_home() -> Path:
    import pyspark

    return Path(pyspark.__file__).parent


SPARK = ServiceKind(prepare=prepare, start_seconds=90, attempts=3)
