"""Time of an iteration against the number of rows: ``make growth``, ``ARGS="--largest 1e8"`` for more.

The same blobs for every number of rows, float32, in a file that the ``kmeans`` binary reads. The time of an
iteration is the difference between fits of few and of many iterations, so that reading, the check of the data
and the last assignment cancel. Perfect growth is one time a row for all sizes.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from rust_impl.cli import path

N_FEATURES = 10
N_CLUSTERS = 10
#: Rows written at a time. The random numbers of a chunk depend on its place alone, so that a shorter file is
#: the beginning of a longer one.
CHUNK = 100_000
#: Iterations of the two fits whose difference is taken; labels still change after the second.
FEW, MANY = 5, 20
ALGORITHMS = ("lloyd", "auto")
#: Largest departure from one time a row that is aimed at.
TARGET = 0.15


def main(
    largest: Annotated[float, typer.Option(help="Rows of the largest file; 1e8 makes one of 4 GB.")] = 1e7,
    smallest: Annotated[float, typer.Option(help="Rows of the smallest file.")] = 1e5,
    folder: Annotated[
        Path | None, typer.Option(help="Where the files are made and deleted again [temporary].")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads [all cores].")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Fits of each kind; the fastest counts.")] = 5,
) -> None:
    """Print the time of an iteration for each decade of rows."""
    if not CHUNK <= smallest <= largest:
        raise typer.BadParameter(f"{CHUNK:g} <= --smallest <= --largest is needed")
    per_row: dict[str, dict[int, float]] = {algorithm: {} for algorithm in ALGORITHMS}
    typer.echo(f"{'rows':>11} {'algorithm':>9} {'ms/iteration':>12} {'ns/iteration/row':>16} {'peak MiB':>8}")
    rows = int(smallest)
    while rows <= largest:
        with tempfile.TemporaryDirectory(prefix="kmeans-growth-", dir=folder) as made:
            data, start = Path(made) / "data.npy", Path(made) / "start.npy"
            write(data, rows)
            np.save(start, np.load(data, mmap_mode="r")[:N_CLUSTERS])
            for algorithm in ALGORITHMS:
                words = ["--init", str(start), "--algorithm", algorithm]
                words += [] if threads is None else ["--threads", str(threads)]
                seconds, peak = iteration(data, words, repeats)
                per_row[algorithm][rows] = seconds / rows
                typer.echo(
                    f"{rows:>11} {algorithm:>9} {seconds * 1e3:>12.3f} {seconds / rows * 1e9:>16.3f} "
                    f"{peak / 2**20:>8.0f}"
                )
        rows *= 10
    for algorithm, times in per_row.items():
        middle = statistics.median(times.values())
        worst, departure = max(
            ((n, time / middle - 1) for n, time in times.items()), key=lambda pair: abs(pair[1])
        )
        verdict = "within" if abs(departure) <= TARGET else "outside"
        typer.echo(
            f"{algorithm}: largest departure from the median time a row {departure:+.0%} (n = {worst}), "
            f"{verdict} the target of {TARGET:.0%}"
        )


def write(file: Path, rows: int) -> None:
    """Write blobs of standard deviation 2 in a cube of side 20, a chunk at a time."""
    places = np.random.default_rng(0).uniform(-10, 10, (N_CLUSTERS, N_FEATURES)).astype("f4")
    data = np.lib.format.open_memmap(file, "w+", np.float32, (rows, N_FEATURES))
    for first in range(0, rows, CHUNK):
        random = np.random.default_rng([1, first // CHUNK])
        blob = random.integers(N_CLUSTERS, size=CHUNK)
        chunk = places[blob] + 2 * random.standard_normal((CHUNK, N_FEATURES), dtype=np.float32)
        data[first : first + CHUNK] = chunk[: rows - first]
    data.flush()


def iteration(data: Path, words: list[str], repeats: int) -> tuple[float, int]:
    """Return the seconds of one iteration, and the largest peak memory of the process in bytes."""
    reports = {
        n_iter: [fit(data, [*words, "--max-iter", str(n_iter)]) for _ in range(repeats)]
        for n_iter in (FEW, MANY)
    }
    if any(report["n_iter"] != n_iter for n_iter, made in reports.items() for report in made):
        raise typer.BadParameter(f"a fit of {data.name} converged before iteration {MANY}: take more rows")
    few, many = (min(report["fit_seconds"] for report in reports[n_iter]) for n_iter in (FEW, MANY))
    peak = max(report["peak_rss_bytes"] or 0 for made in reports.values() for report in made)
    return (many - few) / (MANY - FEW), peak


def fit(data: Path, words: list[str]) -> dict[str, Any]:
    """Run the binary and return its report."""
    command = [path(), str(data), "--k", str(N_CLUSTERS), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise typer.BadParameter(f"kmeans failed: {done.stderr.strip()}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


if __name__ == "__main__":
    typer.run(main)
