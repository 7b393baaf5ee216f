"""`rust-kmeans evaluate`: how good the clusters of a model are on a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from rust_kmeans.workflow._errors import WorkflowError
from rust_kmeans.workflow.commands._console import console, progress
from rust_kmeans.workflow.commands._options import ModelFile, Seed, TableFile, check_outputs, seed_of

if TYPE_CHECKING:
    from rust_kmeans._data import Floats
    from rust_kmeans.workflow._model import ClusterModel
    from rust_kmeans.workflow._quality import Agreement, Quality
    from rust_kmeans.workflow._sources import Progress

#: A table of more classes is written, not printed.
_MOST_PRINTED = 20


def evaluate(
    model: ModelFile,
    table: TableFile,
    labels: Annotated[
        str | None,
        typer.Option("--labels", help="A column of known classes to compare with.", show_default=False),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", help="Where to write the confusion table of --labels.", show_default=False),
    ] = None,
    seed: Seed = 0,
) -> None:
    """Say how good the clusters of a model are on a table; with known classes, how they agree."""
    if csv is not None and labels is None:
        msg = "--csv writes the confusion table: give --labels, the column of known classes."
        raise WorkflowError(msg)
    # pandas takes half a second to import, which `--help` should not pay.
    from rust_kmeans.workflow._files import write_bytes
    from rust_kmeans.workflow._model_file import load_model
    from rust_kmeans.workflow._quality import quality

    check_outputs([model, table], [csv])
    known = load_model(model)
    with progress() as told:
        features, classes, n_left_out = _rows(known, table, labels, told)
        told("judging", 0, None)
        found = quality(
            features,
            known.estimator.predict(features),
            known.centers,
            classes,
            random_state=seed_of(seed),
        )
    # Whoever reads the output may stop early, which ends the command: files come first.
    if csv is not None and found.agreement is not None:
        write_bytes(csv, found.agreement.confusion.to_csv().encode())
    out = console()
    if n_left_out:
        rows = "1 row" if n_left_out == 1 else f"{n_left_out:,} rows"
        reason = "as outliers or for missing values" + ("" if labels is None else f", also of {labels}")
        out.print(f"left out: {rows}, {reason}", markup=False, soft_wrap=True)
    _print_quality(out, found, known.n_clusters)
    if found.agreement is None:
        return
    _print_agreement(out, found.agreement)
    if csv is not None:
        out.print(f"confusion: {csv}", markup=False, soft_wrap=True)


def _rows(
    model: ClusterModel, table: Path, labels: str | None, told: Progress
) -> tuple[Floats, NDArray[Any] | None, int]:
    """Return features of the rows that a fit would keep, their classes, and how many rows are left out."""
    from rust_kmeans.workflow._learning import kept
    from rust_kmeans.workflow._tables import iter_table, read_table, values_of

    preparation = model.preparation
    # At once: in parts, what is written as 1 would be a number in one and text in another.
    column = None if labels is None else read_table(table, [labels])[labels]
    features, classes, n_rows, n_kept = [], [], 0, 0
    for part in iter_table(table, preparation.names):
        values = values_of(part, preparation.names)
        good = kept(preparation, values)
        if column is not None:
            known = column.iloc[n_rows : n_rows + len(part)]
            good &= known.notna().to_numpy()
            classes.append(known.to_numpy(dtype=object)[good])
        features.append(preparation.features(values[good]))
        n_rows, n_kept = n_rows + len(good), n_kept + int(good.sum())
        told("reading", n_rows, None)
    if not n_kept:
        msg = f"{table}: none of its {n_rows:,} rows can be used."
        raise WorkflowError(msg)
    return np.concatenate(features), np.concatenate(classes) if classes else None, n_rows - n_kept


def _print_quality(out: Console, found: Quality, n_clusters: int) -> None:
    lines = Table(show_header=False)
    lines.add_column()
    lines.add_column(justify="right")
    clusters = f"{found.n_clusters} of {n_clusters}" if found.n_clusters < n_clusters else str(n_clusters)
    lines.add_row("rows", f"{found.n_samples:,}")
    lines.add_row("clusters with rows", clusters)
    lines.add_row("inertia", f"{found.inertia:.6g}")
    lines.add_row("inertia of a row", f"{found.inertia / found.n_samples:.6g}")
    if found.n_clusters > 1:
        lines.add_row("silhouette", str(found.silhouette))
        lines.add_row("Davies-Bouldin (less is better)", f"{found.davies_bouldin:.4g}")
        lines.add_row("Calinski-Harabasz (more is better)", f"{found.calinski_harabasz:.6g}")
    out.print(lines)


def _print_agreement(out: Console, agreement: Agreement) -> None:
    lines = Table(show_header=False)
    lines.add_column()
    lines.add_column(justify="right")
    lines.add_row("adjusted Rand index", f"{agreement.adjusted_rand:.4f}")
    lines.add_row("normalised mutual information", f"{agreement.mutual_information:.4f}")
    lines.add_row("accuracy, each cluster its most frequent class", f"{agreement.accuracy:.2%}")
    out.print(lines)
    confusion = agreement.confusion
    if max(confusion.shape) > _MOST_PRINTED:
        out.print(f"{len(confusion)} classes: --csv FILE writes how they are confused", soft_wrap=True)
        return
    counts = Table(title="rows of each class, by the class of their cluster")
    counts.add_column("class")
    for name in confusion.columns:
        counts.add_column(str(name), justify="right")
    for name, line in confusion.iterrows():
        counts.add_row(str(name), *(f"{count:,}" for count in line))
    out.print(counts)
