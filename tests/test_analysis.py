"""Rows become tables: nothing is dropped, nothing compared across cells, every figure the one it says."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness import analysis, stats
from harness.errors import UserError
from harness.record import Row
from tests.rows import GRID, MODELS, modelled, repeats, row, write_run

BASELINE = "sklearn-lloyd"


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return analysis.frame(modelled())


@pytest.fixture(scope="module")
def lines(rows: pd.DataFrame) -> pd.DataFrame:
    return analysis.summarise(rows, BASELINE)


def summary_of(rows: list[Row], baseline: str = BASELINE) -> pd.DataFrame:
    return analysis.summarise(analysis.frame(rows), baseline).set_index("implementation")


def test_a_frame_holds_every_row_and_every_cell(rows: pd.DataFrame) -> None:
    made = modelled()
    assert analysis.to_rows(rows) == made
    assert {field.name for field in fields(Row)} | {"load_per_core"} == set(rows.columns)
    assert rows["n_samples"].dtype == np.int64
    assert rows["n_iter"].dtype == np.float64


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = modelled(n_repeats=2)
    run = analysis.read_run(write_run(tmp_path, made))
    key = ["scenario", "track", "implementation", "repeat"]
    expected = analysis.frame(made, 0.05).sort_values(key, ignore_index=True)
    pd.testing.assert_frame_equal(run.rows.sort_values(key, ignore_index=True), expected)
    assert run.command.startswith("python runner.py")
    assert analysis.read([run.folder]).equals(run.rows)


def test_runs_stand_below_each_other_and_none_twice(tmp_path: Path) -> None:
    folders = [write_run(tmp_path, modelled(n_repeats=2, run_id=name)) for name in ("one", "two")]
    both = analysis.read(folders)
    assert both["run_id"].value_counts().nunique() == 1
    assert set(both["run_id"]) == {"one", "two"}
    with pytest.raises(UserError, match="run one is given more than once; name each run once"):
        analysis.read([*folders, folders[0]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"cannot read env\.json .*; name the folder of a run"),
        ("{", "not what the bench writes"),
        ("{}", "not what the bench writes"),
        ('{"run_id": "r", "command": "c", "environment": {}, "plan": {}}', "not what the bench writes"),
    ],
)
def test_a_folder_that_is_no_run_is_one_error(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "env.json").write_text(content)
    with pytest.raises(UserError, match=message):
        analysis.read_run(tmp_path)


def test_a_run_without_rows_or_with_those_of_another_is_one_error(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [row("rust", 1.0, scenario="stranger")])
    with pytest.raises(UserError, match=r"env\.json plans no scenario 'stranger'; move its file away"):
        analysis.read_run(folder)
    (folder / "stranger.csv").unlink()
    with pytest.raises(UserError, match=r"no rows yet; measure first: python runner\.py"):
        analysis.read_run(folder)


@pytest.mark.parametrize("seconds", [-1.0, 0.0, math.inf, math.nan])
def test_a_time_that_is_none_is_one_error(tmp_path: Path, seconds: float) -> None:
    folder = write_run(tmp_path, [row("rust", 1.0), row("rust", seconds, repeat=1)])
    with pytest.raises(UserError, match=r"a\.csv: line 3: fit_seconds .* is no time"):
        analysis.read_run(folder)


def edited(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Write a run and change its ``env.json``."""
    folder = write_run(tmp_path, modelled(n_repeats=1))
    facts = json.loads((folder / "env.json").read_text())
    change(facts)
    (folder / "env.json").write_text(json.dumps(facts))
    return folder


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: facts["environment"].pop("cpu_features"),
        lambda facts: facts["environment"].pop("libraries"),
        lambda facts: facts["environment"].pop("load_average"),
        lambda facts: facts["environment"].update(load_average="x"),
        lambda facts: facts["environment"].update(load_average=["x"]),
        lambda facts: facts["environment"].update(cores=0),
        lambda facts: facts["environment"].update(cores="2"),
        lambda facts: facts["environment"].update(commit=5),
        lambda facts: facts["plan"].pop("limits"),
        lambda facts: facts["plan"].update(seed=None),
        lambda facts: facts["plan"]["scenarios"][0].pop("dataset"),
        lambda facts: facts["plan"]["scenarios"][0]["dataset"].pop("drop"),
        lambda facts: facts["plan"].update(scenarios=["x"]),
        lambda facts: facts.update(sessions=[5]),
        lambda facts: facts.update(environment=[]),
    ],
)
def test_facts_that_the_bench_does_not_write_are_one_error(
    tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    with pytest.raises(UserError, match=r"env\.json: not what the bench writes"):
        analysis.read_run(edited(tmp_path, change))


def test_rows_of_another_run_and_rows_twice_are_one_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rows of run 'r', not of 'z'"):
        analysis.read_run(edited(tmp_path / "one", lambda facts: facts.update(run_id="z")))
    folder = write_run(tmp_path / "two", modelled(n_repeats=1))
    first = sorted(folder.glob("*.csv"))[0]
    (folder / "copy of it.csv").write_bytes(first.read_bytes())
    with pytest.raises(UserError, match="in 2 rows; move the copy away"):
        analysis.read_run(folder)


def test_a_folder_or_bytes_in_the_place_of_a_table_are_one_error(tmp_path: Path) -> None:
    folder = write_run(tmp_path, modelled(n_repeats=1))
    (folder / "x.csv").write_bytes(b"\xff\xfe\n\x00\n")
    with pytest.raises(UserError, match=r"x\.csv: not the text of a table"):
        analysis.read_run(folder)
    (folder / "x.csv").unlink()
    (folder / "x.csv").mkdir()
    with pytest.raises(UserError, match=r"x\.csv: cannot be read"):
        analysis.read_run(folder)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("inertia", math.inf),
        ("inertia", math.nan),
        ("inertia", -5.0),
        ("predict_seconds", math.inf),
        ("predict_seconds", math.nan),
        ("predict_seconds", -1.0),
        ("n_samples", 0),
        ("n_samples", -7),
        ("n_samples", 10**30),
        ("n_clusters", 0),
        ("status", "weird"),
        ("track", "weird"),
        ("dtype", "float16"),
        ("peak_rss_bytes", 0),
        ("peak_rss_bytes", -1),
        ("schema_version", 9),
        ("repeat", -1),
        ("n_iter", -1),
        ("implementation", ""),
        ("seeding_seconds", 99.0),
    ],
)
def test_a_row_that_no_measurement_makes_is_one_error(tmp_path: Path, column: str, value: object) -> None:
    whole = row("rust", 1.0)
    # A column by name: mypy does not follow which type it has.
    folder = write_run(tmp_path, [replace(whole, repeat=1), replace(whole, **{column: value})])  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"a\.csv: line 3: .*; move the file away"):
        analysis.read_run(folder)


