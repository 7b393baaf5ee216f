"""The regression gate: whether HEAD is slower than BASE, takes more memory or reaches a worse objective.

Works on rows, wherever they come from; `bench` and `revisions` make them. The procedure stands in
METHODOLOGY.md, "Comparing two versions".
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Literal

import numpy as np
from rich.console import Console
from rich.markup import escape

from harness import stats
from harness.markdown import COMMENT, plain, row, shortened
from harness.record import Row
from harness.referee import OBJECTIVE_TOLERANCE
from harness.registry import Entry
from harness.stats import Interval
from harness.terminal import bare_table, format_seconds

Side = Literal["base", "head"]
SIDES: tuple[Side, Side] = ("base", "head")
Measure = Literal["time", "memory", "fit memory", "objective"]
#: Column of a row that holds each measure.
COLUMN_OF: dict[Measure, str] = {
    "time": "fit_seconds",
    "memory": "peak_rss_bytes",
    "fit memory": "fit_rss_bytes",
    "objective": "inertia",
}
#: Bytes added to the memory of the fit on both sides before the ratio is taken. What an allocator asks for
#: anew or has kept makes a difference of some hundred KiB, which may be several times what a small fit needs.
SLACK = 4 << 20
#: What stands between the name of an implementation and the side it was measured on.
AT = "@"
#: Of the interval that has to lie beyond the margin. One end of it counts: one error in twenty cells.
CONFIDENCE = 0.90
#: The range of n pairs holds the median with probability 1 - 2**(1 - n): five are the fewest for 90 %.
MIN_PAIRS = 5
#: How many times as many repeats a re-measurement has.
AGAIN = 2

#: Scenario, track, implementation.
Key = tuple[str, str, str]


class Verdict(StrEnum):
    """What is said of one measure in one cell."""

    SAME = "same"
    BETTER = "better"
    WORSE = "worse"
    NOT_CONFIRMED = "not confirmed"
    SUSPECTED = "suspected"
    NOISY = "too noisy to tell"
    TOO_FEW = "too few to tell"


@dataclass(frozen=True)
class Margins:
    """By how much a ratio of HEAD to BASE may exceed 1, per cell.

    Parameters
    ----------
    time, memory : float
        Of the fit; of the peak resident set and, with `SLACK` on both sides, of what the fit adds to it.
    """

    time: float = 0.05
    memory: float = 0.05

    def of(self, measure: Measure, dtype: str) -> float:
        """Return the margin of a measure; that of the objective is the referee's tolerance."""
        if measure == "objective":
            return OBJECTIVE_TOLERANCE[dtype]
        return self.time if measure == "time" else self.memory


@dataclass(frozen=True)
class Figure:
    """One measure of one cell.

    Parameters
    ----------
    base, head : float
        Medians over the pairs of repeats.
    ratio : Interval
        Of HEAD to BASE; above 1 HEAD is worse. The median of the ratios pair by pair; of times that of the
        first quartiles, unless the median alone is worse; of the memory of the fit with `SLACK` on both
        sides.
    margin : float
        What the ratio may exceed 1 by.
    verdict : Verdict
        "worse" after the first measurement is no more than a suspicion.
    """

    base: float
    head: float
    ratio: Interval
    margin: float
    verdict: Verdict


@dataclass(frozen=True)
class Line:
    """One implementation in one cell, on both sides.

    Parameters
    ----------
    key : (str, str, str)
        Scenario, track, implementation.
    n_pairs : int
        Repeats with status ok on both sides.
    figures : dict
        By measure; those without a pair are left out.
    broken : str
        What became of repeats that BASE answers and HEAD does not; empty if there is none.
    failing : Verdict
        What is said of `broken`.
    lost : bool
        Whether BASE answers and HEAD never does.
    note : str
        Why there is nothing to compare.
    """

    key: Key
    n_pairs: int
    figures: Mapping[Measure, Figure]
    broken: str
    failing: Verdict
    lost: bool
    note: str

    @property
    def compared(self) -> bool:
        """Whether anything can be said of HEAD against BASE."""
        told = any(figure.verdict is not Verdict.TOO_FEW for figure in self.figures.values())
        return told or bool(self.broken)

    @property
    def why_not(self) -> str:
        """Why the cell is not compared, in a few words; empty if it is."""
        if self.compared:
            return ""
        return self.note.partition(":")[0] or f"fewer than {MIN_PAIRS} pairs, too few to tell"

    @property
    def worse(self) -> frozenset[str]:
        """What is worse: measures, and "status"."""
        found = {name for name, figure in self.figures.items() if figure.verdict is Verdict.WORSE}
        return frozenset(found | ({"status"} if self.failing is Verdict.WORSE else set()))


