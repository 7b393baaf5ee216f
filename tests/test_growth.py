"""`make growth`: what it prints and that it makes no copy of the data, on sizes that take no time."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from rust_impl import growth

APP = typer.Typer()
APP.command()(growth.main)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "CHUNK", 1_000)


def test_a_shorter_file_is_the_beginning_of_a_longer_one(small_chunks: None, tmp_path: Path) -> None:
    for rows in (1_500, 4_000):
        growth.write(tmp_path / f"{rows}.npy", rows)
    short, long = (np.load(tmp_path / f"{rows}.npy") for rows in (1_500, 4_000))
    assert short.dtype == np.float32
    assert short.shape == (1_500, growth.N_FEATURES)
    assert short.tobytes() == long[:1_500].tobytes()


def test_each_size_has_a_line_for_each_algorithm_and_leaves_no_file(tmp_path: Path) -> None:
    options = ["--smallest", "1e5", "--largest", "1e5", "--repeats", "1", "--folder", str(tmp_path)]
    done = CliRunner().invoke(APP, [*options, "--threads", "1"])
    assert done.exit_code == 0, done.output
    heading, lloyd, auto, *verdicts = done.output.splitlines()
    assert heading.split()[:2] == ["rows", "algorithm"]
    assert lloyd.split()[:2] == ["100000", "lloyd"]
    assert auto.split()[:2] == ["100000", "auto"]
    # The only size is its own median.
    assert [verdict.split(":")[0] for verdict in verdicts] == ["lloyd", "auto"]
    assert all("+0%" in verdict and "within" in verdict for verdict in verdicts)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the kinds of memory apart")
@pytest.mark.parametrize("algorithm", growth.ALGORITHMS)
def test_a_mapped_file_is_fitted_without_a_copy(algorithm: growth.Algorithm, tmp_path: Path) -> None:
    rows = 1_000_000
    data = tmp_path / "data.npy"
    growth.write(data, rows)
    _, beyond = growth.in_a_process(data, algorithm, 2, 1)
    assert beyond is not None
    # Labels are 4 bytes a row, of which Linux may have counted some pages elsewhere, and bounds at most 12; a
    # copy would be 40.
    assert 3 * rows <= beyond <= 16 * rows + (8 << 20)


def test_a_fit_that_converges_too_early_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data.npy"
    np.save(data, np.repeat(np.arange(growth.N_CLUSTERS, dtype=np.float32), 10)[:, np.newaxis].repeat(2, 1))
    with pytest.raises(typer.BadParameter, match="converged in iteration"):
        growth.in_a_process(data, "lloyd", 1, 1)


def test_sizes_below_a_chunk_are_refused() -> None:
    done = CliRunner().invoke(APP, ["--smallest", "10"])
    assert done.exit_code == 2
    assert "--smallest" in done.output
