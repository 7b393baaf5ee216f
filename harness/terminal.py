"""What a person sees: progress with the time left, and the tables at the end."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from harness.bench import Measurement
from harness.record import Row

#: First guess of a measurement's cost beside the fit (interpreter, imports, warm-up), in seconds.
FIRST_GUESS_SECONDS = 2.5
#: First guess of a fit nothing is known of, in seconds for each sample, feature and cluster: between the
#: fastest and the slowest implementation of a 2-core machine at 1e6 samples.
FIRST_GUESS_RATE = 1e-8
#: What more work costs at most in those units, as with the slowest implementation at 1e6 samples. Small fits
#: take longer than their work says, and only show what they take at least.
SLOWEST_RATE = 2.5e-7
STYLES = {
    "ok": "green",
    "skipped": "yellow",
    "wrong": "bold red",
    "failed": "red",
    "timeout": "red",
    "oom": "red",
}


class Estimate:
    """Time left of a run, learned from what has been measured so far.

    A measurement costs its implementation's overhead plus its fit: of one not seen yet, what the next larger
    fit of the same implementation took, or else the largest one, and more for each n·d·k more.
    """

    def __init__(self) -> None:
        self._overheads: dict[str, list[float]] = defaultdict(list)
        self._fits: dict[str, dict[int, list[float]]] = defaultdict(dict)

    def learn(self, row: Row, wall_seconds: float) -> None:
        """Take a measurement into account."""
        if row.status == "skipped":
            return
        fit = row.fit_seconds or 0.0
        self._overheads[row.implementation].append(wall_seconds - fit)
        work = row.n_samples * row.n_features * row.n_clusters
        self._fits[row.implementation].setdefault(work, []).append(fit or wall_seconds)

    def seconds_left(self, remaining: Iterable[Measurement]) -> float:
        """Return the expected cost of what remains, in seconds."""
        return sum(self._seconds(one) for one in remaining)

    def _seconds(self, one: Measurement) -> float:
        name, spec = one.entry.name, one.scenario.dataset
        overheads = self._overheads.get(name) or [v for seen in self._overheads.values() for v in seen]
        overhead = statistics.median(overheads) if overheads else FIRST_GUESS_SECONDS
        fits = self._fits.get(name)
        work = spec.n_samples * spec.n_features * spec.n_clusters
        if not fits:
            return overhead + work * FIRST_GUESS_RATE
        larger = [seen for seen in fits if seen >= work]
        nearest = min(larger) if larger else max(fits)
        fit = statistics.median(fits[nearest])
        more = max(0, work - nearest) * min(fit / max(nearest, 1), SLOWEST_RATE)
        return overhead + fit + more


class Terminal:
    """Tells a person how the run goes; a line a measurement where the output is not a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._estimate = Estimate()
        self._remaining: list[Measurement] = []
        self._total = 0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=None, left="")

    def __enter__(self) -> Terminal:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def planned(self, remaining: Sequence[Measurement], done: int) -> None:
        """Say what is about to be measured."""
        self._remaining = list(remaining)
        self._total = len(remaining)
        if done:
            self._console.print(
                f"resuming: {done} measured already, {len(remaining)} to go (--fresh measures all again)"
            )
        if remaining:
            seconds = self._estimate.seconds_left(remaining)
            self._console.print(f"{len(remaining)} measurements, at a first guess {_duration(seconds)}")
        self._progress.update(self._task, total=len(remaining), left=self._left())

    def preparing(self, what: str) -> None:
        """Say what is made before the next measurement."""
        self._progress.update(self._task, description=escape(f"preparing {what}"))

    def measured(self, measurement: Measurement, row: Row, wall_seconds: float) -> None:
        """Say that a row has been written."""
        self._remaining.remove(measurement)
        self._estimate.learn(row, wall_seconds)
        self._progress.update(self._task, advance=1, description=escape(row.scenario), left=self._left())
        count = self._total - len(self._remaining)
        width = len(str(self._total))
        figure = format_seconds(row.fit_seconds) if row.fit_seconds is not None else ""
        status = f"[{STYLES[row.status]}]{row.status}[/]"
        left = "" if self._console.is_terminal else f" [dim]{self._left()}[/]"
        self._console.print(
            f"{count:>{width}}/{self._total} {escape(row.scenario)} {row.track} {row.implementation} "
            f"{figure} {status}{left}",
            highlight=False,
        )
        if row.reason:
            self._console.print(f"    {row.reason}", style="dim", markup=False, highlight=False)

    def _left(self) -> str:
        seconds = self._estimate.seconds_left(self._remaining)
        return f"about {_duration(seconds)} left" if self._remaining else "done"


