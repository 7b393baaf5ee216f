"""The gate is silent where nothing changed, and catches what did: on times really measured, drawn by seed."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

import runner
from harness import bench, compare, environment, stats, versions
from harness.compare import Key, Line, Margins, Report, Verdict
from harness.errors import UserError
from harness.isolate import Limits
from harness.record import Row
from harness.registry import Entry
from harness.revisions import checkouts
from harness.scenario import Grid
from tests import rows
from tests.plans import Recorder
from tests.rows import row

#: Fits of `rust` on 1e4 and 1e5 samples, one process each, on a machine of 2 cores where eight other
#: processes were busy: a tenth of them took several times as long as the others. What the fit added to the
#: memory was measured later, in as many fits on a machine as busy.
NOISE = Path(__file__).with_name("noise.csv")
TRIALS = 20
#: What is compared at a time.
NAMES = ("a", "b", "c")
#: What becomes of a row on its way into HEAD.
Change = Callable[[Row], Row]


def same(one: Row) -> Row:
    return one


def slower(one: Row) -> Row:
    assert one.fit_seconds is not None
    return replace(one, fit_seconds=one.fit_seconds * 1.2)


def larger(one: Row) -> Row:
    """Return a row whose process is a tenth larger before the fit begins."""
    assert one.peak_rss_bytes is not None
    return replace(one, peak_rss_bytes=int(one.peak_rss_bytes * 1.1))


def hungrier(one: Row) -> Row:
    """Return a row whose fit takes 1 MiB more, next to nothing beside what its imports take."""
    assert one.peak_rss_bytes is not None
    assert one.fit_rss_bytes is not None
    more = 1 << 20
    return replace(one, peak_rss_bytes=one.peak_rss_bytes + more, fit_rss_bytes=one.fit_rss_bytes + more)


def poorer(one: Row) -> Row:
    assert one.inertia is not None
    return replace(one, inertia=one.inertia * 1.001)


def measured() -> dict[int, list[dict[str, float | int]]]:
    """Return seconds and memory of the measurements of every size, in their order."""
    found: dict[int, list[dict[str, float | int]]] = {}
    for line in csv.DictReader(NOISE.read_text().splitlines()):
        found.setdefault(int(line["n_samples"]), []).append(
            {
                "fit_seconds": float(line["fit_seconds"]),
                "peak_rss_bytes": int(line["peak_rss_bytes"]),
                "fit_rss_bytes": int(line["fit_rss_bytes"]),
            }
        )
    return found


def both_sides(rng: np.random.Generator, repeats: int, change: Change) -> tuple[list[Row], list[Row]]:
    """Draw stretches of neighbouring measurements and give each repeat's two to the sides at random."""
    base, head = [], []
    for n_samples, known in measured().items():
        for name in NAMES:
            start = int(rng.integers(0, len(known) - 2 * repeats + 1))
            for repeat in range(repeats):
                pair = known[start + 2 * repeat : start + 2 * repeat + 2]
                one, other = (
                    rows.row(name, **pair[i], scenario=f"n{n_samples}", repeat=repeat)
                    for i in rng.permutation(2)
                )
                base.append(one)
                head.append(change(other) if name == "b" else other)
    return base, head


def judged(seed: int, change: Change) -> Report:
    """Run the whole gate, re-measurement included, on what one seed draws."""
    rng = np.random.default_rng(seed)

    def lines(repeats: int) -> list[Line]:
        return compare.compare_rows(*both_sides(rng, repeats, change), Margins())

    def remeasure(keys: Sequence[Key]) -> list[Line]:
        return [line for line in lines(compare.AGAIN * versions.REPEATS) if line.key in keys]

    return compare.gate("A", "B", "a machine", lines(versions.REPEATS), remeasure)


def test_the_same_code_twice_is_silent_in_20_of_20() -> None:
    assert [seed for seed in range(TRIALS) if judged(seed, same).regressed] == []


def test_one_implementation_20_percent_slower_is_caught_in_19_of_20_and_no_other_blamed() -> None:
    reports = [judged(seed, slower) for seed in range(TRIALS)]
    blamed = [{line.key[2] for line in report.lines if line.worse} for report in reports]
    assert sum(names == {"b"} for names in blamed) >= TRIALS - 1
    assert all(line.worse <= {"time"} for report in reports for line in report.lines)


