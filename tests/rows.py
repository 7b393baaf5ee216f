"""Rows made by hand, and whole runs of them: what a bench of known speeds would have written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness import record
from harness.record import COLUMNS, Row
from harness.scenario import TRACKS, Grid

#: Seconds an iteration costs an implementation before it does anything, and for each number of the samples
#: and cluster; what it adds to the memory of the data, relative to it; its mathematics.
MODELS: dict[str, tuple[float, float, float, str]] = {
    "rust": (2e-5, 6e-12, 0.1, "exact"),
    "sklearn-lloyd": (1e-4, 9e-11, 0.4, "exact"),
    "sklearn-elkan": (3e-4, 2.1e-10, 0.6, "exact"),
    "numpy": (1e-4, 8e-10, 1.3, "exact"),
    "sklearn-minibatch": (4e-4, 3e-10, 0.5, "mini-batch"),
}
#: Small enough for a test, with two values on every axis.
GRID = Grid(sizes=(1_000, 10_000, 100_000), dims=(2, 10), clusters=(3, 10))
ENVIRONMENT = {
    "cpu": "A processor made by hand",
    "cpu_features": ["avx2", "fma"],
    "cores": 2,
    "memory_bytes": 8 << 30,
    "system": "Linux-6.1",
    "python": "3.11.9",
    "libraries": {"numpy": "2.4.6", "scikit-learn": "1.9.1"},
    "commit": "0123456789abcdef",
    "uncommitted_changes": False,
    "load_average": [0.1, 0.1, 0.1],
}


def row(implementation: str, fit_seconds: float | None, **more: object) -> Row:
    """Return one row with status ok of a small cell on the matched track; other columns by name."""
    values: dict[str, object] = dict.fromkeys(COLUMNS)
    texts = ("started_at", "library_version", "dataset", "dataset_sha256", "reason", "memory_method", "isa")
    values |= dict.fromkeys((*texts, "algorithm", "init"), "")
    values |= {
        "schema_version": record.SCHEMA_VERSION,
        "run_id": "r",
        "scenario": "a",
        "track": "matched",
        "semantics": "exact",
        "n_samples": 1000,
        "n_features": 2,
        "n_clusters": 3,
        "dtype": "float32",
        "repeat": 0,
        "status": "ok",
        "inertia": 100.0,
        "n_threads": 2,
        "seed": 0,
    }
    values |= {"implementation": implementation, "fit_seconds": fit_seconds, **more}
    # Columns by name: mypy does not follow which type each has.
    return Row(**values)  # type: ignore[arg-type]


def repeats(implementation: str, times: Sequence[float | None], **more: object) -> list[Row]:
    """Return a row for each time, as the repeats of one implementation in one cell."""
    return [row(implementation, seconds, repeat=r, **more) for r, seconds in enumerate(times)]


def modelled(
    *,
    grid: Grid = GRID,
    n_repeats: int = 5,
    noise: float = 0.02,
    slower: Mapping[str, float] | None = None,
    seed: int = 0,
    run_id: str = "r",
) -> list[Row]:
    """Return the rows of a run on both tracks in which the speeds are those of `MODELS`.

    Parameters
    ----------
    grid : Grid
        Of blobs.
    n_repeats : int
        Of each measurement.
    noise : float
        Standard deviation of the logarithm of a time.
    slower : mapping of str to float, optional
        Factors on the times of some implementations.
    seed : int
        Of the noise.
    run_id : str
        Name of the run.
    """
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for scenario in grid.scenarios():
        data = scenario.dataset
        n, d, k = data.n_samples, data.n_features, data.n_clusters
        for track in TRACKS:
            for repeat in range(n_repeats):
                for name, (fixed, rate, memory, semantics) in MODELS.items():
                    n_iter = 12 + k if track == "matched" else 6 + k + repeat
                    seconds = n_iter * (fixed + rate * n * d * k) * (slower or {}).get(name, 1.0)
                    seconds *= float(np.exp(rng.normal(0.0, noise)))
                    baseline = (90 << 20) + 4 * n * d
                    fit_bytes = int(memory * 4 * n * d) + (1 << 18)
                    inertia = 4.0 * n * d * (1.0 if track == "matched" else 1 + 2e-3 * rng.random())
                    one = row(
                        name,
                        seconds,
                        run_id=run_id,
                        started_at=f"2026-11-21T12:00:{len(rows) % 60:02d}.000+00:00",
                        scenario=scenario.name,
                        track=track,
                        semantics=semantics,
                        library_version="1.0",
                        dataset=f"blobs-{n}-{d}-{k}",
                        n_samples=n,
                        n_features=d,
                        n_clusters=k,
                        dtype=data.dtype,
                        repeat=repeat,
                        prepare_seconds=1e-3,
                        seeding_seconds=seconds / 4 if (name, track) == ("rust", "default") else None,
                        predict_seconds=seconds / n_iter,
                        n_iter=n_iter,
                        inertia=inertia * (1.02 if semantics != "exact" else 1.0),
                        peak_rss_bytes=baseline + fit_bytes,
                        baseline_rss_bytes=baseline,
                        fit_rss_bytes=fit_bytes,
                        seed=repeat,
                    )
                    if semantics != "exact" and track == "matched":
                        one = _skipped(one)
                    rows.append(one)
    return rows


def write_run(
    folder: Path, rows: Sequence[Row], *, grid: Grid = GRID, environment: Mapping[str, object] = ENVIRONMENT
) -> Path:
    """Write rows as the bench does, with ``env.json`` beside, and return the folder of the run."""
    run = folder / rows[0].run_id
    run.mkdir(parents=True)
    for scenario in dict.fromkeys(one.scenario for one in rows):
        lines = [",".join(COLUMNS), *(_line(one) for one in rows if one.scenario == scenario)]
        (run / f"{scenario}.csv").write_text("\n".join(lines) + "\n")
    plan = {
        "scenarios": [{"name": s.name, "dataset": vars(s.dataset)} for s in grid.scenarios()],
        "tracks": list(TRACKS),
        "repeats": 1 + max(one.repeat for one in rows),
        "n_threads": 2,
        "max_iter": 100,
        "seed": 0,
        "limits": {"timeout_seconds": 120.0, "max_memory_bytes": None},
    }
    facts = {
        "run_id": rows[0].run_id,
        "command": "python runner.py --sizes 1e3..1e5 --dims 2,10 --clusters 3,10",
        "environment": dict(environment),
        "plan": plan,
    }
    (run / "env.json").write_text(json.dumps(facts, default=str))
    return run


def _skipped(one: Row) -> Row:
    """Return the row of an implementation that sits a track out."""
    return replace(
        one,
        status="skipped",
        reason="cannot start from given centers",
        library_version="",
        fit_seconds=None,
        prepare_seconds=None,
        predict_seconds=None,
        n_iter=None,
        inertia=None,
        peak_rss_bytes=None,
        baseline_rss_bytes=None,
        fit_rss_bytes=None,
    )


def _line(one: Row) -> str:
    # Words of these rows hold no comma and no quote.
    cells = [getattr(one, name) for name in COLUMNS]
    return ",".join("" if cell is None else cell if isinstance(cell, str) else repr(cell) for cell in cells)
