"""The ``kmeans`` binary, for the bench: a file in, centers and labels out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.contract import FitResult, FitSpec, FloatArray, LabelArray, Settings
from harness.datasets import Dataset
from rust_impl.extension import BUILD_COMMAND

#: Names another binary than the one in the checkout.
PATH_VARIABLE = "RUST_KMEANS_CLI"
#: What the binary does when it is not told, as its ``--help`` says; a test holds the two together.
DEFAULTS = Settings(init="k-means++", n_init=1, max_iter=300, tol=0.0)
_BUILT = Path(__file__).resolve().parent.parent / "target" / "release" / "kmeans"


@dataclass(frozen=True)
class BinaryState:
    """The samples' file, and a folder for the start and what the binary writes."""

    data: Path
    folder: tempfile.TemporaryDirectory[str]
    init: Path | None

    @property
    def centers(self) -> Path:
        """Where the binary writes the centers."""
        return Path(self.folder.name) / "centers.npy"

    @property
    def labels(self) -> Path:
        """Where the binary writes the labels."""
        return Path(self.folder.name) / "labels.npy"


@dataclass(frozen=True)
class BinaryFit:
    """The arrays that the binary wrote, and its report: one JSON object."""

    centers: FloatArray
    labels: LabelArray
    report: str


class Binary:
    """Runs the binary as a user would.

    The fit is the whole process, from its start to the files it leaves; its own timing goes to
    ``reported_fit_seconds``.
    """

    def available(self) -> str | None:
        """Return None, or why the binary does not run."""
        try:
            self.version()
        except (OSError, subprocess.SubprocessError) as error:
            return f"the kmeans binary does not run ({error}); run: {BUILD_COMMAND}"
        return None

    def version(self) -> str:
        """Return what ``kmeans --version`` prints after the name."""
        done = subprocess.run([path(), "--version"], capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.split()[-1]

    def prepare(self, dataset: Dataset, spec: FitSpec) -> BinaryState:
        """Write the start to a file; the binary reads the samples itself."""
        folder = tempfile.TemporaryDirectory(prefix="kmeans-")
        init = None
        if spec.init is not None:
            init = Path(folder.name) / "init.npy"
            np.save(init, spec.init)
        return BinaryState(dataset.path, folder, init)

    def fit(self, state: BinaryState, spec: FitSpec) -> BinaryFit:
        """Run the process and read the files it wrote.

        Raises
        ------
        RuntimeError
            With the binary's own message, if it fails.
        MemoryError
            If the system killed it.
        """
        options: dict[str, Any] = {
            "--k": spec.n_clusters,
            "--init": state.init,
            "--max-iter": spec.max_iter,
            "--tol": spec.tol,
            "--threads": spec.n_threads,
            "--seed": spec.seed,
            "--centers": state.centers,
            "--labels": state.labels,
        }
        words = [str(word) for option in options.items() if option[1] is not None for word in option]
        done = subprocess.run([path(), str(state.data), *words], capture_output=True, text=True, check=False)
        if done.returncode == -signal.SIGKILL:
            raise MemoryError("the kmeans process was killed by the system, most likely out of memory")
        if done.returncode != 0:
            message = done.stderr.strip().splitlines()[:1] or ["no message"]
            raise RuntimeError(f"kmeans ended with {done.returncode}: {message[0]}")
        return BinaryFit(
            np.load(state.centers, allow_pickle=False),
            np.load(state.labels, allow_pickle=False),
            done.stdout,
        )

    def result(self, fitted: BinaryFit, spec: FitSpec) -> FitResult:
        """Read the binary's report."""
        said = json.loads(fitted.report)
        return FitResult(
            centers=fitted.centers,
            n_iter=said["n_iter"],
            reported_inertia=said["inertia"],
            settings=Settings(
                init=DEFAULTS.init if spec.init is None else "given",
                n_init=1,
                max_iter=DEFAULTS.max_iter if spec.max_iter is None else spec.max_iter,
                tol=DEFAULTS.tol if spec.tol is None else spec.tol,
            ),
            labels=fitted.labels,
            seeding_seconds=said["seeding_seconds"] if spec.init is None else None,
            reported_fit_seconds=said["fit_seconds"],
            started_peak_rss_bytes=said["peak_rss_bytes"],
            isa=said["isa"],
            algorithm=said["algorithm"],
        )

    def predict(self, state: BinaryState, fitted: BinaryFit) -> None:
        """Return None: the binary only fits."""

    def close(self, state: BinaryState) -> None:
        """Remove the folder."""
        state.folder.cleanup()


def binary() -> Binary:
    """Return the registry's ``rust-cli``."""
    return Binary()


def path() -> str:
    """Return where the binary is, or should be."""
    return os.environ.get(PATH_VARIABLE) or str(_BUILT)
