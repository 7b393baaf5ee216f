"""The loop: plan, leave out what is done, measure in random interleaved order, judge, append."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from harness import environment, record
from harness.contract import FitSpec
from harness.datasets import CachedDataset, in_use, obtain
from harness.errors import UserError
from harness.isolate import Limits, Outcome, measure
from harness.record import Row
from harness.referee import Reference, Verdict, find_reference, judge
from harness.registry import Entry
from harness.scenario import Scenario, Track


@dataclass(frozen=True)
class Plan:
    """One run: everything that the command line, the presets and the defaults have decided.

    Parameters
    ----------
    scenarios, entries, tracks
        What is measured: their product.
    repeats : int
        Measurements of each.
    n_threads : int
        The core budget of every implementation.
    max_iter : int
        Cap on iterations, matched track.
    seed : int
        Base of the seeds: repeat r of the default track uses ``seed + r``.
    limits : Limits
        Of every measurement.
    """

    scenarios: tuple[Scenario, ...]
    entries: tuple[Entry, ...]
    tracks: tuple[Track, ...]
    repeats: int
    n_threads: int
    max_iter: int
    seed: int
    limits: Limits

    def measurements(self) -> list[Measurement]:
        """Return all measurements in the order they are made.

        Scenario by scenario and repeat by repeat; within one repeat every implementation once, in an order
        drawn anew, so that a drift of the machine's speed falls on all of them.
        """
        order = random.Random(self.seed)
        measurements = []
        for scenario in self.scenarios:
            for track in self.tracks:
                for repeat in range(self.repeats):
                    entries = list(self.entries)
                    order.shuffle(entries)
                    measurements += [Measurement(scenario, track, entry, repeat) for entry in entries]
        return measurements

    def digest(self, fingerprint: str) -> str:
        """Return a short name for this plan on this machine with these versions and bytes of data."""
        content = json.dumps(asdict(self), sort_keys=True, default=str)
        return hashlib.sha256(f"{content} {fingerprint}".encode()).hexdigest()[:10]


@dataclass(frozen=True)
class Measurement:
    """One cell of the plan."""

    scenario: Scenario
    track: Track
    entry: Entry
    repeat: int

    @property
    def key(self) -> record.Key:
        """The key of its row."""
        return self.scenario.name, self.track, self.entry.name, self.repeat


class Watcher(Protocol):
    """Who is told how the run goes: the terminal."""

    def planned(self, remaining: Sequence[Measurement], done: int) -> None:
        """Say what is about to be measured and how many rows an earlier run has left."""
        ...

    def preparing(self, what: str) -> None:
        """Say what is made before the next measurement."""
        ...

    def measured(self, measurement: Measurement, row: Row, wall_seconds: float) -> None:
        """Say that a row has been written."""
        ...


@dataclass(frozen=True)
class Run:
    """A folder of results: one CSV a scenario, ``env.json`` beside."""

    folder: Path
    run_id: str

    def rows(self) -> list[Row]:
        """Return all rows written so far, file by file."""
        return [row for path in sorted(self.folder.glob("*.csv")) for row in record.load(path)]

    def csv_path(self, scenario: Scenario) -> Path:
        """Return the file of a scenario's rows."""
        return self.folder / f"{scenario.name}.csv"


