"""Exact k-means on Dask arrays and data frames, from threads of one machine to a cluster.

Needs Dask: ``pip install "rust_kmeans[dask]"``.
"""

try:
    import dask.array  # noqa: F401  # what the package cannot do without
    import distributed  # noqa: F401  # the same
except ImportError as error:
    _MESSAGE = f'rust_kmeans.dask needs Dask ({error}): pip install "rust_kmeans[dask]"'
    raise ImportError(_MESSAGE) from error

from rust_kmeans.dask._estimator import KMeans
from rust_kmeans.dask._kernel import BlockKernel, BlockPartial, BlockState, RustKernel

__all__ = ["BlockKernel", "BlockPartial", "BlockState", "KMeans", "RustKernel"]
