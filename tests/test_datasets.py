"""The cache of datasets: the same bytes for ever, whatever happens to the process or the disk."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness import datasets, generate, readers
from harness.datasets import CachedDataset, Dataset, clear, entries, obtain, starting_centers
from harness.errors import UserError
from harness.scenario import DatasetSpec
from tests.conftest import ROOT

BLOBS = DatasetSpec("blobs", 500, 3, 4)
#: About 200 MB: the time to write it is long enough to be interrupted.
LARGE = DatasetSpec("blobs", 5_000_000, 10, 4)

PROGRAM = """
import sys
from pathlib import Path
from harness.datasets import obtain
from harness.scenario import DatasetSpec
{before}
made = obtain(DatasetSpec("blobs", int(sys.argv[2]), int(sys.argv[3]), 4), Path(sys.argv[1]))
print(made.sha256, made.name)
"""


def start(cache: Path, spec: DatasetSpec = BLOBS, before: str = "") -> subprocess.Popen[str]:
    """Obtain a dataset in a process of its own."""
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            PROGRAM.format(before=before),
            cache,
            str(spec.n_samples),
            str(spec.n_features),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def names(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir()} - {".lock"}


def table(folder: Path, name: str = "My Table.v2.csv", rows: int = 40) -> Path:
    path = folder / name
    values = np.random.default_rng(rows).integers(0, 1000, (rows, 3))
    path.write_text("a,b,c\n" + "".join(f"{a},{b},{c}\n" for a, b, c in values))
    return path


# What a dataset is


def test_a_dataset_is_samples_starting_centers_and_a_sidecar_that_describes_them(tmp_path: Path) -> None:
    made = obtain(BLOBS, tmp_path)
    assert re.fullmatch(r"blobs_n500_d3_k4_float32_[0-9a-f]{12}", made.name)
    assert names(tmp_path) == {f"{made.name}{ending}" for ending in (".npy", ".init.npy", ".json")}
    sidecar = json.loads((tmp_path / f"{made.name}.json").read_text())
    assert sidecar["sha256"] == made.sha256
    assert sidecar["bytes"] == made.dataset.path.stat().st_size
    assert sidecar["shape"] == [500, 3]
    assert sidecar["arguments"] == {**asdict(BLOBS), "columns": [], "drop": []}
    assert sidecar["libraries"]["numpy"] == np.__version__


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_file_holds_the_generated_samples_rounded_to_its_dtype(dtype: str, tmp_path: Path) -> None:
    spec = replace(BLOBS, dtype=dtype, seed=2, spread=0.5, imbalance=3.0)
    made = obtain(spec, tmp_path).dataset
    expected = np.concatenate(list(generate.blobs(500, 3, 4, seed=2, spread=0.5, imbalance=3.0)))
    for samples in (made.load(), made.memmap()):
        assert samples.dtype == dtype
        assert samples.flags.c_contiguous
        np.testing.assert_array_equal(samples, expected.astype(dtype))
    assert (made.n_samples, made.n_features, made.dtype) == (500, 3, dtype)


def test_two_gaussians_are_stored_once_for_every_number_of_clusters(tmp_path: Path) -> None:
    spec = DatasetSpec("two-gaussians", 200, 2, 2, dtype="float64")
    two, five = obtain(spec, tmp_path), obtain(replace(spec, n_clusters=5), tmp_path)
    assert two.dataset == five.dataset
    assert two.name != five.name
    assert five.init.shape == (5, 2)
    np.testing.assert_array_equal(two.dataset.load(), generate.two_gaussians())


def test_starting_centers_are_distinct_samples_in_the_dtype_of_the_data(tmp_path: Path) -> None:
    made = obtain(BLOBS, tmp_path)
    assert made.init.shape == (4, 3)
    assert made.init.dtype == np.float32
    samples = made.dataset.load()
    assert all((samples == center).all(axis=1).any() for center in made.init)
    assert len(np.unique(made.init, axis=0)) == 4


def test_starting_centers_of_whole_numbers_lie_beside_samples_so_that_nothing_ties(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-3, 4, size=(500, 2)).astype(np.float32)
    centers = starting_centers(samples, 6, seed=1)
    assert centers.dtype == np.float32
    assert (np.abs(centers - np.rint(centers)) <= 0.25).all()
    assert all((samples == np.rint(center)).all(axis=1).any() for center in centers)
    two = np.sort(((samples[:, None].astype(np.float64) - centers) ** 2).sum(axis=2), axis=1)[:, :2]
    assert (two[:, 0] < two[:, 1]).all()
    np.testing.assert_array_equal(centers, starting_centers(samples, 6, seed=1))


def test_the_second_call_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = obtain(BLOBS, tmp_path)
    monkeypatch.setattr(datasets, "_write", None)
    second = obtain(BLOBS, tmp_path)
    assert (first.dataset, first.sha256, first.name) == (second.dataset, second.sha256, second.name)
    np.testing.assert_array_equal(first.init, second.init)


@pytest.mark.parametrize(
    "change",
    [
        {"n_samples": 501},
        {"n_features": 4},
        {"n_clusters": 5},
        {"dtype": "float64"},
        {"seed": 1},
        {"spread": 1.0},
        {"imbalance": 2.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_argument_changes_name_and_bytes_of_blobs(change: dict[str, Any], tmp_path: Path) -> None:
    one, other = obtain(BLOBS, tmp_path), obtain(replace(BLOBS, **change), tmp_path)
    assert one.name != other.name
    assert one.name[-12:] != other.name[-12:]
    assert one.sha256 != other.sha256


def test_the_versions_of_generator_and_readers_change_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = DatasetSpec("file", 0, 0, 4, path=table(tmp_path))
    before = [obtain(spec, tmp_path).name for spec in (BLOBS, file)]
    monkeypatch.setattr(generate, "GENERATOR_VERSION", 2)
    monkeypatch.setattr(readers, "READER_VERSION", 2)
    assert not set(before) & {obtain(spec, tmp_path).name for spec in (BLOBS, file)}


@pytest.mark.parametrize(
    ("change", "same_samples"),
    [
        ({"n_clusters": 5}, True),
        ({"seed": 1}, True),
        ({"dtype": "float64"}, False),
        ({"columns": ("b", "a")}, False),
        ({"drop": ("a",)}, False),
    ],
    ids=["n_clusters", "seed", "dtype", "columns", "drop"],
)
def test_every_argument_changes_the_name_of_a_file_but_clusters_and_seed_share_its_samples(
    change: dict[str, Any], same_samples: bool, tmp_path: Path
) -> None:
    spec = DatasetSpec("file", 0, 0, 4, path=table(tmp_path))
    cache = tmp_path / "cache"
    one, other = obtain(spec, cache), obtain(replace(spec, **change), cache)
    assert re.fullmatch(r"my-table_n40_d3_k4_float32_[0-9a-f]{12}", one.name)
    assert one.name[-12:] != other.name[-12:]
    assert (one.dataset.path == other.dataset.path) is same_samples
    assert (one.sha256 == other.sha256) is same_samples
    assert one.init.tobytes() != other.init.tobytes()


def test_a_changed_file_is_another_dataset(tmp_path: Path) -> None:
    spec = DatasetSpec("file", 0, 0, 4, path=table(tmp_path, rows=40))
    before = obtain(spec, tmp_path / "cache")
    table(tmp_path, rows=41)
    after = obtain(spec, tmp_path / "cache")
    assert (before.dataset.n_samples, after.dataset.n_samples) == (40, 41)


def test_mnist_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (70_000, 784), dtype=np.uint8)
    fetches: list[str] = []

    def fetch(*_: str, data_home: str, **__: object) -> SimpleNamespace:
        fetches.append(data_home)
        return SimpleNamespace(data=images)

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    spec = DatasetSpec("mnist", 0, 0, 4, columns=("100", "101"))
    made = [obtain(replace(spec, n_clusters=k), tmp_path) for k in (4, 4, 5)]
    assert len(fetches) == 1
    assert Path(fetches[0]).parent == tmp_path
    np.testing.assert_array_equal(made[2].dataset.load(), images[:, 100:102])


def test_head_writes_the_first_rows_as_a_dataset_of_its_own(tmp_path: Path) -> None:
    made = obtain(BLOBS, tmp_path / "cache").dataset
    head = made.head(7, tmp_path)
    assert head.path.parent == tmp_path
    assert (head.n_samples, head.n_features, head.dtype) == (7, 3, "float32")
    np.testing.assert_array_equal(head.load(), made.load()[:7])
    assert made.head(10_000, tmp_path).n_samples == 500


# Starting centers


@given(
    samples=hnp.arrays(
        np.float32, st.tuples(st.integers(1, 30), st.integers(1, 2)), elements=st.integers(0, 3)
    ),
    n_clusters=st.integers(1, 31),
    seed=st.integers(0, 2**32),
)
def test_starting_centers_are_distinct_rows_or_the_count_of_them_is_named(
    samples: Any, n_clusters: int, seed: int
) -> None:
    distinct = len(np.unique(samples, axis=0))
    if distinct >= n_clusters:
        init = starting_centers(samples, n_clusters, seed)
        assert len(np.unique(init, axis=0)) == n_clusters == len(init)
        # Whole numbers: the start lies beside them. Adding 0 makes 0 of -0.
        assert {row.tobytes() for row in np.rint(init) + 0} <= {row.tobytes() for row in samples}
    else:
        with pytest.raises(UserError, match=rf"{n_clusters} clusters of {distinct} distinct row.*--clusters"):
            starting_centers(samples, n_clusters, seed)


def test_starting_centers_are_drawn_evenly() -> None:
    samples = np.arange(10.0).reshape(-1, 1)
    counts = np.zeros(10)
    for seed in range(2_000):
        counts[np.rint(starting_centers(samples, 3, seed)).astype(int).ravel()] += 1
    # 600 each; the deviation is below 21.
    assert np.abs(counts - 600).max() < 105


def test_a_rare_row_is_found_among_many_equal_ones() -> None:
    samples = np.zeros((50_000, 2))
    samples[-1] = 1.0
    assert np.rint(starting_centers(samples, 2, 0)).tolist() == [[0, 0], [1, 1]]


def test_zero_and_minus_zero_are_one_row() -> None:
    with pytest.raises(UserError, match="1 distinct row"):
        starting_centers(np.array([[0.0], [-0.0]]), 2, 0)


def test_too_few_distinct_rows_leave_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "1,2\n3,4\n" * 20)
    with pytest.raises(UserError, match=r"10 clusters of 2 distinct rows \(40 rows of 2 columns\)"):
        obtain(DatasetSpec("file", 0, 0, 10, path=path), tmp_path / "cache")
    assert names(tmp_path / "cache") == set()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (replace(BLOBS, n_clusters=0), "0 clusters"),
        (replace(BLOBS, dtype="float16"), "unknown dtype 'float16'"),
        (replace(BLOBS, spread=-1.0), "spread -1.0"),
        (replace(BLOBS, kind="file"), "no file"),
        (replace(BLOBS, kind="file", path=Path("absent.npy")), "absent.npy: no such file"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_written(
    spec: DatasetSpec, expected: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=expected):
        obtain(spec, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


# Faults


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut, flip_a_bit, empty, Path.unlink])
@pytest.mark.parametrize("ending", [".npy", ".init.npy", ".json"])
@pytest.mark.parametrize("kind", ["blobs", "file"])
def test_a_damaged_file_is_noticed_and_made_again_with_the_same_bytes(
    kind: str, ending: str, damage: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = BLOBS if kind == "blobs" else DatasetSpec("file", 0, 0, 4, path=table(tmp_path))
    cache = tmp_path / "cache"
    made = obtain(spec, cache)
    paths = {".npy": made.dataset.path, **{e: cache / f"{made.name}{e}" for e in (".init.npy", ".json")}}
    before = {e: path.read_bytes() for e, path in paths.items()}
    damage(paths[ending])
    absent_sidecar = ending == ".json" and damage is Path.unlink
    harmless = ending == ".json" and damage is flip_a_bit  # it may stay valid JSON
    if not harmless:
        assert [e.state for e in entries(cache)] != ["ok"]
    with caplog.at_level(logging.WARNING, logger="harness"):
        again = obtain(spec, cache)
    if not (absent_sidecar or harmless):
        (record,) = caplog.records
        assert re.search(r"damaged, .*; made again", record.getMessage())
    assert again.sha256 == made.sha256
    np.testing.assert_array_equal(again.init, made.init)
    for e in (".npy", ".init.npy"):
        assert paths[e].read_bytes() == before[e]
    assert [entry.state for entry in entries(cache)] == ["ok"]


def test_two_processes_at_once_make_one_valid_dataset(tmp_path: Path) -> None:
    spec = replace(BLOBS, n_samples=200_000)
    processes = [start(tmp_path, spec) for _ in range(3)]
    answers = {process.communicate(timeout=60) for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    ((answer, _),) = answers
    made = obtain(spec, tmp_path)
    assert answer.split() == [made.sha256, made.name]
    assert len(names(tmp_path)) == 3


def test_a_second_process_waits_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, sys, time; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX)\n"
            "print('held', flush=True); time.sleep(0.3)",
            tmp_path / ".lock",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with caplog.at_level(logging.INFO, logger="harness"):
        obtain(BLOBS, tmp_path)
    assert "waiting" in caplog.text
    holder.communicate(timeout=10)


def test_kill_9_in_the_middle_of_writing_leaves_nothing_that_is_taken_for_data(tmp_path: Path) -> None:
    process = start(tmp_path, LARGE)
    deadline = time.monotonic() + 30
    while not any(path.stat().st_size > 2**20 for path in tmp_path.glob("*.tmp")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert [path.suffix for path in tmp_path.glob("*_*")] == [".tmp"]
    assert [entry.state for entry in entries(tmp_path)] == ["partial"]
    # The next run, of whatever, gives the space back.
    made = obtain(BLOBS, tmp_path)
    assert [entry.name for entry in entries(tmp_path)] == [made.name]
    assert len(names(tmp_path)) == 3


@pytest.mark.parametrize("renames", [1, 2])
def test_kill_9_between_two_files_leaves_nothing_that_is_taken_for_data(renames: int, tmp_path: Path) -> None:
    before = f"""
