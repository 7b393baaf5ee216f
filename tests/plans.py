"""Runs of fakes. ``python -m tests.plans FOLDER FAKE,FAKE,... REPEATS`` executes one as a process."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.bench import Measurement, Plan, Run, execute
from harness.errors import UserError
from harness.isolate import Limits
from harness.record import Row
from harness.scenario import Grid
from tests.fakes import entry


class Recorder:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.remaining: list[Measurement] = []
        self.already = 0
        self.rows: list[Row] = []

    def planned(self, remaining: Sequence[Measurement], done: int) -> None:
        self.remaining, self.already = list(remaining), done

    def preparing(self, what: str) -> None:
        return None

    def measured(self, measurement: Measurement, row: Row, wall_seconds: float) -> None:
        self.rows.append(row)


def plan_of(fakes: Sequence[str], repeats: int = 1, *, timeout: float = 60.0, seed: int = 0) -> Plan:
    """Return a plan over two small scenarios, default track, fakes only."""
    return Plan(
        scenarios=tuple(Grid(sizes=(50, 100), dims=(2,), clusters=(3,)).scenarios()),
        entries=tuple(entry(name) for name in fakes),
        tracks=("default",),
        repeats=repeats,
        n_threads=1,
        max_iter=5,
        seed=seed,
        limits=Limits(timeout, 600 << 20),
    )


def run_plan(plan: Plan, folder: Path, *, fresh: bool = False) -> tuple[Run, Recorder]:
    """Execute a plan with data and results under ``folder``."""
    recorder = Recorder()
    run = execute(
        plan,
        cache=folder / "cache",
        results=folder / "results",
        fresh=fresh,
        command="a test",
        watcher=recorder,
    )
    return run, recorder


def main(arguments: list[str]) -> int:
    """Execute a plan as a process of its own."""
    folder, fakes, repeats = arguments
    try:
        run_plan(plan_of(fakes.split(","), int(repeats)), Path(folder))
    except KeyboardInterrupt:
        return 130
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    # Where tests run in the background, Ctrl-C is ignored, and what they start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
