"""Time of an iteration against the number of rows: ``make growth``, ``ARGS="--largest 1e8"`` for more.

The same blobs for every number of rows, float32, in a file that `KMeans` reads where it is mapped into
memory, without a copy. The time of an iteration is the difference between fits of few and of many iterations,
so that the check of the data and the last assignment cancel. Perfect growth is one time a row for all sizes.

The system must be able to keep the file in memory (its page cache: 4 GB at 1e8 rows), and the file is read
once before anything is timed: a page that has to come from the disk takes many times as long as an iteration
takes for its rows, and it would be the disk that is measured.
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from time import perf_counter
from typing import Annotated, Literal

import numpy as np
import typer

from rust_kmeans import KMeans

N_FEATURES = 10
N_CLUSTERS = 10
#: Rows written at a time. The random numbers of a chunk depend on its place alone, so that a shorter file is
#: the beginning of a longer one.
CHUNK = 100_000
#: Iterations of the two fits whose difference is taken; labels still change after the second.
FEW, MANY = 5, 20
Algorithm = Literal["lloyd", "auto"]
ALGORITHMS: tuple[Algorithm, ...] = ("lloyd", "auto")
#: Where Linux says how much memory of a process is of which kind.
STATUS = Path("/proc/self/status")
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
    per_row: dict[Algorithm, dict[int, float]] = {algorithm: {} for algorithm in ALGORITHMS}
    typer.echo(
        f"{'rows':>11} {'algorithm':>9} {'ms/iteration':>12} {'ns/iteration/row':>16} {'MiB beyond X':>12}"
    )
    rows = int(smallest)
    while rows <= largest:
        with tempfile.TemporaryDirectory(prefix="kmeans-growth-", dir=folder) as made:
            data = Path(made) / "data.npy"
            write(data, rows)
            for algorithm in ALGORITHMS:
                seconds, beyond = in_a_process(data, algorithm, threads, repeats)
                per_row[algorithm][rows] = seconds / rows
                typer.echo(
                    f"{rows:>11} {algorithm:>9} {seconds * 1e3:>12.3f} {seconds / rows * 1e9:>16.3f} "
                    + ("-" if beyond is None else f"{beyond / 2**20:.1f}").rjust(12)
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


def in_a_process(
    data: Path, algorithm: Algorithm, threads: int | None, repeats: int
) -> tuple[float, int | None]:
    """Return what `iteration` does in a process of its own, whose memory is that of these fits alone."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        try:
            return process.submit(iteration, data, algorithm, threads, repeats).result()
        except (BrokenProcessPool, MemoryError, ValueError) as error:
            raise typer.BadParameter(f"the fits of {data.name} failed: {error}") from None


def iteration(
    data: Path, algorithm: Algorithm, threads: int | None, repeats: int
) -> tuple[float, int | None]:
    """Return the seconds of one iteration, and the most bytes of memory beyond X or None if nobody tells.

    Raises
    ------
    ValueError
        If a fit converges too early.
    """
    X = np.load(data, mmap_mode="r")
    start = np.array(X[:N_CLUSTERS])
    # Every page of the file is in memory from here on, and mapped.
    X.max()
    before = resident("RssAnon")
    seconds: dict[int, list[float]] = {FEW: [], MANY: []}
    for _ in range(repeats):
        # In turn, so that a drift of the machine falls on both.
        for n_iter, taken in seconds.items():
            model = KMeans(
                N_CLUSTERS, init=start, max_iter=n_iter, tol=0, algorithm=algorithm, n_threads=threads
            )
            began = perf_counter()
            model.fit(X)
            taken.append(perf_counter() - began)
            if model.n_iter_ != n_iter:
                msg = f"they converged in iteration {model.n_iter_}, before {n_iter}: take more rows"
                raise ValueError(msg)
            # Or its labels would be in memory beside those of the next.
            del model
    return (min(seconds[MANY]) - min(seconds[FEW])) / (MANY - FEW), beyond(before)


def beyond(before: int | None) -> int | None:
    """Return by how many bytes the most anonymous memory that the process has had exceeds what it had before.

    The pages of a mapped file are resident too, but the system's, to be had again from the file. Its peak is
    known of all resident pages only; those of files are the same number once all are mapped.
    """
    peak, of_files = resident("VmHWM"), resident("RssFile")
    return None if before is None or peak is None or of_files is None else max(peak - of_files - before, 0)


def resident(kind: str) -> int | None:
    """Return bytes of memory of this process of a kind that Linux names; None on another system."""
    if not STATUS.exists():
        return None
    sizes = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(sizes[kind].split()[0]) * 1024 if kind in sizes else None


if __name__ == "__main__":
    typer.run(main)
