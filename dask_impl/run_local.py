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
    options: shared.Options,
    workers: Annotated[int | None, typer.Option(help="Worker processes [all usable cores].")] = None,
) -> None:
    """Generate blobs with Dask on worker processes of this machine and cluster them with three libraries."""
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