@pytest.mark.parametrize(
    ("change", "measure"), [(larger, "memory"), (hungrier, "fit memory"), (poorer, "objective")]
)
def test_a_growth_of_memory_and_a_worse_objective_are_caught_in_20_of_20(
    change: Change, measure: str
) -> None:
    for seed in range(TRIALS):
        report = judged(seed, change)
        assert {line.key[2] for line in report.lines if line.worse} == {"b"}
        assert all(line.worse == {measure} for line in report.lines if line.worse)


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (0, 0, Verdict.SAME),
        (64 << 10, 192 << 10, Verdict.SAME),
        (64 << 10, 1 << 20, Verdict.WORSE),
        (40 << 20, 41 << 20, Verdict.SAME),
        (40 << 20, 44 << 20, Verdict.WORSE),
        (44 << 20, 40 << 20, Verdict.BETTER),
        (-(9 << 20), 0, Verdict.SAME),
    ],
)
def test_the_memory_of_the_fit_may_grow_by_the_margin_and_by_what_an_allocator_rounds(
    before: int, after: int, verdict: Verdict
) -> None:
    (line,) = compare.compare_rows(
        rows.repeats("a", [1.0] * 9, peak_rss_bytes=1 << 30, fit_rss_bytes=before),
        rows.repeats("a", [1.0] * 9, peak_rss_bytes=1 << 30, fit_rss_bytes=after),
        Margins(),
    )
    assert line.figures["memory"].verdict is Verdict.SAME
    assert line.figures["fit memory"].verdict is verdict
    assert f"| {before / 2**20:.1f} → {after / 2**20:.1f} |" in compare.markdown(
        compare.gate("A", "B", "m", [line], None)
    )


def test_what_a_second_measurement_does_not_show_is_told_and_is_no_regression() -> None:
    base, head = rows.repeats("a", [1.0] * 15), rows.repeats("a", [1.5] * 15)
    first = compare.compare_rows(base, head, Margins())
    report = compare.gate(
        "A", "B", "m", first, lambda keys: compare.compare_rows(base, base, Margins(), [k[2] for k in keys])
    )
    assert not report.regressed
    assert report.lines[0].figures["time"].verdict is Verdict.NOT_CONFIRMED
    assert "1 looked worse and did not when measured again" in report.sentence


@pytest.mark.parametrize("status", ["", "timeout"])
def test_a_second_measurement_without_an_answer_refutes_nothing(status: str) -> None:
    lines = compare.compare_rows(rows.repeats("a", [1.0] * 9), rows.repeats("a", [2.0] * 9), Margins())
    failed = [row("a", None, status=status, inertia=None)] if status else []
    report = compare.gate("A", "B", "m", lines, lambda keys: compare.compare_rows(failed, failed, Margins()))
    assert not report.regressed
    assert report.lines[0].figures["time"].verdict is Verdict.SUSPECTED


def test_what_cannot_be_measured_again_is_suspected_only() -> None:
    lines = compare.compare_rows(rows.repeats("a", [1.0] * 9), rows.repeats("a", [2.0] * 9), Margins())
    report = compare.gate("A", "B", "m", lines, None)
    assert not report.regressed
    assert "nothing confirms it" in report.sentence


def test_only_what_looks_worse_is_measured_again() -> None:
    base = rows.repeats("a", [1.0] * 9) + rows.repeats("b", [1.0] * 9)
    head = rows.repeats("a", [1.0] * 9) + rows.repeats("b", [2.0] * 9)
    lines = compare.compare_rows(base, head, Margins())
    asked: list[Key] = []

    def remeasure(keys: Sequence[Key]) -> list[Line]:
        asked.extend(keys)
        return lines

    assert compare.gate("A", "B", "m", lines, remeasure).regressed
    assert asked == [("a", "matched", "b")]