@dataclass(frozen=True)
class Report:
    """The outcome of the gate.

    Parameters
    ----------
    base, head : str
        What was compared.
    machine : str
        On what, in a line.
    lines : tuple of Line
        All cells, with the verdict after the re-measurement.
    again : tuple of Line
        The cells that were measured again.
    """

    base: str
    head: str
    machine: str
    lines: tuple[Line, ...]
    again: tuple[Line, ...]

    @property
    def regressed(self) -> bool:
        """Whether anything is worse, and a re-measurement confirms it, or HEAD has lost a cell."""
        return any(line.worse for line in self.lines)

    @property
    def empty(self) -> bool:
        """Whether no cell could be compared at all."""
        return not any(line.compared for line in self.lines)

    @property
    def sentence(self) -> str:
        """The outcome in a sentence: over the cells that were compared, and why the others were not."""
        others = Counter(line.why_not for line in self.lines if not line.compared)
        left_out = ", ".join(f"{count} {why}" for why, count in sorted(others.items()))
        if self.empty:
            return f"nothing to compare in {self.base} and {self.head}: {left_out or 'no rows'}"
        return self._outcome() + (f"; not compared: {left_out}" if left_out else "")

    def _outcome(self) -> str:
        compared = [line for line in self.lines if line.compared]
        cells = f"{len(compared)} cell{'' if len(compared) == 1 else 's'}"
        worse = [line for line in compared if line.worse]
        if worse:
            what = sorted({name for line in worse for name in line.worse})
            lost = sum(line.lost for line in worse)
            how = [f"{lost} answered in base only"] if lost else []
            how += ["measured again, confirmed"] if len(worse) > lost else []
            return f"{self.head} is worse than {self.base} in {len(worse)} of {cells}: " + (
                f"{', '.join(what)}; {'; '.join(how)}"
            )
        suspected = sum(_has(line, Verdict.SUSPECTED) for line in compared)
        if suspected:
            return (
                f"{suspected} of {cells} look worse in {self.head}, and nothing confirms it: "
                "they cannot be measured again here; compare the two revisions"
            )
        passed = sum(_has(line, Verdict.NOT_CONFIRMED) for line in compared)
        noisy = sum(_has(line, Verdict.NOISY) for line in compared)
        tail = f"; {passed} looked worse and did not when measured again" if passed else ""
        tail += f"; in {noisy} something is too noisy to tell a change of the margin" if noisy else ""
        return f"{self.head} is not worse than {self.base} in any of {cells}{tail}"


def gate(
    base: str,
    head: str,
    machine: str,
    lines: Sequence[Line],
    remeasure: Callable[[Sequence[Key]], Sequence[Line]] | None,
) -> Report:
    """Measure what looks worse again, and call worse only what is so both times.

    A cell that HEAD has no row of is worse without: nothing was measured that could have gone wrong. So is
    one that HEAD never answers, where nothing can be measured again.

    Parameters
    ----------
    base, head, machine : str
        For the report.
    lines : sequence of Line
        Of `compare_rows`.
    remeasure : callable or None
        Takes the keys of the cells that look worse, returns them measured anew; None if that cannot be done.
    """
    lost = frozenset({"status"})
    if remeasure is None:
        settled = [_settle(line, Verdict.SUSPECTED, lost if line.lost else frozenset()) for line in lines]
        return Report(base, head, machine, tuple(settled), ())
    suspects = [line.key for line in lines if line.worse and not line.note]
    again = {line.key: line for line in remeasure(suspects)} if suspects else {}
    settled = []
    for line in lines:
        second = again.get(line.key)
        confirmed = second.worse if second is not None else lost if line.note else frozenset()
        # A second measurement without an answer refutes nothing.
        refuted = second is not None and second.compared
        settled.append(_settle(line, Verdict.NOT_CONFIRMED if refuted else Verdict.SUSPECTED, confirmed))
    return Report(base, head, machine, tuple(settled), tuple(again.values()))


