"""`rust-kmeans export` and `import`: models to and from other libraries, as files that run no code."""

from __future__ import annotations

import zipfile
import zlib
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rust_kmeans.workflow._errors import WorkflowError
from rust_kmeans.workflow.commands._console import console
from rust_kmeans.workflow.commands._options import check_outputs

if TYPE_CHECKING:
    from types import ModuleType

#: What skops does not know to be harmless: our own estimators, and the dtype that an imputer keeps.
_TRUSTED = {"numpy.dtype", "rust_kmeans._kmeans.KMeans", "rust_kmeans._minibatch.MiniBatchKMeans"}


class Target(StrEnum):
    """What a model can be exported to."""

    SKLEARN = "sklearn"
    ONNX = "onnx"


def export_model(
    model: Annotated[Path, typer.Argument(help="A model file.", show_default=False)],
    to: Annotated[
        Target,
        typer.Option("--to", help="sklearn: a pipeline in a skops file; onnx: a graph.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("--out", help="Where to write.", show_default=False)],
) -> None:
    """Write a model for other libraries: a scikit-learn pipeline (skops, which runs no code) or ONNX."""
    # What these import takes a second, which `--help` should not pay.
    from rust_kmeans.workflow._convert import to_onnx, to_sklearn
    from rust_kmeans.workflow._files import write_bytes
    from rust_kmeans.workflow._model_file import load_model

    check_outputs([model], [out])
    known = load_model(model)
    content = to_onnx(known) if to is Target.ONNX else _skops().dumps(to_sklearn(known))
    write_bytes(out, content)
    console().print(f"{to.value}: {out}", markup=False, soft_wrap=True)


def import_model(
    file: Annotated[
        Path,
        typer.Argument(help="A fitted KMeans or pipeline, saved by skops.io.dump.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("--out", help="The model file to write.", show_default=False)],
    table: Annotated[
        Path | None,
        typer.Option(
            "--table",
            help="The rows it was fitted to, for drift: CSV (.csv, .csv.gz), Parquet or .npy.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make a model file of a scikit-learn estimator."""
    from rust_kmeans.workflow._convert import from_sklearn
    from rust_kmeans.workflow._model_file import save_model

    check_outputs([file] if table is None else [file, table], [out])
    model = from_sklearn(_estimator(file), table)
    save_model(model, out)
    rows = (
        f"{model.statistics.n_samples:,} rows"
        if table is not None
        else "no training rows: drift cannot be told"
    )
    said = f"model {model.model_id}: {model.n_clusters} clusters, {len(model.names)} columns, {rows}"
    console().print(f"{said}\nmodel: {out}", markup=False, soft_wrap=True)


def _skops() -> ModuleType:
    try:
        import skops.io
    except ModuleNotFoundError as error:
        msg = f"no module '{error.name}', which keeps scikit-learn's estimators as data: pip install skops."
        raise WorkflowError(msg) from error
    module: ModuleType = skops.io
    return module


def _estimator(file: Path) -> Any:  # noqa: ANN401  # whatever the file holds
    """Return what a skops file holds if all of it is known to be harmless."""
    skops = _skops()
    if not file.is_file():
        msg = f"{file} is no file: give one that skops.io.dump has written."
        raise WorkflowError(msg)
    if not zipfile.is_zipfile(file):
        msg = (
            f"{file} is no skops file, or a damaged one: save the estimator by skops.io.dump. A pickle is "
            "never opened here, as it could run any code."
        )
        raise WorkflowError(msg)
    try:
        unknown = sorted(set(skops.get_untrusted_types(file=file)) - _TRUSTED)
        if unknown:
            msg = f"{file} holds {', '.join(unknown)}, which is not known to be harmless: it is not opened."
            raise WorkflowError(msg)
        return skops.load(file, trusted=sorted(_TRUSTED))
    except WorkflowError:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        EOFError,
    ) as error:
        msg = f"{file} is no skops file, or a damaged one: save the estimator by skops.io.dump again."
        raise WorkflowError(msg) from error
