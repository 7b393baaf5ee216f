"""Ours, dask-ml and scikit-learn on worker processes of this machine: ``python -m dask_impl.run_local``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from dask_impl import comparison as shared
from dask_impl.local import start_cluster, stop_cluster
from harness.environment import usable_cores
from harness.errors import UserError

if TYPE_CHECKING:
    from distributed import Client


def main(
    rows: shared.Rows = "5e5",
    features: shared.Features = "2",
    clusters: shared.Clusters = "4",
    chunk: shared.Chunk = "1e5",
    spread: shared.Spread = 2.0,
    dtype: shared.Dtype = "float32",
    seed: shared.Seed = 0,
    repeats: shared.Repeats = "1",
    workers: Annotated[int | None, typer.Option(help="Worker processes [all usable cores].")] = None,
    plot: shared.Plot = None,
    results: shared.Results = shared.ROOT / "results",
    report: shared.Report = None,
) -> None:
    """Generate blobs with Dask on worker processes of this machine and cluster them with three libraries."""
    options = shared.read_options(
        rows=rows,
        features=features,
        clusters=clusters,
        chunk=chunk,
        spread=spread,
        dtype=dtype,
        seed=seed,
        repeats=repeats,
        plot=plot,
        results=results,
        report=report,
    )
    if workers is not None and workers < 1:
        raise UserError(f"--workers: {workers} is less than 1")
    shared.compare("local", options, _local_cluster(workers or usable_cores()))


@contextmanager
def _local_cluster(n_workers: int) -> Iterator[Client]:
    client = start_cluster(n_workers, dashboard=True)
    try:
        yield client
    finally:
        stop_cluster(client)


if __name__ == "__main__":
    sys.exit(shared.program("run_local", main))