def compare_rows(
    base: Iterable[Row], head: Iterable[Row], margins: Margins, names: Iterable[str] = ()
) -> list[Line]:
    """Compare the rows of two sides, cell by cell.

    Parameters
    ----------
    base, head : iterable of Row
        Rows of one cell and repeat are a pair: measured next to each other where both sides were measured
        together, and of the same seed on the default track.
    margins : Margins
        What is tolerated.
    names : iterable of str, optional
        Implementations to compare; all without.
    """
    wanted = set(names)
    cells: dict[Key, dict[Side, dict[int, Row]]] = {}
    for side, rows in zip(SIDES, (base, head), strict=True):
        for one in rows:
            if not wanted or one.implementation in wanted:
                key = one.scenario, one.track, one.implementation
                cells.setdefault(key, {"base": {}, "head": {}})[side][one.repeat] = one
    return [_line(key, sides["base"], sides["head"], margins) for key, sides in cells.items()]


def sides(entries: Iterable[Entry], folders: Mapping[Side, Path]) -> tuple[Entry, ...]:
    """Return every implementation once a side, to be measured together."""
    return tuple(
        replace(entry, name=f"{entry.name}{AT}{side}", checkout=folders[side])
        for entry in entries
        for side in SIDES
    )


def split(rows: Iterable[Row]) -> dict[Side, list[Row]]:
    """Return the rows of what `sides` made, under the implementations' own names."""
    found: dict[Side, list[Row]] = {"base": [], "head": []}
    for measured in rows:
        name, _, side = measured.implementation.rpartition(AT)
        for one in SIDES:
            if side == one:
                found[one].append(replace(measured, implementation=name))
    return found


def print_report(console: Console, report: Report) -> None:
    """Print the table, the cells that are worse first, and the sentence."""
    table = bare_table(escape(f"{report.base} → {report.head}"))
    for number, heading in enumerate(HEADINGS):
        # However narrow the terminal, nothing of a figure or a verdict is cut off.
        table.add_column(heading, justify="left" if number == 0 else "right", overflow="fold")
    for line in _ordered(report.lines):
        style = "bold red" if line.worse else "yellow" if _has(line, Verdict.SUSPECTED) else None
        table.add_row(*map(escape, _cells(line)), style=style)
    console.print(table)
    console.print(report.sentence, highlight=False, markup=False)
    console.print(f"{report.machine}; {LEGEND}", highlight=False, markup=False, style="dim")


