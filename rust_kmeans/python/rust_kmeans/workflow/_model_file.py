"""A model as one file of data: arrays and a manifest, with a checksum over both; loading runs no code.

The file is in the format safetensors: a header in JSON, then arrays, little-endian, as they are in memory.
The header's metadata hold one text, the envelope: version of the format, manifest (everything that is no
array), and the SHA-256 of manifest and arrays.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast, get_args

import numpy as np
from numpy.typing import NDArray

from rust_kmeans._core import __version__
from rust_kmeans.workflow._errors import ModelFileError, WorkflowError
from rust_kmeans.workflow._files import write_bytes
from rust_kmeans.workflow._model import ClusterModel
from rust_kmeans.workflow._preparation import MissingName, Preparation, ScaleName
from rust_kmeans.workflow._statistics import TrainingStatistics

#: Version of the format that is written. A change of it adds a reader and keeps the old ones.
FORMAT_VERSION: Final = 1
#: The key of the metadata that holds the envelope, which also tells our files from other safetensors files.
KEY: Final = "rust_kmeans_model"

_Arrays = dict[str, NDArray[Any]]

_MOST_HEADER_BYTES = 1 << 26
#: How safetensors names the dtypes that a model may have.
_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8"), "I64": np.dtype("<i8")}
#: What files of others begin with, and what to do with them.
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive (npz, skops, PyTorch or the like)"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"PAR1", "a Parquet table"),
    (b"\x1f\x8b", "compressed by gzip"),
    (b"\x89HDF", "an HDF5 file"),
)
_MAKE = "a model file is made by `rust-kmeans fit`, `rust-kmeans import` or save_model"
_AGAIN = "copy or save it again"


def save_model(model: ClusterModel, path: str | Path) -> None:
    """Write a model to a file, whole or not at all.

    Parameters
    ----------
    model : ClusterModel
        The model.
    path : str or Path
        Where to; a file there is replaced.

    Raises
    ------
    WorkflowError
        For a model whose parts do not agree with each other, and so could not be loaded.
    OSError
        If the file cannot be written.

    See Also
    --------
    load_model : The way back.
    """
    from safetensors.numpy import save

    _check(model)
    arrays, manifest = _arrays_of(model), _manifest_of(model)
    envelope = {
        "format_version": FORMAT_VERSION,
        "sha256": _digest(manifest, arrays),
        "manifest": manifest,
    }
    write_bytes(path, save(arrays, {KEY: json.dumps(envelope, allow_nan=False)}))


def load_model(path: str | Path) -> ClusterModel:
    """Return the model that a file holds: the same bits as were saved.

    No code runs that comes from the file, and nothing in it is believed: sizes are compared before memory is
    taken, the checksum before values are used, and all parts with each other.

    Parameters
    ----------
    path : str or Path
        A file that `save_model` has written.

    Returns
    -------
    ClusterModel
        The model.

    Raises
    ------
    ModelFileError
        For a file that is not there, is no model, is damaged, or was written by a newer version.
    OSError
        If the file cannot be read.
    """
    path = Path(path)
    envelope, arrays = _read(path)
    version = envelope.get("format_version")
    if type(version) is not int or version < 1:
        raise _damaged(path, "it has no version")
    if version not in _READERS:
        msg = (
            f"{path}: version {version} of the model format is newer than {FORMAT_VERSION}, the one that "
            f"rust-kmeans {__version__} knows: install a newer rust-kmeans."
        )
        raise ModelFileError(msg)
    manifest = envelope.get("manifest")
    if not isinstance(manifest, dict) or not _is_whole(envelope, manifest, arrays):
        raise _damaged(path, "its checksum is another")
    try:
        model = _READERS[version](manifest, arrays)
        _check(model)
    except WorkflowError as error:
        raise ModelFileError(f"{path}: {error}") from error
    return model


def _read(path: Path) -> tuple[dict[str, Any], _Arrays]:
    """Return envelope and arrays of a file; its header has been read first, and says whether it is ours."""
    from safetensors import SafetensorError, deserialize

    if not path.is_file():
        what = "is no regular file" if path.exists() else "is not there"
        what = "is a directory" if path.is_dir() else what
        raise ModelFileError(f"{path} {what}: {_MAKE}.")
    with path.open("rb") as file:
        n_bytes = path.stat().st_size
        start = file.read(8)
        n_header = int.from_bytes(start, "little")
        head = file.read(n_header if n_header <= min(n_bytes - 8, _MOST_HEADER_BYTES) else 1)
        # A length may look like the start of a file of others.
        if not head.startswith(b"{") or len(head) < n_header:
            raise _foreign(path, start)
        envelope = _envelope(path, head)
        rest = file.read()
    try:
        found: list[tuple[str, dict[str, Any]]] = deserialize(  # type: ignore[no-untyped-call]  # safetensors types its numpy part only
            start + head + rest
        )
    except SafetensorError as error:
        raise _damaged(path, "its size or its header is wrong") from error
    arrays = {}
    for name, part in found:
        dtype = _DTYPES.get(part["dtype"])
        if dtype is None:
            raise _damaged(path, f"its array '{name}' has dtype {part['dtype']}")
        try:
            array = np.frombuffer(part["data"], dtype=dtype).reshape(part["shape"])
        except (ValueError, OverflowError) as error:
            # No values, but a side longer than any array's, or more sides than any array has.
            raise _damaged(path, f"its array '{name}' has an impossible shape") from error
        arrays[name] = array.astype(dtype.newbyteorder("="))
    return envelope, arrays


def _foreign(path: Path, start: bytes) -> ModelFileError:
    """Return what to say of a file that does not begin as one of ours."""
    if not start:
        return ModelFileError(f"{path} is empty: {_MAKE}.")
    # A pickle begins with its protocol: 2 and later.
    if start[0] == 0x80 and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        msg = (
            f"{path} is a pickle, which could run any code and is never opened here: if you trust it, load "
            "it in Python, make a model by from_sklearn and save that by save_model."
        )
        return ModelFileError(msg)
    for magic, what in _FOREIGN:
        if start.startswith(magic):
            return ModelFileError(f"{path} is {what}, no model file: {_MAKE}.")
    return ModelFileError(f"{path} is no model file, or the rest of it is missing: {_MAKE}.")


def _envelope(path: Path, head: bytes) -> dict[str, Any]:
    """Return what the metadata of a safetensors header hold of ours."""
    try:
        header = json.loads(head)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} is no model file, or a damaged one: {_MAKE}.") from error
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    text = metadata.get(KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise ModelFileError(f"{path} is a file of others, without a model of rust_kmeans: {_MAKE}.")
    try:
        envelope = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "its manifest is no JSON") from error
    if not isinstance(envelope, dict):
        raise _damaged(path, "its manifest is no JSON object")
    return envelope


def _damaged(path: Path, why: str) -> ModelFileError:
    return ModelFileError(f"{path} is damaged: {why}; {_AGAIN}.")


def _is_whole(envelope: Mapping[str, Any], manifest: Mapping[str, Any], arrays: _Arrays) -> bool:
    try:
        return bool(envelope.get("sha256") == _digest(manifest, arrays))
    except RecursionError:
        # Writing JSON may stop at less depth than reading it.
        return False


def _digest(manifest: Mapping[str, Any], arrays: _Arrays) -> str:
    """Return the SHA-256 of everything a model consists of, as hexadecimal digits."""
    # Sorted and without spaces: what counts is what the text says, not how it is written.
    content = hashlib.sha256(json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(arrays):
        array = arrays[name]
        little = array.astype(array.dtype.newbyteorder("<"))
        content.update(json.dumps([name, little.dtype.str, little.shape]).encode())
        content.update(little.tobytes())
    return content.hexdigest()


def _arrays_of(model: ClusterModel) -> _Arrays:
    preparation, statistics = model.preparation, model.statistics
    arrays = {
        "centers": model.centers,
        **{name: getattr(preparation, name) for name in _PREPARATION},
        **{f"statistics.{name}": getattr(statistics, name) for name in _STATISTICS},
    }
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


_PREPARATION = ("fill", "lower", "upper", "offset", "divisor")
_STATISTICS = (
    "probabilities",
    "quantiles",
    "missing",
    "counts",
    "means",
    "deviations",
    "distances",
    "margins",
)


def _manifest_of(model: ClusterModel) -> dict[str, Any]:
    preparation, statistics = model.preparation, model.statistics
    return {
        "library": f"rust-kmeans {__version__}",
        "names": list(preparation.names),
        "dtype": preparation.dtype,
        "scale": preparation.scale,
        "missing": preparation.missing,
        "outliers": preparation.outliers,
        "n_samples": statistics.n_samples,
        "n_left_out": statistics.n_left_out,
        "n_sampled": statistics.n_sampled,
        "parameters": {name: _plain(name, value) for name, value in model.parameters.items()},
    }


def _plain(name: str, value: object) -> object:
    """Return a parameter as JSON knows it."""
    if isinstance(value, np.generic):
        value = value.item()
    is_finite = not isinstance(value, float) or math.isfinite(value)
    if not (value is None or isinstance(value, str | bool | int | float)) or not is_finite:
        msg = f"parameter '{name}' is {value!r}: a model keeps text, finite numbers, booleans and None only."
        raise WorkflowError(msg)
    return value


def _read_1(manifest: dict[str, Any], arrays: _Arrays) -> ClusterModel:
    """Return the model of a file of version 1 of the format, as far as all parts are there."""
    try:
        of_preparation: dict[str, Any] = {
            "names": _names(manifest["names"]),
            **{name: arrays.pop(name) for name in _PREPARATION},
            **{name: manifest[name] for name in ("dtype", "scale", "missing", "outliers")},
        }
        of_statistics: dict[str, Any] = {
            **{name: arrays.pop(f"statistics.{name}") for name in _STATISTICS},
            **{name: manifest[name] for name in ("n_samples", "n_left_out", "n_sampled")},
        }
        preparation, statistics = Preparation(**of_preparation), TrainingStatistics(**of_statistics)
        model = ClusterModel(arrays.pop("centers"), preparation, statistics, manifest["parameters"])
    except (KeyError, TypeError) as error:
        msg = f"a part is missing: {error}; {_AGAIN}."
        raise WorkflowError(msg) from error
    if arrays:
        msg = f"there is an unknown array '{min(arrays)}'; {_AGAIN}."
        raise WorkflowError(msg)
    return model


def _names(names: object) -> tuple[str, ...]:
    """Return names from JSON; a text is also made of texts, its letters."""
    _require(isinstance(names, list), "names are no list")
    return tuple(cast("list[str]", names))


_READERS: dict[int, Callable[[dict[str, Any], _Arrays], ClusterModel]] = {1: _read_1}


def _check(model: ClusterModel) -> None:
    """Refuse a model whose parts do not agree with each other.

    Raises
    ------
    WorkflowError
        Naming the part.
    """
    preparation, statistics = model.preparation, model.statistics
    _check_words(preparation)
    _check_shapes(model)
    _require(bool(np.isfinite(model.centers).all()), "centers are not all finite")
    _require(not bool(np.isinf(preparation.fill).any()), "fill has an infinite value")
    limits = preparation.lower, preparation.upper
    _require(not any(bool(np.isnan(limit).any()) for limit in limits), "lower or upper has a NaN")
    _require(bool((preparation.lower <= preparation.upper).all()), "lower is above upper")
    _require(bool(np.isfinite(preparation.offset).all()), "offset is not all finite")
    divisor = preparation.divisor
    _require(bool((np.isfinite(divisor) & (divisor > 0)).all()), "divisor is not all finite and positive")
    _check_statistics(statistics, model.n_clusters)
    parameters: object = model.parameters
    _require(isinstance(parameters, Mapping), "parameters are no mapping")
    for name, value in model.parameters.items():
        _require(type(name) is str, "a parameter's name is no text")
        _plain(name, value)


def _check_words(preparation: Preparation) -> None:
    names = preparation.names
    _require(all(isinstance(name, str) for name in names), "a name is no text")
    _require(len(set(names)) == len(names) > 0, "names are none or not unique")
    _require(preparation.dtype in ("float32", "float64"), "dtype is neither float32 nor float64")
    _require(preparation.scale in get_args(ScaleName), "scale is unknown")
    _require(preparation.missing in get_args(MissingName), "missing is unknown")
    _require(isinstance(preparation.outliers, str), "outliers is no text")


def _check_shapes(model: ClusterModel) -> None:
    preparation, statistics = model.preparation, model.statistics
    _require(model.centers.ndim == 2 and len(model.centers) > 0, "centers are no matrix")
    _require(statistics.probabilities.ndim == 1, "probabilities are no vector")
    k, d, q = len(model.centers), len(preparation.names), len(statistics.probabilities)
    _require(model.centers.dtype == preparation.dtype, "centers have another dtype")
    shapes: dict[str, tuple[int, ...]] = {
        "centers": (k, d),
        **dict.fromkeys((*_PREPARATION, "statistics.missing"), (d,)),
        **dict.fromkeys(("statistics.probabilities", "statistics.distances", "statistics.margins"), (q,)),
        "statistics.quantiles": (d, q),
        "statistics.counts": (k,),
        **dict.fromkeys(("statistics.means", "statistics.deviations"), (k, d)),
    }
    for name, array in _arrays_of(model).items():
        wanted = {"centers": str(preparation.dtype), "statistics.counts": "int64"}.get(name, "float64")
        what = f"{name} has dtype {array.dtype} and shape {array.shape}, not {wanted} and {shapes[name]}"
        _require(array.dtype == wanted and array.shape == shapes[name], what)


def _check_statistics(statistics: TrainingStatistics, n_clusters: int) -> None:
    numbers = statistics.n_samples, statistics.n_left_out, statistics.n_sampled
    _require(all(type(number) is int and number >= 0 for number in numbers), "a number of rows is no count")
    _require(statistics.n_sampled <= statistics.n_samples, "n_sampled is above n_samples")
    _require(bool((statistics.counts >= 0).all()), "counts are negative")
    # Python's numbers do not overflow.
    _require(sum(statistics.counts.tolist()) == statistics.n_samples, "counts do not sum to n_samples")
    steps = statistics.probabilities
    is_range = len(steps) >= 2 and steps[0] == 0 and steps[-1] == 1 and bool((np.diff(steps) > 0).all())
    _require(is_range, "probabilities do not ascend from 0 to 1")
    missing = statistics.missing
    _require(bool(((missing >= 0) & (missing <= 1)).all()), "missing is not within 0..1")
    if not statistics.n_sampled:
        return
    _require(bool(np.isfinite(statistics.means).all()), "means are not all finite")
    spread = statistics.deviations
    _require(bool((np.isfinite(spread) & (spread >= 0)).all()), "deviations are not all finite")
    for name, rows in (("quantiles", statistics.quantiles), ("distances", statistics.distances[np.newaxis])):
        # Of a column without any value there are no quantiles.
        known = rows[~np.isnan(rows).all(axis=1)] if name == "quantiles" else rows
        is_fine = bool(np.isfinite(known).all()) and bool((np.diff(known, axis=1) >= 0).all())
        _require(is_fine, f"{name} do not ascend or are not finite")
    margins = statistics.margins
    if n_clusters == 1:
        _require(bool((margins == np.inf).all()), "margins of one cluster are not infinite")
    else:
        is_fine = bool(np.isfinite(margins).all()) and bool((np.diff(margins) >= 0).all())
        _require(is_fine, "margins do not ascend or are not finite")


def _require(holds: bool, what: str) -> None:
    if not holds:
        msg = f"the model is not consistent: {what}."
        raise WorkflowError(msg)