def test_a_head_that_fails_where_base_answers_is_worse() -> None:
    base = rows.repeats("a", [1.0] * 3)
    head = [rows.row("a", None, repeat=r, status="wrong", reason="off", inertia=None) for r in range(3)]
    (line,) = compare.compare_rows(base, head, Margins())
    assert line.worse == {"status"}
    assert line.broken == "wrong in 3 of 3: off"
    assert not compare.compare_rows(head, base, Margins())[0].worse


def test_cells_of_one_side_or_of_other_data_are_named_and_not_compared() -> None:
    base = rows.repeats("a", [1.0] * 3) + rows.repeats("b", [1.0] * 3, dataset_sha256="x")
    head = rows.repeats("c", [9.0] * 3) + rows.repeats("b", [9.0] * 3, dataset_sha256="y")
    notes = {line.key[2]: (line.note, line.n_pairs) for line in compare.compare_rows(base, head, Margins())}
    assert notes == {"a": ("only in base", 0), "b": ("other data", 0), "c": ("only in head", 0)}


def sentence_of(base: list[Row], head: list[Row]) -> str:
    return compare.gate("A", "B", "m", compare.compare_rows(base, head, Margins()), None).sentence


def test_the_sentence_counts_what_was_compared_and_names_the_rest() -> None:
    failed = {"status": "failed", "reason": "boom", "inertia": None}
    base = [*rows.repeats("a", [1.0] * 9), *rows.repeats("few", [1.0] * 9), row("off", None, **failed)]
    head = [*rows.repeats("a", [1.0] * 9), *rows.repeats("few", [3.0]), row("off", None, **failed)]
    head += [*rows.repeats("new", [1.0] * 9), row("late", 1.0)]
    base.append(row("late", None, **failed))
    assert sentence_of(base, head) == (
        "B is not worse than A in any of 1 cell; not compared: 1 failed in base, 1 failed in both, "
        "1 fewer than 5 pairs, too few to tell, 1 only in head"
    )


def test_another_number_of_threads_is_not_compared() -> None:
    base, head = rows.repeats("a", [1.0] * 9, n_threads=1), rows.repeats("a", [2.0] * 9)
    assert sentence_of(base, head) == "nothing to compare in A and B: 1 other number of threads"


def test_where_nothing_can_be_compared_that_is_the_outcome() -> None:
    report = compare.gate("A", "B", "m", compare.compare_rows([], [row("a", 1.0)], Margins()), None)
    assert report.empty
    assert report.sentence == "nothing to compare in A and B: 1 only in head"


def test_a_cell_that_head_lost_is_worse_even_where_nothing_can_be_measured_again() -> None:
    base = [*rows.repeats("a", [1.0] * 9), *rows.repeats("b", [1.0] * 9)]
    head = rows.repeats("a", [1.0] * 9)
    lines = compare.compare_rows(base, head, Margins())
    for report in (
        compare.gate("A", "B", "m", lines, None),
        compare.gate("A", "B", "m", lines, lambda keys: []),
    ):
        assert report.regressed
        assert report.sentence == "B is worse than A in 1 of 2 cells: status; 1 answered in base only"


@pytest.mark.parametrize(
    ("before", "after", "worse"),
    [
        (0.0, 0.0, set()),
        (0.0, 5.0, {"objective"}),
        (5.0, 0.0, set()),
        (1.0, math.nan, {"status"}),
        (1.0, math.inf, {"status"}),
        (math.nan, 1.0, set()),
    ],
)
def test_an_objective_that_has_no_ratio_is_judged_all_the_same(
    before: float, after: float, worse: set[str]
) -> None:
    lines = compare.compare_rows(
        rows.repeats("a", [1.0] * 9, inertia=before), rows.repeats("a", [1.0] * 9, inertia=after), Margins()
    )
    assert lines[0].worse == worse
    report = compare.gate("A", "B", "m", lines, lambda keys: lines)
    assert json.loads(compare.to_json(report), parse_constant=pytest.fail)["regressed"] is bool(worse)


