"""The programs that compare on Dask: rows of the bench, a picture, one line for a mistake, a clean end."""

from __future__ import annotations

import csv
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import psutil
import pytest
import yaml
from distributed import Client
from distributed.security import Security

from dask_impl import comparison, run_cluster, run_local
from dask_impl.local import start_cluster, stop_cluster
from harness import record
from harness.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
NAMES = ["dask-rust", "dask-ml", "sklearn-lloyd"]
SMALL = ["--rows", "3000", "--chunk", "1e3", "--features", "3", "--clusters", "5"]
PNG = b"\x89PNG"


def options(**more: Any) -> comparison.Options:
    words: dict[str, Any] = {
        "rows": "1000",
        "features": "2",
        "clusters": "3",
        "chunk": "300",
        "spread": 1.0,
        "dtype": "float32",
        "seed": 0,
        "repeats": "1",
        "plot": None,
        "results": Path(),
        "report": None,
    }
    return comparison.read_options(**(words | more))


def run(program: str, command: Any, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a program in this process, which keeps its own ways with signals."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    return comparison.program(program, command)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A scheduler and two workers, each started by Dask's own command."""
    before = set(psutil.Process().children(recursive=True))
    with run_cluster.loopback_cluster(2) as client:
        started = set(psutil.Process().children(recursive=True)) - before
        assert len(started) >= 3
        yield client
    assert not psutil.wait_procs(started, timeout=10)[1]


@pytest.fixture(scope="module")
def local() -> Iterator[Any]:
    started = start_cluster(1)
    yield started
    stop_cluster(started)


def test_on_a_running_cluster_all_three_give_a_row_and_nearly_the_same_objective(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # What a client asks for every two seconds names no worker, and it may be all that the client knows.
    known = Client.scheduler_info
    monkeypatch.setattr(Client, "scheduler_info", lambda self, **how: {**known(self, **how), "workers": {}})
    address = cluster.scheduler.address
    arguments = ["--scheduler", address, "--results", str(tmp_path), "--repeats", "2", *SMALL]
    report = tmp_path / "report.html"
    arguments += ["--report", str(report)]
    assert run("run_cluster", run_cluster.main, arguments, monkeypatch) == 0
    (path,) = tmp_path.glob("*/*.csv")
    rows = record.load(path)
    assert [row.implementation for row in rows] == NAMES * 2
    assert {row.status for row in rows} == {"ok"}
    assert {row.dataset_sha256 for row in rows} == {rows[0].dataset_sha256}
    assert {row.n_threads for row in rows} == {2}
    best = min(row.inertia for row in rows if row.inertia is not None)
    for row in rows:
        assert row.inertia is not None
        assert row.fit_seconds is not None
        assert row.fit_seconds > 0
        # Another start may end in another optimum.
        assert row.inertia < 2 * best
    assert next(tmp_path.glob("*/*.png")).read_bytes().startswith(PNG)
    assert "<html" in report.read_text().lower()
    printed = capsys.readouterr().out
    assert re.search(r"^dashboard: http://127\.0\.0\.1:\d+/status$", printed, re.MULTILINE)
    assert all(name in printed for name in NAMES)
    # The cluster is its owner's: it goes on, with nothing left on it.
    assert cluster.submit(sum, [1, 2], pure=False).result() == 3


def test_what_is_generated_depends_on_the_seed_and_is_made_in_chunks(local: Any) -> None:
    X = comparison.generated(options())
    assert X.chunks == ((300, 300, 300, 100), (2,))
    assert X.dtype == np.float32
    first, again = (np.asarray(local.compute(comparison.generated(options())).result()) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = local.compute(comparison.generated(options(seed=1))).result()
    assert not np.array_equal(first, other)


def test_the_objective_is_that_of_float64_distances(local: Any) -> None:
    X = comparison.generated(options())
    values = np.asarray(local.compute(X).result()).astype(np.float64)
    centers = values[:7].astype(np.float32)
    expected = ((values[:, None] - centers.astype(np.float64)) ** 2).sum(axis=2).min(axis=1).sum()
    assert comparison.objective(X, centers, local) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n_features", [1, 2, 5])
def test_the_picture_shows_samples_of_any_number_of_features(n_features: int, tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(comparison.MAX_POINTS + 1, n_features))
    path = tmp_path / "new" / "clusters.png"
    comparison.draw(path, X, X[:3])
    assert path.read_bytes().startswith(PNG)


def test_a_picture_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--plot: .*clusters\.xyz cannot be written .*name a \.png"):
        comparison.draw(tmp_path / "clusters.xyz", np.zeros((3, 2)), np.zeros((1, 2)))


def test_a_library_that_fails_is_a_row_with_the_reason(local: Any) -> None:
    contender = comparison.Contender("dask-ml", "dask-ml", "no.such.module")
    fitted, seconds, reason = comparison._timed(contender, np.zeros((1, 1)), options(), 0, local)
    assert (fitted, seconds) == (None, None)
    assert reason == "ModuleNotFoundError: No module named 'no'"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "many"], "--rows: 'many' is not a whole number"),
        (["--rows", "1e3,1e4"], "--rows: one number, not '1e3,1e4'"),
        (["--rows", "10", "--clusters", "11"], "11 clusters of 10 samples"),
        (["--dtype", "float16"], "--dtype: unknown 'float16'"),
        (["--spread", "-1"], "--spread: -1 is not a standard deviation"),
        (["--seed", "-1"], "--seed: -1 is not a seed"),
        (["--workers", "0"], "--workers: 0 is less than 1"),
        (["--rwos", "10"], "--rwos"),
    ],
)
@pytest.mark.parametrize("program", [run_local, run_cluster])
def test_a_mistake_is_one_line_and_exit_code_two(
    program: Any,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("program", program.main, arguments, monkeypatch) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert message in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scheduler", "tcp://127.0.0.1:1"], "no scheduler answers at 'tcp://127.0.0.1:1'"),
        (["--scheduler", "nonsense://x"], "no scheduler answers at 'nonsense://x'"),
        (["--scheduler", "tcp://127.0.0.1:1", "--workers", "2"], "--workers: has no effect"),
    ],
)
def test_a_scheduler_that_is_not_there_is_one_clear_error(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_cluster, "START_SECONDS", 4.0)
    assert run("run_cluster", run_cluster.main, arguments, monkeypatch) == 2
    assert message in capsys.readouterr().err


