"""The history of nightly measurements, and the steps in it.

``python -m harness.history RESULTS HISTORY STEPS`` adds the runs under RESULTS to HISTORY (CSV) and writes
the steps of the last nights to STEPS (Markdown), an empty file where there is none.

A series is the time of one implementation in one cell over that of the baseline in the same run: what makes a
night's machine slower falls on both. Machines of another processor have series of their own.
"""

from __future__ import annotations

import csv
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from harness import analysis
from harness.errors import UserError
from harness.markdown import row

#: The implementation of the same run that times are taken relative to.
BASELINE = "sklearn-lloyd"
#: Nights a change must have lasted, and nights before it that say what was usual.
AFTER = 3
BEFORE = 20
#: Fewer nights before are no history to speak of.
FEWEST_BEFORE = 7
#: A change of less is nothing to write about.
SMALLEST_STEP = 0.10
#: How many standard deviations of the nights before every night of a step must lie beyond their median.
DEVIATIONS = 4.0
#: Of a normal distribution: standard deviation over median absolute deviation.
MAD_TO_DEVIATION = 1.4826


@dataclass(frozen=True)
class Entry:
    """One figure of one night.

    Parameters
    ----------
    started_at : str
        When the run began (ISO 8601, UTC).
    commit, cpu, scenario, track, implementation : str
        What was measured, and on which processor.
    fit_seconds : float
        Median over the repeats.
    relative_time : float
        Median, repeat by repeat, of the time over that of `BASELINE`.
    """

    started_at: str
    commit: str
    cpu: str
    scenario: str
    track: str
    implementation: str
    fit_seconds: float
    relative_time: float

    @property
    def series(self) -> tuple[str, str, str, str]:
        """What must be the same for two nights to be compared."""
        return self.cpu, self.scenario, self.track, self.implementation


@dataclass(frozen=True)
class Step:
    """A change that has lasted.

    Parameters
    ----------
    first : Entry
        The first night after the change.
    last_commit : str
        Of the night before it.
    factor : float
        Median of the nights after over median of those before; above 1 is slower.
    """

    first: Entry
    last_commit: str
    factor: float


def read(path: Path) -> list[Entry]:
    """Return the entries of a history, none if there is no such file yet.

    Raises
    ------
    UserError
        If the file cannot be read or is not a history.
    """
    names = [field.name for field in fields(Entry)]
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.reader(file))
        if not lines or lines[0] != names:
            raise ValueError("its header is another")
        found = [Entry(*cells[:-2], *map(float, cells[-2:])) for cells in lines[1:]]  # type: ignore[arg-type]  # types were read from text
        if not all(0 < one.relative_time < math.inf for one in found):
            raise ValueError("a relative time is none")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); move it away") from None
    except (ValueError, TypeError, csv.Error) as error:
        raise UserError(f"{path}: not a history ({error}); move the file away") from None
    return found


def write(path: Path, entries: Iterable[Entry]) -> None:
    """Write a history, the oldest night first, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for field in fields(Entry)])
        writer.writerows(asdict(entry).values() for entry in sorted(entries, key=lambda one: one.started_at))
    temporary.replace(path)


def entries_of(run: analysis.Run) -> list[Entry]:
    """Return the figures of one run that has the baseline in it."""
    lines = analysis.summarise(run.rows, BASELINE)
    known = lines[lines["ratio"].notna() & (lines["implementation"] != BASELINE)]
    return [
        Entry(
            started_at=str(run.rows["started_at"].min()),
            commit=str(run.environment.get("commit") or ""),
            cpu=str(run.environment.get("cpu", "")),
            scenario=line.scenario,
            track=line.track,
            implementation=line.implementation,
            fit_seconds=float(line.fit_seconds),
            relative_time=1 / float(line.ratio),
        )
        for line in known.itertuples(index=False)
    ]


def steps(entries: Iterable[Entry]) -> list[Step]:
    """Return the steps that the last nights of every series show, the largest first."""
    series: dict[tuple[str, str, str, str], list[Entry]] = defaultdict(list)
    for entry in sorted(entries, key=lambda one: one.started_at):
        series[entry.series].append(entry)
    found = []
    for nights in series.values():
        factor = last_step([night.relative_time for night in nights])
        if factor is not None:
            found.append(Step(nights[-AFTER], nights[-AFTER - 1].commit, factor))
    return sorted(found, key=lambda step: -step.factor)


def last_step(values: Sequence[float]) -> float | None:
    """Return by which factor the last nights differ from those before, or None.

    Parameters
    ----------
    values : sequence of float
        Positive, oldest first.

    Returns
    -------
    float or None
        None unless each of the last `AFTER` values lies on the same side of the median of the up to `BEFORE`
        ones before, by more than `DEVIATIONS` of their robust standard deviations, and the medians differ by
        more than `SMALLEST_STEP`. Logarithms throughout. One bad night is no step, however bad.
    """
    if len(values) < AFTER + FEWEST_BEFORE:
        return None
    logs = np.log(np.asarray(values[-AFTER - BEFORE :], dtype=np.float64))
    before, after = logs[:-AFTER], logs[-AFTER:]
    usual = float(np.median(before))
    deviation = MAD_TO_DEVIATION * float(np.median(np.abs(before - usual)))
    distances = after - usual
    change = statistics.median(distances)
    least = float(np.min(distances * math.copysign(1.0, change)))
    if least <= DEVIATIONS * deviation or abs(change) <= math.log1p(SMALLEST_STEP):
        return None
    return math.exp(change)


def markdown(found: Sequence[Step]) -> str:
    """Return the text of the issue; empty where there is no step."""
    if not found:
        return ""
    lines = [
        f"The last {AFTER} nights differ from those before: time relative to {BASELINE} of the same run.",
        "",
        "| cell | implementation | time | since | commits | processor |",
        "|---|---|---:|---|---|---|",
    ]
    for step in found:
        one = step.first
        commits = f"{step.last_commit[:12]}..{one.commit[:12]}"
        factor = f"×{step.factor:.2f}"
        cell = f"{one.scenario} {one.track}"
        lines.append(row((cell, one.implementation, factor, one.started_at[:10], commits, one.cpu)))
    hint = "`make history` measures a night; `runner.py compare` tells two commits apart."
    return "\n".join([*lines, "", hint, ""])


def main(arguments: Sequence[str]) -> int:
    """Add what was measured to the history and look for steps; exit code 2 if that cannot be done."""
    try:
        if len(arguments) != 3:
            raise UserError(f"three arguments, RESULTS HISTORY STEPS, not {len(arguments)}")
        results, path, report = map(Path, arguments)
        known = read(path)
        seen = {(entry.started_at, *entry.series) for entry in known}
        for folder in sorted(one.parent for one in results.glob("*/env.json")):
            fresh = entries_of(analysis.read_run(folder))
            known += [entry for entry in fresh if (entry.started_at, *entry.series) not in seen]
        write(path, known)
        found = steps(known)
        report.write_text(markdown(found), encoding="utf-8")
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"error: {error.filename}: {error.strerror}; name another file\n")
        return 2
    sys.stdout.write(f"{path}: {len(known)} figures, {len(found)} steps\n{markdown(found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
