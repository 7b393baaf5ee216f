"""The scaling summary: time of an iteration over the number of samples and over the number of workers."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.headline import geometric_mean
from harness.record import Row
from harness.terminal import bare_table, format_seconds

#: The implementation the ratios are to.
OURS = "dask-rust"


@dataclass(frozen=True)
class Shape:
    """What stays the same along a line of a table."""

    track: str
    n_features: int
    n_clusters: int
    dtype: str

    def __str__(self) -> str:
        return f"{self.n_features} features, {self.n_clusters} clusters, {self.dtype}, {self.track} track"


@dataclass(frozen=True)
class Point:
    """Seconds of an iteration of one implementation: the median of its rows with status ok."""

    shape: Shape
    implementation: str
    n_samples: int
    n_threads: int
    seconds: float


def points(rows: Iterable[Row]) -> list[Point]:
    """Return the time of an iteration, fit over iterations, wherever there are rows with status ok.

    Those that do not tell their iterations have none.
    """
    groups: dict[tuple[Shape, str, int, int], list[float]] = defaultdict(list)
    for row in rows:
        if row.status == "ok" and row.fit_seconds is not None and row.n_iter:
            shape = Shape(row.track, row.n_features, row.n_clusters, row.dtype)
            key = shape, row.implementation, row.n_samples, row.n_threads
            groups[key].append(row.fit_seconds / row.n_iter)
    return [Point(*key, statistics.median(seconds)) for key, seconds in groups.items()]


def growth(line: Sequence[Point]) -> float | None:
    """Return the time a sample at the largest size over that at the smallest: 1 is growth in proportion."""
    ordered = sorted(line, key=lambda point: point.n_samples)
    if len(ordered) < 2:
        return None
    first, last = ordered[0], ordered[-1]
    return (last.seconds / last.n_samples) / (first.seconds / first.n_samples)


def speed_up(line: Sequence[Point]) -> float | None:
    """Return the time with the fewest workers over that with the most."""
    ordered = sorted(line, key=lambda point: point.n_threads)
    return ordered[0].seconds / ordered[-1].seconds if len(ordered) > 1 else None


def over_ours(line: Sequence[Point], own: Sequence[Point]) -> float | None:
    """Return the geometric mean, over the sizes both have, of an implementation's time over ours."""
    times = {point.n_samples: point.seconds for point in own}
    ratios = [point.seconds / times[point.n_samples] for point in line if point.n_samples in times]
    return geometric_mean(ratios) if ratios else None


def print_scaling(console: Console, rows: Iterable[Row], machine: str) -> None:
    """Print a table over the number of samples, then one over the number of workers, for every shape."""
    shapes: dict[Shape, list[Point]] = defaultdict(list)
    for point in points(rows):
        shapes[point.shape].append(point)
    for shape, members in shapes.items():
        workers = max(point.n_threads for point in members)
        console.print()
        console.print(_samples_table(shape, [p for p in members if p.n_threads == workers], workers))
    for shape, members in shapes.items():
        size = max(point.n_samples for point in members)
        console.print()
        console.print(_workers_table(shape, [p for p in members if p.n_samples == size], size))
    console.print(machine, highlight=False, markup=False, style="dim")
    console.print(
        "[dim]time of an iteration: the fit over its iterations, median over repeats with status ok; "
        "growth: time a sample at the largest n over that at the smallest; "
        f"over {OURS}: geometric mean of the time over that of {OURS}; speed-up: time with the fewest "
        "workers over that with the most; efficiency: speed-up over the ratio of workers[/]",
        highlight=False,
    )


def _samples_table(shape: Shape, members: Sequence[Point], workers: int) -> Table:
    sizes = sorted({point.n_samples for point in members})
    table = bare_table(escape(f"an iteration over n: {shape}, {workers} workers"))
    table.add_column("implementation", no_wrap=True)
    for heading in (*(f"{size:.0e}".replace("e+0", "e") for size in sizes), "growth", f"over {OURS}"):
        table.add_column(heading, justify="right", no_wrap=True)
    lines = _lines(members)
    for name, line in lines.items():
        times = {point.n_samples: point.seconds for point in line}
        cells = [format_seconds(times.get(size)) for size in sizes]
        table.add_row(
            escape(name), *cells, _times(growth(line)), _times(over_ours(line, lines.get(OURS, [])))
        )
    return table


def _workers_table(shape: Shape, members: Sequence[Point], size: int) -> Table:
    counts = sorted({point.n_threads for point in members})
    table = bare_table(escape(f"an iteration over workers: {shape}, {size} samples"))
    table.add_column("implementation", no_wrap=True)
    for heading in (*(str(count) for count in counts), "speed-up", "efficiency"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, line in _lines(members).items():
        times = {point.n_threads: point.seconds for point in line}
        gain = speed_up(line)
        efficiency = "–" if gain is None else f"{gain * min(times) / max(times):.0%}"
        cells = [format_seconds(times.get(count)) for count in counts]
        table.add_row(escape(name), *cells, _times(gain), efficiency)
    return table


def _lines(members: Sequence[Point]) -> dict[str, list[Point]]:
    """Return the points of each implementation, the fastest first."""
    lines: dict[str, list[Point]] = defaultdict(list)
    for point in members:
        lines[point.implementation].append(point)
    return dict(sorted(lines.items(), key=lambda item: min(p.seconds / p.n_samples for p in item[1])))


def _times(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}×"
