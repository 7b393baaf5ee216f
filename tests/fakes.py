"""Implementations that misbehave, one way each: the bench must turn every one into a row."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness.contract import FitResult, FitSpec, FloatArray, LabelArray, Settings
from harness.datasets import Dataset
from harness.registry import Entry

#: Long enough that only a limit or a kill ends it within a test.
FOREVER = 600.0


class Honest:
    """Answers from the start it is given: one step of Lloyd, so that it is quick and well formed."""

    def available(self) -> str | None:
        return None

    def version(self) -> str:
        return "1.0"

    def prepare(self, dataset: Dataset, spec: FitSpec) -> FloatArray:
        return dataset.load()

    def fit(self, state: FloatArray, spec: FitSpec) -> FloatArray:
        return state[: spec.n_clusters].copy() if spec.init is None else spec.init

    def result(self, fitted: FloatArray, spec: FitSpec) -> FitResult:
        return FitResult(fitted, 1, 0.0, Settings("given", 1, 1, 0.0))

    def predict(self, state: FloatArray, fitted: FloatArray) -> LabelArray | None:
        return None

    def close(self, state: FloatArray) -> None:
        return None


class Fit(Honest):
    """Does something else than fitting, in the fit that counts (not in the warm-up)."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._action = action
        self._fits = 0

    def fit(self, state: FloatArray, spec: FitSpec) -> FloatArray:
        self._fits += 1
        if self._fits > 1:
            self._action()
        return super().fit(state, spec)


def honest() -> Honest:
    return Honest()


def hang() -> Honest:
    return Fit(lambda: time.sleep(FOREVER))


def segfault() -> Honest:
    return Fit(lambda: ctypes.string_at(0))


def raises() -> Honest:
    def action() -> None:
        raise RuntimeError("no\nluck")

    return Fit(action)


def raises_in_the_result() -> Honest:
    def change(result: FitResult) -> FitResult:
        raise RuntimeError("nothing to show")

    return Lying(change)


def raises_an_odd_text() -> Honest:
    """Says what no CSV file in UTF-8 can hold, at great length."""

    def action() -> None:
        raise RuntimeError("caf\udce9 " + "x" * 200_000)

    return Fit(action)


def runs_out_of_memory() -> Honest:
    def action() -> None:
        raise MemoryError

    return Fit(action)


def grows() -> Honest:
    def action() -> None:
        held = []
        while True:
            held.append(np.ones(1 << 21))
            time.sleep(0.01)

    return Fit(action)


def is_killed() -> Honest:
    return Fit(lambda: os.kill(os.getpid(), signal.SIGKILL))


def exits() -> Honest:
    def action() -> None:
        sys.stderr.write("giving up\n")
        sys.stderr.flush()
        os._exit(3)

    return Fit(action)


def writes_garbage() -> Honest:
    return Fit(lambda: os.write(int(sys.argv[2]), b"\x00\xffnot a message\n"))


def floods() -> Honest:
    return Fit(lambda: [os.write(int(sys.argv[2]), b"x" * 4096) for _ in range(1 << 10)])


def claims() -> Honest:
    """Sends a well-formed message of its own: an "ok" without figures."""
    return Fit(lambda: os.write(int(sys.argv[2]), b'{"event": "done"}\n'))


def sends(message: bytes) -> Honest:
    return Fit(lambda: os.write(int(sys.argv[2]), message + b"\n"))


def sends_a_status_of_its_own() -> Honest:
    return sends(b'{"event": "error", "status": "bogus", "reason": "x"}')


def sends_no_reason() -> Honest:
    return sends(b'{"event": "error", "status": "failed", "reason": null}')


def sends_text_for_a_number() -> Honest:
    return sends(b'{"event": "fitting", "baseline_rss_bytes": "x"}')


def is_chatty() -> Honest:
    return Fit(lambda: sys.stdout.write("x" * 100_000))


def spikes() -> Honest:
    """Holds 200 MiB for less than the polling interval."""

    def action() -> None:
        held = np.ones(25 << 20)
        del held

    return Fit(action)


def leaves_processes() -> Honest:
    """Starts a process in a session of its own, as daemons do, and forgets it."""

    def action() -> None:
        child = subprocess.Popen(
            [sys.executable, "-c", f"import time; time.sleep({FOREVER})"], start_new_session=True
        )
        Path(os.environ["FAKE_PID_FILE"]).write_text(str(child.pid))

    return Fit(action)


def leaves_processes_and_hangs() -> Honest:
    def action() -> None:
        # Part of the fake, not of the protocol it is typed as.
        leaves_processes()._action()  # type: ignore[attr-defined]
        time.sleep(FOREVER)

    return Fit(action)


class Missing(Honest):
    def available(self) -> str | None:
        return "needs the moon; fetch it"


class Lying(Honest):
    """Returns an answer that is changed on its way out."""

    def __init__(self, change: Callable[[FitResult], FitResult]) -> None:
        self._change = change

    def result(self, fitted: FloatArray, spec: FitSpec) -> FitResult:
        return self._change(super().result(fitted, spec))


def missing() -> Honest:
    return Missing()


def far_off() -> Honest:
    return Lying(lambda result: replace(result, centers=result.centers + 1))


def not_finite() -> Honest:
    return Lying(lambda result: replace(result, centers=result.centers * np.nan))


def one_short() -> Honest:
    return Lying(lambda result: replace(result, centers=result.centers[1:]))


def mislabels() -> Honest:
    class Mislabelling(Honest):
        def predict(self, state: FloatArray, fitted: FloatArray) -> LabelArray | None:
            return np.zeros(len(state), dtype=np.int32)

    return Mislabelling()


def mislabels_in_the_fit() -> Honest:
    """Predicts the right labels, but its fit returned others."""

    class Mislabelling(Honest):
        def fit(self, state: FloatArray, spec: FitSpec) -> FloatArray:
            self._labels = np.zeros(len(state), dtype=np.int32)
            return super().fit(state, spec)

        def result(self, fitted: FloatArray, spec: FitSpec) -> FitResult:
            return replace(super().result(fitted, spec), labels=self._labels)

        def predict(self, state: FloatArray, fitted: FloatArray) -> LabelArray | None:
            distances = ((state[:, None, :] - fitted) ** 2).sum(axis=2)
            return np.asarray(distances.argmin(axis=1))

    return Mislabelling()


def slow() -> Honest:
    return Fit(lambda: time.sleep(0.3))


def entry(name: str, semantics: str = "other") -> Entry:
    """Return the registry entry of a fake."""
    return Entry(name, f"tests.fakes:{name}", "a fake", semantics=semantics)


def reports_budget() -> Honest:
    """Says, in place of an instruction set, how many cores and threads it was given."""

    def change(result: FitResult) -> FitResult:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        omp, rayon = os.environ["OMP_NUM_THREADS"], os.environ["RAYON_NUM_THREADS"]
        return replace(result, isa=f"cores={cores} OMP={omp} RAYON={rayon}")

    return Lying(change)
