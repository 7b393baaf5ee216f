"""`rust-kmeans drift`: whether new rows are still of the kind that a model was fitted to."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table

from rust_kmeans.workflow._errors import WorkflowError
from rust_kmeans.workflow.commands._console import console
from rust_kmeans.workflow.commands._options import check_outputs

if TYPE_CHECKING:
    from rust_kmeans.workflow._drift import DriftReport

#: What the command ends with if rows have drifted; 2 is a mistake of the user.
DRIFT: Final = 3
_PLOTS = (".png", ".svg", ".pdf")


def drift(
    model: Annotated[Path, typer.Argument(help="A model file.", show_default=False)],
    table: Annotated[
        Path,
        typer.Argument(help="The new rows: CSV (.csv, .csv.gz), Parquet or .npy.", show_default=False),
    ],
    level: Annotated[
        float, typer.Option("--level", help="How often rows of the same kind may be called drift.")
    ] = 0.05,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the report to this file.", show_default=False)
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write the table of tests to this file.", show_default=False)
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Draw quantiles and shares: .png, .svg or .pdf.", show_default=False),
    ] = None,
) -> None:
    """Compare new rows with the training rows; end with 0 for no drift and with 3 for drift."""
    # pandas and scipy take a second to import, which `--help` should not pay.
    from rust_kmeans.workflow._drift import drift as compare
    from rust_kmeans.workflow._files import write_bytes
    from rust_kmeans.workflow._model_file import load_model

    if plot is not None and plot.suffix.lower() not in _PLOTS:
        msg = f"--plot is {plot}: the name must end in {', '.join(_PLOTS[:-1])} or {_PLOTS[-1]}."
        raise WorkflowError(msg)
    check_outputs([model, table], [json_file, csv_file, plot])
    report = compare(load_model(model), table, level=level)
    if json_file is not None:
        write_bytes(json_file, (json.dumps(report.to_dict(), indent=2) + "\n").encode())
    if csv_file is not None:
        write_bytes(csv_file, report.table.to_csv(index=False).encode("utf-8", "backslashreplace"))
    if plot is not None:
        from rust_kmeans.workflow._drift_figure import drift_figure

        image = io.BytesIO()
        drift_figure(report).savefig(image, format=plot.suffix[1:].lower(), dpi=120)
        write_bytes(plot, image.getvalue())
    _print(report)
    for path in (json_file, csv_file, plot):
        if path is not None:
            console().print(f"written: {path}", markup=False, soft_wrap=True)
    if report.is_drift:
        raise typer.Exit(DRIFT)


def _print(report: DriftReport) -> None:
    """Print tests, alarms first, and the verdict."""
    shown = Table(header_style="bold")
    for heading in ("column", "test", "effect", "alarm from", "p-value", "adjusted", "verdict"):
        is_text = heading in ("column", "test", "verdict")
        shown.add_column(heading, overflow="fold", justify="left" if is_text else "right")
    ranks = {"drift": 0, "small": 1, "none": 2}
    tests = report.table.assign(rank=report.table["verdict"].map(ranks)).sort_values("rank", kind="stable")
    for test in tests.to_dict("records"):
        shown.add_row(
            # Names may hold what rich would take for markup.
            test["feature"].replace("[", r"\[") or "(rows)",
            test["test"],
            f"{test['effect']:.3f}",
            f"{test['threshold']:g}",
            f"{test['p_value']:.2g}",
            f"{test['adjusted']:.2g}",
            {"drift": "[red]drift[/red]", "small": "too small to matter", "none": "-"}[test["verdict"]],
        )
    console().print(shown)
    console().print(report.verdict, markup=False, soft_wrap=True)
