"""Two versions, from what names them to the report of the gate: two revisions, or two runs of results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import analysis, bench, compare, environment
from harness.compare import Key, Line, Margins, Report, Side
from harness.errors import UserError
from harness.isolate import Limits
from harness.registry import ENTRIES
from harness.revisions import build, checkouts, resolve
from harness.scenario import DatasetSpec, Scenario

#: Repeats of a first measurement.
REPEATS = 15
#: What of two plans must be the same for their rows to be compared.
SETTINGS = ("n_threads", "max_iter", "seed", "limits")


@dataclass(frozen=True)
class Bench:
    """Where and how revisions are measured.

    Parameters
    ----------
    cache, results : Path
        Folders of the data and of the rows.
    command : str
        The command line, for ``env.json``.
    watcher : Watcher
        Told about every step.
    make : callable
        Builds a checkout.
    """

    cache: Path
    results: Path
    command: str
    watcher: bench.Watcher
    make: Callable[[Path], None] = build

    def rows(self, plan: bench.Plan, folders: Mapping[Side, Path], margins: Margins) -> list[Line]:
        """Measure both sides of a plan, interleaved, and compare them."""
        both = replace(plan, entries=compare.sides(plan.entries, folders))
        run = bench.execute(
            both,
            cache=self.cache,
            results=self.results,
            fresh=True,
            command=self.command,
            watcher=self.watcher,
        )
        found = compare.split(run.rows())
        return compare.compare_rows(found["base"], found["head"], margins)

    def again(
        self, plan: bench.Plan, keys: Sequence[Key], folders: Mapping[Side, Path], margins: Margins
    ) -> list[Line]:
        """Measure some cells of a plan again, with more repeats and seeds not used before, and no others."""
        lines = []
        for scenario in plan.scenarios:
            for track in plan.tracks:
                names = {name for cell, on, name in keys if (cell, on) == (scenario.name, track)}
                entries = tuple(entry for entry in plan.entries if entry.name in names)
                if entries:
                    part = replace(
                        plan,
                        scenarios=(scenario,),
                        tracks=(track,),
                        entries=entries,
                        repeats=plan.repeats * compare.AGAIN,
                        seed=plan.seed + plan.repeats,
                    )
                    lines += self.rows(part, folders, margins)
        return lines


def compare_revisions(base: str, head: str, plan: bench.Plan, margins: Margins, where: Bench) -> Report:
    """Build two revisions side by side and measure them together.

    Parameters
    ----------
    base, head : str
        As git takes them.
    plan : Plan
        What is measured of both.
    margins : Margins
        What is tolerated.
    where : Bench
        Where and how.

    Raises
    ------
    UserError
        If a revision does not exist or cannot be built.
    """
    where.watcher.preparing(f"builds of {base} and {head}")
    with checkouts([base, head], where.make) as (one, other):
        folders: dict[Side, Path] = {"base": one.folder, "head": other.folder}
        return compare.gate(
            f"{base} ({one.commit[:10]})",
            f"{head} ({other.commit[:10]})",
            environment.one_line(environment.describe()),
            where.rows(plan, folders, margins),
            lambda keys: where.again(plan, keys, folders, margins),
        )


def compare_runs(base: Path, head: Path, margins: Margins, where: Bench) -> Report:
    """Compare two runs; what looks worse is measured again from the commits the runs were made of.

    Parameters
    ----------
    base, head : Path
        Folders of runs on one machine.
    margins : Margins
        What is tolerated.
    where : Bench
        Where and how to measure again. If the commits are not known here, nothing that was measured on both
        sides is worse, but suspected.

    Raises
    ------
    UserError
        If a folder is no run, or the machines or the settings differ.
    """
    one, other = analysis.read_run(base), analysis.read_run(head)
    for fact in ("cpu", "cores"):
        if one.environment.get(fact) != other.environment.get(fact):
            raise UserError(
                f"{base} and {head} were measured on different machines ({fact}: "
                f"{one.environment.get(fact)} and {other.environment.get(fact)}): measure both on one"
            )
    for setting in SETTINGS:
        if one.plan[setting] != other.plan[setting]:
            raise UserError(
                f"{base} and {head} were measured with different settings ({setting}: "
                f"{one.plan[setting]} and {other.plan[setting]}): measure both with the same"
            )
    lines = compare.compare_rows(analysis.to_rows(one.rows), analysis.to_rows(other.rows), margins)
    commits = [_clean_commit(run.sessions) for run in (one, other)]
    here = environment.describe()
    known = all(map(_is_here, commits)) and here["cpu"] == other.environment.get("cpu")

    def remeasure(keys: Sequence[Key]) -> list[Line]:
        with checkouts([str(commit) for commit in commits], where.make) as (first, second):
            folders: dict[Side, Path] = {"base": first.folder, "head": second.folder}
            return where.again(_plan_of(other), keys, folders, margins)

    machine = environment.one_line(other.environment) + _other_versions(one.environment, other.environment)
    return compare.gate(str(base), str(head), machine, lines, remeasure if known else None)


def _other_versions(base: Mapping[str, Any], head: Mapping[str, Any]) -> str:
    """Return what else than the code of this project changed between two runs; empty if nothing did."""
    before, after = (
        {"system": facts["system"], "Python": facts["python"], **facts["libraries"]} for facts in (base, head)
    )
    changed = [
        f"{name} {before.get(name, 'none')} → {after.get(name, 'none')}"
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name) and name != "rust-kmeans"
    ]
    return f"; changed between the runs: {', '.join(changed)}" if changed else ""


def _clean_commit(sessions: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the commit that a run was made of; None if there are several, or changes that none holds."""
    commits = {session["commit"] for session in sessions}
    changed = any(session["uncommitted_changes"] for session in sessions)
    return commits.pop() if len(commits) == 1 and not changed else None


def _is_here(commit: str | None) -> bool:
    """Return whether the repository of this checkout holds a commit."""
    try:
        return commit is not None and bool(resolve(commit))
    except UserError:
        return False


def _plan_of(run: analysis.Run) -> bench.Plan:
    """Return the plan of a run, from its ``env.json``."""
    plan = run.plan
    names = {entry["name"] for entry in plan["entries"]}
    return bench.Plan(
        scenarios=tuple(Scenario(one["name"], _dataset(one["dataset"])) for one in plan["scenarios"]),
        entries=tuple(entry for entry in ENTRIES if entry.name in names),
        tracks=tuple(plan["tracks"]),
        repeats=max(REPEATS, plan["repeats"]),
        n_threads=plan["n_threads"],
        max_iter=plan["max_iter"],
        seed=plan["seed"],
        limits=Limits(**plan["limits"]),
    )


def _dataset(fields: Mapping[str, Any]) -> DatasetSpec:
    path = fields["path"]
    columns, drop = tuple(fields["columns"]), tuple(fields["drop"])
    return DatasetSpec(
        **{**fields, "path": None if path is None else Path(path), "columns": columns, "drop": drop}
    )
