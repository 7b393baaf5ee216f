"""Real data, same start: the exact implementations agree with the reference, in both types."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.datasets import CachedDataset, obtain
from harness.referee import judge
from harness.registry import ENTRIES, Entry
from harness.scenario import DTYPES, DatasetSpec
from tests.test_conformance import fit, reference_for

#: One of every kind of code; the Dask driver in processes is held to the same bits elsewhere.
EXACT = [entry for entry in ENTRIES if entry.semantics == "exact" and entry.default]
ROWS = {"covertype": 20_000, "mnist": 4_000}


def real_slice(name: str, dtype: str, folder: Path, cache: Path) -> CachedDataset:
    """Return the first rows of a real data set as a file of its own, as a user would pass it."""
    path = cache / f"{name}.npy"
    if not path.exists():
        source = (
            folder / "tables" / "covertype_286k.npz"
            if name == "covertype"
            else folder / "mnist" / "t10k-images-idx3-ubyte.gz"
        )
        whole = obtain(DatasetSpec("file", 0, 0, 10, path=source), cache)
        np.save(path, whole.dataset.memmap()[: ROWS[name]])
    return obtain(DatasetSpec("file", 0, 0, 10, dtype=dtype, path=path), cache)


@pytest.mark.parametrize("entry", EXACT, ids=lambda entry: entry.name)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", list(ROWS))
def test_exact_implementations_agree_on_real_data(
    entry: Entry, dtype: str, name: str, real_data: Path, cache: Path
) -> None:
    data = real_slice(name, dtype, real_data, cache)
    verdict = judge(fit(entry, data, "matched"), entry, "matched", data, reference_for(data))
    assert verdict.status == "ok", verdict.reason
