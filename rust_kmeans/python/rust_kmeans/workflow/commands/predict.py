"""`rust-kmeans predict`: the cluster of each row of a table, read in parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from rust_kmeans.workflow._errors import WorkflowError
from rust_kmeans.workflow._nearest import two_nearest
from rust_kmeans.workflow.commands._console import console, progress
from rust_kmeans.workflow.commands._options import ModelFile, TableFile, check_outputs

if TYPE_CHECKING:
    import pandas as pd

    from rust_kmeans.workflow._model import ClusterModel
    from rust_kmeans.workflow._sources import Progress


def predict(
    model: ModelFile,
    table: TableFile,
    out: Annotated[
        Path, typer.Option("--out", help="Where to write: .csv, .csv.gz or .parquet.", show_default=False)
    ],
) -> None:
    """Write the cluster of each row, its distance to the center, and how much farther the next center is.

    A row with an infinite value, or a missing one that the model does not fill, gets -1 and empty fields.
    """
    # pandas takes half a second to import, which `--help` should not pay.
    from rust_kmeans.workflow._model_file import load_model
    from rust_kmeans.workflow._tables import check_writable, write_table

    check_outputs([model, table], [out])
    check_writable(out)
    known = load_model(model)
    n_without = Counter[str]()
    with progress() as told:
        write_table(out, _predictions(known, table, n_without, told))
    said = console()
    for reason, count in n_without.items():
        rows = "1 row has" if count == 1 else f"{count:,} rows have"
        said.print(f"label -1: {rows} {reason}, and so no cluster", soft_wrap=True)
    said.print(f"labels: {out}", markup=False, soft_wrap=True)


def _predictions(
    model: ClusterModel, table: Path, n_without: Counter[str], told: Progress
) -> Iterator[pd.DataFrame]:
    """Yield what the model says of the rows; count those that it can say nothing of, by the reason."""
    import pandas as pd

    from rust_kmeans.workflow._fit import LEFT_OUT
    from rust_kmeans.workflow._tables import iter_table, values_of

    n_rows = 0
    for part in iter_table(table, model.names):
        try:
            values = values_of(part, model.names)
            infinite = np.isinf(values).any(axis=1)
            # What is filled is not missing.
            missing = (np.isnan(values) & np.isnan(model.preparation.fill)).any(axis=1) & ~infinite
            for reason, rows in (("an infinite value", infinite), ("a missing value", missing)):
                if rows.any():
                    n_without[reason] += int(np.count_nonzero(rows))
            good = ~(infinite | missing)
            labels = np.full(len(values), LEFT_OUT, dtype=np.int32)
            distances, margins = np.full((2, len(values)), np.nan)
            if good.any():
                features = model.preparation.features(values if good.all() else values[good])
                labels[good], distances[good], margins[good] = two_nearest(features, model.centers)
        except WorkflowError as error:
            where = f" in the rows from {n_rows} on" if n_rows else ""
            msg = f"{table}{where}: {error}"
            raise WorkflowError(msg) from error
        n_rows += len(part)
        told("labelling", n_rows, None)
        yield pd.DataFrame({"label": labels, "distance": distances, "margin": margins})
