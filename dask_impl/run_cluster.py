"""Ours, dask-ml and scikit-learn on a cluster that runs already, or on one of processes started here.

``python -m dask_impl.run_cluster --scheduler tcp://HOST:PORT`` connects; without it ``dask scheduler``
and ``dask worker`` processes are started on the loopback interface, as one would start them on several
machines, and ended again.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dask_impl import comparison as shared
from dask_impl.local import WORKER_ENVIRONMENT
from harness.errors import UserError

if TYPE_CHECKING:
    from distributed import Client

#: How long to wait for a scheduler or for workers, in seconds.
START_SECONDS = 60.0
#: How long processes may take to end by themselves, in seconds.
STOP_SECONDS = 15.0
LOOPBACK = "127.0.0.1"


def main(
    options: shared.Options,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a running scheduler [processes started here].")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes to start [2].")] = None,
) -> None:
    """Generate blobs with Dask on a cluster and cluster them with three libraries."""
    if scheduler is None:
        if workers is not None and workers < 1:
            raise UserError(f"--workers: {workers} is less than 1")
        shared.compare("cluster", options, loopback_cluster(2 if workers is None else workers))
    elif workers is not None:
        raise UserError("--workers: has no effect on the cluster of --scheduler; leave one of them out")
    else:
        shared.compare("cluster", options, connected(scheduler))


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """Connect to a running scheduler; it and its workers go on afterwards.

    Raises
    ------
    UserError
        If nothing answers at the address, or no worker is there.
    """
    from distributed import Client

    try:
        client = Client(address, timeout=START_SECONDS / 4, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"--scheduler: no scheduler answers at {address!r} ({_first_line(error)}); give its address as "
            "tcp://HOST:PORT, or tls:// with the certificates in Dask's configuration"
        ) from error
    with client:
        if not client.nthreads():
            raise UserError(f"--scheduler: {address} has no workers; start some: dask worker {address}")
        yield client


@contextmanager
def loopback_cluster(n_workers: int) -> Iterator[Client]:
    """Start a scheduler and workers, each by Dask's own command, and end them whatever happens.

    Parameters
    ----------
    n_workers : int
        Worker processes, one thread each.

    Raises
    ------
    UserError
        If they do not start.
    """
    with tempfile.TemporaryDirectory(prefix="kmeans-dask-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        contact = folder / "scheduler.json"
        processes: list[subprocess.Popen[bytes]] = []
        try:
            processes.append(
                # Should this process be killed outright, the scheduler ends when nothing has happened for a
                # while, and the workers when they miss it.
                _start(
                    folder,
                    ["scheduler", "--host", LOOPBACK, "--port", "0", "--dashboard-address", f"{LOOPBACK}:0"],
                    ["--scheduler-file", str(contact), "--idle-timeout", "600s"],
                )
            )
            address = _address(contact, processes[0], folder)
            for number in range(n_workers):
                processes.append(
                    _start(
                        folder,
                        ["worker", address, "--host", LOOPBACK, "--nthreads", "1", "--no-dashboard"],
                        ["--name", f"worker-{number}", "--local-directory", str(folder)],
                        ["--memory-limit", "0", "--death-timeout", "60"],
                    )
                )
            with connected_when_whole(address, n_workers) as client:
                yield client
        finally:
            _end(processes)


@contextmanager
def connected_when_whole(address: str, n_workers: int) -> Iterator[Client]:
    """Connect to a scheduler as soon as all its workers are there.

    Raises
    ------
    UserError
        If they do not come.
    """
    from distributed import Client

    with Client(address, timeout=START_SECONDS, set_as_default=False) as client:
        try:
            client.wait_for_workers(n_workers, timeout=START_SECONDS)
        except TimeoutError as error:
            raise UserError(
                f"of {n_workers} workers not all started within {START_SECONDS:.0f} s; try fewer --workers"
            ) from error
        yield client


def _start(folder: Path, *words: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start one of Dask's programs; Ctrl-C in the terminal reaches this process alone."""
    path = os.pathsep.join(filter(None, [str(shared.ROOT), os.environ.get("PYTHONPATH")]))
    with (folder / "dask.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *(word for part in words for word in part)],
            env={**os.environ, **WORKER_ENVIRONMENT, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _address(contact: Path, scheduler: subprocess.Popen[bytes], folder: Path) -> str:
    """Return where the scheduler listens, once it has written it down."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and scheduler.poll() is None:
        # The file may be there and not yet whole.
        with contextlib.suppress(OSError, ValueError, KeyError):
            return str(json.loads(contact.read_text())["address"])
        time.sleep(0.05)
    said = (folder / "dask.log").read_text(errors="replace").strip().splitlines()
    raise UserError(
        f"dask scheduler did not start: {said[-1] if said else 'it said nothing'}; is distributed installed?"
    )


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End workers, then the scheduler: politely, then with all they have started."""
    for process in reversed(processes):
        process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for process in reversed(processes):
        # Who does not end by then is killed below.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, deadline - time.monotonic()))
    for process in processes:
        # A session of its own each: what a worker has started ends too, even where the worker itself is gone.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


if __name__ == "__main__":
    sys.exit(shared.program("run_cluster", main))
