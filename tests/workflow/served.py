"""A model to serve, and the command that serves it as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from rust_kmeans.workflow import ClusterModel, Preparation
from rust_kmeans.workflow._statistics import StatisticsBuilder

#: A busy machine is no failure.
PATIENCE = 300.0


def small_model(
    n_features: int = 3,
    n_clusters: int = 4,
    *,
    dtype: Literal["float32", "float64"] = "float32",
    seed: int = 0,
    may_miss: bool = True,
) -> ClusterModel:
    """Return a model over random centers; all columns but the last may be missing."""
    random = np.random.default_rng(seed)
    fill = random.standard_normal(n_features)
    if not may_miss:
        fill[-1] = np.nan
    infinite = np.full(n_features, np.inf)
    preparation = Preparation(
        names=tuple(f"x{feature}" for feature in range(n_features)),
        fill=fill,
        lower=-infinite,
        upper=infinite,
        offset=random.standard_normal(n_features),
        divisor=random.uniform(0.5, 2.0, n_features),
        dtype=dtype,
        scale="standard",
        missing="median" if may_miss else "error",
    )
    centers = random.standard_normal((n_clusters, n_features)).astype(dtype)
    rows = StatisticsBuilder(preparation, centers)
    rows.add(random.standard_normal((1_000, n_features)) * 2)
    return ClusterModel(centers, preparation, rows.finish(0), {"n_clusters": n_clusters})


class Running(NamedTuple):
    """A service that runs."""

    process: subprocess.Popen[str]
    url: str
    port: int

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def stop(self) -> tuple[int, str]:
        """Ask it to end; return its status and what it said."""
        self.process.terminate()
        said = self.process.communicate(timeout=PATIENCE)[1]
        return self.process.returncode, said


COMMAND = (sys.executable, "-c", "from rust_kmeans.workflow.commands import main; main()")


@contextmanager
def serving(model: Path, *options: str, token: str = "") -> Iterator[Running]:
    """Run `rust-kmeans serve` on a free port, until the block ends."""
    command = [*COMMAND, "serve", str(model), "--port", "0", *options]
    environment = os.environ | {"RUST_KMEANS_TOKEN": token}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        try:
            url = said.rpartition(" on ")[2].strip()
            assert url.startswith("http://"), said + process.stderr.read()
            yield Running(process, url, int(url.rpartition(":")[2]))
        finally:
            process.kill()