import os, signal
rename, left = Path.replace, [{renames}]
def replace(self, target):
    done = rename(self, target)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return done
Path.replace = replace
"""
    process = start(tmp_path, BLOBS, before)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert [entry.state for entry in entries(tmp_path)] == ["partial"] * renames
    obtain(BLOBS, tmp_path)
    assert [entry.state for entry in entries(tmp_path)] == ["ok"]


def test_an_interrupt_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        obtain(BLOBS, tmp_path)
    assert names(tmp_path) == set()


def test_a_file_beyond_the_limit_of_the_system_is_a_clear_error_without_a_half_file(tmp_path: Path) -> None:
    before = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    process = start(tmp_path, replace(BLOBS, n_samples=100_000), before)
    _, errors = process.communicate(timeout=30)
    last = errors.splitlines()[-1]
    assert re.search(r"UserError: .*blobs_n100000_.*no room for its 1200128 bytes .*--clear", last)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_clear_error_without_a_half_file(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=rf"no room for its 6128 bytes \({os.strerror(code)}\); free some"):
        obtain(BLOBS, tmp_path)
    assert names(tmp_path) == set()


def test_a_dataset_larger_than_the_disk_is_refused_at_once(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(UserError, match=r"no room for its 4000000000000128 bytes \(\d+ bytes are free\)"):
        obtain(replace(BLOBS, n_samples=10**12, n_features=1000), tmp_path)
    assert time.monotonic() - began < 1
    assert names(tmp_path) == set()


def test_a_cache_that_cannot_be_a_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for cache in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match=r"the data cache cannot be written \(.*\); make it writable"):
            obtain(BLOBS, cache)


def test_an_unwritable_cache_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Permissions do not stop root, whom tests often run as: the system's answer is put in by hand.
    opened = Path.open

    def denied(self: Path, mode: str = "r", **arguments: Any) -> Any:
        if mode != "rb":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))
        return opened(self, mode, **arguments)

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(UserError, match=r"cannot be written \(Read-only file system\)"):
        obtain(BLOBS, tmp_path)
    with pytest.raises(UserError, match="cannot be written"):
        clear(tmp_path)


# Listing and clearing


def test_entries_tell_what_is_there(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert entries(cache) == []
    file = DatasetSpec("file", 0, 0, 4, path=table(tmp_path), drop=("c",))
    made = [obtain(spec, cache) for spec in (BLOBS, file, replace(file, n_clusters=5))]
    found = {entry.name: entry for entry in entries(cache)}
    assert set(found) == {one.name for one in made}
    entry = found[made[1].name]
    assert (entry.shape, entry.dtype, entry.state) == ((40, 2), "float32", "ok")
    assert entry.arguments["drop"] == ["c"]
    assert entry.created is not None
    assert entry.bytes == sum(
        path.stat().st_size for path in (made[1].dataset.path, *cache.glob(f"{made[1].name}.*"))
    )


def test_clear_removes_what_was_made_here_and_nothing_else(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    made = [obtain(BLOBS, cache), obtain(DatasetSpec("file", 0, 0, 4, path=table(tmp_path)), cache)]
    # Leftovers, a derived file, a download.
    (cache / f"{made[0].name.replace('n500', 'n900')}.npy.tmp").write_bytes(b"x" * 10)
    (cache / f"{made[0].name}.reference_0123456789ab.npz").write_bytes(b"x" * 20)
    (cache / "mnist-openml" / "openml").mkdir(parents=True)
    (cache / "mnist-openml" / "openml" / "data.gz").write_bytes(b"x" * 30)
    size = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    foreign = ["README.md", "mine.npy", "blobs.json", "blobs_n5_d3_k4.npy", "notes.tmp", "openml/kept.gz"]
    for name in foreign:
        (cache / name).parent.mkdir(exist_ok=True)
        (cache / name).write_text("{}")
    assert clear(cache) == size
    assert {str(p.relative_to(cache)) for p in cache.rglob("*") if p.is_file()} == {
        ".lock",
        ".in-use",
        *foreign,
    }
    assert entries(cache) == []
    assert clear(cache) == 0
    assert clear(tmp_path / "absent") == 0


def test_the_fixture_of_the_other_tests_is_sound(blobs: CachedDataset) -> None:
    assert isinstance(blobs.dataset, Dataset)
    assert np.isfinite(blobs.dataset.load()).all()


# The real data


def test_the_real_data_are_cached_with_starting_centers(real_data: Path, tmp_path: Path) -> None:
    for path, columns, shape in (
        ("tables/covertype_286k.npz", (), (286_048, 10)),
        ("tables/green_tripdata_2020-10.parquet", ("trip_distance", "fare_amount"), (95_120, 2)),
        ("mnist/t10k-images-idx3-ubyte.gz", (), (10_000, 784)),
    ):
        spec = DatasetSpec("file", 0, 0, 10, path=real_data / path, columns=columns)
        made = obtain(spec, tmp_path)
        assert made.dataset.load().shape == shape
        assert made.init.shape == (10, shape[1])
