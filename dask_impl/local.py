"""What all Dask rows of the bench share: the same chunks of the same file, on threads or on worker processes.

Chunks: one per thread, as dask-ml itself would cut an array, but none below 16,384 rows. Measured with
dask-ml on 2 threads, 10 features and clusters, milliseconds an iteration for 1, 2, 4 and 8 chunks: 68, 59, 63
and 65 for 1e6 rows, 14, 15, 17 and 24 for 1e5. Our own driver hands out groups of chunks and hardly minds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import dask
import dask.array as da
import numpy as np

from harness.contract import FloatArray
from harness.datasets import Dataset

if TYPE_CHECKING:
    from distributed import Client

MIN_CHUNK_ROWS = 1 << 14

#: Environment of a worker process. One thread each: BLAS must not start more. And Dask has malloc return
#: memory at once, so that each temporary array of 128 KiB or more costs page faults: half of NumPy's speed.
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 27),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 25),
}


def dask_array(dataset: Dataset, n_threads: int) -> da.Array:
    """Return the dataset as a lazy array: each chunk reads its own rows of the file."""
    n_chunks = max(1, min(n_threads, dataset.n_samples // MIN_CHUNK_ROWS))
    bounds = [dataset.n_samples * i // n_chunks for i in range(n_chunks + 1)]
    chunks = [
        da.from_delayed(
            dask.delayed(read_rows)(dataset.path, first, last),
            shape=(last - first, dataset.n_features),
            dtype=np.dtype(dataset.dtype),
        )
        for first, last in pairwise(bounds)
    ]
    return da.concatenate(chunks)


def read_rows(path: Path, first: int, last: int) -> FloatArray:
    """Read rows of a ``.npy`` file."""
    rows: FloatArray = np.array(np.load(path, mmap_mode="r", allow_pickle=False)[first:last])
    return rows


def start_cluster(n_workers: int, *, dashboard: bool = False) -> Client:
    """Start single-threaded worker processes on this machine and return their client.

    No port beyond the loopback interface, no memory limit of Dask's: the bench sets its own.

    Parameters
    ----------
    n_workers : int
        Number of processes.
    dashboard : bool
        Whether Dask's dashboard runs; it costs time that the bench would measure.
    """
    from distributed import Client, LocalCluster

    # The variables must be there before a worker loads its libraries, and Dask lets this process's own take
    # precedence over the ones it is configured to set.
    with _environment(WORKER_ENVIRONMENT):
        cluster = LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0" if dashboard else None,
            # The HTTP server runs without it too: not on a fixed port, and not for other machines.
            scheduler_kwargs={"dashboard": dashboard, "dashboard_address": "127.0.0.1:0"},
            memory_limit=0,
        )
        return Client(cluster, set_as_default=False)


def stop_cluster(client: Client) -> None:
    """End what `start_cluster` started."""
    cluster = client.cluster
    client.close()
    cluster.close()


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