def test_an_objective_that_is_no_number_may_be_that_of_a_wrong_answer(tmp_path: Path) -> None:
    name = "blobs-n1000-d2-k3-float32"
    made = [
        row("rust", 1.0, status="wrong", inertia=math.inf, scenario=name),
        row(BASELINE, 1.0, scenario=name),
    ]
    assert summary_of(made).loc["rust", "n"] == 0
    run = analysis.read_run(write_run(tmp_path, made, grid=GRID))
    assert len(run.rows) == 2


def test_the_load_of_a_run_is_that_of_its_busiest_session(tmp_path: Path) -> None:
    loads = [[0.1, 0.0, 0.0], [3.0, 0.0, 0.0], None]
    sessions = [{"commit": "c", "uncommitted_changes": False, "load_average": load} for load in loads]
    run = analysis.read_run(edited(tmp_path, lambda facts: facts.update(sessions=sessions)))
    assert set(run.rows["load_per_core"]) == {1.5}


def test_a_line_has_median_interval_and_ratio_by_repeat() -> None:
    own, base = [3.0, 1.0, 2.0], [12.0, 3.0, 8.0]
    lines = summary_of([*repeats("rust", own), *repeats(BASELINE, base)])
    line = lines.loc["rust"]
    alone, paired = stats.median_interval(own), stats.paired_ratio(base, own)
    assert (line.fit_seconds, line.fit_low, line.fit_high) == (2.0, alone.low, alone.high)
    assert line.ratio == pytest.approx(4.0)
    assert (line.ratio_low, line.ratio_high) == pytest.approx((paired.low, paired.high))
    assert (line.n, line.n_rows, line.status) == (3, 3, "ok")
    assert lines.loc[BASELINE, ["ratio", "ratio_low", "ratio_high"]].tolist() == [1.0, 1.0, 1.0]


