"""Whatever a measured process does becomes an outcome with status and reason; nothing survives it."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from harness.contract import FitSpec
from harness.datasets import Dataset
from harness.isolate import Limits, Outcome, measure, probe, received, thread_caps

SPEC = FitSpec(
    n_clusters=4, init=None, n_init=None, max_iter=None, tol=None, seed=0, n_threads=1, dtype="float64"
)
GENEROUS = Limits(60.0)


def run(fake: str, samples: Dataset, limits: Limits = GENEROUS) -> Outcome:
    return measure(f"tests.fakes:{fake}", samples, SPEC, limits)


def test_an_honest_implementation_is_ok_and_returns_its_arrays(samples: Dataset) -> None:
    outcome = run("honest", samples)
    assert outcome.status == "ok", outcome.reason
    assert outcome.centers is not None
    np.testing.assert_array_equal(outcome.centers, samples.load()[:4])
    assert outcome.facts["fit_seconds"] > 0
    assert outcome.facts["library_version"] == "1.0"


def test_a_worker_that_ends_without_reading_its_answer_has_said_all_it_said() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            ours.send(b"\n")
            theirs.send(b"said")
        assert received(ours) == b"said"
        assert received(ours) == b""


def test_the_stored_start_arrives_bit_for_bit(samples: Dataset) -> None:
    start = np.random.default_rng(1).standard_normal((4, 3))
    spec = FitSpec(4, start, 1, 10, 0.0, 0, 1, "float64")
    outcome = measure("tests.fakes:honest", samples, spec, GENEROUS)
    assert outcome.centers is not None
    np.testing.assert_array_equal(outcome.centers, start)


@pytest.mark.parametrize(
    ("fake", "status", "reason"),
    [
        ("segfault", "failed", "crashed with SIGSEGV"),
        ("raises", "failed", "RuntimeError: no luck"),
        ("raises_in_the_result", "failed", "RuntimeError: nothing to show"),
        ("exits", "failed", "ended with exit code 3 and no result: giving up"),
        ("runs_out_of_memory", "oom", "MemoryError"),
        ("is_killed", "oom", "killed by the system"),
        ("writes_garbage", "failed", "garbage on the result pipe"),
        ("floods", "failed", "garbage on the result pipe"),
        ("claims", "failed", "garbage on the result pipe"),
        ("sends_a_status_of_its_own", "failed", "garbage on the result pipe"),
        ("sends_no_reason", "failed", "garbage on the result pipe"),
        ("sends_text_for_a_number", "failed", "garbage on the result pipe"),
        ("raises_an_odd_text", "failed", r"RuntimeError: caf\udce9 xxx"),
        ("missing", "skipped", "needs the moon; fetch it"),
        ("no_such_factory", "failed", "AttributeError"),
    ],
)
def test_a_misbehaving_implementation_becomes_a_status_with_its_reason(
    fake: str, status: str, reason: str, samples: Dataset
) -> None:
    outcome = run(fake, samples)
    assert outcome.status == status
    assert reason in outcome.reason
    assert "\n" not in outcome.reason
    assert len(outcome.reason.encode()) < 1_000


def test_a_module_that_is_not_installed_is_skipped_with_the_import_error(samples: Dataset) -> None:
    outcome = measure("tests.no_such_module:thing", samples, SPEC, GENEROUS)
    assert outcome.status == "skipped"
    assert "tests.no_such_module" in outcome.reason


def test_a_hang_is_ended_at_the_timeout(samples: Dataset) -> None:
    start = time.perf_counter()
    outcome = run("hang", samples, Limits(3.0))
    assert outcome.status == "timeout"
    assert "3 s" in outcome.reason
    assert time.perf_counter() - start < 60


def test_a_process_over_the_memory_limit_is_ended(samples: Dataset) -> None:
    outcome = run("grows", samples, Limits(60.0, 400 << 20))
    assert outcome.status == "oom"
    assert "limit of 400 MiB" in outcome.reason


def test_noise_on_standard_output_harms_nothing(samples: Dataset) -> None:
    assert run("is_chatty", samples).status == "ok"


def test_the_high_water_mark_sees_a_spike_shorter_than_the_polling_interval(samples: Dataset) -> None:
    outcome = run("spikes", samples)
    assert outcome.status == "ok", outcome.reason
    assert outcome.baseline_rss_bytes is not None
    if outcome.facts["peak_hwm_bytes"] is None:
        pytest.skip("this system has no resettable high-water mark")
    assert outcome.facts["peak_hwm_bytes"] - outcome.baseline_rss_bytes > 190 << 20


@pytest.mark.parametrize(
    ("fake", "limits", "status"),
    [("leaves_processes", GENEROUS, "ok"), ("leaves_processes_and_hangs", Limits(5.0), "timeout")],
)
def test_detached_processes_are_ended_with_the_measurement(
    fake: str,
    limits: Limits,
    status: str,
    samples: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pid_file = tmp_path / "pid"
    monkeypatch.setenv("FAKE_PID_FILE", str(pid_file))
    assert run(fake, samples, limits).status == status
    assert not psutil.pid_exists(int(pid_file.read_text()))


def test_no_process_of_a_measurement_is_left_behind(samples: Dataset) -> None:
    before = set(psutil.Process().children(recursive=True))
    run("honest", samples)
    run("segfault", samples)
    assert set(psutil.Process().children(recursive=True)) <= before


def test_the_measured_process_is_held_to_the_core_budget(samples: Dataset) -> None:
    outcome = run("reports_budget", samples)
    assert outcome.status == "ok", outcome.reason
    assert outcome.facts["isa"] == "cores=1 OMP=1 RAYON=1"


def test_thread_caps_name_every_pool_once() -> None:
    caps = thread_caps(3)
    assert set(caps.values()) == {"3"}
    assert {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"} <= set(caps)


def test_a_probe_tells_version_or_reason() -> None:
    assert probe("tests.fakes:honest") == (None, "1.0")
    assert probe("tests.fakes:missing") == ("needs the moon; fetch it", "")
    reason, version = probe("tests.fakes:no_such_factory")
    assert reason is not None
    assert "AttributeError" in reason
    assert version == ""


def test_the_environment_of_the_runner_is_left_alone(samples: Dataset) -> None:
    before = dict(os.environ)
    run("honest", samples)
    assert dict(os.environ) == before