def execute(plan: Plan, *, cache: Path, results: Path, fresh: bool, command: str, watcher: Watcher) -> Run:
    """Measure what is missing of a plan.

    Parameters
    ----------
    plan : Plan
        What to measure.
    cache, results : Path
        Folders of the data and of the runs.
    fresh : bool
        Throw away the rows of an earlier run of the same plan.
    command : str
        The command line, for ``env.json``.
    watcher : Watcher
        Told about every step.

    Raises
    ------
    UserError
        If the data cannot be had, or a folder not written, or another process is at the same run.
    """
    # The data comes first: a file that cannot be used must stop the run before anything is written.
    prepared: dict[str, CachedDataset] = {}
    for scenario in plan.scenarios:
        watcher.preparing(f"data of {scenario.name}")
        prepared[scenario.name] = obtain(scenario.dataset, cache)

    facts = environment.describe()
    bytes_measured = [f"{data.sha256} {data.init.tobytes().hex()}" for data in prepared.values()]
    run_id = plan.digest(" ".join([environment.fingerprint(facts), *bytes_measured]))
    run = Run(results / run_id, run_id)
    with in_use(cache), _claimed(run, fresh=fresh):
        done = {row.key for row in run.rows()}
        remaining = [one for one in plan.measurements() if one.key not in done]
        _write_facts(run, facts, plan, command, resumed=bool(done), idle=not remaining)
        watcher.planned(remaining, len(plan.measurements()) - len(remaining))
        _measure_all(plan, remaining, run, prepared, watcher)
    return run


def _measure_all(
    plan: Plan,
    remaining: Sequence[Measurement],
    run: Run,
    prepared: dict[str, CachedDataset],
    watcher: Watcher,
) -> None:
    skipped: dict[str, Outcome] = {}
    hopeless: dict[tuple[str, Track, str], Outcome] = {}
    references: dict[str, tuple[Reference | None, str]] = {}
    for one in remaining:
        data = prepared[one.scenario.name]
        spec = _spec(plan, one, data)
        if one.track == "matched" and one.scenario.name not in references:
            watcher.preparing(f"reference of {one.scenario.name}")
            references = {one.scenario.name: find_reference(data, spec, plan.limits)}
        started_at = datetime.now(UTC)
        sits_out = one.entry.sits_out(one.track, data.dataset.dtype)
        if sits_out is not None:
            outcome = Outcome("skipped", sits_out)
        else:
            # What is not installed now will not be at the next repeat either, and what ran into a limit would
            # again: with hundreds of cells that costs hours.
            cell = one.scenario.name, one.track, one.entry.name
            outcome = (
                skipped.get(one.entry.name)
                or hopeless.get(cell)
                or measure(one.entry.adapter, data.dataset, spec, plan.limits, one.entry.checkout)
            )
            if outcome.status == "skipped":
                skipped[one.entry.name] = outcome
            elif outcome.status in ("timeout", "oom"):
                hopeless[cell] = Outcome(outcome.status, f"an earlier repeat: {outcome.reason}")
        reference, why_not = references.get(one.scenario.name, (None, ""))
        verdict = judge(outcome, one.entry, one.track, data, reference)
        if verdict.status == "ok" and one.track == "matched" and one.entry.semantics == "exact" and why_not:
            verdict = replace(verdict, reason=f"held against its own centers only: {why_not}")
        row = _row(plan, run, one, data, spec, outcome, verdict, started_at)
        record.append(run.csv_path(one.scenario), row)
        watcher.measured(one, row, outcome.wall_seconds)


def _spec(plan: Plan, one: Measurement, data: CachedDataset) -> FitSpec:
    matched = one.track == "matched"
    return FitSpec(
        n_clusters=one.scenario.n_clusters,
        init=data.init if matched else None,
        n_init=1 if matched else None,
        max_iter=plan.max_iter if matched else None,
        tol=0.0 if matched else None,
        seed=plan.seed + one.repeat,
        n_threads=plan.n_threads,
        dtype=data.dataset.dtype,
    )


