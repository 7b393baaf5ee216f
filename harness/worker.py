"""The child: prepare, warm up, time, and report on its own pipe.

Run as ``python -m harness.worker JOB.json FD``. Standard output and error belong to the library under test;
what counts goes through file descriptor FD as one JSON object a line, large arrays through files in the job's
folder. Every way to end badly is turned into a message where Python still can; the parent covers the rest.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import signal
import socket
import sys
import traceback
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from harness import memory, registry
from harness.contract import FitResult, FitSpec, Implementation
from harness.datasets import Dataset

#: Rows of the warm-up fit: enough to start thread pools and compile what is compiled, cheap everywhere.
WARM_UP_ROWS = 2048
WARM_UP_ITERATIONS = 2
#: Characters of a reason: some libraries print arrays into their exceptions.
MAX_REASON = 500
CENTERS_FILE = "centers.npy"
LABELS_FILE = "labels.npy"
INIT_FILE = "init.npy"


@dataclass(frozen=True)
class Job:
    """What the parent asks of a worker.

    Parameters
    ----------
    adapter : str
        ``module:factory`` of the implementation.
    dataset : Dataset
        The samples.
    spec : FitSpec
        What to fit; ``spec.init`` travels as a file.
    folder : Path
        An empty folder of this measurement's own, for arrays and temporary files.
    """

    adapter: str
    dataset: Dataset
    spec: FitSpec
    folder: Path

    def write(self) -> Path:
        """Write the job into its folder and return the file's path."""
        content: dict[str, Any] = {
            "adapter": self.adapter,
            "dataset": {**asdict(self.dataset), "path": str(self.dataset.path)},
            "spec": asdict(replace(self.spec, init=None)),
            "folder": str(self.folder),
        }
        if self.spec.init is not None:
            np.save(self.folder / INIT_FILE, self.spec.init)
        path = self.folder / "job.json"
        path.write_text(json.dumps(content))
        return path

    @classmethod
    def read(cls, path: Path) -> Job:
        """Read what `write` wrote."""
        content = json.loads(path.read_text())
        folder = Path(content["folder"])
        init_file = folder / INIT_FILE
        init = np.load(init_file, allow_pickle=False) if init_file.exists() else None
        dataset = Dataset(**{**content["dataset"], "path": Path(content["dataset"]["path"])})
        return cls(content["adapter"], dataset, FitSpec(**{**content["spec"], "init": init}), folder)


class Pipe:
    """The worker's end of the result pipe, a socket."""

    def __init__(self, descriptor: int) -> None:
        # The library under test may start processes: they must not hold the pipe open.
        os.set_inheritable(descriptor, False)
        self._socket = socket.socket(fileno=descriptor)

    def send(self, event: str, **content: object) -> None:
        """Send one message."""
        self._socket.sendall(json.dumps({"event": event, **content}).encode() + b"\n")

    def wait_for_answer(self) -> None:
        """Return when the parent has dealt with the last message and is about to sleep.

        Asked for again and again: after a sleep the processor would be slow for the first milliseconds.
        """
        waits = True
        while waits:
            with contextlib.suppress(BlockingIOError):
                self._socket.recv(1, socket.MSG_DONTWAIT)
                waits = False


def main(arguments: list[str]) -> int:
    """Run one job, or (``--probe ADAPTER``) only say whether the implementation is available."""
    if arguments[0] == "--probe":
        implementation, reason = _open(arguments[1])
        version = implementation.version() if implementation is not None and reason is None else ""
        sys.stdout.write(json.dumps({"reason": reason, "version": version}) + "\n")
        return 0
    _die_with_parent()
    pipe = Pipe(int(arguments[1]))
    try:
        run(Job.read(Path(arguments[0])), pipe)
    except MemoryError as error:
        traceback.print_exc()
        pipe.send("error", status="oom", reason=_one_line(error))
    except BaseException as error:  # noqa: BLE001 - whatever a library raises becomes a row, never a lost one
        traceback.print_exc()
        pipe.send("error", status="failed", reason=_one_line(error))
    return 0


def run(job: Job, pipe: Pipe) -> None:
    """Measure one implementation once."""
    implementation, reason = _open(job.adapter)
    if implementation is None or reason is not None:
        pipe.send("error", status="skipped", reason=reason)
        return
    spec = job.spec
    _warm_up(implementation, job)

    start = perf_counter()
    state = implementation.prepare(job.dataset, spec)
    prepare_seconds = perf_counter() - start

    gc.collect()
    was_reset = memory.reset_high_water_mark()
    pipe.send("fitting", baseline_rss_bytes=memory.tree_rss_bytes(os.getpid()))
    # What the parent does with that message would take a core from the first half millisecond of the fit.
    pipe.wait_for_answer()
    start = perf_counter()
    fitted = implementation.fit(state, spec)
    fit_seconds = perf_counter() - start
    peak_hwm_bytes = memory.high_water_mark_bytes() if was_reset else None
    pipe.send("fitted")
    result = implementation.result(fitted, spec)

    start = perf_counter()
    labels = implementation.predict(state, fitted)
    predict_seconds = perf_counter() - start if labels is not None else None
    # The labels of the fit are what its user gets; predict's stand in where a fit has none.
    if result.labels is not None:
        labels = result.labels
    version = implementation.version()
    implementation.close(state)

    np.save(job.folder / CENTERS_FILE, np.asarray(result.centers))
    if labels is not None:
        np.save(job.folder / LABELS_FILE, np.asarray(labels))
    pipe.send(
        "done",
        library_version=version,
        prepare_seconds=prepare_seconds,
        fit_seconds=fit_seconds,
        predict_seconds=predict_seconds,
        peak_hwm_bytes=peak_hwm_bytes,
        **_plain(result),
    )


def _open(adapter: str) -> tuple[Implementation[Any, Any] | None, str | None]:
    try:
        implementation = registry.load(adapter)
    except ImportError as error:
        return None, f"{type(error).__name__}: {error}"
    return implementation, implementation.available()


def _warm_up(implementation: Implementation[Any, Any], job: Job) -> None:
    rows = min(job.dataset.n_samples, max(WARM_UP_ROWS, job.spec.n_clusters))
    spec = replace(job.spec, max_iter=WARM_UP_ITERATIONS)
    state = implementation.prepare(job.dataset.head(rows, job.folder), spec)
    fitted = implementation.fit(state, spec)
    implementation.predict(state, fitted)
    implementation.close(state)


def _plain(result: FitResult) -> dict[str, object]:
    """Return the small fields of a result as JSON values."""
    return {
        "n_iter": None if result.n_iter is None else int(result.n_iter),
        "reported_inertia": _number(result.reported_inertia),
        "seeding_seconds": _number(result.seeding_seconds),
        "reported_fit_seconds": _number(result.reported_fit_seconds),
        "started_peak_rss_bytes": result.started_peak_rss_bytes,
        "isa": result.isa,
        "algorithm": result.algorithm,
        "init": result.settings.init,
        "n_init": result.settings.n_init,
        "max_iter": result.settings.max_iter,
        "tol": _number(result.settings.tol),
    }


def _one_line(error: BaseException) -> str:
    """Return what an exception says, short enough for a cell."""
    return f"{type(error).__name__}: {error}".rstrip(": ")[:MAX_REASON]


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def _die_with_parent() -> None:
    """Ask Linux to end this process when the runner ends, even by ``kill -9``."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        parent = os.getppid()
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
