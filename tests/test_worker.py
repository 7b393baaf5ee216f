"""The worker times what it says it times: told by a clock that only the implementation moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness import memory, registry, worker
from harness.contract import FitResult, FitSpec, FloatArray, LabelArray
from harness.datasets import Dataset
from tests.fakes import Honest

SPEC = FitSpec(
    n_clusters=4, init=None, n_init=None, max_iter=None, tol=None, seed=0, n_threads=1, dtype="float64"
)


class Clocked(Honest):
    """Says on its clock how long each call took, and notes the calls in their order."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def prepare(self, dataset: Dataset, spec: FitSpec) -> FloatArray:
        self._take("prepare", 1.0)
        return super().prepare(dataset, spec)

    def fit(self, state: FloatArray, spec: FitSpec) -> FloatArray:
        self._take("fit", 10.0)
        return super().fit(state, spec)

    def result(self, fitted: FloatArray, spec: FitSpec) -> FitResult:
        self._take("result", 100.0)
        return super().result(fitted, spec)

    def predict(self, state: FloatArray, fitted: FloatArray) -> LabelArray | None:
        self._take("predict", 1000.0)
        distances = ((state[:, None, :] - fitted) ** 2).sum(axis=2)
        return np.asarray(distances.argmin(axis=1))

    def close(self, state: FloatArray) -> None:
        self._take("close", 10_000.0)

    def high_water_mark(self) -> int:
        self._take("high-water mark", 0.0)
        return 1 << 20

    def _take(self, call: str, seconds: float) -> None:
        self.calls.append(call)
        self.now += seconds


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> Clocked:
    """An implementation whose clock is the worker's."""
    implementation = Clocked()
    monkeypatch.setattr(registry, "load", lambda adapter: implementation)
    monkeypatch.setattr(worker, "perf_counter", lambda: implementation.now)
    monkeypatch.setattr(memory, "reset_high_water_mark", lambda: True)
    monkeypatch.setattr(memory, "high_water_mark_bytes", implementation.high_water_mark)
    return implementation


class Messages(worker.Pipe):
    """Keeps what is sent, by event."""

    def __init__(self) -> None:
        self.sent: dict[str, dict[str, object]] = {}

    def send(self, event: str, **content: object) -> None:
        self.sent[event] = content

    def wait_for_answer(self) -> None:
        assert list(self.sent) == ["fitting"]


def facts(samples: Dataset, folder: Path) -> dict[str, object]:
    """Run one job in this process and return what the worker reports at its end."""
    messages = Messages()
    worker.run(worker.Job("any", samples, SPEC, folder), messages)
    return messages.sent["done"]


def test_each_time_is_that_of_one_call_and_no_time_that_of_the_result(
    clocked: Clocked, samples: Dataset, tmp_path: Path
) -> None:
    found = facts(samples, tmp_path)
    assert found["prepare_seconds"] == 1.0
    assert found["fit_seconds"] == 10.0
    assert found["predict_seconds"] == 1000.0


def test_the_high_water_mark_is_read_between_the_fit_and_the_result(
    clocked: Clocked, samples: Dataset, tmp_path: Path
) -> None:
    assert facts(samples, tmp_path)["peak_hwm_bytes"] == 1 << 20
    warm_up = ["prepare", "fit", "predict", "close"]
    assert clocked.calls == [*warm_up, "prepare", "fit", "high-water mark", "result", "predict", "close"]
