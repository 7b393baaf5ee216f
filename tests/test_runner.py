"""The command line: a mistake is one line and exit code 2, with nothing written."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import runner
from harness.registry import ENTRIES


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's own defaults, data and results out of the tests."""
    monkeypatch.setattr(runner, "CACHE", tmp_path / "data")
    monkeypatch.setattr(runner, "load_dotenv", lambda _: None)
    monkeypatch.setenv("KMEANS_BENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("COLUMNS", "200")


def small(*more: str) -> list[str]:
    return ["--sizes", "200", "--dims", "2", "--clusters", "3", "--repeats", "1", *more]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sizes", "1e3..x"], "--sizes: 'x' is not a whole number"),
        (["--sizes", "10", "--clusters", "11"], "impossible grid: 11 clusters of 10 samples"),
        (["--implementations", "rsut"], "--implementations: unknown 'rsut'; did you mean 'rust'?"),
        (["--implementations", ""], "--implementations: nothing given"),
        (["--baseline", "sklern-lloyd"], "--baseline: unknown 'sklern-lloyd'; did you mean 'sklearn-lloyd'?"),
        (["--dtype", "float16"], "--dtype: unknown 'float16'"),
        (["--track", "match"], "--track: unknown 'match'; did you mean 'matched'?"),
        (["--preset", "sed"], "--preset: unknown 'sed'; did you mean 'seed'?"),
        (["--preset", "headline", "--sizes", "12345"], "nothing of the preset 'headline'"),
        (["--preset", "headline", "--real", "/nowhere"], "--real: no folder '/nowhere'"),
        (["--repeats", "0"], "--repeats: 0 is less than 1"),
        (["--repeats", "two"], "--repeats"),
        (["--threads", "0"], "--threads: 0 is not from 1 to"),
        (["--threads", "100000"], "the cores usable here"),
        (["--timeout", "0"], "--timeout: 0 is not a positive number"),
        (["--timeout", "inf"], "--timeout: inf is not a positive number"),
        (["--max-memory", "lots"], "--max-memory: 'lots' is not a size"),
        (["--max-iter", "0"], "--max-iter: 0 is less than 1"),
        (["--seed", "-1"], "--seed: -1 is less than 0"),
        (["--spread", "-1"], "spread"),
        (["--imbalance", "0.5"], "imbalance"),
        (["--data", "minst"], "--data: no file 'minst'; did you mean 'mnist'?"),
        (["--szies", "10"], "--szies"),
        (["--seed", "4294967295"], "the libraries' limit"),
        (["--max-memory", "1e400"], "--max-memory: '1e400' is not a size"),
        (["--dims", "1e9"], "impossible grid: 10 centers of 1000000000 features"),
        (["--columns", "a"], "--columns: has no effect on --data blobs"),
        (["--data", "two-gaussians", "--sizes", "10"], "--sizes: has no effect on --data two-gaussians"),
        (["--baseline", "numpy,rust"], "--baseline: one implementation, not 2"),
        (["lst"], "lst"),
        (["run", "now"], "now"),
    ],
)
def test_a_mistake_is_one_line_with_exit_code_2_and_nothing_written(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runner.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert not (tmp_path / "results").exists()
    assert not list((tmp_path / "data").glob("*.npy"))


def test_a_run_ends_with_a_table_and_says_where_the_rows_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runner.main(small("--implementations", "numpy,sklearn-lloyd,sklearn-minibatch")) == 0
    printed = capsys.readouterr().out
    assert "blobs-n200-d2-k3-float32, matched track" in printed
    assert "1 ok (mini-batch)" in printed
    assert "left" in printed
    (path,) = tmp_path.glob("results/*/*.csv")
    assert path.name in printed
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["implementation"] for row in rows} == {"numpy", "sklearn-lloyd", "sklearn-minibatch"}
    assert {row["status"] for row in rows} == {"ok"}


def test_defaults_come_from_the_environment_and_the_command_line_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KMEANS_BENCH_SIZES", "150")
    monkeypatch.setenv("KMEANS_BENCH_DIMS", "2")
    monkeypatch.setenv("KMEANS_BENCH_CLUSTERS", "4")
    monkeypatch.setenv("KMEANS_BENCH_REPEATS", "1")
    assert runner.main(["--implementations", "numpy", "--clusters", "3"]) == 0
    assert [path.stem for path in tmp_path.glob("results/*/*.csv")] == ["blobs-n150-d2-k3-float32"]


