"""THE list of implementations: one short entry each, imported only when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.contract import Implementation
from harness.scenario import DTYPES, Track, parse_names


@dataclass(frozen=True)
class Entry:
    """One implementation of the bench.

    Parameters
    ----------
    name : str
        As on the command line and in the rows.
    adapter : str
        ``module:factory``; the factory takes no argument and returns an ``Implementation``.
    summary : str
        What it is, in a few words.
    semantics : {"exact", "mini-batch", "approximate", "sampled"}
        Only implementations of the same mathematics are ranked together.
    matched : bool
        Whether it can start from given centers; if not, it sits the matched track out.
    default : bool
        Whether it is measured when ``--implementations`` is not given.
    dtypes : tuple of {"float32", "float64"}
        Types it computes in; it sits the others out.
    ours : bool
        Whether it is of this project: no peer of the headline summary.
    extra : str
        Extra of pyproject.toml that installs its library; empty where the bench itself needs it.
    checkout : Path or None
        Folder of another revision whose adapter and build are measured (see `harness.revisions`); None for
        those of this checkout.
    """

    name: str
    adapter: str
    summary: str
    semantics: str = "exact"
    matched: bool = True
    default: bool = True
    dtypes: tuple[str, ...] = DTYPES
    ours: bool = False
    extra: str = ""
    checkout: Path | None = None

    def sits_out(self, track: Track, dtype: str) -> str | None:
        """Return why it cannot be measured on a track in a type, whatever is installed, or None."""
        if track == "matched" and not self.matched:
            return "cannot start from given centers"
        if dtype not in self.dtypes:
            return f"computes in {' or '.join(self.dtypes)} only"
        return None


ENTRIES: tuple[Entry, ...] = (
    Entry("numpy", "python_impl.adapter:numpy_kmeans", "the textbook algorithm in NumPy"),
    Entry("rust", "sklearn_impl.adapter:rust", "rust_kmeans.KMeans, the extension module", ours=True),
    Entry("rust-cli", "rust_impl.cli:binary", "the kmeans binary, a file in and centers out", ours=True),
    Entry("sklearn-lloyd", "sklearn_impl.adapter:lloyd", "scikit-learn KMeans(algorithm='lloyd')"),
    Entry("sklearn-elkan", "sklearn_impl.adapter:elkan", "scikit-learn KMeans(algorithm='elkan')"),
    Entry(
        "sklearn-minibatch",
        "sklearn_impl.adapter:minibatch",
        "scikit-learn MiniBatchKMeans",
        semantics="mini-batch",
    ),
    Entry(
        "rust-minibatch",
        "sklearn_impl.adapter:rust_minibatch",
        "rust_kmeans.MiniBatchKMeans",
        semantics="mini-batch",
        default=False,
        ours=True,
    ),
    Entry("dask-ml", "dask_impl.dask_ml:dask_ml", "dask-ml KMeans, threads"),
    Entry(
        "dask-rust",
        "dask_impl.adapter:dask_rust",
        "our Dask driver over the Rust kernel, threads",
        ours=True,
    ),
    Entry(
        "dask-numpy",
        "dask_impl.adapter:dask_numpy",
        "our Dask driver over the NumPy kernel, threads",
        ours=True,
    ),
    Entry(
        "dask-rust-processes",
        "dask_impl.adapter:dask_rust_processes",
        "our Dask driver over the Rust kernel, worker processes",
        default=False,
        ours=True,
    ),
    Entry(
        "dask-numpy-processes",
        "dask_impl.adapter:dask_numpy_processes",
        "our Dask driver over the NumPy kernel, worker processes",
        default=False,
        ours=True,
    ),
    Entry(
        "spark",
        "spark_impl.adapter:spark",
        "Spark MLlib KMeans, local[n], float64 inside",
        default=False,
        extra="spark",
    ),
    Entry(
        "faiss",
        "peer_impl.faiss:faiss",
        "faiss Kmeans over all samples",
        default=False,
        dtypes=("float32",),
        extra="peers",
    ),
    Entry(
        "faiss-default",
        "peer_impl.faiss:faiss_default",
        "faiss Kmeans as it comes: 256 samples a cluster, 25 iterations",
        semantics="sampled",
        matched=False,
        default=False,
        dtypes=("float32",),
        extra="peers",
    ),
    Entry(
        "sklearnex",
        "sklearn_impl.adapter:sklearnex",
        "scikit-learn-intelex KMeans (oneDAL), not patched in",
        default=False,
        extra="peers",
    ),
    Entry(
        "superkmeans",
        "peer_impl.superkmeans:superkmeans",
        "SuperKMeans over all samples, one level, no early stop",
        semantics="approximate",
        matched=False,
        default=False,
        dtypes=("float32",),
        extra="peers",
    ),
    Entry(
        "superkmeans-default",
        "peer_impl.superkmeans:superkmeans_default",
        "SuperKMeans as it comes: samples, two levels above 1e5",
        semantics="sampled",
        matched=False,
        default=False,
        dtypes=("float32",),
        extra="peers",
    ),
    Entry(
        "mlpack-elkan",
        "peer_impl.mlpack:elkan",
        "mlpack kmeans(algorithm='elkan'), float64 inside",
        default=False,
        extra="peers",
    ),
    Entry(
        "mlpack-hamerly",
        "peer_impl.mlpack:hamerly",
        "mlpack kmeans(algorithm='hamerly'), float64 inside",
        default=False,
        extra="peers",
    ),
    Entry(
        "mlpack-dualtree",
        "peer_impl.mlpack:dualtree",
        "mlpack kmeans(algorithm='dualtree'), float64 inside",
        default=False,
        extra="peers",
    ),
)

#: The implementation everyone can read; its answer from the stored start is what rows are held against.
REFERENCE = ENTRIES[0]


def select(text: str | None, entries: Sequence[Entry] = ENTRIES) -> tuple[Entry, ...]:
    """Return the entries named in a comma-separated list, or the default ones.

    Raises
    ------
    UserError
        If a name is unknown.
    """
    if text is None:
        return tuple(entry for entry in entries if entry.default)
    by_name = {entry.name: entry for entry in entries}
    return tuple(by_name[name] for name in parse_names(text, "--implementations", tuple(by_name)))


def load(adapter: str) -> Implementation[Any, Any]:
    """Import an adapter (``module:factory``) and make its implementation."""
    module, _, factory = adapter.partition(":")
    implementation: Implementation[Any, Any] = getattr(importlib.import_module(module), factory)()
    return implementation