def test_only_rows_that_are_ok_give_figures_and_the_others_are_counted() -> None:
    rows = [
        *repeats("rust", [1.0, 2.0]),
        row("rust", 0.1, repeat=2, status="wrong", reason="labels differ", inertia=1.0),
        *repeats(BASELINE, [4.0, 4.0, 4.0]),
        row("faiss", None, status="skipped", reason="not installed", inertia=None),
    ]
    lines = summary_of(rows)
    ours, absent = lines.loc["rust"], lines.loc["faiss"]
    assert (ours.fit_seconds, ours.n, ours.n_rows) == (1.5, 2, 3)
    assert (ours.status, ours.reason) == ("2 ok, 1 wrong", "labels differ")
    assert (absent.n, absent.status, absent.reason) == (0, "skipped", "not installed")
    assert absent[["fit_seconds", "fit_low", "ratio", "inertia", "objective_gap"]].isna().all()


def test_ratios_pair_the_repeats_that_both_have() -> None:
    rows = [*repeats("rust", [1.0, 2.0, 4.0]), *repeats(BASELINE, [3.0, 6.0])]
    assert summary_of(rows).loc["rust", "ratio"] == pytest.approx(3.0)


def test_without_the_baseline_there_is_no_ratio() -> None:
    assert summary_of(repeats("rust", [1.0, 2.0])).loc["rust", ["ratio", "ratio_low"]].isna().all()


def test_cells_tracks_and_runs_are_never_compared() -> None:
    rows = [
        row("rust", 1.0),
        row(BASELINE, 2.0),
        row("rust", 1.0, scenario="b", inertia=1.0),
        row("rust", 1.0, track="default", inertia=2.0),
        row("rust", 1.0, run_id="other", inertia=3.0),
    ]
    lines = analysis.summarise(analysis.frame(rows), BASELINE).set_index(["run_id", "scenario", "track"])
    assert lines["ratio"].notna().sum() == 2
    assert lines["objective_gap"].tolist() == [0.0] * 5


def test_the_objective_is_held_against_the_best_exact_one() -> None:
    rows = [
        row("rust", 1.0, inertia=101.0),
        row(BASELINE, 1.0, inertia=100.0),
        row("sklearn-minibatch", 1.0, inertia=90.0, semantics="mini-batch"),
    ]
    lines = summary_of(rows)
    gaps = lines.loc[["rust", BASELINE, "sklearn-minibatch"], "objective_gap"]
    assert gaps.tolist() == pytest.approx([0.01, 0.0, -0.1])
    zero = summary_of([row("rust", 1.0, inertia=0.0), row(BASELINE, 1.0, inertia=0.0)])
    assert zero["objective_gap"].isna().all()


def test_the_summary_of_a_modelled_run_finds_the_speeds_it_was_made_with(lines: pd.DataFrame) -> None:
    big = lines[(lines["n_samples"] == 100_000) & (lines["n_features"] == 10) & (lines["track"] == "matched")]
    for line in big[big["n"] > 0].itertuples():
        (fixed, rate, *_), (base, base_rate, *_) = MODELS[line.implementation], MODELS[BASELINE]
        work = line.n_samples * line.n_features * line.n_clusters
        truth = (base + base_rate * work) / (fixed + rate * work)
        assert line.ratio == pytest.approx(truth, rel=0.05)
        assert line.ratio_low <= line.ratio <= line.ratio_high
    assert len(lines) == len(GRID.scenarios()) * 2 * len(MODELS)
    assert set(lines["data"]) == {"blobs"}


def test_instability_is_named_at_the_lines_it_concerns() -> None:
    calm = [1.0, 1.01, 0.99, 1.0, 1.01, 0.99]
    rows = [
        *repeats("rust", calm),
        *repeats(BASELINE, calm),
        *repeats("numpy", [1.0, 9.0, 9.0, 1.0, 9.0, 1.0]),
    ]
    named = summary_of(rows)["instability"]
    assert named.to_dict() == {"rust": "", BASELINE: "", "numpy": "wide spread"}
    assert summary_of(rows[:5])["instability"].to_dict() == {"rust": "too few repeats"}


def test_a_slow_repeat_and_a_load_name_the_machine_at_the_whole_cell() -> None:
    slow = [1.0, 1.0, 1.0, 1.3, 1.0, 1.0]
    rows = [one for name in ("rust", BASELINE, "numpy") for one in repeats(name, slow)]
    assert set(summary_of(rows)["instability"]) == {"noisy machine"}
    by_seed = [replace(one, track="default") for one in rows]
    assert set(summary_of(by_seed)["instability"]) == {""}
    loaded = analysis.summarise(analysis.frame(by_seed, 1.5), BASELINE)
    assert set(loaded["instability"]) == {"noisy machine"}


