"""The adapter of the binary: against a stand-in always, against the real one where it is built."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.contract import FitSpec, FloatArray
from harness.datasets import Dataset
from python_impl.kmeans import lloyd
from rust_impl import cli

#: Takes the documented options, stores its arguments and answers with fixed numbers.
STAND_IN = """#!{python}
import json, sys
import numpy as np
if sys.argv[1:] == ["--version"]:
    print("kmeans 9.8.7")
    sys.exit()
data, words = sys.argv[1], sys.argv[2:]
options = dict(zip(words[::2], words[1::2]))
if options["--seed"] == "13":
    print("error: seed 13 is unlucky; choose another", file=sys.stderr)
    sys.exit(2)
with open({log!r}, "w") as log:
    json.dump(options, log)
X, k = np.load(data), int(options["--k"])
np.save(options["--centers"], X[:k])
np.save(options["--labels"], np.zeros(len(X), dtype=np.int32))
print(json.dumps(dict(n_samples=len(X), n_features=X.shape[1], n_clusters=k, dtype=str(X.dtype), n_iter=3,
    inertia=1.5, read_seconds=0.1, seeding_seconds=0.2, fit_seconds=0.3, n_threads=1, isa="scalar",
    algorithm="lloyd",
    version="9.8.7", peak_rss_bytes=4096)))
"""


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    X = np.random.default_rng(0).normal(size=(500, 3)).astype("float32")
    np.save(tmp_path / "X.npy", X)
    return Dataset(tmp_path / "X.npy", X.shape[0], X.shape[1], "float32")


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the stand-in in place; return where it stores its arguments."""
    log = tmp_path / "arguments.json"
    path = tmp_path / "kmeans"
    path.write_text(STAND_IN.format(python=sys.executable, log=str(log)))
    path.chmod(0o755)
    monkeypatch.setenv(cli.PATH_VARIABLE, str(path))
    return log


def spec(init: FloatArray | None = None, seed: int = 0) -> FitSpec:
    if init is None:
        return FitSpec(4, None, None, None, None, seed, 1, "float32")
    return FitSpec(4, init, 1, 50, 0.0, seed, 1, "float32")


def test_matched_track_passes_the_start_and_reads_what_was_written(dataset: Dataset, stand_in: Path) -> None:
    binary, matched = cli.binary(), spec(dataset.load()[:4])
    assert binary.available() is None
    assert binary.version() == "9.8.7"
    state = binary.prepare(dataset, matched)
    assert state.init is not None
    np.testing.assert_array_equal(np.load(state.init), matched.init)
    result = binary.result(binary.fit(state, matched), matched)
    options = json.loads(stand_in.read_text())
    assert (options["--max-iter"], options["--tol"], options["--threads"]) == ("50", "0.0", "1")
    assert options["--init"] == str(state.init)
    np.testing.assert_array_equal(result.centers, dataset.load()[:4])
    assert result.labels is not None
    assert (result.n_iter, result.reported_inertia, result.isa) == (3, 1.5, "scalar")
    assert result.algorithm == "lloyd"
    assert (result.reported_fit_seconds, result.started_peak_rss_bytes) == (0.3, 4096)
    assert result.seeding_seconds is None
    binary.close(state)
    assert not state.centers.parent.exists()


def test_default_track_leaves_the_defaults_to_the_binary(dataset: Dataset, stand_in: Path) -> None:
    binary = cli.binary()
    state = binary.prepare(dataset, spec())
    result = binary.result(binary.fit(state, spec()), spec())
    assert not {"--init", "--max-iter", "--tol"} & set(json.loads(stand_in.read_text()))
    assert result.settings.init == "k-means++"
    assert result.settings == cli.DEFAULTS
    assert result.seeding_seconds == 0.2
    binary.close(state)


def test_failure_carries_the_binarys_own_message(dataset: Dataset, stand_in: Path) -> None:
    binary = cli.binary()
    state = binary.prepare(dataset, spec(seed=13))
    with pytest.raises(RuntimeError, match=r"ended with 2: error: seed 13 is unlucky"):
        binary.fit(state, spec(seed=13))
    binary.close(state)


def test_missing_binary_says_how_to_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(cli.PATH_VARIABLE, str(tmp_path / "absent"))
    reason = cli.binary().available()
    assert reason is not None
    assert "make kernel" in reason


@pytest.mark.parametrize("matched", [True, False])
def test_the_real_binary_agrees_with_the_reference(dataset: Dataset, matched: bool) -> None:
    binary = cli.binary()
    if (reason := binary.available()) is not None:
        pytest.skip(reason)
    asked = spec(dataset.load()[:4] if matched else None)
    state = binary.prepare(dataset, asked)
    result = binary.result(binary.fit(state, asked), asked)
    assert result.labels is not None
    assert result.centers.shape == (4, 3)
    assert result.centers.dtype == np.float32
    if matched:
        reference = lloyd(dataset.load(), dataset.load()[:4], tol=0.0, max_iter=50)
        np.testing.assert_array_equal(result.labels, reference.labels)
        assert result.reported_inertia == pytest.approx(reference.inertia, rel=1e-12)
    else:
        assert result.settings == cli.DEFAULTS
    assert result.started_peak_rss_bytes is not None
    assert result.started_peak_rss_bytes > 1 << 20
    binary.close(state)


def test_defaults_are_those_of_the_real_binarys_help() -> None:
    binary = cli.binary()
    if (reason := binary.available()) is not None:
        pytest.skip(reason)
    said = subprocess.run([cli.path(), "--help"], capture_output=True, text=True, check=True).stdout
    for option, default in (
        ("--init", cli.DEFAULTS.init),
        ("--max-iter", cli.DEFAULTS.max_iter),
        ("--tol", f"{cli.DEFAULTS.tol:g}"),
    ):
        assert re.search(rf"{option} <.*?\[default: {re.escape(str(default))}\]", said, re.DOTALL)
