"""`rust-kmeans predict`: the cluster of each row of a table, read in parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rust_kmeans.workflow._errors import WorkflowError
from rust_kmeans.workflow.commands._console import console, progress

if TYPE_CHECKING:
    import pandas as pd

    from rust_kmeans.workflow._model import ClusterModel
    from rust_kmeans.workflow._sources import Progress


def predict(
    model: Annotated[Path, typer.Argument(help="A model file.", show_default=False)],
    table: Annotated[
        Path,
        typer.Argument(help="CSV (.csv, .csv.gz), Parquet (file or folder) or .npy.", show_default=False),
    ],
    out: Annotated[
        Path, typer.Option("--out", help="Where to write: .csv, .csv.gz or .parquet.", show_default=False)
    ],
) -> None:
    """Write the cluster of each row, its distance to the center, and how much farther the next center is."""
    # pandas takes half a second to import, which `--help` should not pay.
    from rust_kmeans.workflow._model_file import load_model
    from rust_kmeans.workflow._tables import check_writable, write_table

    check_writable(out)
    known = load_model(model)
    with progress() as told:
        write_table(out, _predictions(known, table, told))
    console().print(f"labels: {out}", soft_wrap=True)


def _predictions(model: ClusterModel, table: Path, told: Progress) -> Iterator[pd.DataFrame]:
    import pandas as pd

    from rust_kmeans.workflow._nearest import two_nearest
    from rust_kmeans.workflow._tables import iter_table, values_of

    n_rows = 0
    for part in iter_table(table, model.names):
        try:
            features = model.preparation.features(values_of(part, model.names))
            found = two_nearest(features, model.centers)
        except WorkflowError as error:
            where = f" in the rows from {n_rows} on" if n_rows else ""
            msg = f"{table}{where}: {error}"
            raise WorkflowError(msg) from error
        n_rows += len(part)
        told("labelling", n_rows, None)
        yield pd.DataFrame({"label": found.labels, "distance": found.distances, "margin": found.margins})