def test_the_verdict_is_the_geometric_mean_with_the_cells_that_are_lost_or_unclear() -> None:
    def cell(name: str, own: list[float], base: list[float]) -> list[Row]:
        return [*repeats("rust", own, scenario=name), *repeats(BASELINE, base, scenario=name)]

    rows = [
        *cell("won", [1.0] * 6, [8.0] * 6),
        *cell("lost", [2.0] * 6, [1.0] * 6),
        *cell("unclear", [1.0, 1.2, 1.0, 1.2, 1.0, 1.2], [1.2, 1.0, 1.2, 1.0, 1.2, 1.0]),
    ]
    (verdict,) = analysis.verdicts(analysis.frame(rows), BASELINE).itertuples()
    assert verdict.ratio == pytest.approx(4 ** (1 / 3))
    assert (verdict.n_cells, verdict.n_slower, verdict.n_unclear, verdict.n_repeats) == (3, 1, 1, 6)
    assert (verdict.worst_scenario, verdict.worst) == ("lost", pytest.approx(0.5))
    assert verdict.ratio_low < verdict.ratio < verdict.ratio_high


def test_there_is_no_verdict_without_a_common_cell() -> None:
    for one, why in (
        (row("rust", 1.0), "1 without sklearn-lloyd"),
        (row(BASELINE, 1.0), "1 without rust"),
        (row("rust", None, status="failed"), "1 rust failed"),
    ):
        (verdict,) = analysis.verdicts(analysis.frame([one]), BASELINE).itertuples()
        assert (verdict.n_cells, verdict.n_all, verdict.missing) == (0, 1, why)
        assert math.isnan(verdict.ratio)


def test_a_verdict_knows_the_cells_it_does_not_speak_of() -> None:
    rows = [one for name in ("a", "b", "c", "d") for one in repeats(BASELINE, [2.0] * 6, scenario=name)]
    rows += repeats("rust", [1.0] * 6, scenario="a")
    rows += repeats("rust", [None] * 6, scenario="b", status="timeout")
    rows += repeats("rust", [None] * 6, scenario="c", status="timeout")
    (verdict,) = analysis.verdicts(analysis.frame(rows), BASELINE).itertuples()
    assert (verdict.n_cells, verdict.n_all) == (1, 4)
    assert verdict.missing == "2 rust timeout, 1 without rust"


def test_repeats_that_failed_are_a_loss_even_where_others_are_fast() -> None:
    rows = [*repeats("rust", [1.0] * 5), row("rust", None, repeat=5, status="timeout")]
    lost = analysis.where_we_lose(analysis.frame([*rows, *repeats(BASELINE, [2.0] * 6)]), BASELINE)
    assert lost["status"].tolist() == ["5 ok, 1 timeout"]
    assert lost["ratio"].tolist() == pytest.approx([2.0])


def test_what_is_lost_is_what_the_ratio_of_the_table_says() -> None:
    # By medians ours is faster (2.0 to 2.1); repeat by repeat it is slower twice in three.
    rows = [*repeats("rust", [1.0, 3.0, 2.0]), *repeats(BASELINE, [2.1, 2.4, 1.9])]
    frame = analysis.frame(rows)
    ratio = analysis.summarise(frame, BASELINE).set_index("implementation").loc["rust", "ratio"]
    assert ratio < 1
    assert analysis.where_we_lose(frame, BASELINE)["ratio"].tolist() == [ratio]


def test_where_we_lose_stand_failures_and_whoever_is_ahead_with_an_interval() -> None:
    rows = [
        *repeats("rust", [2.0, 2.1, 2.0]),
        *repeats(BASELINE, [4.0, 4.2, 4.0]),
        *repeats("faiss", [1.0, 1.0, 1.0]),
        *repeats("rust", [1.0], scenario="b"),
        *repeats(BASELINE, [2.0], scenario="b"),
        row("rust", None, scenario="c", status="failed"),
        *repeats(BASELINE, [2.0], scenario="c"),
        *repeats(BASELINE, [2.0], run_id="without ours"),
    ]
    lost = analysis.where_we_lose(analysis.frame(rows), BASELINE).set_index("scenario")
    assert lost.index.tolist() == ["c", "a"]
    assert (lost.loc["a", "ahead"], lost.loc["a", "ratio"]) == ("faiss", pytest.approx(0.5))
    assert lost.loc["a", "ratio_low"] <= 0.5 <= lost.loc["a", "ratio_high"] < 1
    assert (lost.loc["c", "status"], lost.loc["c", "ahead"]) == ("failed", BASELINE)
    assert math.isnan(lost.loc["c", "ratio"])


def test_where_nothing_is_lost_the_table_is_empty() -> None:
    found = analysis.where_we_lose(analysis.frame([row("rust", 1.0), row(BASELINE, 2.0)]), BASELINE)
    assert found.empty
    assert {"scenario", "ahead", "ratio_high"} <= set(found.columns)


