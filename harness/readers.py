"""Real data in: arrays, tables and IDX images become one checked matrix of floats.

Columns of an array have no names: they are called by their number, ``0`` to ``n_features - 1``.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import hashlib
import importlib.util
import logging
import math
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from harness.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

AnyArray = npt.NDArray[Any]
FloatArray = npt.NDArray[np.floating[Any]]

#: Part of every cache name: raise it when a change alters what is read from the same file.
READER_VERSION = 1

FORMATS = ".npy, .npz, .csv, .csv.gz, .parquet, or IDX as in train-images-idx3-ubyte(.gz)"

_log = logging.getLogger("harness")

#: Rows that are converted or checked at once, so that the temporaries stay small.
_BLOCK_ROWS = 65_536
#: Names listed in an error before it says how many more there are.
_LISTED = 20

_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MNIST_SHAPE = (70_000, 784)


def read(path: Path, *, dtype: str, columns: Sequence[str] = (), drop: Sequence[str] = ()) -> FloatArray:
    """Read the numeric columns of a file.

    Parameters
    ----------
    path : Path
        ``.npy``; ``.npz`` (the array ``X``, else the only 2-D one); ``.csv``, ``.csv.gz`` (comma, semicolon
        or tab; a first line of numbers only is data, not a header); ``.parquet``; IDX or gzipped IDX, images
        flattened to one row each.
    dtype : {"float32", "float64"}
        Type of the result; values are rounded to it.
    columns : sequence of str
        Columns to take, in this order. Without it: all that are numeric (integers, floats, decimals), the
        others being named in a logged line. Truth values are taken, as 0 and 1, only when they are asked for.
    drop : sequence of str
        Columns to leave out.

    Returns
    -------
    ndarray of shape (n_samples, n_features), C order
        Finite values only.

    Raises
    ------
    UserError
        If the file cannot be read or holds no such data: text or unknown columns, missing or infinite
        values, values beyond ``dtype``, no rows, a single column that was not asked for by name.
    """
    table = _open(path)
    return _matrix(table, dtype, columns, drop)


def fingerprint(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal.

    Raises
    ------
    UserError
        If the file cannot be read or has a name that `read` does not know.
    """
    _reader(path)
    with _explained(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch_mnist(
    data_home: Path, *, dtype: str, columns: Sequence[str] = (), drop: Sequence[str] = ()
) -> FloatArray:
    """Return MNIST, 70,000 x 784, downloaded from OpenML by scikit-learn unless ``data_home`` holds it.

    Raises
    ------
    UserError
        If the download fails; it says how to do without.
    """
    from sklearn.datasets import fetch_openml

    # The pandas parser is a hundred times faster, but pandas is no requirement of ours.
    parser = "pandas" if importlib.util.find_spec("pandas") else "liac-arff"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a warning for each try; the error below says it once
            bunch = fetch_openml(
                "mnist_784", version=1, as_frame=False, data_home=str(data_home), parser=parser
            )
        values = np.asarray(bunch.data)
    except (OSError, ValueError, EOFError) as error:  # URLError and HTTPError are OSErrors
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"mnist: the download from openml.org failed ({reason}); without a network, fetch "
            "train-images-idx3-ubyte.gz elsewhere and pass --data PATH/train-images-idx3-ubyte.gz"
        ) from error
    if values.shape != _MNIST_SHAPE:
        raise UserError(
            f"mnist: openml.org sent an array of shape {values.shape}, not {_MNIST_SHAPE}; "
            f"delete {data_home} and try again, or pass --data PATH/train-images-idx3-ubyte.gz"
        )
    return _matrix(_array_table("mnist", values), dtype, columns, drop)


@dataclass(frozen=True)
class _Column:
    name: str
    type: str
    #: "number" is taken by default, "truth" and "nameless" when asked for, "other" never.
    role: str


@dataclass(frozen=True)
class _Table:
    origin: str
    columns: Sequence[_Column]
    #: The values of the columns at these positions: shape (n_samples, len(positions)), or a list of columns.
    take: Callable[[list[int]], AnyArray | list[AnyArray]]


def _open(path: Path) -> _Table:
    with _explained(path):
        return _reader(path)(path)


#: What NumPy, gzip, zipfile and pyarrow (whose ArrowInvalid is a ValueError) raise at a damaged file.
_DAMAGE = (OSError, EOFError, ValueError, KeyError, zlib.error, zipfile.BadZipFile, struct.error)