@pytest.mark.parametrize(
    ("n_slow", "verdict"),
    [(7, Verdict.NOISY), (10, Verdict.NOISY), (12, Verdict.WORSE), (15, Verdict.WORSE)],
)
def test_a_slowdown_of_some_fits_is_seen_by_the_median_or_said_to_be_unclear(
    n_slow: int, verdict: Verdict
) -> None:
    rng = np.random.default_rng(0)
    base = np.exp(rng.normal(0, 0.02, 15))
    head = base * np.exp(rng.normal(0, 0.02, 15))
    head[:n_slow] *= 3
    (line,) = compare.compare_rows(rows.repeats("a", list(base)), rows.repeats("a", list(head)), Margins())
    assert line.figures["time"].verdict is verdict


def test_what_scatters_by_more_than_the_margin_is_too_noisy_to_tell() -> None:
    times = [1.0, 1.3, 0.8, 1.2, 0.9] * 3
    (line,) = compare.compare_rows(rows.repeats("a", times), rows.repeats("a", times[::-1]), Margins())
    assert line.figures["time"].verdict is Verdict.NOISY
    report = compare.gate("A", "B", "m", [line], None)
    assert not report.regressed
    assert "in 1 something is too noisy to tell" in report.sentence
    assert "time too noisy to tell" in compare.markdown(report)


def test_words_of_a_row_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    base = rows.repeats("a", [1.0] * 5)
    reason = "list [red]index[/] [/bold] <b> | x"
    head = [row("a", None, repeat=r, status="failed", reason=reason, inertia=None) for r in range(5)]
    report = compare.gate("[/x]", "B", "[/m]", compare.compare_rows(base, head, Margins()), None)
    compare.print_report(Console(width=300), report)
    assert reason in capsys.readouterr().out
    assert "[red]index[/] [/bold] &lt;b> / x" in compare.markdown(report)
    assert "<" not in compare.markdown(replace(report, head="<i>", machine="<u>"))


@pytest.mark.parametrize("width", [90, 120, 160])
def test_no_figure_is_cut_off_in_a_narrow_terminal(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    more: dict[str, Any] = {"scenario": "blobs-n1000000-d10-k10-float32", "fit_rss_bytes": 12 << 20}
    rng = np.random.default_rng(0)
    base, head = (
        rows.repeats("sklearn-minibatch", list(scale * rng.uniform(0.99, 1.01, 9)), **more)
        for scale in (1, 2)
    )
    report = compare.gate("A", "B", "m", compare.compare_rows(base, head, Margins()), None)
    compare.print_report(Console(width=width), report)
    said = capsys.readouterr().out
    assert "…" not in said
    ratio = report.lines[0].figures["time"].ratio
    for word in ("12.0", f"{ratio.estimate:.3f}", f"[{ratio.low:.3f},", f"{ratio.high:.3f}]", "suspected"):
        assert word in said


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(1e-6, 1e3), min_size=2, max_size=12), st.floats(0.1, 10))
def test_the_undisturbed_ratio_of_a_series_to_itself_scaled_is_the_scale(
    times: list[float], scale: float
) -> None:
    ratio = stats.undisturbed_ratio(np.array(times) * scale, times)
    assert (ratio.estimate, ratio.low, ratio.high) == pytest.approx((scale, scale, scale))


def test_the_undisturbed_ratio_of_few_times_has_no_interval() -> None:
    assert not stats.undisturbed_ratio([], []).known
    alone = stats.undisturbed_ratio([2.0], [1.0])
    assert alone.estimate == pytest.approx(2.0)
    assert not alone.known


def test_the_table_says_the_same_in_markdown_and_json() -> None:
    report = judged(0, slower)
    text = compare.markdown(report)
    assert text.startswith("### B is worse than A in 2 of 6 cells: time; measured again, confirmed")
    assert "| n10000 matched | b | 15 |" in text
    content = json.loads(compare.to_json(report))
    assert content["regressed"]
    assert len(content["lines"]) == 6
    first = next(line for line in content["lines"] if line["figures"]["time"]["verdict"] == "worse")
    assert first["figures"]["time"]["ratio"]["low"] > 1.05


# Revisions, of a repository made for the test: its adapter takes the place of ours.

