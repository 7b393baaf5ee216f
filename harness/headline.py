"""The headline summary: ours against scikit-learn and the best peer, cell by cell, losses first."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.record import Row
from harness.registry import ENTRIES
from harness.scenario import TRACKS
from harness.terminal import bare_table, format_seconds

#: The implementation the summary is about.
OURS = "rust"
#: Those of this project are no peers of each other.
RELATIVES = frozenset(entry.name for entry in ENTRIES if entry.ours)
#: On the default track a time counts only with an objective at most this much above the baseline's,
#: relative: the spread of one seed to the next, so that nobody wins by stopping early.
OBJECTIVE_MARGIN = 0.01


@dataclass(frozen=True)
class Cell:
    """One scenario on one track.

    Parameters
    ----------
    scenario, track, dtype : str
        Which.
    shape : (int, int, int)
        Features, clusters, samples: the order of the tables.
    seconds : float or None
        Our median fit; None if we have no row with status ok.
    status : str
        Of our rows; where they differ, how many have which.
    over_baseline : float or None
        Time of the baseline over ours: above 1 we are faster.
    peer : str or None
        The fastest exact one that is not ours, the baseline included; None if there is none.
    over_peer : float or None
        Its time over ours.
    objective_gap : float or None
        Our objective over the baseline's, less 1.
    inexact : str or None
        The fastest one of other mathematics, which is ranked nowhere.
    over_inexact : float or None
        Its time over ours.
    inexact_gap : float or None
        Its objective over ours, less 1.
    """

    scenario: str
    track: str
    dtype: str
    shape: tuple[int, int, int]
    seconds: float | None
    status: str
    over_baseline: float | None
    peer: str | None
    over_peer: float | None
    objective_gap: float | None
    inexact: str | None
    over_inexact: float | None
    inexact_gap: float | None

    @property
    def lost(self) -> bool:
        """Whether a repeat of ours failed, or we are slower than someone or of a worse objective."""
        if self.status != "ok" or self.worst < 1:
            return True
        return self.objective_gap is not None and self.objective_gap > OBJECTIVE_MARGIN

    @property
    def worst(self) -> float:
        """The smaller of the two ratios; infinite if there is none, 0 without a time of ours."""
        if self.seconds is None:
            return 0.0
        return min((r for r in (self.over_baseline, self.over_peer) if r is not None), default=math.inf)


@dataclass(frozen=True)
class Mean:
    """The ratios of one track and type to one opponent, over the cells that have one."""

    track: str
    dtype: str
    opponent: str
    n_cells: int
    geometric_mean: float
    worst: Cell
    worst_ratio: float


@dataclass(frozen=True)
class _Figures:
    """Medians of one implementation in one cell, over its rows with status ok."""

    seconds: float
    inertia: float | None
    exact: bool


def cells(rows: Iterable[Row], baseline: str, ours: str = OURS) -> list[Cell]:
    """Return every cell of a run: those we lose first, worst first, then by track, type and shape.

    Parameters
    ----------
    rows : iterable of Row
        Only those with status ok give a time; medians over the repeats.
    baseline : str
        The implementation everyone knows.
    ours : str
        The implementation the ratios are of.
    """
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.scenario, row.track].append(row)
    found = [_cell(members, baseline, ours) for members in groups.values()]
    return sorted(found, key=lambda cell: (not cell.lost, cell.worst if cell.lost else 0.0, *_place(cell)))


def means(found: Sequence[Cell], baseline: str) -> list[Mean]:
    """Return the geometric means and the worst cells, track by track and type by type."""
    opponents: tuple[tuple[str, Callable[[Cell], float | None]], ...] = (
        (baseline, lambda cell: cell.over_baseline),
        ("best peer", lambda cell: cell.over_peer),
    )
    result = []
    for track, dtype in sorted({(c.track, c.dtype) for c in found}, key=lambda key: _track_order(*key)):
        for opponent, ratio_of in opponents:
            known = [
                (ratio, cell)
                for cell in found
                if (cell.track, cell.dtype) == (track, dtype) and (ratio := ratio_of(cell)) is not None
            ]
            if known:
                worst_ratio, worst = min(known, key=lambda pair: pair[0])
                mean = geometric_mean([ratio for ratio, _ in known])
                result.append(Mean(track, dtype, opponent, len(known), mean, worst, worst_ratio))
    return result


def geometric_mean(ratios: Sequence[float]) -> float:
    """Return the mean that a ratio and its inverse cancel in."""
    return math.exp(math.fsum(map(math.log, ratios)) / len(ratios))


def print_headline(console: Console, rows: Iterable[Row], baseline: str, machine: str) -> None:
    """Print the cells we lose, then the others, then the means."""
    found = cells(rows, baseline)
    lost = [cell for cell in found if cell.lost]
    if lost:
        console.print()
        console.print(_cell_table(f"cells that {OURS} loses: {len(lost)} of {len(found)}", lost, baseline))
    else:
        console.print(f"\n{OURS} loses none of {len(found)} cells", highlight=False)
    groups: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in found:
        if not cell.lost:
            groups[cell.track, cell.dtype].append(cell)
    for (track, dtype), members in groups.items():
        console.print()
        console.print(_cell_table(f"{track} track, {dtype}", members, baseline))
    if averages := means(found, baseline):
        console.print()
        console.print(_mean_table(averages))
    console.print(machine, highlight=False, markup=False, style="dim")
    console.print(
        f"[dim]ratios: median time of the other over that of {OURS} (above 1 {OURS} is faster); best peer: "
        f"the fastest exact one, on the default track among those within {OBJECTIVE_MARGIN:.0%} of "
        f"{baseline}'s objective; objective: of {OURS}, relative to {baseline}'s; inexact: the fastest of "
        "other mathematics, ranked nowhere, with its objective relative to ours[/]",
        highlight=False,
    )


def _cell(rows: Sequence[Row], baseline: str, ours: str) -> Cell:
    by_name: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_name[row.implementation].append(row)
    figures = {name: seen for name, members in by_name.items() if (seen := _figures(members)) is not None}
    own, base = figures.get(ours), figures.get(baseline)
    others = {name: seen for name, seen in figures.items() if name != ours and name not in RELATIVES}
    bar = base if base is not None else own
    peers = {
        name: seen
        for name, seen in others.items()
        if seen.exact and (rows[0].track == "matched" or _within(seen, bar))
    }
    peer = min(peers, key=lambda name: peers[name].seconds, default=None)
    inexact = min(
        (name for name in others if not others[name].exact),
        key=lambda name: others[name].seconds,
        default=None,
    )
    statuses = Counter(row.status for row in by_name.get(ours, []))
    first = rows[0]
    return Cell(
        scenario=first.scenario,
        track=first.track,
        dtype=first.dtype,
        shape=(first.n_features, first.n_clusters, first.n_samples),
        seconds=own.seconds if own else None,
        status=spell_statuses(statuses) or "not measured",
        over_baseline=_ratio(base, own),
        peer=peer,
        over_peer=_ratio(peers[peer], own) if peer else None,
        objective_gap=_gap(own, base),
        inexact=inexact,
        over_inexact=_ratio(others[inexact], own) if inexact else None,
        inexact_gap=_gap(others[inexact], own) if inexact else None,
    )


def spell_statuses(counts: Mapping[str, int]) -> str:
    """Return the one status there is, or how many rows have which."""
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))


def _figures(rows: Sequence[Row]) -> _Figures | None:
    times = [row.fit_seconds for row in rows if row.status == "ok" and row.fit_seconds is not None]
    if not times:
        return None
    inertias = [row.inertia for row in rows if row.status == "ok" and row.inertia is not None]
    return _Figures(
        seconds=statistics.median(times),
        inertia=statistics.median(inertias) if inertias else None,
        exact=rows[0].semantics == "exact",
    )


def _within(seen: _Figures, bar: _Figures | None) -> bool:
    gap = _gap(seen, bar)
    return gap is None or gap <= OBJECTIVE_MARGIN


def _ratio(other: _Figures | None, own: _Figures | None) -> float | None:
    return other.seconds / own.seconds if other is not None and own is not None else None


def _gap(seen: _Figures | None, bar: _Figures | None) -> float | None:
    if seen is None or bar is None or seen.inertia is None or not bar.inertia:
        return None
    return seen.inertia / bar.inertia - 1


def _place(cell: Cell) -> tuple[int, str, int, int, int, str]:
    return *_track_order(cell.track, cell.dtype), *cell.shape, cell.scenario


def _track_order(track: str, dtype: str) -> tuple[int, str]:
    return TRACKS.index(track) if track in TRACKS else len(TRACKS), dtype


def _cell_table(title: str, members: Sequence[Cell], baseline: str) -> Table:
    table = bare_table(title)
    table.add_column("cell", no_wrap=True)
    table.add_column("track", no_wrap=True)
    for heading in (OURS, f"over {baseline}", "over best peer"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("best peer", no_wrap=True)
    table.add_column("objective", justify="right", no_wrap=True)
    table.add_column("inexact", no_wrap=True)
    for cell in members:
        inexact = (
            f"{escape(cell.inexact)} {_times(cell.over_inexact)} {_percent(cell.inexact_gap)}"
            if cell.inexact
            else "–"
        )
        table.add_row(
            escape(cell.scenario),
            cell.track,
            _own(cell),
            _times(cell.over_baseline),
            _times(cell.over_peer),
            escape(cell.peer or "–"),
            _percent(cell.objective_gap),
            inexact,
        )
    return table


def _mean_table(found: Sequence[Mean]) -> Table:
    table = bare_table("geometric means")
    for heading in ("track", "type", "over", "cells", "geometric mean", "worst", "worst cell"):
        right = heading in ("cells", "geometric mean", "worst")
        table.add_column(heading, justify="right" if right else "left", no_wrap=True)
    for mean in found:
        table.add_row(
            mean.track,
            mean.dtype,
            mean.opponent,
            str(mean.n_cells),
            _times(mean.geometric_mean),
            _times(mean.worst_ratio),
            escape(mean.worst.scenario),
        )
    return table


def _own(cell: Cell) -> str:
    """Return our time, and what became of repeats without one."""
    seconds = [format_seconds(cell.seconds)] if cell.seconds is not None else []
    return " ".join([*seconds, *([] if cell.status == "ok" else [f"[red]{cell.status}[/]"])])


def _times(ratio: float | None) -> str:
    if ratio is None:
        return "–"
    return f"[red]{ratio:.2f}×[/]" if ratio < 1 else f"{ratio:.2f}×"


def _percent(gap: float | None) -> str:
    return "–" if gap is None else f"{gap:+.2%}"