@contextmanager
def _explained(path: Path | str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; check --data") from error
    except IsADirectoryError as error:
        raise UserError(f"{path}: is a folder; give one file: {FORMATS}") from error
    except PermissionError as error:
        raise UserError(f"{path}: may not be read; check its permissions") from error
    except ImportError as error:
        raise UserError(f"{path}: tables need pyarrow ({error}); pip install 'pyarrow>=18'") from error
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{path}: cannot be read, damaged or cut short? ({reason}); write it again"
        ) from error


def _reader(path: Path) -> Callable[[Path], _Table]:
    name = path.name.lower()
    for endings, reader in (
        ((".npy",), _open_npy),
        ((".npz",), _open_npz),
        ((".csv", ".csv.gz"), _open_csv),
        ((".parquet",), _open_parquet),
    ):
        if name.endswith(endings):
            return reader
    if re.search(r"[.-]idx\d?(-\w+)?(\.gz)?$", name):
        return _open_idx
    raise UserError(f"{path}: unknown format; give {FORMATS}")


# Columns: which, and are their values fit for k-means?


def _matrix(table: _Table, dtype: str, columns: Sequence[str], drop: Sequence[str]) -> FloatArray:
    positions = _choose(table, columns, drop)
    with _explained(table.origin):
        values = table.take(positions)
    names = [table.columns[p].name for p in positions]
    sources = [values[:, j] for j in range(len(names))] if isinstance(values, np.ndarray) else values
    n_samples = len(sources[0])
    if n_samples == 0:
        raise UserError(
            f"{table.origin}: no rows, 0 samples of {len(names)} columns; give a file that has data"
        )
    matrix = np.empty((n_samples, len(names)), dtype=dtype)
    # Too large for float32 becomes infinite here and is reported below, by its column.
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, n_samples, _BLOCK_ROWS):
            rows = slice(start, start + _BLOCK_ROWS)
            if isinstance(values, np.ndarray):
                matrix[rows] = values[rows]
            else:
                for j, source in enumerate(sources):
                    matrix[rows, j] = source[rows]
    _check_finite(table.origin, names, matrix, sources, bool(columns))
    return matrix


def _choose(table: _Table, columns: Sequence[str], drop: Sequence[str]) -> list[int]:
    names = [c.name for c in table.columns]
    place: dict[str, int] = {}
    for i, name in enumerate(names):
        if place.setdefault(name, i) != i:
            raise UserError(
                f"{table.origin}: column {name!r} occurs {names.count(name)} times; rename all but one"
            )
    for option, asked in (("--columns", columns), ("--drop", drop)):
        for name in asked:
            if name not in place:
                raise UserError(f"{table.origin}: {option}: no column {name!r}{_proposal(name, names)}")
    if columns:
        chosen = [place[name] for name in dict.fromkeys(columns) if name not in drop]
        for p in chosen:
            if table.columns[p].role == "other":
                raise UserError(
                    f"{table.origin}: column {names[p]!r} is {table.columns[p].type}, not numeric: 1 of the "
                    f"{len(chosen)} columns asked for; leave it out of --columns or encode it as numbers"
                )
    else:
        kept = [p for p, name in enumerate(names) if name not in drop]
        chosen = [p for p in kept if table.columns[p].role == "number"]
        left_out = [f"{names[p]} ({table.columns[p].type})" for p in kept if p not in set(chosen)]
        if chosen and left_out:
            _log.info("%s: left out, not numeric or without a name: %s", table.origin, _listed(left_out))
    if not chosen:
        found = [f"{c.name} ({c.type})" for c in table.columns]
        raise UserError(
            f"{table.origin}: no numeric column left of {len(names)}: {_listed(found)}; "
            "check --columns and --drop, or encode text as numbers"
        )
    if len(chosen) == 1 and not columns:
        name = names[chosen[0]]
        raise UserError(
            f"{table.origin}: only 1 numeric column, {name!r}; ask for it with --columns {_quoted(name)} "
            "if clusters of single numbers are meant"
        )
    return chosen


