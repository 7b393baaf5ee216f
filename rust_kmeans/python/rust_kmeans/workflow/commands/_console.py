"""How commands speak: results to the output, progress to the error stream, whole lines in a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from rust_kmeans.workflow._sources import Progress as Told


def console() -> Console:
    """Return what prints results; a file or a pipe has no width of its own: lines stay whole there."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return Console(highlight=False)
    return Console(width=160, highlight=False)


@contextmanager
def progress() -> Iterator[Told]:
    """Show what goes on, on a terminal, until it is over; a pipe gets nothing."""
    errors = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rows]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task("reading", total=None, rows="")

        def tell(stage: str, n_rows: int, total: int | None) -> None:
            rows = f"{n_rows:,} rows" if n_rows else ""
            bar.update(task, description=stage, completed=n_rows, total=total, rows=rows)

        yield tell