def _row(
    plan: Plan,
    run: Run,
    one: Measurement,
    data: CachedDataset,
    spec: FitSpec,
    outcome: Outcome,
    verdict: Verdict,
    started_at: datetime,
) -> Row:
    facts = outcome.facts
    peak, method = _peak(outcome)
    baseline = outcome.baseline_rss_bytes
    return Row(
        schema_version=record.SCHEMA_VERSION,
        run_id=run.run_id,
        started_at=started_at.isoformat(timespec="milliseconds"),
        scenario=one.scenario.name,
        track=one.track,
        implementation=one.entry.name,
        semantics=one.entry.semantics,
        library_version=facts.get("library_version", ""),
        dataset=data.name,
        dataset_sha256=data.sha256,
        n_samples=data.dataset.n_samples,
        n_features=data.dataset.n_features,
        n_clusters=spec.n_clusters,
        dtype=data.dataset.dtype,
        repeat=one.repeat,
        status=verdict.status,
        reason=verdict.reason,
        fit_seconds=facts.get("fit_seconds"),
        reported_fit_seconds=facts.get("reported_fit_seconds"),
        seeding_seconds=facts.get("seeding_seconds"),
        prepare_seconds=facts.get("prepare_seconds"),
        predict_seconds=facts.get("predict_seconds"),
        n_iter=facts.get("n_iter"),
        inertia=verdict.inertia,
        reported_inertia=facts.get("reported_inertia"),
        label_agreement=verdict.label_agreement,
        peak_rss_bytes=peak,
        baseline_rss_bytes=baseline,
        fit_rss_bytes=None if peak is None or baseline is None else peak - baseline,
        peak_polled_bytes=outcome.peak_polled_bytes,
        peak_hwm_bytes=facts.get("peak_hwm_bytes"),
        memory_method=method,
        n_threads=spec.n_threads,
        isa=facts.get("isa") or "",
        algorithm=facts.get("algorithm") or "",
        init=facts.get("init", ""),
        n_init=facts.get("n_init"),
        tol=facts.get("tol"),
        max_iter=facts.get("max_iter"),
        seed=spec.seed,
    )


def _peak(outcome: Outcome) -> tuple[int | None, str]:
    """Return the peak of the tree and the method that saw it: each can only miss memory, so the most wins."""
    started = outcome.facts.get("started_peak_rss_bytes")
    seen = {
        "poll": outcome.peak_polled_bytes,
        "vmhwm": outcome.facts.get("peak_hwm_bytes"),
        # A process the fit waited for reports its own mark; the worker beside it stood still.
        "vmhwm+started": None if started is None else started + (outcome.baseline_rss_bytes or 0),
    }
    known = {method: peak for method, peak in seen.items() if peak is not None}
    if not known:
        return None, ""
    method = max(known, key=lambda name: known[name])
    return known[method], method


@contextlib.contextmanager
def _claimed(run: Run, *, fresh: bool) -> Iterator[None]:
    """Hold a run's folder alone, emptied if asked for and mended where a row was cut off."""
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(run.folder / ".lock", os.O_WRONLY | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(
            f"--results: cannot write {run.folder}: {error.strerror}; name another folder"
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"another process is at this run ({run.folder}); wait for it or give another --results"
            ) from None
        for path in run.folder.glob("*.csv"):
            if fresh:
                path.unlink()
            else:
                record.repair(path)
        yield
    finally:
        os.close(lock)


def _write_facts(
    run: Run, facts: dict[str, Any], plan: Plan, command: str, *, resumed: bool, idle: bool
) -> None:
    """Write ``env.json``; where rows are there already, what is known of their sessions stays in it."""
    path = run.folder / "env.json"
    session = {
        "started_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        **{name: facts[name] for name in environment.OF_A_SESSION},
    }
    content: dict[str, Any] = {
        **{"run_id": run.run_id, "command": command},
        **{"environment": facts, "plan": asdict(plan)},
    }
    if resumed and (before := _known_facts(path)):
        # Machine, versions and plan are the same by the name of the folder; the first commit is kept as well.
        content |= {"environment": before["environment"], "command": before["command"]}
        content["sessions"] = before["sessions"] + ([] if idle else [session])
    else:
        content["sessions"] = [session]
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_text(json.dumps(content, indent=2, default=str) + "\n")
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"--results: cannot write {path}: {error.strerror}; name another folder") from error


def _known_facts(path: Path) -> dict[str, Any] | None:
    """Return what an ``env.json`` says, its sessions in a list; None if there is none that can be read."""
    try:
        found = json.loads(path.read_text())
        machine = found["environment"]
        first = {name: machine[name] for name in environment.OF_A_SESSION}
        return {
            "command": found["command"],
            "environment": machine,
            "sessions": list(found.get("sessions", [first])),
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
