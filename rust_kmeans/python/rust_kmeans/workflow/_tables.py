"""Tables as people have them: CSV, Parquet and npy files, whole or in parts, and their columns as numbers."""

from __future__ import annotations

import codecs
import csv
import difflib
import io
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from rust_kmeans.workflow._errors import WorkflowError
from rust_kmeans.workflow._files import written_beside

if TYPE_CHECKING:
    import pandas as pd

#: What a column holds. Only numbers can be clustered; a column without any value is "nothing".
Kind = Literal["numbers", "text", "dates", "categories", "nothing", "objects"]
PathLike = str | Path
#: Reads a piece of a file: the columns asked for, or all.
Piece = Callable[["Sequence[str] | None"], "pd.DataFrame"]

CSV = (".csv", ".tsv", ".txt")
COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
PARQUET = (".parquet", ".pq")
#: Rows of a part of a table that is read in parts.
PART_ROWS = 1 << 16

_CACHED_ROWS = 1 << 10
# Of how many values of a column of text it is looked at whether they are numbers.
_LOOKED_AT = 10_000
# Enough of a CSV file to see how it is written.
_HEAD_BYTES = 1 << 16
# Of those that cut lines equally well the first: a comma may be that of decimals.
_SEPARATORS = ("\t", "|", ";", ",")
_UTF_8 = "utf-8"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
# A CSV file in memory takes some such multiple of what it takes compressed.
_COMPRESSION = 4
# Of a CSV file about so much is read at a time where it is read in pieces.
_PIECE_BYTES = 1 << 26
# How pandas names what a column of objects holds.
_KINDS: dict[str, Kind] = {
    "boolean": "numbers",
    "integer": "numbers",
    "floating": "numbers",
    "mixed-integer-float": "numbers",
    "decimal": "numbers",
    "empty": "nothing",
    "string": "text",
    "date": "dates",
    "datetime": "dates",
    "datetime64": "dates",
    "time": "dates",
    "timedelta": "dates",
    "timedelta64": "dates",
    "period": "dates",
}