def test_the_local_program_runs_as_a_process_of_its_own(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "dask_impl.run_local",
        "--workers",
        "1",
        "--results",
        str(tmp_path),
        *SMALL,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    with next(tmp_path.glob("*/*.csv")).open(newline="") as file:
        assert [row["implementation"] for row in csv.DictReader(file)] == NAMES


def test_ctrl_c_ends_the_scheduler_and_the_workers_too(tmp_path: Path) -> None:
    # Where tests run in the background, Ctrl-C is ignored, and what they start would inherit that.
    start = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "runpy.run_module('dask_impl.run_cluster', run_name='__main__', alter_sys=True)"
    )
    command = [sys.executable, "-c", start, "--repeats", "1e6", "--results", str(tmp_path), *SMALL]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("dashboard: ")
    started = psutil.Process(process.pid).children(recursive=True)
    assert len(started) >= 3
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in said
    _, alive = psutil.wait_procs(started, timeout=30)
    assert not alive, [one.cmdline() for one in alive]


def test_tls_as_the_documentation_sets_it_up_lets_only_its_own_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "cluster.md").read_text()
    commands, configuration = (
        re.search(rf"^```{language}\n([^`]*{word}[^`]*)^```$", page, re.MULTILINE)
        for language, word in (("sh", "openssl"), ("yaml", "require-encryption"))
    )
    assert commands is not None
    assert configuration is not None
    subprocess.run(["sh", "-ec", commands[1]], cwd=tmp_path, check=True, capture_output=True)
    text = configuration[1].replace("/etc/kmeans", str(tmp_path))
    (tmp_path / "dask.yaml").write_text(text)
    # The processes read the folder, as they would on their machines; this one has read its own already.
    monkeypatch.setenv("DASK_CONFIG", str(tmp_path))
    whole = dask.config.merge(dask.config.config, yaml.safe_load(text))
    with dask.config.set(whole), run_cluster.loopback_cluster(1) as client:
        address = client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        workers = client.nthreads()
        assert workers
        assert all(worker.startswith("tls://") for worker in workers)
        X = comparison.generated(options())
        fitted = comparison.fit(comparison.CONTENDERS[0], X, options(), 0, client)
        assert fitted.centers.shape == (3, 2)
        stranger = Security(require_encryption=False, tls_client_cert=None, tls_client_key=None)
        plain = address.replace("tls://", "tcp://")
        with pytest.raises(OSError, match=r"TCP|Timed out"):
            Client(plain, security=stranger, timeout=2, set_as_default=False)
