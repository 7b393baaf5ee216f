"""THE list of implementations: one short entry each, imported only when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.contract import Implementation
from harness.scenario import parse_names


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
    semantics : {"exact", "mini-batch"}
        Only implementations of the same mathematics are ranked together.
    matched : bool
        Whether it can start from given centers; if not, it sits the matched track out.
    default : bool
        Whether it is measured when ``--implementations`` is not given.
    """

    name: str
    adapter: str
    summary: str
    semantics: str = "exact"
    matched: bool = True
    default: bool = True


ENTRIES: tuple[Entry, ...] = (
    Entry("numpy", "python_impl.adapter:numpy_kmeans", "the textbook algorithm in NumPy"),
    Entry("rust", "sklearn_impl.adapter:rust", "rust_kmeans.KMeans, the extension module"),
    Entry("rust-cli", "rust_impl.cli:binary", "the kmeans binary, a file in and centers out"),
    Entry("sklearn-lloyd", "sklearn_impl.adapter:lloyd", "scikit-learn KMeans(algorithm='lloyd')"),
    Entry("sklearn-elkan", "sklearn_impl.adapter:elkan", "scikit-learn KMeans(algorithm='elkan')"),
    Entry(
        "sklearn-minibatch",
        "sklearn_impl.adapter:minibatch",
        "scikit-learn MiniBatchKMeans",
        semantics="mini-batch",
    ),
    Entry("dask-ml", "dask_impl.dask_ml:dask_ml", "dask-ml KMeans, threads"),
    Entry("dask-rust", "dask_impl.adapter:dask_rust", "our Dask driver over the Rust kernel, threads"),
    Entry("dask-numpy", "dask_impl.adapter:dask_numpy", "our Dask driver over the NumPy kernel, threads"),
    Entry(
        "dask-rust-processes",
        "dask_impl.adapter:dask_rust_processes",
        "our Dask driver over the Rust kernel, worker processes",
        default=False,
    ),
    Entry(
        "dask-numpy-processes",
        "dask_impl.adapter:dask_numpy_processes",
        "our Dask driver over the NumPy kernel, worker processes",
        default=False,
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


def load(adapter: str) -> Implementation[Any]:
    """Import an adapter (``module:factory``) and make its implementation."""
    module, _, factory = adapter.partition(":")
    implementation: Implementation[Any] = getattr(importlib.import_module(module), factory)()
    return implementation