ADAPTER = """
import time
import numpy as np
from tests.fakes import Honest

class Sleeper(Honest):
    def fit(self, state, spec):
        held = np.ones({mebibytes} << 17)
        time.sleep({seconds})
        return super().fit(state, spec)

def sleeper():
    return Sleeper()
"""


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose tag `one` sleeps 1 ms in a fit and whose tag `two` sleeps 60 ms and takes 2 MiB."""
    root = tmp_path / "repository"
    (root / "tests").mkdir(parents=True)
    git(root, "init", "--quiet")
    (root / "tests" / "__init__.py").write_text("")
    (root / "tests" / "fakes.py").write_text((runner.ROOT / "tests" / "fakes.py").read_text())
    for tag, seconds, mebibytes in (("one", 0.001, 0), ("two", 0.06, 2)):
        (root / "sleepy_impl.py").write_text(ADAPTER.format(seconds=seconds, mebibytes=mebibytes))
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "--message", tag)
        git(root, "tag", tag)
    return root


def worktrees(root: Path) -> int:
    done = subprocess.run(["git", "worktree", "list"], cwd=root, capture_output=True, text=True, check=True)
    return len(done.stdout.splitlines())


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_checkouts_are_gone_after_an_error_and_after_an_interrupt(
    repository: Path, error: type[BaseException]
) -> None:
    folders: list[Path] = []

    def make(folder: Path) -> None:
        folders.append(folder)
        if len(folders) == 2:
            raise error

    with pytest.raises(error), checkouts(["one", "two"], make, repository):
        pass
    assert len(folders) == 2
    assert not any(folder.exists() for folder in folders)
    assert worktrees(repository) == 1


def test_a_build_that_fails_is_one_line_and_leaves_nothing(repository: Path) -> None:
    def make(folder: Path) -> None:
        raise subprocess.CalledProcessError(101, "cargo", stderr="warning: x\nerror[E1]: no good\nmore\n")

    message = r"revision one cannot be built: error\[E1\]: no good"
    with pytest.raises(UserError, match=message), checkouts(["one", "two"], make, repository):
        pass
    assert worktrees(repository) == 1


def test_an_interrupt_ends_a_build_with_all_it_has_started(tmp_path: Path) -> None:
    # A compiler behind a build tool: the tool alone would leave it running.
    script = (
        "from harness import revisions; from pathlib import Path; import signal, sys;"
        # Where tests run in the background, Ctrl-C is ignored, and what they start would inherit that.
        "signal.signal(signal.SIGINT, signal.default_int_handler);"
        "revisions._run(['sh', '-c', 'sleep 600 & echo $! > pid; wait'], Path(sys.argv[1]))"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=runner.ROOT, stderr=PIPE)
    pid = tmp_path / "pid"
    while not (pid.exists() and pid.read_text().strip()):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert b"KeyboardInterrupt" in said
    # Gone already is as good as gone in time.
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(pid.read_text())).wait(timeout=60)


def test_each_revision_is_measured_by_its_own_code_and_this_harness(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "checkouts", lambda names, make: checkouts(names, make, repository))
    plan = bench.Plan(
        scenarios=tuple(Grid(sizes=(50,), dims=(2,), clusters=(3,)).scenarios()),
        entries=(Entry("sleeper", "sleepy_impl:sleeper", "a fake", semantics="other"),),
        tracks=("default",),
        repeats=compare.MIN_PAIRS,
        n_threads=1,
        max_iter=5,
        seed=0,
        limits=Limits(60.0),
    )
    recorder = Recorder()
    where = versions.Bench(tmp_path / "cache", tmp_path / "results", "a test", recorder, lambda folder: None)
    report = versions.compare_revisions("one", "two", plan, Margins(), where)
    # A sleep lasts at least as long as was asked for: 60 ms beside at most a few. What the fit takes for as
    # long is less than a twentieth of what the process held before.
    assert report.lines[0].worse >= {"time", "fit memory"}
    assert [row.status for row in recorder.rows] == ["ok"] * (2 * compare.MIN_PAIRS * (1 + compare.AGAIN))
    assert {row.implementation for row in recorder.rows} == {"sleeper@base", "sleeper@head"}
    # The confirmation is of seeds that the first measurement did not see.
    assert sorted(row.seed for row in recorder.rows) == sorted([*range(3 * compare.MIN_PAIRS)] * 2)
    assert worktrees(repository) == 1


def test_two_runs_are_compared_and_what_they_show_is_suspected_where_no_commit_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, speed in (("old", 1.0), ("new", 1.5)):
        lines = rows.modelled(n_repeats=9, slower={"rust": speed}, run_id=name)
        rows.write_run(tmp_path, lines)
    report = tmp_path / "report.md"
    arguments = ["compare", str(tmp_path / "old"), str(tmp_path / "new"), "--markdown", str(report)]
    assert runner.main(arguments) == 0
    assert "nothing confirms it" in capsys.readouterr().out
    assert "time suspected" in report.read_text()


def test_a_commit_that_this_repository_does_not_hold_confirms_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The processor is this one, so that only the commit, made up, stands against measuring again.
    machine = {**rows.ENVIRONMENT, "cpu": environment.describe()["cpu"]}
    for name, speed in (("old", 1.0), ("new", 1.5)):
        lines = rows.modelled(n_repeats=9, slower={"rust": speed}, run_id=name)
        rows.write_run(tmp_path, lines, environment=machine)
    assert runner.main(["compare", str(tmp_path / "old"), str(tmp_path / "new")]) == 0
    assert "nothing confirms it" in capsys.readouterr().out


def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """Compare the runs `old` and `new`, and return the one line of the refusal."""
    assert runner.main(["compare", str(tmp_path / "old"), str(tmp_path / "new"), *options]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_runs_that_share_no_cell_are_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = rows.modelled(n_repeats=5)
    skipped = [replace(one, status="skipped", fit_seconds=None, inertia=None) for one in made]
    for name in ("old", "new"):
        rows.write_run(tmp_path, [replace(one, run_id=name) for one in skipped])
    said = refused(tmp_path, capsys, "--markdown", str(tmp_path / "out.md"))
    assert "nothing to compare" in said
    assert "120 skipped in both" in said
    assert (tmp_path / "out.md").read_text().startswith("### nothing to compare")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("n_threads", 1),
        ("max_iter", 7),
        ("seed", 9),
        ("limits", {"timeout_seconds": 1.0, "max_memory_bytes": None}),
    ],
)
def test_runs_of_different_settings_are_refused(
    setting: str, value: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("old", "new"):
        rows.write_run(tmp_path, rows.modelled(n_repeats=5, run_id=name))
    path = tmp_path / "new" / "env.json"
    content = json.loads(path.read_text())
    content["plan"][setting] = value
    path.write_text(json.dumps(content))
    assert f"different settings ({setting}: " in refused(tmp_path, capsys)


@pytest.mark.parametrize("option", runner.MEASURING)
def test_options_on_what_is_measured_are_refused_for_two_runs(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("old", "new"):
        rows.write_run(tmp_path, rows.modelled(n_repeats=1, run_id=name))
    assert f"--{option}: has no effect on two runs" in refused(tmp_path, capsys, f"--{option}", "5")


def test_runs_of_different_machines_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("old", "new"):
        rows.write_run(tmp_path, rows.modelled(n_repeats=2, run_id=name))
    path = tmp_path / "new" / "env.json"
    path.write_text(path.read_text().replace("A processor made by hand", "Another"))
    assert runner.main(["compare", str(tmp_path / "old"), str(tmp_path / "new")]) == 2
    assert "different machines" in capsys.readouterr().err


def test_two_runs_of_other_versions_say_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, version in (("old", "1.8.0"), ("new", "1.9.1")):
        libraries = {"numpy": "2.4.6", "scikit-learn": version, "rust-kmeans": name}
        machine = {**rows.ENVIRONMENT, "libraries": libraries}
        rows.write_run(tmp_path, rows.modelled(n_repeats=5, run_id=name), environment=machine)
    assert runner.main(["compare", str(tmp_path / "old"), str(tmp_path / "new")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "changed between the runs: scikit-learn 1.8.0 → 1.9.1; ratios" in said


def test_what_is_neither_run_nor_revision_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main(["compare", "no-such-thing", "HEAD"]) == 2
    assert "neither a run of results nor a git revision" in capsys.readouterr().err