def test_quick_on_the_command_line_wins_over_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KMEANS_BENCH_SIZES", "150,1e6")
    monkeypatch.setenv("KMEANS_BENCH_REPEATS", "3")
    monkeypatch.setenv("KMEANS_BENCH_IMPLEMENTATIONS", "rsut")
    assert runner.main(["--quick", "--implementations", "numpy", "--sizes", "200"]) == 0
    (path,) = tmp_path.glob("results/*/*.csv")
    assert path.stem == "blobs-n200-d10-k10-float32"
    assert len(path.read_text().splitlines()) == 2


def test_an_unknown_name_in_the_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KMEANS_BENCH_SIZE", "1e3")
    assert runner.main(small("--implementations", "numpy")) == 2
    assert "KMEANS_BENCH_SIZE: no option of that name" in capsys.readouterr().err


def test_every_option_in_env_example_is_one_the_command_line_knows() -> None:
    text = (runner.ROOT / ".env.example").read_text()
    names = {line.lstrip("#").split("=")[0] for line in text.splitlines() if "=" in line}
    names = {name for name in names if name.startswith(runner.PREFIX)}
    parameters = runner.run.__annotations__
    assert names
    assert {name.removeprefix(runner.PREFIX).lower() for name in names} <= set(parameters)


def test_quick_keeps_the_small_sizes_of_any_grid(tmp_path: Path) -> None:
    assert runner.main(["--sizes", "200,1e6", "--quick", "--implementations", "numpy"]) == 0
    assert [path.stem for path in tmp_path.glob("results/*/*.csv")] == ["blobs-n200-d10-k10-float32"]


def test_the_headline_preset_narrowed_ends_with_its_summary_and_keeps_every_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # What cannot be measured by its nature is no gap, even where CI=true allows none.
    monkeypatch.setenv("CI", "true")
    arguments = ["--preset", "headline", "--sizes", "1e3", "--dims", "2", "--clusters", "2", "--repeats", "1"]
    assert runner.main([*arguments, "--implementations", "numpy,sklearn-lloyd", "--baseline", "numpy"]) == 0
    printed = capsys.readouterr().out
    assert "left out for want of data" not in printed
    assert "cells that rust loses: 4 of 4" in printed
    rows = [
        row
        for path in tmp_path.glob("results/*/*.csv")
        for row in csv.DictReader(path.read_text().splitlines())
    ]
    assert {(row["track"], row["dtype"]) for row in rows} == {
        (track, dtype) for track in ("matched", "default") for dtype in ("float32", "float64")
    }
    assert {row["status"] for row in rows} == {"ok"}


def test_a_file_of_ones_own_is_measured(tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    samples = np.random.default_rng(0).standard_normal((300, 3))
    np.savetxt(table, samples, delimiter=",", header="a,b,c", comments="")
    arguments = ["--data", str(table), "--drop", "b", "--clusters", "3", "--repeats", "1"]
    assert runner.main([*arguments, "--implementations", "numpy"]) == 0
    (path,) = tmp_path.glob("results/*/*.csv")
    with path.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["n_samples"], row["n_features"], row["status"]) == ("300", "2", "ok")


def test_a_skipped_implementation_fails_the_run_under_ci_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUST_KMEANS_CLI", "/nowhere/kmeans")
    monkeypatch.delenv("CI", raising=False)
    assert runner.main(small("--implementations", "rust-cli")) == 0
    monkeypatch.setenv("CI", "true")
    assert runner.main(small("--implementations", "rust-cli")) == 2
    assert "CI=true allows no gap: rust-cli (skipped)" in capsys.readouterr().err


def test_the_cost_of_a_preset_is_estimated_and_nothing_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runner.main(["--preset", "seed", "--estimate", "--implementations", "rust,numpy"]) == 0
    # 36 cells, three repeats.
    printed = capsys.readouterr().out
    assert [line.split()[:2] for line in printed.splitlines()[-4:] if line.strip()][-1] == ["all", "216"]
    assert not (tmp_path / "results").exists()
    assert not list((tmp_path / "data").glob("*.npy"))


def test_the_cost_of_a_run_is_said_before_it_starts(capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main(small("--implementations", "numpy")) == 0
    printed = capsys.readouterr().out
    assert printed.index("1 measurements, at a first guess") < printed.index("1/1 ")


def test_list_shows_every_implementation(capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main(["list"]) == 0
    printed = capsys.readouterr().out
    for entry in ENTRIES:
        assert entry.name in printed


def test_data_lists_and_clears_the_cache(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main(small("--implementations", "numpy")) == 0
    (tmp_path / "data" / "README.md").write_text("mine")
    capsys.readouterr()
    assert runner.main(["data"]) == 0
    assert "blobs_n200_d2_k3" in capsys.readouterr().out
    assert runner.main(["data", "--clear"]) == 0
    assert [path.name for path in (tmp_path / "data").iterdir() if not path.name.startswith(".")] == [
        "README.md"
    ]