def print_tables(console: Console, rows: Sequence[Row], baseline: str, machine: str) -> None:
    """Print a table for every scenario and track.

    Times are medians over the repeats with status ok. Implementations of other mathematics stand below a
    line of their own: they are not ranked with the exact ones.
    """
    cells: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        cells[row.scenario, row.track].append(row)
    for (scenario, track), members in sorted(cells.items(), key=lambda item: _order(item[1][0])):
        console.print(_table(escape(f"{scenario}, {track} track"), members, baseline))
    console.print(machine, highlight=False, markup=False, style="dim")
    console.print(
        f"[dim]fit: median over repeats; ratio: time of {baseline} over this one's (above 1 is faster); "
        "memory: peak of the process tree, and what the fit added to it; "
        "objective: relative to the best exact row of the table[/]",
        highlight=False,
    )


def print_csv_paths(console: Console, folder: Path) -> None:
    """Say where the rows are."""
    paths = sorted(folder.glob("*.csv"))
    console.print(f"\nrows: {folder}", highlight=False, soft_wrap=True, markup=False)
    for path in paths:
        console.print(f"  {path.name}", highlight=False, soft_wrap=True, markup=False)


def bare_table(title: str) -> Table:
    """Return a table without a frame, titled at its left."""
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=SIMPLE,
        pad_edge=False,
        collapse_padding=True,
    )


def print_estimate(console: Console, measurements: Sequence[Measurement], known: Iterable[Row]) -> None:
    """Print what a plan is expected to cost, an implementation a line.

    Parameters
    ----------
    console : Console
        Where.
    measurements : sequence of Measurement
        Of the plan.
    known : iterable of Row
        Of earlier runs on this machine: what was seen there is expected here.
    """
    estimate = Estimate()
    for row in known:
        estimate.learn(row, (row.fit_seconds or 0.0) + FIRST_GUESS_SECONDS)
    table = bare_table("expected cost")
    table.add_column("implementation", no_wrap=True)
    for heading in ("measurements", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    by_name: dict[str, list[Measurement]] = defaultdict(list)
    for one in measurements:
        by_name[one.entry.name].append(one)
    for name, members in by_name.items():
        table.add_row(name, str(len(members)), _duration(estimate.seconds_left(members)))
    table.add_section()
    table.add_row("all", str(len(measurements)), _duration(estimate.seconds_left(measurements)))
    console.print(table)


def format_seconds(seconds: float | None) -> str:
    """Return a time with its unit, three digits."""
    if seconds is None:
        return "–"
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def _table(title: str, rows: Sequence[Row], baseline: str) -> Table:
    table = bare_table(title)
    table.add_column("implementation", no_wrap=True)
    for heading in ("fit", "ratio", "iter", "peak MiB", "fit MiB", "objective"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("status")
    by_name: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_name[row.implementation].append(row)
    answered = {name: [row for row in members if row.status == "ok"] for name, members in by_name.items()}
    times = {name: _median([row.fit_seconds for row in members]) for name, members in answered.items()}
    exact = [row.inertia for row in rows if row.inertia is not None and _ranked(row)]
    best = min(exact, default=None)

    def rank(name: str) -> tuple[bool, float]:
        seconds = times[name]
        return by_name[name][0].semantics != "exact", float("inf") if seconds is None else seconds

    was_exact = True
    for name in sorted(by_name, key=rank):
        members, good = by_name[name], answered[name]
        is_exact = members[0].semantics == "exact"
        if was_exact and not is_exact:
            table.add_section()
        was_exact = is_exact
        table.add_row(
            name,
            format_seconds(times[name]),
            _ratio(times.get(baseline), times[name]),
            _number(_median([row.n_iter for row in good]), "{:.0f}"),
            _mebibytes([row.peak_rss_bytes for row in good]),
            _mebibytes([row.fit_rss_bytes for row in good]),
            _gap(_median([row.inertia for row in good]), best),
            _status(members),
        )
    return table


def _order(row: Row) -> tuple[str, int, int, int, str]:
    return row.track, row.n_features, row.n_clusters, row.n_samples, row.scenario


def _ranked(row: Row) -> bool:
    return row.status == "ok" and row.semantics == "exact"


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _ratio(baseline: float | None, seconds: float | None) -> str:
    return "–" if not baseline or not seconds else f"{baseline / seconds:.2f}×"


def _number(value: float | None, pattern: str) -> str:
    return "–" if value is None else pattern.format(value)


def _mebibytes(values: Iterable[int | None]) -> str:
    median = _median(values)
    return "–" if median is None else f"{median / 2**20:.0f}"


def _gap(inertia: float | None, best: float | None) -> str:
    if inertia is None or best is None:
        return "–"
    return f"{inertia:.4g}" if best == 0 else f"{inertia / best - 1:+.1e}"


def _status(rows: Sequence[Row]) -> str:
    counts = Counter(row.status for row in rows)
    texts = [f"[{STYLES[status]}]{count} {status}[/]" for status, count in sorted(counts.items())]
    return ", ".join(texts) + ("" if rows[0].semantics == "exact" else f" ({rows[0].semantics})")


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
