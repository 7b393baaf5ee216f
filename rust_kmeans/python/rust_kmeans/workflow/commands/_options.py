"""Options that several commands have: how a table is prepared, and how they are spelled."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from rust_kmeans.workflow._errors import WorkflowError

#: scikit-learn takes no larger seed.
MAX_SEED = 2**32 - 1

TableFile = Annotated[
    Path, typer.Argument(help="CSV (.csv, .csv.gz), Parquet (file or folder) or .npy.", show_default=False)
]
ModelFile = Annotated[Path, typer.Argument(help="A model file.", show_default=False)]
Scale = Annotated[str, typer.Option("--scale", help="standard, minmax, robust or none.")]
Missing = Annotated[str, typer.Option("--missing", help="Fill by mean or median, drop these rows, or error.")]
Outliers = Annotated[
    str,
    typer.Option(
        "--outliers",
        help="Rows to leave out: none; gross, far beyond the middle 99 % of a column; iqr; zscore; with "
        "another factor as zscore:3.",
    ),
]
Columns = Annotated[
    str,
    typer.Option(
        "--columns",
        help='Columns to use, separated by commas [all]; a name with a comma in "quotes".',
        show_default=False,
    ),
]
Drop = Annotated[str, typer.Option("--drop", help="Columns to leave out.", show_default=False)]
Unusable = Annotated[
    str, typer.Option("--unusable", help="What to do with columns of no use: drop or error.")
]
Dtype = Annotated[str, typer.Option("--dtype", help="Of the features: float32 or float64.")]
Seed = Annotated[int, typer.Option("--seed", help="Of starting centers and samples.")]


def seed_of(seed: int) -> int:
    """Return a seed that scikit-learn takes."""
    if not 0 <= seed <= MAX_SEED:
        msg = f"--seed is {seed}: it must be from 0 to {MAX_SEED}."
        raise WorkflowError(msg)
    return seed


def check_outputs(inputs: Iterable[Path], outputs: Iterable[Path | None]) -> None:
    """Refuse files that cannot be written, or are those that a command reads, before long work.

    Raises
    ------
    WorkflowError
        For a folder, a file in a folder that is not there, and the name of another file of the command.
    """
    from rust_kmeans.workflow._tables import check_folder

    taken = {path.resolve() for path in inputs}
    for output in outputs:
        if output is None:
            continue
        check_folder(output)
        if output.is_dir():
            msg = f"{output} cannot be written: it is a folder; give the name of a file."
            raise WorkflowError(msg)
        place = output.resolve()
        # A file in a folder of tables would be a part of the table from then on.
        if not taken.isdisjoint([place, *place.parents]):
            msg = f"{output} cannot be written: this command reads it, or writes it for another option."
            raise WorkflowError(msg)
        taken.add(place)


def words(text: str) -> list[str]:
    """Return the words of a list separated by commas; one with a comma stands in quotes."""
    line = next(csv.reader([text], skipinitialspace=True), [])
    return [word.strip() for word in line if word.strip()]
