"""`rust-kmeans fit`: from a table to a model file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
    from rust_kmeans.workflow._fit import FittedTable
    from rust_kmeans.workflow._learning import Decision
    from rust_kmeans.workflow._model import ClusterModel


def fit(
    ctx: typer.Context,
    table: TableFile,
    k: Annotated[str, typer.Option("--k", help="Number of clusters, or auto.")] = "auto",
    scale: Scale = "standard",
    missing: Missing = "median",
    outliers: Outliers = "gross",
    columns: Columns = "",
    drop: Drop = "",
    unusable: Unusable = "drop",
    dtype: Dtype = "float32",
    seed: Seed = 0,
    stream: Annotated[
        bool | None,
        typer.Option(
            "--stream/--no-stream",
            help="Read the file in parts, again in each pass [for files large for the memory].",
            show_default=False,
        ),
    ] = None,
    dask: Annotated[bool, typer.Option("--dask", help="Cluster by Dask.")] = False,
    update: Annotated[
        Path | None,
        typer.Option("--update", help="A model that goes on learning from the table.", show_default=False),
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="Where to write the model.", show_default=False)
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels", help="Where to write the cluster of each row: .csv or .parquet.", show_default=False
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", help="Where to write decisions and results as JSON.", show_default=False),
    ] = None,
) -> None:
    """Cluster a table: prepare it, choose k, fit, and write the model; each decision is a line."""
    # pandas takes half a second to import, which `--help` should not pay.
    from rust_kmeans.workflow._fit import fit_table
    from rust_kmeans.workflow._model_file import load_model, save_model
    from rust_kmeans.workflow._tables import check_writable
    from rust_kmeans.workflow._update import update_model

    check_outputs([table], [model, report, labels])
    if labels is not None:
        check_writable(labels)
    fitted, decisions, seconds = None, [], {}
    if update is not None:
        _refuse_idle_options(ctx)
        check_outputs([update], [report])
        known = load_model(update)
        with progress() as told:
            found = update_model(known, table, progress=told)
        n_new = found.statistics.n_samples - known.statistics.n_samples
        said = [f"learned from {n_new:,} rows of {table}"]
    else:
        with progress() as told:
            fitted = fit_table(
                table,
                _n_clusters(k),
                columns=words(columns) or None,
                drop=words(drop),
                # Checked by what they are passed to.
                scale=scale,  # type: ignore[arg-type]  # Options refuses other words
                missing=missing,  # type: ignore[arg-type]  # Options refuses other words
                outliers=outliers,
                unusable=unusable,  # type: ignore[arg-type]  # Options refuses other words
                dtype=dtype,  # type: ignore[arg-type]  # Options refuses other words
                random_state=seed_of(seed),
                stream=stream,
                dask=dask,
                progress=told,
            )
        found, decisions, seconds = fitted.model, fitted.decisions, dict(fitted.seconds)
        said = [str(decision) for decision in decisions]
    # Whoever reads the output may stop early, which ends the command: files come first.
    if fitted is not None and labels is not None:
        _write_labels(labels, fitted)
    if model is not None:
        save_model(found, model)
    if report is not None:
        _write_report(report, table, found, decisions, seconds)
    out = console()
    out.print("\n".join(said), markup=False, soft_wrap=True)
    _print_clusters(out, found)
    files = {"labels": labels, "model": model and f"{model} ({found.model_id})", "report": report}
    ends = [f"{name}: {file}" for name, file in files.items() if file is not None]
    if seconds:
        ends.insert(0, ", ".join(f"{step} {spent:.2f} s" for step, spent in seconds.items()))
    out.print("\n".join(ends), markup=False, soft_wrap=True)


#: Options that `--update` heeds; a model has decided the rest.
_OF_AN_UPDATE = ("table", "update", "model", "report")


def _refuse_idle_options(ctx: typer.Context) -> None:
    for name in ctx.params:
        source = ctx.get_parameter_source(name)
        if name not in _OF_AN_UPDATE and source is not None and source.name == "COMMANDLINE":
            msg = f"--{name} has no effect with --update: the model has decided how rows are prepared."
            raise WorkflowError(msg)


def _n_clusters(k: str) -> int | Literal["auto"]:
    if k == "auto":
        return "auto"
    try:
        return int(k)
    except ValueError:
        msg = f"--k is {k!r}: it must be auto or a whole number."
        raise WorkflowError(msg) from None


def _print_clusters(out: Console, model: ClusterModel) -> None:
    statistics = model.statistics
    lines = Table()
    for title in ("cluster", "rows", "share"):
        lines.add_column(title, justify="right")
    for label, (count, share) in enumerate(zip(statistics.counts, statistics.shares, strict=True)):
        lines.add_row(str(label), f"{count:,}", f"{share:.1%}")
    many = "" if len(model.names) == 1 else "s"
    size = f"{statistics.n_samples:,} rows × {len(model.names)} column{many}"
    out.print(f"{model.n_clusters} clusters of {size}")
    out.print(lines)


def _write_labels(path: Path, fitted: FittedTable) -> None:
    import pandas as pd

    from rust_kmeans.workflow._tables import write_table

    write_table(path, [pd.DataFrame({"label": fitted.labels})])


def _write_report(
    path: Path, table: Path, model: ClusterModel, decisions: Sequence[Decision], seconds: dict[str, float]
) -> None:
    from rust_kmeans.workflow._files import write_bytes

    statistics = model.statistics
    content: dict[str, Any] = {
        "table": str(table),
        "model_id": model.model_id,
        "columns": list(model.names),
        "parameters": dict(model.parameters),
        "n_samples": statistics.n_samples,
        "n_left_out": statistics.n_left_out,
        "clusters": statistics.counts.tolist(),
        "decisions": [asdict(decision) for decision in decisions],
        "seconds": seconds,
    }
    write_bytes(path, (json.dumps(content, indent=2) + "\n").encode())
