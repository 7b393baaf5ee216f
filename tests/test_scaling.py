"""The scaling summary on rows made by hand: growth with n, speed-up with workers, ratios to ours."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from harness.record import Row
from harness.scaling import growth, over_ours, points, print_scaling, speed_up
from harness.scenario import PRESETS, doublings
from tests.rows import row as headline_row


def row(implementation: str, fit_seconds: float | None, **more: object) -> Row:
    return headline_row(implementation, fit_seconds, **({"n_threads": 2, "n_iter": 10} | more))


def test_a_point_is_the_median_time_of_an_iteration_of_the_rows_that_are_ok() -> None:
    rows = [row("dask-rust", seconds, repeat=i) for i, seconds in enumerate((9.0, 1.0, 2.0))]
    rows += [row("dask-ml", 1.0, status="wrong"), row("mlpack-elkan", 1.0, n_iter=None)]
    (point,) = points(rows)
    assert (point.implementation, point.seconds) == ("dask-rust", 0.2)
    assert (point.n_samples, point.n_threads) == (1000, 2)


def test_growth_in_proportion_to_the_samples_is_one() -> None:
    line = points([row("dask-rust", n / 1000, n_samples=n) for n in (10_000, 1_000, 100_000)])
    assert growth(line) == pytest.approx(1.0)
    assert growth(points([row("a", 1.0, n_samples=1_000), row("a", 5.0, n_samples=10_000)])) == 0.5
    assert growth(line[:1]) is None


def test_speed_up_is_from_the_fewest_workers_to_the_most() -> None:
    line = points([row("a", seconds, n_threads=n) for n, seconds in ((2, 6.0), (1, 10.0), (4, 4.0))])
    assert speed_up(line) == pytest.approx(2.5)
    assert speed_up(line[:1]) is None


def test_the_ratio_to_ours_is_the_geometric_mean_over_the_sizes_both_have() -> None:
    own = points([row("dask-rust", 1.0, n_samples=1_000), row("dask-rust", 1.0, n_samples=10_000)])
    line = points([row("dask-ml", seconds, n_samples=n) for n, seconds in ((1_000, 2.0), (10_000, 8.0))])
    assert over_ours([*line, *points([row("dask-ml", 1.0, n_samples=5)])], own) == pytest.approx(4.0)
    assert over_ours(line, []) is None


@pytest.mark.parametrize(
    ("most", "counts"), [(1, (1,)), (2, (1, 2)), (4, (1, 2, 4)), (6, (1, 2, 4, 6)), (3, (1, 2, 3))]
)
def test_workers_are_doubled_up_to_the_budget(most: int, counts: tuple[int, ...]) -> None:
    assert doublings(most) == counts


def test_both_tables_are_printed_for_every_shape() -> None:
    rows = [
        row(name, seconds * n / workers, n_samples=n, n_threads=workers, n_clusters=k)
        for name, seconds in (("dask-rust", 1e-6), ("spark", 1e-4))
        for n in (1_000, 10_000)
        for workers in (1, 2)
        for k in (10, 30)
    ]
    console = Console(width=200, file=io.StringIO())
    print_scaling(console, [*rows, row("dask-ml", None, status="timeout")], "a machine")
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    assert printed.count("an iteration over n: ") == printed.count("an iteration over workers: ") == 2
    assert printed.count("100.00×") == 2
    assert printed.count("100%") == 4


def test_words_of_a_row_are_no_markup() -> None:
    name = "x[red]y[/]z[/bold]"
    rows = [row(name, 1.0, n_samples=n, dtype="[/i]") for n in (1_000, 10_000)]
    console = Console(width=200, file=io.StringIO())
    print_scaling(console, rows, "a [/machine]")
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    assert printed.count(name) == printed.count("[/i]") == 2
    assert "a [/machine]" in printed


def test_the_preset_covers_the_rows_on_dask_and_spark() -> None:
    preset = PRESETS["scaling"]
    assert preset.implementations is not None
    assert {"dask-rust", "dask-numpy", "dask-ml", "spark"} <= set(preset.implementations.split(","))
    assert preset.summary == "scaling"
