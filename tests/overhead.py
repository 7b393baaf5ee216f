"""What the bench costs beside what it measures: ``python -m tests.overhead``.

A measurement of an implementation that does nothing, against a Python that imports what its worker imports.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from harness.contract import FitSpec
from harness.datasets import obtain
from harness.isolate import Limits, measure
from harness.scenario import DatasetSpec

REPEATS = 15


def main() -> int:
    """Print the medians, in seconds, in turn so that a drift of the machine falls on both."""
    measured, imported = [], []
    with tempfile.TemporaryDirectory() as folder:
        data = obtain(DatasetSpec("blobs", 10_000, 10, 10), Path(folder))
        spec = FitSpec(10, data.init, 1, 100, 0.0, 0, 1, "float32")
        for _ in range(REPEATS):
            measured.append(measure("tests.fakes:honest", data.dataset, spec, Limits(60.0)).wall_seconds)
            start = perf_counter()
            subprocess.run([sys.executable, "-c", "import harness.worker, tests.fakes"], check=True)
            imported.append(perf_counter() - start)
    whole, of_import = statistics.median(measured), statistics.median(imported)
    sys.stdout.write(
        f"a measurement that does nothing: {whole:.2f} s; interpreter and imports alone: {of_import:.2f} s; "
        f"the harness adds {whole - of_import:.2f} s\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
