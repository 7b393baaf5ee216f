"""The loop loses no row, doubles none, and goes on whatever an implementation does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from harness import environment, record
from harness.bench import Plan
from harness.datasets import clear
from harness.errors import UserError
from harness.scenario import Grid
from tests.conftest import ROOT
from tests.plans import plan_of, run_plan


def start(folder: Path, fakes: str, repeats: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.plans", str(folder), fakes, str(repeats)]
    with (folder / "errors").open("a") as errors:
        return subprocess.Popen(command, cwd=ROOT, text=True, stderr=errors)


def rows_under(folder: Path) -> list[record.Row]:
    return [row for path in folder.glob("results/*/*.csv") for row in record.load(path)]


def wait_for_rows(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while len(rows_under(folder)) < count:
        assert time.monotonic() < deadline, "the run makes no progress"
        time.sleep(0.05)


def test_every_misbehaviour_is_a_row_and_the_run_goes_on(tmp_path: Path) -> None:
    fakes = ("hang", "segfault", "grows", "is_killed", "not_finite", "writes_garbage", "missing", "honest")
    _, recorder = run_plan(plan_of(fakes, timeout=6.0), tmp_path)
    found = {(row.n_samples, row.implementation): row.status for row in recorder.rows}
    expected = {
        "hang": "timeout",
        "segfault": "failed",
        "grows": "oom",
        "is_killed": "oom",
        "not_finite": "wrong",
        "writes_garbage": "failed",
        "missing": "skipped",
        "honest": "ok",
    }
    assert found == {(n, name): status for n in (50, 100) for name, status in expected.items()}
    assert all(row.reason for row in recorder.rows if row.status != "ok")


def test_what_ran_into_a_limit_is_not_tried_again_at_the_next_repeat(tmp_path: Path) -> None:
    _, recorder = run_plan(plan_of(("grows",), repeats=3), tmp_path)
    by_scenario = Counter(row.scenario for row in recorder.rows)
    assert set(by_scenario.values()) == {3}
    assert {row.status for row in recorder.rows} == {"oom"}
    repeated = [row for row in recorder.rows if row.repeat > 0]
    assert all(row.reason.startswith("an earlier repeat: ") for row in repeated)


@pytest.mark.parametrize("wrong", ["far_off", "one_short", "mislabels", "mislabels_in_the_fit"])
def test_a_wrong_answer_is_marked_with_what_is_wrong(wrong: str, tmp_path: Path) -> None:
    _, recorder = run_plan(plan_of((wrong,)), tmp_path)
    if wrong == "far_off":
        # Any finite centers are an answer on the default track; the objective tells.
        _, honest = run_plan(plan_of(("honest",)), tmp_path)
        for bad, good in zip(recorder.rows, honest.rows, strict=True):
            assert bad.inertia is not None
            assert good.inertia is not None
            assert bad.inertia > good.inertia
    else:
        assert {row.status for row in recorder.rows} == {"wrong"}


def test_what_is_written_is_what_was_told_and_the_machine_stands_beside_it(tmp_path: Path) -> None:
    run, recorder = run_plan(plan_of(("honest",), repeats=2), tmp_path)
    assert sorted(run.rows(), key=lambda row: row.key) == sorted(recorder.rows, key=lambda row: row.key)
    assert {path.stem for path in run.folder.glob("*.csv")} == {row.scenario for row in recorder.rows}
    facts = json.loads((run.folder / "env.json").read_text())
    assert facts["command"] == "a test"
    assert facts["environment"]["cores"] >= 1
    assert facts["environment"]["libraries"]["numpy"]
    row = recorder.rows[0]
    assert row.peak_rss_bytes is not None
    assert row.baseline_rss_bytes is not None
    assert row.fit_rss_bytes == row.peak_rss_bytes - row.baseline_rss_bytes >= 0
    assert row.memory_method in {"poll", "vmhwm"}


def test_a_resumed_run_keeps_the_load_and_commit_of_each_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, facts = plan_of(("honest",), repeats=2), environment.describe()

    def session(commit: str, load: float, *, lose: bool = False) -> list[tuple[str, float]]:
        now = {**facts, "commit": commit, "load_average": [load, 0.0, 0.0]}
        monkeypatch.setattr(environment, "describe", lambda: now)
        run, _ = run_plan(plan, tmp_path)
        content = json.loads((run.folder / "env.json").read_text())
        assert content["environment"]["commit"] == "first"
        for path in run.folder.glob("*.csv"):
            if lose:
                path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
        return [(one["commit"], one["load_average"][0]) for one in content["sessions"]]

    assert session("first", 9.0, lose=True) == [("first", 9.0)]
    assert session("second", 0.5) == [("first", 9.0), ("second", 0.5)]
    # Nothing was left to measure.
    assert session("third", 0.1) == [("first", 9.0), ("second", 0.5)]


def test_a_finished_run_measures_nothing_again_and_fresh_measures_all(tmp_path: Path) -> None:
    plan = plan_of(("honest",))
    first, _ = run_plan(plan, tmp_path)
    again, recorder = run_plan(plan, tmp_path)
    assert again.folder == first.folder
    assert (recorder.rows, recorder.already) == ([], 2)
    _, recorder = run_plan(plan, tmp_path, fresh=True)
    assert len(recorder.rows) == 2
    assert len(first.rows()) == 2


def test_other_bytes_under_the_same_name_are_another_run(tmp_path: Path) -> None:
    table = tmp_path / "mine.npy"
    for n_samples in (50, 90):
        np.save(table, np.random.default_rng(n_samples).standard_normal((n_samples, 2)))
        scenarios = tuple(Grid(source=str(table), clusters=(3,)).scenarios())
        _, recorder = run_plan(replace(plan_of(("honest",)), scenarios=scenarios), tmp_path)
        assert [row.n_samples for row in recorder.rows] == [n_samples]


def test_the_data_of_a_run_in_progress_is_not_deleted(tmp_path: Path) -> None:
    process = start(tmp_path, "slow,honest", 1)
    wait_for_rows(tmp_path, 1)
    with pytest.raises(UserError, match="in use by another run"):
        clear(tmp_path / "cache")
    assert process.wait(120) == 0
    assert {row.status for row in rows_under(tmp_path)} == {"ok"}
    assert clear(tmp_path / "cache") > 0


def test_another_plan_has_another_folder(tmp_path: Path) -> None:
    one, _ = run_plan(plan_of(("honest",)), tmp_path)
    other, _ = run_plan(plan_of(("honest",), seed=1), tmp_path)
    assert one.folder != other.folder


@pytest.mark.parametrize(
    ("ending", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)], ids=["kill -9", "Ctrl-C"]
)
def test_an_interrupted_run_resumes_without_losing_or_doubling_a_row(
    ending: signal.Signals, code: int, tmp_path: Path
) -> None:
    process = start(tmp_path, "slow,honest", 2)
    wait_for_rows(tmp_path, 3)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(ending)
    assert process.wait(30) == code
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    before = rows_under(tmp_path)
    assert 3 <= len(before) < 8

    process = start(tmp_path, "slow,honest", 2)
    assert process.wait(120) == 0
    after = rows_under(tmp_path)
    assert set(before) <= set(after)
    assert Counter(row.key for row in after) == Counter(dict.fromkeys((row.key for row in after), 1))
    assert len(after) == 8


def test_a_row_cut_off_by_a_crash_is_measured_again(tmp_path: Path) -> None:
    plan = plan_of(("honest",), repeats=2)
    run, _ = run_plan(plan, tmp_path)
    path = run.csv_path(plan.scenarios[0])
    path.write_bytes(path.read_bytes()[:-30])
    _, recorder = run_plan(plan, tmp_path)
    assert len(recorder.rows) == 1
    assert len(record.load(path)) == 2


def test_two_processes_never_share_a_run(tmp_path: Path) -> None:
    first = start(tmp_path, "slow,honest", 2)
    wait_for_rows(tmp_path, 1)
    second = start(tmp_path, "slow,honest", 2)
    assert second.wait(60) == 2
    assert "another process is at this run" in (tmp_path / "errors").read_text()
    assert first.wait(120) == 0
    assert len(rows_under(tmp_path)) == 8


def test_a_results_folder_that_cannot_be_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    with pytest.raises(UserError, match=r"--results: cannot write .*; name another folder"):
        run_plan(plan_of(("honest",)), tmp_path)


def orders(plan: Plan) -> list[tuple[str, ...]]:
    measurements = plan.measurements()
    width = len(plan.entries)
    rounds = [measurements[i : i + width] for i in range(0, len(measurements), width)]
    assert all(len({(one.scenario, one.track, one.repeat) for one in round_}) == 1 for round_ in rounds)
    return [tuple(one.entry.name for one in round_) for round_ in rounds]


def test_every_repeat_measures_each_implementation_once_in_an_order_of_its_own() -> None:
    fakes = tuple("abcdefgh")
    drawn = orders(plan_of(fakes, repeats=6))
    assert len(drawn) == 2 * 6
    assert all(sorted(order) == sorted(fakes) for order in drawn)
    assert len(set(drawn)) > 6


def test_the_order_is_repeatable_from_the_seed() -> None:
    fakes = tuple("abcdefgh")
    assert orders(plan_of(fakes, repeats=3)) == orders(plan_of(fakes, repeats=3))
    assert orders(plan_of(fakes, repeats=3)) != orders(plan_of(fakes, repeats=3, seed=1))
