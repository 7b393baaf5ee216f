"""`rust-kmeans choose-k`: how many clusters a table has."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from rust_kmeans.workflow._errors import WorkflowError
from rust_kmeans.workflow.commands._console import console, progress
from rust_kmeans.workflow.commands._options import (
    Columns,
    Drop,
    Dtype,
    Missing,
    Outliers,
    Scale,
    Seed,
    TableFile,
    Unusable,
    check_outputs,
    seed_of,
    words,
)

if TYPE_CHECKING:
    from rust_kmeans._data import Floats
    from rust_kmeans.workflow._choose_k import ChoiceOfK
    from rust_kmeans.workflow._learning import Learned
    from rust_kmeans.workflow._sources import Source

#: More numbers would be a mistyped range.
MOST_NUMBERS = 1_000
_PLOTS = (".png", ".svg", ".pdf")


def choose_k(
    table: TableFile,
    k: Annotated[str, typer.Option("--k", help="Numbers to look at: 1..20, or 2,4,8, or both.")] = "1..20",
    scale: Scale = "standard",
    missing: Missing = "median",
    outliers: Outliers = "gross",
    columns: Columns = "",
    drop: Drop = "",
    unusable: Unusable = "drop",
    dtype: Dtype = "float32",
    seed: Seed = 0,
    max_samples: Annotated[
        int, typer.Option("--max-samples", help="Of more rows so many, drawn at random; 0 for all.")
    ] = 100_000,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Where to draw the criteria: .png, .svg or .pdf.", show_default=False),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Where to write the table of criteria.", show_default=False)
    ] = None,
) -> None:
    """Say how many clusters a table has, what speaks for it, and how sure that is."""
    numbers = _numbers(k)
    if max_samples < 0:
        msg = f"--max-samples is {max_samples}: it must be 0 for all rows, or more."
        raise WorkflowError(msg)
    if plot is not None and plot.suffix.lower() not in _PLOTS:
        msg = f"--plot is {plot}: the name must end in {', '.join(_PLOTS[:-1])} or {_PLOTS[-1]}."
        raise WorkflowError(msg)
    # pandas takes half a second to import, which `--help` should not pay.
    from rust_kmeans.workflow._choose_k import choose_k as choose
    from rust_kmeans.workflow._files import write_bytes
    from rust_kmeans.workflow._learning import Options, learn
    from rust_kmeans.workflow._sources import InMemory, Stored, is_large
    from rust_kmeans.workflow._tables import how_it_is_read, read_table

    check_outputs([table], [plot, csv])
    options = Options(
        columns=words(columns) or None,
        drop=words(drop),
        # Checked by `Options`.
        scale=scale,  # type: ignore[arg-type]  # Options refuses other words
        missing=missing,  # type: ignore[arg-type]  # Options refuses other words
        outliers=outliers,
        unusable=unusable,  # type: ignore[arg-type]  # Options refuses other words
        dtype=dtype,  # type: ignore[arg-type]  # Options refuses other words
    )
    form = how_it_is_read(table)
    with progress() as told:
        source: Source = Stored(table) if is_large(table) else InMemory(read_table(table))
        learned = learn(source, options, told)
        told("choosing the number of clusters", 0, None)
        features = _features(source, learned, max_samples, seed_of(seed))
        choice = choose(features, numbers, max_samples=None, random_state=seed)
    # Whoever reads the output may stop early, which ends the command: files come first.
    if csv is not None:
        write_bytes(csv, choice.table.to_csv().encode())
    if plot is not None:
        drawn = io.BytesIO()
        choice.figure().savefig(drawn, format=plot.suffix[1:].lower())
        write_bytes(plot, drawn.getvalue())
    out = console()
    if form is not None:
        out.print(f"read: {form}", markup=False, soft_wrap=True)
    for decision in learned.decisions:
        out.print(str(decision), markup=False, soft_wrap=True)
    if len(features) < learned.n_kept:
        out.print(f"looked at {len(features):,} of {learned.n_kept:,} rows, drawn at random", soft_wrap=True)
    _print_criteria(out, choice)
    out.print(choice.sentence, markup=False, soft_wrap=True)
    if csv is not None:
        out.print(f"table: {csv}", markup=False, soft_wrap=True)
    if plot is not None:
        out.print(f"plot: {plot}", markup=False, soft_wrap=True)


def _numbers(k: str) -> list[int]:
    found: list[int] = []
    for word in words(k):
        match = re.fullmatch(r"(\d{1,9})(?:\.\.(\d{1,9}))?", word)
        if match is None:
            msg = f"--k has {word!r}: it must be numbers and ranges, as 1..20 or 2,4,8."
            raise WorkflowError(msg)
        first = int(match[1])
        last = int(match[2] or first)
        if last - first >= MOST_NUMBERS:
            msg = f"--k has {word!r}: more than {MOST_NUMBERS} numbers; give a smaller range."
            raise WorkflowError(msg)
        found += range(first, last + 1)
    return found


def _features(source: Source, learned: Learned, most: int, seed: int) -> Floats:
    """Return the features of the rows that are clustered, or of so many of them drawn at random."""
    from rust_kmeans.workflow._learning import drawn, kept

    preparation = learned.preparation
    rows = (values[kept(preparation, values)] for values in source.values(preparation.names))
    return preparation.features(drawn(rows, learned.n_kept, most, seed))


def _print_criteria(out: Console, choice: ChoiceOfK) -> None:
    lines = Table()
    titles = ("k", "inertia", "silhouette", "Davies-Bouldin", "Calinski-Harabasz", "stability", "smallest")
    for title in titles:
        lines.add_column(title, justify="right")
    for k, line in choice.table.iterrows():
        half_width = line["silhouette_half_width"]
        cells = [
            f"{line['inertia']:.6g}",
            f"{line['silhouette']:.3f}" + (f" ± {half_width:.3f}" if half_width else ""),
            f"{line['davies_bouldin']:.3f}",
            f"{line['calinski_harabasz']:.6g}",
            f"{line['stability']:.2f} ± {line['stability_spread']:.2f}",
            f"{line['smallest']:,.0f}",
        ]
        lines.add_row(
            # A star says it without colour too.
            f"{'* ' if k == choice.n_clusters else ''}{k}",
            *("" if "nan" in cell else cell for cell in cells),
            style="bold" if k == choice.n_clusters else None,
        )
    out.print(lines)