def _check_finite(
    origin: str, names: Sequence[str], matrix: FloatArray, sources: Sequence[AnyArray], asked: bool
) -> None:
    n_samples = len(matrix)
    sound = np.ones(len(names), dtype=bool)
    for start in range(0, n_samples, _BLOCK_ROWS):
        sound &= np.isfinite(matrix[start : start + _BLOCK_ROWS]).all(axis=0)
    if sound.all():
        return
    missing: dict[str, int] = {}
    infinite: dict[str, int] = {}
    overflow: dict[str, int] = {}
    for j in np.flatnonzero(~sound).tolist():
        source = sources[j]
        for found, count in (
            (missing, np.isnan(source)),
            (infinite, np.isinf(source)),
            (overflow, np.isfinite(source) & ~np.isfinite(matrix[:, j])),
        ):
            if total := int(np.count_nonzero(count)):
                found[names[j]] = total
    # One error names every column it is about, so that one more try is enough.
    for found, what in ((missing, "missing"), (infinite, "infinite")):
        if found:
            counts = _listed([f"{name!r} ({count} of {n_samples} rows)" for name, count in found.items()])
            option = "leave out of --columns" if asked else "use --drop"
            remedy = f"{option} {_listed([_quoted(name) for name in found], ',')}"
            if len(found) == len(names):
                remedy = "take other columns with --columns"
            raise UserError(f"{origin}: {what} values in {counts}; {remedy}, or fill in those rows first")
    counts = _listed([f"{name!r} ({count} of {n_samples} rows)" for name, count in overflow.items()])
    raise UserError(f"{origin}: values beyond the range of {matrix.dtype} in {counts}; use --dtype float64")


