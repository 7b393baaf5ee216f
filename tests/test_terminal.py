"""The tables rank what is right, and only that."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from harness.record import Row
from harness.terminal import SLOWEST_RATE, Estimate, format_seconds, print_csv_paths, print_tables
from tests.plans import plan_of
from tests.test_record import ROW


def row(name: str, seconds: float | None, **changes: object) -> Row:
    # Fields by name: mypy does not follow which type each has.
    return replace(ROW, implementation=name, fit_seconds=seconds, inertia=2.0, **changes)  # type: ignore[arg-type]


def printed(rows: list[Row], baseline: str = "base") -> list[str]:
    text = StringIO()
    print_tables(Console(file=text, width=120), rows, baseline, "a machine")
    return text.getvalue().splitlines()


def line(lines: list[str], name: str) -> str:
    (found,) = [one for one in lines if one.startswith(f" {name} ")]
    return found


def test_ratios_are_of_medians_over_the_repeats() -> None:
    rows = [row("base", seconds, repeat=i) for i, seconds in enumerate((1.0, 3.0, 2.0))] + [row("fast", 0.5)]
    lines = printed(rows)
    assert "4.00×" in line(lines, "fast")
    assert "2 s" in line(lines, "base")
    assert lines.index(line(lines, "fast")) < lines.index(line(lines, "base"))


def test_a_wrong_row_has_no_time_no_ratio_and_no_rank() -> None:
    lines = printed([row("base", 1.0), row("liar", 1e-6, status="wrong", reason="far off")])
    assert "1 wrong" in line(lines, "liar")
    assert "×" not in line(lines, "liar")
    assert lines.index(line(lines, "base")) < lines.index(line(lines, "liar"))


def test_a_wrong_baseline_sets_no_ratio() -> None:
    lines = printed([row("base", 1.0, status="wrong"), row("fast", 0.5)])
    assert "×" not in line(lines, "fast")


def test_other_mathematics_stands_below_and_is_named() -> None:
    lines = printed([row("base", 1.0), row("quick", 0.1, semantics="mini-batch")])
    assert lines.index(line(lines, "base")) < lines.index(line(lines, "quick"))
    assert "1 ok (mini-batch)" in line(lines, "quick")


def test_a_folder_with_brackets_is_printed_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "x[" / "b]y"
    folder.mkdir(parents=True)
    text = StringIO()
    print_csv_paths(Console(file=text, width=200), folder)
    assert "x[/b]y" in text.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "–"), (12.34, "12.3 s"), (0.5, "500 ms"), (2.5e-5, "25 µs")]
)
def test_times_carry_their_unit(seconds: float | None, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(("rate", "more"), [(1e-8, 1e-8), (1.0, SLOWEST_RATE)])
def test_the_time_left_grows_with_the_work_but_not_as_small_fits_do(rate: float, more: float) -> None:
    small, large = plan_of(("honest",)).measurements()
    estimate = Estimate()
    work, most = (
        one.scenario.dataset.n_samples * one.scenario.dataset.n_features * one.scenario.dataset.n_clusters
        for one in (small, large)
    )
    data = small.scenario.dataset
    measured = replace(
        ROW,
        implementation="honest",
        fit_seconds=rate * work,
        n_samples=data.n_samples,
        n_features=data.n_features,
        n_clusters=data.n_clusters,
    )
    estimate.learn(measured, wall_seconds=rate * work + 0.5)
    assert estimate.seconds_left([small]) == pytest.approx(rate * work + 0.5)
    assert estimate.seconds_left([large]) == pytest.approx(rate * work + 0.5 + more * (most - work))
    assert estimate.seconds_left([]) == 0


def test_a_fit_smaller_than_one_measured_is_expected_to_take_no_longer() -> None:
    small, large = plan_of(("honest",)).measurements()
    estimate = Estimate()
    data = large.scenario.dataset
    measured = replace(
        ROW,
        implementation="honest",
        fit_seconds=2.0,
        n_samples=data.n_samples,
        n_features=data.n_features,
        n_clusters=data.n_clusters,
    )
    estimate.learn(measured, wall_seconds=2.5)
    assert estimate.seconds_left([small]) == estimate.seconds_left([large]) == pytest.approx(2.5)
