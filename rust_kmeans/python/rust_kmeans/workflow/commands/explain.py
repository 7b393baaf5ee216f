"""`rust-kmeans explain`: what the clusters of a model are, in words, as a page and as tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rust_kmeans.workflow._cards import CHOSEN, describe_clusters, left_out
from rust_kmeans.workflow._explain import explain as explain_clusters
from rust_kmeans.workflow._explain import write_explanation_tables
from rust_kmeans.workflow._model_file import load_model
from rust_kmeans.workflow._page import write_explanation
from rust_kmeans.workflow.commands._console import console
from rust_kmeans.workflow.commands._options import check_outputs


def explain(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model that `fit` stored.")],
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="CSV, Parquet or npy: the rows of the fit.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FOLDER|PAGE.html", help="A page, or a folder for a page and CSV files."
        ),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FOLDER", help="A folder for the CSV files.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Draws the rows of the projection.", min=0)] = 0,
) -> None:
    """Tell in words, figures and tables what sets the clusters of a model apart."""
    printer = console()
    is_page = out is not None and out.suffix.lower() in {".html", ".htm"}
    if out is not None and is_page:
        out.parent.mkdir(parents=True, exist_ok=True)
        check_outputs([model, table], [out])
    # A card is a paragraph: a line of a pipe, wrapped between words on a terminal.
    whole = not printer.is_terminal
    explanation = explain_clusters(load_model(model), table, random_state=seed)
    for card in describe_clusters(explanation):
        printer.print(card.text, markup=False, soft_wrap=whole)
    chosen = [CHOSEN] if explanation.n_clusters > 1 else []
    for sentence in (*left_out(explanation), *chosen):
        printer.print(sentence, markup=False, soft_wrap=whole)
    folders = {folder for folder in (None if is_page else out, csv) if folder is not None}
    written = [path for folder in sorted(folders) for path in write_explanation_tables(explanation, folder)]
    if out is not None:
        page = out if is_page else out / "explanation.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        write_explanation(explanation, page)
        written.append(page)
    for path in written:
        printer.print(f"wrote {path}", markup=False, soft_wrap=True)