def _proposal(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; it has {_listed(list(names))}"


def _listed(words: Sequence[str], separator: str = ", ") -> str:
    more = f" and {len(words) - _LISTED} more" if len(words) > _LISTED else ""
    return separator.join(words[:_LISTED]) + more


def _quoted(name: str) -> str:
    return f"'{name}'" if re.search(r"\s", name) else name


# Arrays


def _array_table(origin: str, array: AnyArray) -> _Table:
    if array.ndim == 1:
        array = array.reshape(-1, 1)
    if array.ndim != 2 or not array.shape[1]:
        raise UserError(f"{origin}: an array of shape {array.shape}; save it as n_samples x n_features")
    if array.dtype.kind not in "iuf":
        raise UserError(
            f"{origin}: an array of {array.dtype}, not of numbers ({array.shape[1]} columns); "
            "save it as integers or floats"
        )
    columns = [_Column(str(j), str(array.dtype), "number") for j in range(array.shape[1])]
    everything = list(range(array.shape[1]))
    return _Table(origin, columns, lambda chosen: array if chosen == everything else array[:, chosen])


def _open_npy(path: Path) -> _Table:
    # Mapped, so that a large file is never in memory a second time. A damaged one is a ValueError.
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise ValueError("it does not begin like an .npy file")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        # Nothing to map, an empty array, is an error of mmap; objects are one of either way of loading.
        if "mmap" not in str(error):
            raise _refused(path, error) from error
        array = np.load(path, allow_pickle=False)
    return _array_table(str(path), array)


def _open_npz(path: Path) -> _Table:
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError("it is no zip archive")
    with np.load(path, allow_pickle=False) as archive:
        keys = list(archive.files)
        if "X" in keys:
            key = "X"
        else:
            matrices = [k for k in keys if _ndim(path, archive, k) == 2]
            if len(matrices) != 1:
                raise UserError(
                    f"{path}: no array X and {len(matrices)} 2-D arrays among {_listed(keys) or 'none'}; "
                    "save the samples under the key X"
                )
            key = matrices[0]
        return _array_table(f"{path}[{key}]", _member(path, archive, key))


def _ndim(path: Path, archive: np.lib.npyio.NpzFile, key: str) -> int:
    return int(_member(path, archive, key).ndim)


def _member(path: Path, archive: np.lib.npyio.NpzFile, key: str) -> AnyArray:
    try:
        array: AnyArray = archive[key]
    except ValueError as error:
        raise _refused(path, error) from error
    return array


def _refused(path: Path, error: ValueError) -> Exception:
    if "pickle" not in str(error):
        return error
    return UserError(f"{path}: holds Python objects, which could run code when read; save it as numbers")


def _open_idx(path: Path) -> _Table:
    with _binary(path) as file:
        zeros, code, ndim = struct.unpack(">HBB", file.read(4))
        if zeros or code not in _IDX_TYPES or not ndim:
            raise ValueError("it does not begin like an IDX file")
        shape = struct.unpack(f">{ndim}I", file.read(4 * ndim))
        # Read to its end: gzip notices a wrong checksum only there.
        body = file.read()
    kind = np.dtype(_IDX_TYPES[code])
    expected = math.prod(shape) * kind.itemsize
    if len(body) != expected:
        raise ValueError(f"{len(body)} bytes of values where its header promises {expected}")
    array = np.frombuffer(body, dtype=kind).reshape(shape)
    return _array_table(str(path), array if ndim < 3 else array.reshape(shape[0], math.prod(shape[1:])))


def _binary(path: Path) -> IO[bytes]:
    if path.name.lower().endswith(".gz"):
        return cast("IO[bytes]", gzip.GzipFile(path))
    return path.open("rb")


# Tables


def _open_parquet(path: Path) -> _Table:
    import pyarrow.parquet as pq

    with path.open("rb"):  # the plain error for a file that is absent or locked
        pass
    schema = pq.read_schema(path)

    def take(positions: list[int]) -> list[AnyArray]:
        table = pq.read_table(path, columns=[schema.field(p).name for p in positions])
        return [_floats(table.column(schema.field(p).name)) for p in positions]

    return _Table(str(path), [_column(i, f.name, f.type) for i, f in enumerate(schema)], take)


def _open_csv(path: Path) -> _Table:
    import pyarrow as pa
    import pyarrow.csv as pacsv

    with _binary(path) as file:
        line = file.readline().decode("utf-8-sig", errors="replace").rstrip("\r\n")
    if not line.strip():
        raise UserError(f"{path}: no rows, the file begins with an empty line; give a file that has data")
    delimiter = max(",;\t", key=line.count)
    header = next(csv.reader([line], delimiter=delimiter))
    names = [name.strip() for name in header]
    read_options: dict[str, Any] = {"column_names": [f"{i}" for i in range(len(names))]}
    if all(map(_is_number, names)):
        names = read_options["column_names"]
        _log.info("%s: the first line holds numbers only and is taken as data", path)
    else:
        # Columns are read by position, so that a name may be empty.
        read_options["skip_rows"] = 1
    parse_options = pacsv.ParseOptions(delimiter=delimiter)

    with _binary(path) as file:
        if "skip_rows" in read_options:
            file.readline()
            if not file.read(1):
                raise UserError(
                    f"{path}: no rows, only a header of {len(names)} columns; give a file that has data"
                )
            file.seek(0)
        with pacsv.open_csv(file, pacsv.ReadOptions(**read_options), parse_options) as stream:
            guessed = list(stream.schema.types)

    def take(positions: list[int]) -> list[AnyArray]:
        # The types are a guess from the first megabyte, in which integers may stand for floats and
        # nothing at all for numbers: everything is read as a float.
        keys = [str(p) for p in positions]
        types = {k: guessed[int(k)] for k in keys}
        truths = {k for k in keys if pa.types.is_boolean(types[k])}
        options = pacsv.ConvertOptions(
            include_columns=keys,
            column_types={k: types[k] if k in truths else pa.float64() for k in keys},
        )
        try:
            with _binary(path) as file:
                table = pacsv.read_csv(file, pacsv.ReadOptions(**read_options), parse_options, options)
        except pa.ArrowInvalid as error:
            found = re.search(r"column #(\d+): (.*)", " ".join(str(error).split()))
            if found is None:
                raise
            raise UserError(
                f"{path}: column {names[int(found[1])]!r} turns to text further down ({found[2]}); "
                f"correct that row or use --drop {_quoted(names[int(found[1])])}"
            ) from error
        return [_floats(table.column(k)) for k in keys]

    return _Table(
        str(path),
        [_column(i, n, t) for i, (n, t) in enumerate(zip(names, guessed, strict=True))],
        take,
    )


def _column(position: int, name: str, kind: pa.DataType) -> _Column:
    from pyarrow import types

    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind):
        # A table written with its row numbers has them in a first column without a name.
        return _Column(name, str(kind), "number") if name else _Column(str(position), "no name", "nameless")
    return _Column(name or str(position), str(kind), "truth" if types.is_boolean(kind) else "other")


def _floats(column: pa.ChunkedArray) -> AnyArray:
    import pyarrow as pa

    # float64 holds every narrower type; a null becomes a NaN, which the check of the values counts.
    values: AnyArray = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return values


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
