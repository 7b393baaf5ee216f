"""The parent: a fresh process a measurement, thread caps, limits on time and memory, the whole tree ended.

No ``fork``: the child is a new interpreter in a session of its own, so that Ctrl-C in the terminal reaches
the runner alone and the runner decides. Whatever the child does (hang, crash, flood its pipe, leave
processes behind), `measure` returns an `Outcome`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import psutil

from harness import memory
from harness.contract import FitSpec
from harness.datasets import Dataset
from harness.environment import ROOT
from harness.worker import CENTERS_FILE, LABELS_FILE, MAX_REASON, Job

Status = Literal["ok", "skipped", "failed", "timeout", "oom", "wrong"]

#: Variables by which the libraries under test size their thread pools at import.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
)
#: A message is a few hundred bytes; more than this on the pipe is not ours.
MAX_MESSAGE_BYTES = 1 << 20
#: How long a worker that has reported everything may take to end, in seconds.
EXIT_SECONDS = 30.0
#: Folder inside the checkout of another revision that holds the package built from it.
PACKAGES = ".packages"
#: Bad endings a worker may report of itself.
WORKER_STATUSES = ("skipped", "failed", "oom")
_NUMBER = (int, float)
_MAYBE_NUMBER = (int, float, type(None))
_MAYBE_WHOLE = (int, type(None))
#: Fields of each message and their types.
FIELDS_OF_EVENT: dict[str, dict[str, tuple[type, ...]]] = {
    "fitting": {"baseline_rss_bytes": (int,)},
    "fitted": {},
    "error": {"status": (str,), "reason": (str,)},
    "done": {
        "library_version": (str,),
        "prepare_seconds": _NUMBER,
        "fit_seconds": _NUMBER,
        "predict_seconds": _MAYBE_NUMBER,
        "peak_hwm_bytes": _MAYBE_WHOLE,
        "n_iter": _MAYBE_WHOLE,
        "reported_inertia": _MAYBE_NUMBER,
        "seeding_seconds": _MAYBE_NUMBER,
        "reported_fit_seconds": _MAYBE_NUMBER,
        "started_peak_rss_bytes": _MAYBE_WHOLE,
        "isa": (str, type(None)),
        "algorithm": (str, type(None)),
        "init": (str,),
        "n_init": _MAYBE_WHOLE,
        "max_iter": _MAYBE_WHOLE,
        "tol": _MAYBE_NUMBER,
    },
}


@dataclass(frozen=True)
class Limits:
    """Limits of one measurement.

    Parameters
    ----------
    timeout_seconds : float
        Wall clock of the whole process, imports included.
    max_memory_bytes : int or None
        Summed resident set of the process tree; None for no limit of ours.
    """

    timeout_seconds: float
    max_memory_bytes: int | None = None


@dataclass
class Outcome:
    """What came of one measurement; everything but `status` may be missing unless it is "ok".

    Parameters
    ----------
    status, reason : str
        One of `Status`, and why in one line.
    facts : dict
        The fields of the worker's "done" message.
    centers : ndarray of shape (n_clusters, n_features) or None
        Final centers.
    labels : ndarray of shape (n_samples,) or None
        The implementation's own labels of the training samples.
    baseline_rss_bytes : int or None
        Resident set of the tree right before the fit.
    peak_polled_bytes : int or None
        Largest resident set of the tree seen by polling during the fit.
    wall_seconds : float
        Life of the process, for the estimate of the time left.
    """

    status: Status
    reason: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    centers: npt.NDArray[np.floating[Any]] | None = None
    labels: npt.NDArray[np.integer[Any]] | None = None
    baseline_rss_bytes: int | None = None
    peak_polled_bytes: int | None = None
    wall_seconds: float = 0.0


def measure(
    adapter: str, dataset: Dataset, spec: FitSpec, limits: Limits, checkout: Path | None = None
) -> Outcome:
    """Run one implementation once in a fresh process and return what came of it.

    Parameters
    ----------
    adapter : str
        ``module:factory``.
    dataset : Dataset
        The samples.
    spec : FitSpec
        What to fit.
    limits : Limits
        Of this measurement.
    checkout : Path or None, default=None
        Where the adapter and the built package are taken from; None for this checkout and what is installed.

    Raises
    ------
    KeyboardInterrupt
        If the runner is interrupted; the process tree has been ended by then.
    """
    _adopt_orphans()
    folder = Path(tempfile.mkdtemp(prefix="kmeans-bench-"))
    try:
        return _Child(Job(adapter, dataset, spec, folder), limits, checkout).outcome()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def probe(adapter: str, timeout_seconds: float = 60.0) -> tuple[str | None, str]:
    """Ask in a fresh process whether an implementation can run here.

    Returns
    -------
    reason : str or None
        Why it cannot, or None.
    version : str
        Version of the library that does the work; empty if unavailable.
    """
    command = [sys.executable, "-m", "harness.worker", "--probe", adapter]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return f"gave no answer within {timeout_seconds:.0f} s", ""
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return f"its import fails: {_last_line(done.stderr) or f'exit code {done.returncode}'}", ""
    return answer["reason"], answer["version"]


def thread_caps(n_threads: int) -> dict[str, str]:
    """Return the environment that holds every library to ``n_threads``."""
    return dict.fromkeys(THREAD_VARIABLES, str(n_threads))


class _ProtocolError(Exception):
    pass


class _Child:
    def __init__(self, job: Job, limits: Limits, checkout: Path | None) -> None:
        self._job = job
        self._checkout = checkout
        self._limits = limits
        self._result = Outcome("failed", "the worker said nothing")
        self._log = job.folder / "output.log"
        self._fitting = False
        self._finished = False

    def outcome(self) -> Outcome:
        start = perf_counter()
        others = set(psutil.Process().children(recursive=True))
        ours, theirs = socket.socketpair()
        with theirs:
            process = self._start(theirs.fileno())
        try:
            self._watch(process, ours, start + self._limits.timeout_seconds)
            if self._finished:
                self._load_arrays()
        finally:
            # Also on KeyboardInterrupt: nothing of the tree may outlive the measurement.
            ours.close()
            _end_tree(process, others)
            self._result.wall_seconds = perf_counter() - start
        return self._result

    def _start(self, pipe: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "harness.worker", str(self._job.write()), str(pipe)]
        variables = {
            **os.environ,
            **thread_caps(self._job.spec.n_threads),
            # Temporary files go with the job's folder, also those of a library that is killed.
            "TMPDIR": str(self._job.folder),
        }
        if self._checkout is not None:
            # Before whatever is installed.
            variables["PYTHONPATH"] = str(self._checkout / PACKAGES)
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=self._checkout or ROOT,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(pipe,),
                start_new_session=True,
            )
        _pin(process.pid, self._job.spec.n_threads)
        return process

    def _watch(self, process: subprocess.Popen[bytes], pipe: socket.socket, deadline: float) -> None:
        """Read messages and poll memory until the worker has reported, ended or broken a limit."""
        buffer = b""
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while not self._finished:
                ready = selector.select(memory.POLL_SECONDS)
                if self._over_a_limit(process.pid, deadline):
                    return
                if not ready:
                    continue
                chunk = received(pipe)
                if not chunk:
                    self._worker_ended(process)
                    return
                buffer += chunk
                *lines, buffer = buffer.split(b"\n")
                try:
                    if len(buffer) > MAX_MESSAGE_BYTES:
                        raise _ProtocolError(buffer)
                    for line in lines:
                        self._handle(line)
                except _ProtocolError as error:
                    self._end_with("failed", f"garbage on the result pipe: {error.args[0][:60]!r}")
                    return
                if self._fitting:
                    # The fit begins now, and what is left to do here is to sleep. A worker that has ended or
                    # reads nothing is not waited for.
                    with contextlib.suppress(OSError):
                        pipe.send(b"\n", socket.MSG_DONTWAIT)

    def _handle(self, line: bytes) -> None:
        try:
            message = json.loads(line)
            event = message.pop("event")
            types = FIELDS_OF_EVENT[event]
            well_formed = set(message) == set(types) and all(
                isinstance(value, types[name]) for name, value in message.items()
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _ProtocolError(line) from None
        if not well_formed or message.get("status", "failed") not in WORKER_STATUSES:
            raise _ProtocolError(line)
        if event == "fitting":
            self._fitting = True
            self._result.baseline_rss_bytes = message["baseline_rss_bytes"]
            self._result.peak_polled_bytes = message["baseline_rss_bytes"]
        elif event == "fitted":
            self._fitting = False
        elif event == "error":
            self._end_with(message["status"], message["reason"])
        else:
            self._result.facts = message
            self._end_with("ok", "")

    def _over_a_limit(self, pid: int, deadline: float) -> bool:
        rss = memory.tree_rss_bytes(pid)
        if self._fitting:
            self._result.peak_polled_bytes = max(self._result.peak_polled_bytes or 0, rss)
        limit = self._limits.max_memory_bytes
        if limit is not None and rss > limit:
            self._end_with(
                "oom",
                f"{rss / 2**20:.0f} MiB in use, over the limit of {limit / 2**20:.0f} MiB (--max-memory)",
            )
        elif perf_counter() > deadline:
            self._end_with("timeout", f"no result within {self._limits.timeout_seconds:g} s (--timeout)")
        return self._finished

    def _worker_ended(self, process: subprocess.Popen[bytes]) -> None:
        """Find out from the exit status why the pipe was closed without a last message."""
        try:
            code = process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._end_with("failed", "closed its result pipe without a result and went on")
            return
        if code == -signal.SIGKILL:
            self._end_with("oom", "killed by the system (SIGKILL), most likely out of memory")
        elif code < 0:
            self._end_with("failed", f"crashed with {signal.Signals(-code).name}")
        else:
            last = _last_line(self._log.read_text(errors="replace"))
            self._end_with(
                "failed", f"ended with exit code {code} and no result{': ' + last if last else ''}"
            )

    def _end_with(self, status: Status, reason: str) -> None:
        self._result.status = status
        # Whatever a library says must fit a cell of a UTF-8 file.
        printable = reason[:MAX_REASON].encode(errors="backslashreplace").decode()
        self._result.reason = " ".join(printable.split())
        self._finished = True

    def _load_arrays(self) -> None:
        if self._result.status != "ok":
            return
        try:
            self._result.centers = np.load(self._job.folder / CENTERS_FILE, allow_pickle=False)
            labels = self._job.folder / LABELS_FILE
            self._result.labels = np.load(labels, allow_pickle=False) if labels.exists() else None
        except (OSError, ValueError) as error:
            self._end_with("failed", f"its arrays cannot be read: {error}")


def received(pipe: socket.socket) -> bytes:
    """Return what has come; nothing at the end, where a worker that read no answer resets the pipe."""
    try:
        return pipe.recv(1 << 16)
    except ConnectionResetError:
        return b""


def _end_tree(process: subprocess.Popen[bytes], others: set[psutil.Process]) -> None:
    """End a worker and all it started, detached processes included; ``others`` were here before it."""
    me = psutil.Process()
    victims = _descendants(process.pid)
    while victims:
        for victim in victims:
            # It may have ended by itself.
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
        psutil.wait_procs(victims, timeout=5)
        # What had detached from the worker is now a child of this process: see `_adopt_orphans`.
        victims = [child for child in me.children(recursive=True) if child not in others]
    process.wait()


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _adopt_orphans() -> None:
    """Make Linux hand a dead worker's children to this process, so that none is lost sight of."""
    if sys.platform == "linux":
        pr_set_child_subreaper = 36
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_child_subreaper, 1)


def _pin(pid: int, n_threads: int) -> None:
    """Hold the tree to as many cores as the budget has, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))[:n_threads]
        # A child that is gone already says so on its own.
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(pid, cores)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
