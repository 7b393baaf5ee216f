"""A Spark session of this process's own: one JVM as its child, ``local[n]``, ended without a trace."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: The oldest Java that Spark 4 runs on (https://spark.apache.org/docs/4.0.0/, "Downloading").
MIN_JAVA = 17
#: Share of the machine's memory that the heap may grow to. Spark's own limit of 1 GiB is less than 1e7
#: samples of 10 features take as objects; what is really used is in the row.
HEAP_SHARE = 0.5
#: How long the JVM may take to end by itself, in seconds.
STOP_SECONDS = 20.0
#: Errors alone, on standard error. Spark reads its level from its settings too, but only once it has greeted.
LOGGING = """rootLogger.level = error
rootLogger.appenderRef.stderr.ref = stderr
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = %p %c: %m%n%ex
"""
#: Where a machine's name leads to no address Spark would stop at it: everything here stays on this machine.
LOOPBACK = {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_HOSTNAME": "localhost"}


@dataclass(frozen=True)
class Session:
    """A running session.

    Parameters
    ----------
    spark : pyspark.sql.SparkSession
        The session.
    folder : Path
        For all files of Spark's and of ours; deleted by `stop`.
    """

    spark: Any
    folder: Path


def refusal() -> str | None:
    """Return None, or in one line why Spark cannot run here and the remedy."""
    try:
        importlib.import_module("pyspark")
    except ImportError as error:
        return f"{error}; install it: pip install pyspark (make spark installs what the bench needs)"
    remedy = (
        f"install Java {MIN_JAVA} or newer (Debian: apt install openjdk-17-jre-headless) or set JAVA_HOME"
    )
    java = _java()
    if java is None:
        return f"Spark needs Java, and there is none on PATH or in JAVA_HOME; {remedy}"
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"{java} -version fails ({error}); {remedy}"
    found = re.search(r'version "(?:1\.)?(\d+)', told.stderr + told.stdout)
    if found is None or int(found[1]) < MIN_JAVA:
        return (
            f"{java} is {f'Java {found[1]}' if found else 'of no known version'}, too old for Spark; {remedy}"
        )
    return None


def start(n_threads: int) -> Session:
    """Start a JVM with a session of ``local[n_threads]``.

    No user interface, no open port beyond the loopback interface, errors only in the log, and every file in
    one temporary folder.

    Parameters
    ----------
    n_threads : int
        Tasks at a time.

    Returns
    -------
    Session
        To be ended by `stop`.
    """
    from pyspark.sql import SparkSession

    os.environ.update(LOOPBACK)
    folder = Path(tempfile.mkdtemp(prefix="kmeans-spark-"))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    logging = folder / "log4j2.properties"
    logging.write_text(LOGGING)
    java_options = [
        f"-Dlog4j2.configurationFile=file:{logging}",
        f"-Djava.io.tmpdir={folder}",
        # Keeps the JVM from leaving a file of its own in the system's temporary folder.
        "-XX:-UsePerfData",
    ]
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": f"{int(memory * HEAP_SHARE) >> 20}m",
        "spark.driver.extraJavaOptions": " ".join(java_options),
        "spark.local.dir": str(folder),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        # A part of the file for every thread, however small it is.
        "spark.sql.files.openCostInBytes": "0",
    }
    builder = SparkSession.builder.master(f"local[{n_threads}]").appName("kmeans")
    try:
        return Session(builder.config(map=settings).getOrCreate(), folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def stop(session: Session) -> None:
    """End the session and its JVM, and delete its folder."""
    from pyspark import SparkContext

    # PySpark keeps the JVM of a stopped session for the next one. There is no public way to end it, and what
    # it has compiled and cached would make the next start-up look cheap.
    gateway = SparkContext._gateway
    session.spark.stop()
    try:
        if gateway is not None:
            gateway.shutdown()
            SparkContext._gateway = SparkContext._jvm = None
            _end(gateway.proc)
    finally:
        shutil.rmtree(session.folder, ignore_errors=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for the JVM, which ends when its standard input does, and kill it if it does not."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _java() -> str | None:
    """Return the ``java`` that Spark's launcher takes."""
    home = os.environ.get("JAVA_HOME")
    return str(Path(home) / "bin" / "java") if home else shutil.which("java")
