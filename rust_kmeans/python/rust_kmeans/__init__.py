"""Exact k-means on the CPU with scikit-learn's interface.

Labels are those of float64 distances to the centers, ties to the lowest index; centers and inertia are the
same bits for any number of threads and any split of the rows.
"""

from rust_kmeans._core import Partial, Scale, __version__, assign_block, block_scale, kernel_info
from rust_kmeans._kmeans import KMeans, k_means, kmeans_plusplus, kmeans_sweep
from rust_kmeans._minibatch import MiniBatchKMeans
from rust_kmeans._spherical import SphericalKMeans

__all__ = [
    "KMeans",
    "MiniBatchKMeans",
    "Partial",
    "Scale",
    "SphericalKMeans",
    "__version__",
    "assign_block",
    "block_scale",
    "k_means",
    "kernel_info",
    "kmeans_plusplus",
    "kmeans_sweep",
]