def markdown(report: Report) -> str:
    """Return the same as a comment for a pull request, cut to what one may hold."""
    text = [f"### {plain(report.sentence)}", "", *_table(report.lines, COMMENT // 2)]
    if report.again:
        text += ["", "Measured again:", "", *_table(report.again, COMMENT // 3)]
    return "\n".join([*text, "", f"{plain(report.machine)}; {LEGEND}", ""])


def to_json(report: Report) -> str:
    """Return everything as JSON; what has no value is null."""
    content = {"regressed": report.regressed, "sentence": report.sentence, **asdict(report)}
    return json.dumps(_finite(content), indent=2, ensure_ascii=False) + "\n"


HEADINGS = (
    *("cell", "implementation", "pairs", "base", "head"),
    *("time", "memory", "fit memory", "objective", "verdict"),
)
LEGEND = (
    f"ratios of head to base with their {CONFIDENCE:.0%} interval, above 1 head is worse; "
    "base and head: median fit; memory: peak of the process tree; fit memory: what the fit added, MiB"
)


def _line(key: Key, base: Mapping[int, Row], head: Mapping[int, Row], margins: Margins) -> Line:
    both = sorted(base.keys() & head.keys())
    note = ""
    if not both:
        note = "no repeat in both" if base and head else f"only in {'base' if base else 'head'}"
    elif any(base[r].dataset_sha256 != head[r].dataset_sha256 for r in both):
        both, note = [], "other data"
    elif any(base[r].n_threads != head[r].n_threads for r in both):
        both, note = [], "other number of threads"
    dropped = [head[r] for r in both if _answers(base[r]) and not _answers(head[r])]
    pairs = [(base[r], head[r]) for r in both if _answers(base[r]) and _answers(head[r])]
    broken = ""
    if dropped:
        broken = f"{_failure(dropped[0])} in {len(dropped)} of {len(both)}: {dropped[0].reason}"
    elif not head and any(map(_answers, base.values())):
        broken = "no row in head"
    elif both and not pairs:
        first = base[both[0]]
        side = "base" if any(_answers(head[r]) for r in both) else "both"
        note = f"{_failure(first)} in {side}: {first.reason}"
    figures = {}
    for measure, column in COLUMN_OF.items():
        values = [(getattr(one, column), getattr(other, column)) for one, other in pairs]
        known = [(a, b) for a, b in values if a is not None and b is not None]
        if known:
            figures[measure] = _figure(measure, known, margins.of(measure, pairs[0][0].dtype))
    failing = Verdict.WORSE if broken else Verdict.SAME
    return Line(key, len(pairs), figures, broken, failing, bool(broken) and not pairs, note)


def _answers(one: Row) -> bool:
    """Return whether a row has an answer: status ok, and an objective that is a number where it has one."""
    return one.status == "ok" and (one.inertia is None or 0 <= one.inertia < math.inf)


def _failure(one: Row) -> str:
    return one.status if one.status != "ok" else f"objective {one.inertia}"


def _figure(measure: Measure, pairs: Sequence[tuple[float, float]], margin: float) -> Figure:
    base, head = np.array(pairs, dtype=np.float64).T
    # An objective of zero has no logarithm; two of them are the same, and any other is far above it. A fit
    # that gives memory back adds none.
    slack = SLACK if measure == "fit memory" else np.finfo(np.float64).tiny
    ratio = stats.paired_ratio(np.maximum(head, 0) + slack, np.maximum(base, 0) + slack, CONFIDENCE)
    noisy = ratio.high > ratio.low * (1 + margin) ** 2
    if measure == "time":
        undisturbed = stats.undisturbed_ratio(head, base, CONFIDENCE)
        noisy |= undisturbed.high > undisturbed.low * (1 + margin) ** 2
        # A slowdown of fewer than three quarters of all fits shows in the median alone.
        if undisturbed.low > 1 + margin or not ratio.low > 1 + margin:
            ratio = undisturbed
    if len(pairs) < MIN_PAIRS:
        verdict = Verdict.TOO_FEW
    elif ratio.low > 1 + margin:
        verdict = Verdict.WORSE
    elif ratio.high < 1 / (1 + margin):
        verdict = Verdict.BETTER
    elif noisy:
        verdict = Verdict.NOISY
    else:
        verdict = Verdict.SAME
    return Figure(float(np.median(base)), float(np.median(head)), ratio, margin, verdict)


def _settle(line: Line, otherwise: Verdict, confirmed: frozenset[str] = frozenset()) -> Line:
    """Return a line in which only what is confirmed is worse."""

    def settled(name: str, verdict: Verdict) -> Verdict:
        return otherwise if verdict is Verdict.WORSE and name not in confirmed else verdict

    figures = {
        name: replace(figure, verdict=settled(name, figure.verdict)) for name, figure in line.figures.items()
    }
    return replace(line, figures=figures, failing=settled("status", line.failing))


def _has(line: Line, verdict: Verdict) -> bool:
    return verdict in {line.failing, *(figure.verdict for figure in line.figures.values())}


def _ordered(lines: Iterable[Line]) -> list[Line]:
    """Return the lines, the worst first."""

    def rank(line: Line) -> tuple[bool, bool, float]:
        time = line.figures.get("time")
        return not line.worse, not line.compared, -time.ratio.estimate if time is not None else 0.0

    return sorted(lines, key=rank)


def _cells(line: Line) -> tuple[str, ...]:
    scenario, track, implementation = line.key
    time = line.figures.get("time")
    spoken = [f"{name} {figure.verdict}" for name, figure in line.figures.items() if _told(figure.verdict)]
    if line.broken:
        spoken.append(f"{line.broken} ({line.failing})")
    elif line.why_not:
        spoken = [line.note or line.why_not]
    return (
        f"{scenario} {track}",
        implementation,
        str(line.n_pairs),
        format_seconds(time.base) if time is not None else "–",
        format_seconds(time.head) if time is not None else "–",
        _ratio(time),
        _ratio(line.figures.get("memory")),
        _mebibytes(line.figures.get("fit memory")),
        _gap(line.figures.get("objective")),
        ", ".join(spoken) or "same",
    )


def _told(verdict: Verdict) -> bool:
    return verdict is not Verdict.SAME


def _ratio(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    if not figure.ratio.known:
        return f"{figure.ratio.estimate:.3f}"
    return f"{figure.ratio.estimate:.3f} [{figure.ratio.low:.3f}, {figure.ratio.high:.3f}]"


def _mebibytes(figure: Figure | None) -> str:
    return "–" if figure is None else f"{figure.base / 2**20:.1f} → {figure.head / 2**20:.1f}"


def _gap(figure: Figure | None) -> str:
    return "–" if figure is None else f"{figure.ratio.estimate - 1:+.1e}"


def _table(lines: Iterable[Line], room: int) -> list[str]:
    table = [row(HEADINGS), "|---|" + "---:|" * (len(HEADINGS) - 1)]
    table += [row(_cells(line)) for line in _ordered(lines)]
    return shortened(table, room, "cells stand in the table that `python runner.py compare` prints")


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