def test_exponents_are_those_of_the_model() -> None:
    rows = [
        replace(one, fit_seconds=1e-9 * one.n_samples * one.n_features**0.5 * one.n_clusters**0.25)
        for one in modelled(n_repeats=1)
        if one.status == "ok"
    ]
    found = analysis.complexity(analysis.summarise(analysis.frame(rows), BASELINE))
    found = found.set_index(["track", "implementation", "axis"])
    for axis, exponent in (("n_samples", 1.0), ("n_features", 0.5), ("n_clusters", 0.25)):
        line = found.loc["matched", "numpy", axis]
        assert (line.low, line.exponent, line.high) == pytest.approx((exponent,) * 3)
    line = found.loc["matched", "numpy", "n_samples"]
    assert (line.smallest, line.largest, line.n_points) == (1_000, 100_000, 12)
    assert ("matched", "sklearn-minibatch", "n_samples") not in found.index


def test_an_axis_with_one_value_has_no_exponent() -> None:
    lines = analysis.summarise(analysis.frame([row("rust", 1.0), row("rust", 2.0, scenario="b")]), BASELINE)
    assert analysis.complexity(lines).empty


def test_a_memory_grid_holds_the_medians_of_the_peaks(lines: pd.DataFrame) -> None:
    grid = analysis.memory_grid(lines, "numpy")
    assert grid.shape == (4, 3)
    made = [r.peak_rss_bytes for r in modelled() if r.implementation == "numpy" and r.n_samples == 100_000]
    assert grid[100_000].max() == max(m for m in made if m is not None)
    assert analysis.memory_grid(lines, "none").empty


def test_the_frontier_is_what_nothing_beats() -> None:
    rows = [
        row("rust", 1.0, inertia=10.0),
        row("faiss", 2.0, inertia=9.0),
        row("numpy", 3.0, inertia=9.0),
        row(BASELINE, 4.0, inertia=8.0),
        row("dask-ml", 5.0, inertia=20.0),
        row("mlpack", None, status="failed", inertia=None),
        row("dask-ml", 5.0, inertia=20.0, scenario="alone"),
    ]
    found = analysis.frontier(analysis.summarise(analysis.frame(rows), BASELINE))
    ahead = set(
        found[found["on_frontier"]][["scenario", "implementation"]].itertuples(index=False, name=None)
    )
    assert ahead == {("a", "rust"), ("a", "faiss"), ("a", BASELINE), ("alone", "dask-ml")}
    assert len(found) == 6


def test_the_phases_of_a_fit_add_up_to_it() -> None:
    told = row("rust", 4.0, seeding_seconds=1.0, prepare_seconds=0.5, predict_seconds=0.25)
    untold = row(BASELINE, 4.0, prepare_seconds=0.5)
    found = analysis.phases(analysis.frame([told, untold])).droplevel(["run_id", "scenario", "track"])
    assert found.loc["rust"].to_dict() == {"prepare": 0.5, "seeding": 1.0, "iteration": 3.0, "predict": 0.25}
    assert found.loc[BASELINE, "iteration"] == 4.0
    assert math.isnan(found.loc[BASELINE, "seeding"])


def test_the_share_of_the_limit_is_by_hand() -> None:
    limits = analysis.MachineLimits({"float32": 1e9, "float64": 5e8}, 1e10)
    rows = [
        # Computing: 2 · 1000 · 2 · 3 / 1e9 = 12 µs an iteration; reading: 0.8 µs.
        row("rust", 240e-6, n_iter=10),
        row("rust", 240e-6, n_iter=10, dtype="float64", scenario="b"),
        row("rust", 240e-6, n_iter=None, scenario="c"),
        row("rust", 240e-6, n_iter=10, track="default"),
    ]
    lines = analysis.summarise(analysis.frame(rows), BASELINE)
    share = analysis.limit_share(lines, limits)
    by_cell = dict(zip(zip(lines["scenario"], lines["track"], strict=True), share, strict=True))
    assert by_cell["a", "matched"] == pytest.approx(0.5)
    assert by_cell["b", "matched"] == pytest.approx(1.0)
    assert math.isnan(by_cell["c", "matched"])
    assert math.isnan(by_cell["a", "default"])
    reading = analysis.MachineLimits({"float32": 1e12, "float64": 5e11}, 1e9)
    assert analysis.limit_share(lines, reading).iloc[0] == pytest.approx(8e-6 * 10 / 240e-6)