def read_table(path: PathLike, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return a table from a file.

    Parameters
    ----------
    path : str or Path
        A CSV file (``.csv``, ``.tsv``, ``.txt``, also compressed: ``.csv.gz``), a Parquet file or a folder of
        such, or a ``.npy`` file of a matrix. Of a CSV file the separator (comma, semicolon, tab or bar), a
        decimal comma, whether its first line has names, and whether text is in UTF-8 (or in Windows-1252) are
        found by a look at its start.
    columns : sequence of str, default=None
        The columns to read, in this order; None for all. Those of a matrix, and of a CSV file whose first
        line has numbers only, are named "x0", "x1", ...

    Returns
    -------
    pandas.DataFrame
        The table.

    Raises
    ------
    WorkflowError
        For a file of another kind or a damaged one, and for columns that it does not have.
    OSError
        For a file that is not there or may not be read.
    """
    import pandas as pd

    parts = list(iter_table(path, columns, n_rows=None))
    return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)


def iter_table(
    path: PathLike, columns: Sequence[str] | None = None, n_rows: int | None = PART_ROWS
) -> Iterator[pd.DataFrame]:
    """Yield a table from a file in parts, so that it need not fit into memory.

    Parameters
    ----------
    path : str or Path
        As for `read_table`.
    columns : sequence of str, default=None
        As for `read_table`.
    n_rows : int or None, default=65536
        Most rows of a part; None for as many as there are.

    Yields
    ------
    pandas.DataFrame
        The next rows, one part of no rows if there are none. The dtypes of a column of a CSV file may differ
        between parts, as its values do.

    Raises
    ------
    WorkflowError
        For a file of another kind or a damaged one, and for columns that it does not have.
    OSError
        For a file that is not there or may not be read.
    """
    file = Path(path)
    with _naming(file):
        if _suffix(file) == ".npy":
            yield from _npy(file, columns, n_rows)
        elif _is_parquet(file):
            yield from _parquet(file, columns, n_rows)
        elif _is_csv(file):
            yield from _csv(file, columns, n_rows)
        else:
            msg = f"{file} is none of .csv (.csv.gz), .parquet, .npy and a folder of Parquet files."
            raise WorkflowError(msg)


def write_table(path: PathLike, parts: Iterable[pd.DataFrame]) -> None:
    """Write a table that comes in parts: all of it, or nothing.

    Parameters
    ----------
    path : str or Path
        A CSV file (``.csv``, also compressed: ``.csv.gz``) or a Parquet file.
    parts : iterable of pandas.DataFrame
        The rows, at least one part; all with the same columns.

    Raises
    ------
    WorkflowError
        For a file of another kind.
    OSError
        If it cannot be written; a file that was there is then as it was.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    check_writable(path)
    file = Path(path)
    tables = (pa.Table.from_pandas(part, preserve_index=False) for part in parts)
    first = next(tables)
    with written_beside(file) as beside, ExitStack() as open_files:
        if _suffix(file) in PARQUET:
            writer = open_files.enter_context(parquet.ParquetWriter(beside, first.schema))
        else:
            compression = COMPRESSED.get(_suffix(file))
            sink = open_files.enter_context(pa.output_stream(str(beside), compression=compression))
            # Arrow puts names in quotes even where nothing needs them.
            names = io.StringIO()
            csv.writer(names, lineterminator="\n").writerow(first.schema.names)
            sink.write(names.getvalue().encode())
            rows_only = arrow_csv.WriteOptions(include_header=False, quoting_style="needed")
            writer = open_files.enter_context(
                arrow_csv.CSVWriter(sink, first.schema, write_options=rows_only)
            )
        for table in chain([first], tables):
            writer.write_table(table)


def check_writable(path: PathLike) -> None:
    """Refuse what `write_table` cannot write, before long work.

    Raises
    ------
    WorkflowError
        For a file of another kind, or in a folder that is not there.
    """
    file = Path(path)
    if _suffix(file) not in PARQUET and _suffix_inside(file) != ".csv":
        msg = f"{file} cannot be written: its name must end in .csv, .csv.gz or .parquet."
        raise WorkflowError(msg)
    check_folder(file)


def check_folder(path: PathLike) -> None:
    """Refuse a file in a folder that is not there, before long work.

    Raises
    ------
    WorkflowError
        If there is no such folder.
    """
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        msg = f"{path} cannot be written: there is no folder {folder}."
        raise WorkflowError(msg)


def bytes_of(path: PathLike) -> int:
    """Return about how many bytes the numbers of a file take in memory, 8 each."""
    file = Path(path)
    with _naming(file):
        if _is_parquet(file):
            data = _dataset(file)
            return int(data.count_rows()) * len(_names_in(data.schema)) * 8
        if _suffix(file) == ".npy":
            return _mapped(file).size * 8
        size = file.stat().st_size
        return size * _COMPRESSION if _suffix(file) in COMPRESSED else size


def how_it_is_read(path: PathLike) -> str | None:
    """Return what was found of how a file is written, if it is not the usual way."""
    file = Path(path)
    if file.is_dir():
        with _naming(file):
            return _absent_in_some(_dataset(file))
    if not _is_csv(file):
        return None
    with _naming(file):
        form = _form(file)
    found = []
    if form.separator != ",":
        found.append(
            f"columns are separated by {'a tab' if form.separator == chr(9) else repr(form.separator)}"
        )
    if form.decimal != ".":
        found.append("numbers have a decimal comma")
    if not form.has_names:
        found.append("the first line holds numbers, so that columns are named x0, x1, ...")
    elif any(_is_number(name) for name in form.names):
        [first, *_] = [name for name in form.names if _is_number(name)]
        found.append(f"the first line is taken for names, though '{first}' is a number")
    if form.encoding != _UTF_8:
        found.append("text is not in UTF-8, and is taken for Windows-1252")
    return "; ".join(found) or None


def pieces_of(path: PathLike) -> list[Piece]:
    """Return what reads a file piece by piece, in order, each in any process."""
    file = Path(path)
    with _naming(file):
        if _suffix(file) == ".npy":
            n_rows = len(_mapped(file))
            return [partial(_piece_of_npy, file, first) for first in range(0, max(n_rows, 1), PART_ROWS)]
        if _is_parquet(file):
            data = _dataset(file)
            groups = [group for part in data.get_fragments() for group in part.split_by_row_group()]
            return [partial(_piece_of_parquet, file, data.schema, group) for group in groups or [None]]
        options = _csv_options(file)
        if _suffix(file) in COMPRESSED:
            return [partial(_piece_of_csv, file, options, 0, None)]
        ends: list[int | None] = [*_line_ends(file), None]
        return [
            partial(_piece_of_csv, file, options, first or 0, stop) for first, stop in pairwise([0, *ends])
        ]


def _piece_of_npy(file: Path, first: int, columns: Sequence[str] | None) -> pd.DataFrame:
    with _naming(file):
        frame = _of_array(np.array(_mapped(file)[first : first + PART_ROWS]))
    return frame if columns is None else frame[list(columns)]


def _piece_of_parquet(
    file: Path,
    schema: Any,  # noqa: ANN401  # pyarrow ships no types
    group: Any,  # noqa: ANN401  # the same
    columns: Sequence[str] | None,
) -> pd.DataFrame:
    with _naming(file):
        names = _names_in(schema) if columns is None else list(columns)
        if group is None:
            return _of_arrow(schema.empty_table().select(names))
        return _of_arrow(group.to_table(schema=schema, columns=names))


def _piece_of_csv(
    file: Path, options: dict[str, Any], first: int, stop: int | None, columns: Sequence[str] | None
) -> pd.DataFrame:
    import pandas as pd

    with _naming(file):
        if first == 0 and stop is None:
            return next(_csv(file, columns, None))
        with file.open("rb") as stream:
            stream.seek(first)
            rows = stream.read(-1 if stop is None else stop - first)
        if first > 0:
            # With a line of names pandas refuses longer lines here too.
            line = io.StringIO()
            csv.writer(line, delimiter=options["sep"], lineterminator="\n").writerow(options["names"])
            rows = line.getvalue().encode(options["encoding"], errors="replace") + rows
            options = {**options, "header": 0}
        chosen = options["names"] if columns is None else list(columns)
        frame = pd.read_csv(io.BytesIO(rows), **_only(options, chosen))[chosen]
        if not isinstance(frame.index, pd.RangeIndex):
            # What pandas makes of the first fields if all lines are too long.
            msg = f"after {first} bytes lines have more fields than there are names."
            raise WorkflowError(f"{file} cannot be read: {msg}")
        return frame


def _line_ends(file: Path) -> Iterator[int]:
    """Yield where lines of a CSV file end, outside quotes, about every `_PIECE_BYTES`, but at its end."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        offset = n_quotes = 0
        while block := stream.read(_PIECE_BYTES):
            n_quotes += block.count(b'"')
            end, n_before = len(block), n_quotes
            while (line := block.rfind(b"\n", 0, end)) >= 0:
                n_before -= block.count(b'"', line, end)
                if n_before % 2 == 0:
                    break
                end = line
            if line >= 0 and offset + line + 1 < size:
                yield offset + line + 1
            offset += len(block)


def frame_of(table: Any) -> pd.DataFrame:  # noqa: ANN401  # whatever users have
    """Return a table as a pandas data frame whose columns have names of text, each once.

    Parameters
    ----------
    table : data frame of pandas or polars, pyarrow table, or array-like of shape (n_samples, n_features)
        The table. Columns of an array are named "x0", "x1", ...

    Raises
    ------
    WorkflowError
        For what is no table, and for columns of the same name.
    """
    import pandas as pd

    if hasattr(table, "collect") and hasattr(table, "lazy"):
        table = table.collect()
    if isinstance(table, pd.DataFrame):
        frame = table
    elif hasattr(table, "to_arrow"):
        frame = _of_arrow(table.to_arrow())
    elif hasattr(table, "to_pandas") and hasattr(table, "schema"):
        frame = _of_arrow(table)
    else:
        frame = _of_array(np.asarray(table))
    names = [str(name) for name in frame.columns]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        msg = f"the table has several columns named {_quoted(twice)}: rename them, so that each is one."
        raise WorkflowError(msg)
    return frame if list(frame.columns) == names else frame.set_axis(names, axis=1)


def has_columns(table: object) -> bool:
    """Return whether the columns of a table have names; asks its type, since a lazy one must look."""
    return hasattr(type(table), "columns")


def values_of(table: Any, names: Sequence[str]) -> NDArray[np.float64]:  # noqa: ANN401  # whatever users have
    """Return columns of a table as numbers.

    Parameters
    ----------
    table : data frame of pandas or polars, pyarrow table, or array-like of shape (n_samples, n_columns)
        The table. Columns are found by name, in any order and among others; those of an array by position,
        of which there must be as many as names.
    names : sequence of str
        The columns.

    Returns
    -------
    ndarray of shape (n_samples, n_columns), float64
        Their values; NaN is missing.

    Raises
    ------
    WorkflowError
        For columns that are not there or hold no numbers.
    """
    if not has_columns(table):
        return _matrix(np.asarray(table), len(names))
    frame = frame_of(table)
    require(names, list(frame.columns), "the table")
    is_plain = all(isinstance(kind, np.dtype) and kind.kind in "biuf" for kind in frame.dtypes)
    if is_plain and list(names) == list(frame.columns):
        # The same values, at once for all columns.
        plain: NDArray[np.float64] = frame.to_numpy(dtype=np.float64)
        return plain
    columns = [numbers_of(frame[name]) for name in names]
    values = np.empty((len(frame), len(names)))
    for first in range(0, len(frame), _CACHED_ROWS):
        # Of a few rows at a time, so that the lines of the cache are full when they are written.
        block = slice(first, first + _CACHED_ROWS)
        for j, column in enumerate(columns):
            values[block, j] = column[block]
    return values


def numbers_of(column: pd.Series) -> NDArray[np.float64]:
    """Return a column as float64, NaN where a value is missing; refuse one that holds no numbers."""
    kind = kind_of(column)
    if kind == "nothing":
        return np.full(len(column), np.nan)
    if kind != "numbers":
        msg = f"column '{column.name}' holds {kind} ({example_of(column)}): only numbers can be clustered."
        raise WorkflowError(msg)
    values: NDArray[np.float64] = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return values


def kind_of(column: pd.Series) -> Kind:
    """Return what a column holds; "nothing" if it is of no dtype of numbers and has no value."""
    import pandas as pd

    kind = column.dtype
    if pd.api.types.is_object_dtype(kind):
        return _KINDS.get(pd.api.types.infer_dtype(column, skipna=True), "objects")
    if pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind):
        # Booleans are numbers here too; complex ones are not real.
        return "objects" if pd.api.types.is_complex_dtype(kind) else "numbers"
    if not column.notna().any():
        return "nothing"
    if isinstance(kind, pd.CategoricalDtype):
        return "categories"
    if pd.api.types.is_string_dtype(kind):
        return "text"
    is_time = pd.api.types.is_datetime64_any_dtype(kind) or pd.api.types.is_timedelta64_dtype(kind)
    named = str(kind).startswith(("period", "date", "time", "duration"))
    return "dates" if is_time or named else "objects"


def is_boolean(column: pd.Series) -> bool:
    """Return whether a column of numbers has none but true and false."""
    import pandas as pd

    if pd.api.types.is_object_dtype(column.dtype):
        return bool(pd.api.types.infer_dtype(column, skipna=True) == "boolean")
    return bool(pd.api.types.is_bool_dtype(column.dtype))


def example_of(column: pd.Series) -> str:
    """Return a value of a column for a message: of text among numbers one that is none."""
    import pandas as pd

    start = column[column.notna()].iloc[:_LOOKED_AT]
    if pd.api.types.is_string_dtype(column.dtype):
        odd = start[pd.to_numeric(start, errors="coerce").isna()]
        start = odd if len(odd) else start
    return shortened(start.iloc[0])


def shortened(value: object) -> str:
    """Return a value as text for a line."""
    text = repr(str(value))
    return text if len(text) <= 30 else f"{text[:27]}...'"


def require(wanted: Sequence[str], names: Sequence[str], where: str) -> None:
    """Refuse columns that are not there; say which names are the nearest.

    Raises
    ------
    WorkflowError
        If one is missing.
    """
    absent = [name for name in wanted if name not in set(names)]
    if not absent:
        return
    lower = {name.lower(): name for name in names}
    said = []
    for name in absent:
        near = [lower[key] for key in difflib.get_close_matches(name.lower(), list(lower), n=2)]
        said.append(f"'{name}'" + (f" (is it {_quoted(near, ' or ')}?)" if near else ""))
    shown = _quoted(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    msg = f"{where} has no column {', '.join(said)}; its columns are {shown or 'none'}."
    raise WorkflowError(msg)


@dataclass(frozen=True)
class _Form:
    """How a CSV file is written."""

    separator: str
    decimal: str
    names: list[str]
    has_names: bool
    encoding: str


def _quoted(names: Sequence[str], joint: str = ", ") -> str:
    return joint.join(f"'{name}'" for name in names)


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Turn what readers say of a damaged file into one line that names it."""
    try:
        yield
    except WorkflowError:
        raise
    except (ValueError, EOFError, OSError, zlib.error) as error:
        if isinstance(error, OSError) and (error.filename or str(file) in str(error)):
            raise
        if isinstance(error, UnicodeDecodeError):
            msg = f"{file} is in UTF-8 at its start and not all through: save it as UTF-8."
            raise WorkflowError(msg) from error
        reason = str(error).strip().split("\n", maxsplit=1)[0] or type(error).__name__
        msg = f"{file} cannot be read: {reason}"
        raise WorkflowError(msg) from error


def _suffix(file: Path) -> str:
    # Some systems write names in capitals.
    return file.suffix.lower()


def _suffix_inside(file: Path) -> str:
    """Return the suffix of a file, of one that is compressed that before it."""
    return _suffix(Path(file.stem)) if _suffix(file) in COMPRESSED else _suffix(file)


def _is_csv(file: Path) -> bool:
    return _suffix_inside(file) in CSV


def _is_parquet(file: Path) -> bool:
    return _suffix(file) in PARQUET or file.is_dir()


def _chosen(columns: Sequence[str] | None, names: Sequence[str], file: Path) -> list[str]:
    if columns is None:
        return list(names)
    require(columns, names, str(file))
    return list(columns)


def _numbered(count: int) -> list[str]:
    return [f"x{j}" for j in range(count)]


def _npy(file: Path, columns: Sequence[str] | None, n_rows: int | None) -> Iterator[pd.DataFrame]:
    import pandas as pd

    matrix = _mapped(file)
    names = _numbered(matrix.shape[1])
    chosen = _chosen(columns, names, file)
    total = matrix.shape[0]
    step = n_rows or max(total, 1)
    picked: Any = slice(None) if chosen == names else [names.index(name) for name in chosen]
    for first in range(0, max(total, 1), step):
        # Mapped anew each time: pages read of a map that is kept count as memory of the process.
        rows = np.array(_mapped(file)[first : first + step, picked])
        yield pd.DataFrame(rows, columns=chosen, copy=False)


def _mapped(file: Path) -> NDArray[Any]:
    matrix: NDArray[Any] = np.load(file, mmap_mode="r")
    if matrix.ndim != 2 or matrix.dtype.kind not in "biuf":
        msg = f"{file} holds {matrix.dtype} of shape {matrix.shape}: a matrix of real numbers is needed."
        raise WorkflowError(msg)
    return matrix


def _names_in(schema: Any) -> list[str]:  # noqa: ANN401  # pyarrow ships no types
    """Return the columns of Parquet files, but for an index without a name that pandas has stored."""
    return [name for name in schema.names if not re.fullmatch(r"__index_level_\d+__", name)]


def _dataset(file: Path) -> Any:  # noqa: ANN401  # pyarrow ships no types
    """Return Parquet files with the columns of all of them, each of a type that holds its values in all."""
    import pyarrow as pa
    from pyarrow import dataset

    data = dataset.dataset(file, format="parquet", partitioning="hive")
    # The schema of a folder is that of its first file.
    schemas = [] if len(data.files) == 1 else [part.physical_schema for part in data.get_fragments()]
    if all(schema.equals(schemas[0]) for schema in schemas):
        return data
    try:
        schema = pa.unify_schemas([data.schema, *schemas], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        msg = f"{file} holds files that are not of one table: {str(error).rstrip('.')}."
        raise WorkflowError(msg) from error
    return dataset.dataset(file, schema=schema, format="parquet", partitioning="hive")


def _absent_in_some(data: Any) -> str | None:  # noqa: ANN401  # pyarrow ships no types
    """Say which columns not all of several Parquet files have."""
    counts = Counter(name for part in data.get_fragments() for name in part.physical_schema.names)
    n_files = len(data.files)
    # Columns that are in no file are those of the names of folders.
    found = [
        f"'{name}' is not in {n_files - counts[name]} of {n_files} files, whose rows miss it"
        for name in _names_in(data.schema)
        if 0 < counts[name] < n_files
    ]
    return "; ".join(found) or None


def _parquet(file: Path, columns: Sequence[str] | None, n_rows: int | None) -> Iterator[pd.DataFrame]:
    data = _dataset(file)
    names = _names_in(data.schema)
    if len(set(names)) < len(names):
        # Refuses it, naming the columns.
        frame_of(data.schema.empty_table())
    chosen = _chosen(columns, names, file)
    if n_rows is None:
        yield _of_arrow(data.to_table(columns=chosen))
        return
    is_empty = True
    # A reader without end ahead would hold much of the file.
    for batch in data.to_batches(columns=chosen, batch_size=n_rows, batch_readahead=1, fragment_readahead=1):
        if batch.num_rows:
            is_empty = False
            yield _of_arrow(batch)
    if is_empty:
        yield _of_arrow(data.schema.empty_table().select(chosen))


def _of_arrow(table: Any) -> pd.DataFrame:  # noqa: ANN401  # pyarrow ships no types
    """Return a pyarrow table or record batch as a data frame, its decimals as float64."""
    import pyarrow as pa

    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    for j, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            table = table.set_column(j, field.name, table.column(j).cast(pa.float64()))
    # The rows are numbered, whatever index pandas had stored.
    frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
    return frame


def _of_array(matrix: NDArray[Any]) -> pd.DataFrame:
    import pandas as pd

    if matrix.ndim != 2:
        msg = f"the table has shape {matrix.shape}: it must be (n_samples, n_features)."
        raise WorkflowError(msg)
    return pd.DataFrame(matrix, columns=_numbered(matrix.shape[1]), copy=False)


def _matrix(matrix: NDArray[Any], n_columns: int) -> NDArray[np.float64]:
    if matrix.ndim != 2 or matrix.shape[1] != n_columns:
        msg = f"rows have shape {matrix.shape}: they must be (n_samples, {n_columns})."
        raise WorkflowError(msg)
    if matrix.dtype.kind not in "biufO":
        msg = f"rows have dtype {matrix.dtype}: only numbers can be clustered."
        raise WorkflowError(msg)
    try:
        return np.ascontiguousarray(matrix, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"rows hold what is no number: {error}."
        raise WorkflowError(msg) from error


def _csv(file: Path, columns: Sequence[str] | None, n_rows: int | None) -> Iterator[pd.DataFrame]:
    import pandas as pd

    options = _csv_options(file)
    chosen = _chosen(columns, options["names"], file)
    options = _only(options, chosen)
    with _opened(file) as stream:
        if n_rows is None:
            yield pd.read_csv(stream, **options)[chosen]
            return
        with pd.read_csv(stream, chunksize=n_rows, **options) as parts:
            is_empty = True
            for part in parts:
                is_empty = False
                yield part[chosen].reset_index(drop=True)
        if is_empty:
            yield pd.DataFrame(columns=chosen)


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """Give what pandas reads a CSV file from."""
    import pyarrow as pa

    if _suffix(file) != ".zst":
        yield file
        return
    # For this pandas would need one more library.
    with pa.input_stream(str(file), compression="zstd") as stream:
        yield stream


def _csv_options(file: Path) -> dict[str, Any]:
    """Return how pandas is to read a CSV file, the `names` of its columns among it."""
    form = _form(file)
    return {
        "sep": form.separator,
        "decimal": form.decimal,
        "header": 0 if form.has_names else None,
        "names": form.names,
        "low_memory": False,
        "encoding": form.encoding,
        # Of UTF-8 an error says more than what would stand there instead.
        "encoding_errors": "strict" if form.encoding == _UTF_8 else "replace",
    }


def _only(options: dict[str, Any], chosen: list[str]) -> dict[str, Any]:
    """Return how pandas is to read some columns of a CSV file."""
    if len(chosen) == len(options["names"]):
        # To name all would be to no longer refuse lines of more fields than names.
        return options
    return {**options, "usecols": chosen}


def _form(file: Path) -> _Form:
    """Look at the start of a CSV file."""
    import pyarrow as pa

    with pa.input_stream(str(file), compression=COMPRESSED.get(_suffix(file))) as stream:
        start: bytes = stream.read(_HEAD_BYTES)
    if start.startswith(_UTF_16):
        msg = f"{file} is written in UTF-16: save it as UTF-8."
        raise WorkflowError(msg)
    encoding = _encoding(start)
    text = start.decode("utf-8-sig" if encoding == _UTF_8 else encoding, errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        msg = f"{file} is empty: a line of names and rows are needed."
        raise WorkflowError(msg)
    # The last one may be cut.
    lines = lines[:-1] if len(start) == _HEAD_BYTES and len(lines) > 1 else lines
    separator = _separator(lines)
    first, *others = list(csv.reader(lines, delimiter=separator))
    widest = max((len(row) for row in others[:1]), default=0)
    if widest > len(first):
        msg = f"{file} has names for {len(first)} columns and {widest} columns: name each."
        raise WorkflowError(msg)
    has_names = not all(_is_number(field) for field in first)
    names = [field.strip() for field in first] if has_names else _numbered(len(first))
    names = [name or f"column {j + 1}" for j, name in enumerate(names)]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        msg = f"{file} has several columns named {_quoted(twice)}: rename them, so that each is one."
        raise WorkflowError(msg)
    rows = others if has_names else [first, *others]
    return _Form(separator, _decimal(separator, rows), names, has_names, encoding)


def _encoding(start: bytes) -> str:
    try:
        # Not the end: a character may be cut.
        codecs.getincrementaldecoder(_UTF_8)().decode(start)
    except UnicodeDecodeError:
        return "cp1252"
    return _UTF_8


def _separator(lines: list[str]) -> str:
    """Return the sign that cuts most lines into as many fields as the first, of which there are several."""

    def share_alike(sign: str) -> float:
        counts = [len(row) for row in csv.reader(lines, delimiter=sign)]
        return counts.count(counts[0]) / len(counts) if counts[0] > 1 else 0.0

    best = max(_SEPARATORS, key=share_alike)
    return best if share_alike(best) else ","


def _decimal(separator: str, rows: list[list[str]]) -> str:
    """Return "," if fractions have a comma in some field, and a point in none."""
    fields = [field for row in rows for field in row]
    # Between commas a fraction is in quotes, as is 1,000, which is rather a thousand.
    fraction = r"(\d{1,2}|\d{4,})" if separator == "," else r"\d+"
    with_comma = any(re.fullmatch(rf"\s*[+-]?\d+,{fraction}\s*", field) for field in fields)
    with_point = any(re.fullmatch(r"\s*[+-]?\d+\.\d+\s*", field) for field in fields)
    return "," if with_comma and not with_point else "."


def _is_number(field: str) -> bool:
    try:
        float(field.strip().replace(",", ".", 1))
    except ValueError:
        return False
    return field.strip().lower() not in ("nan", "inf", "infinity")
