"""Real files in: every format, and every way a file can be unfit, named in one line."""

from __future__ import annotations

import gzip
import logging
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sklearn.datasets

from harness import readers
from harness.errors import UserError
from harness.readers import AnyArray, FloatArray

VALUES = np.array([[1.0, 2.0, 3.5], [4.0, 5.0, 6.5], [7.0, 8.0, 9.5]])


def read(path: Path, dtype: str = "float64", **choice: Any) -> FloatArray:
    return readers.read(path, dtype=dtype, **choice)


def refusal(path: Path, dtype: str = "float64", **choice: Any) -> str:
    """Return the one line that the file is refused with, without its path."""
    with pytest.raises(UserError) as caught:
        read(path, dtype, **choice)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


def csv(folder: Path, text: str, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def parquet(folder: Path, **columns: Any) -> Path:
    path = folder / "table.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def npy(folder: Path, array: AnyArray) -> Path:
    path = folder / "array.npy"
    np.save(path, array)
    return path


def idx(folder: Path, array: AnyArray, code: int, name: str = "train-images-idx3-ubyte") -> Path:
    head = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    body = head + array.astype(array.dtype.newbyteorder(">")).tobytes()
    path = folder / name
    path.write_bytes(gzip.compress(body) if name.endswith(".gz") else body)
    return path


def npz(folder: Path, **arrays: AnyArray) -> Path:
    path = folder / "arrays.npz"
    # NumPy types its one keyword of another kind like the arrays.
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


FILES: dict[str, Callable[[Path], Path]] = {
    "npy": lambda folder: npy(folder, VALUES),
    "npy, Fortran order": lambda folder: npy(folder, np.asfortranarray(VALUES)),
    "npy, big-endian": lambda folder: npy(folder, VALUES.astype(">f4")),
    "npz, X": lambda folder: npz(folder, X=VALUES, other=VALUES[:2]),
    "npz, one matrix": lambda folder: npz(folder, samples=VALUES, y=np.arange(3)),
    "csv": lambda folder: csv(folder, "a,b,c\n1,2,3.5\n4,5,6.5\n7,8,9.5\n"),
    "csv, gzipped": lambda folder: csv(folder, "a,b,c\n1,2,3.5\n4,5,6.5\n7,8,9.5\n", "table.csv.gz"),
    "csv, semicolons": lambda folder: csv(folder, "a;b;c\n1;2;3.5\n4;5;6.5\n7;8;9.5\n"),
    "csv, byte order mark": lambda folder: csv(folder, "\ufeffa,b,c\r\n1,2,3.5\r\n4,5,6.5\r\n7,8,9.5\r\n"),
    "csv, no header": lambda folder: csv(folder, "1,2,3.5\n4,5,6.5\n7,8,9.5"),
    "csv, byte order mark, no header": lambda folder: csv(folder, "\ufeff1,2,3.5\n4,5,6.5\n7,8,9.5"),
    "csv, row numbers": lambda folder: csv(folder, ",a,b,c\n0,1,2,3.5\n1,4,5,6.5\n2,7,8,9.5\n"),
    "csv, capitals": lambda folder: csv(folder, "a,b,c\n1,2,3.5\n4,5,6.5\n7,8,9.5\n", "TABLE.CSV"),
    "parquet": lambda folder: parquet(
        folder, a=[1, 4, 7], b=pa.array([2, 5, 8], pa.decimal128(5, 2)), c=[3.5, 6.5, 9.5]
    ),
    "idx": lambda folder: idx(folder, VALUES.reshape(3, 3, 1), 0x0E),
    "idx, gzipped": lambda folder: idx(folder, VALUES.astype(np.float32), 0x0D, "x-idx2-float.gz"),
}


@pytest.mark.parametrize("make", FILES.values(), ids=FILES.keys())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_format_gives_the_same_matrix(make: Callable[[Path], Path], dtype: str, tmp_path: Path) -> None:
    matrix = read(make(tmp_path), dtype)
    assert matrix.dtype == dtype
    assert matrix.flags.c_contiguous
    np.testing.assert_array_equal(matrix, VALUES)


# Choosing columns


def test_columns_are_taken_in_the_order_asked_for_and_once(tmp_path: Path) -> None:
    path = FILES["csv"](tmp_path)
    np.testing.assert_array_equal(read(path, columns=("c", "a", "c")), VALUES[:, [2, 0]])


def test_dropped_columns_are_left_out(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(FILES["parquet"](tmp_path), drop=("b",)), VALUES[:, [0, 2]])


def test_columns_of_an_array_go_by_their_number(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(FILES["npy"](tmp_path), columns=("2", "0")), VALUES[:, [2, 0]])
    np.testing.assert_array_equal(read(FILES["npz, X"](tmp_path), drop=("1",)), VALUES[:, [0, 2]])


def test_columns_that_are_not_numeric_are_left_out_in_one_logged_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = csv(tmp_path, ",a,city,day,flag,b\n0,1,Bonn,2020-01-01,true,2\n1,3,Jena,2020-01-02,false,4\n")
    with caplog.at_level(logging.INFO, logger="harness"):
        np.testing.assert_array_equal(read(path), [[1, 2], [3, 4]])
    (record,) = caplog.records
    for name in ("0 (no name)", "city (string)", "day (date32[day])", "flag (bool)"):
        assert name in record.getMessage()


def test_truth_values_and_row_numbers_are_taken_when_asked_for(tmp_path: Path) -> None:
    path = csv(tmp_path, ",a,flag\n5,1,true\n6,3,false\n")
    np.testing.assert_array_equal(read(path, columns=("flag", "0", "a")), [[1, 5, 1], [0, 6, 3]])
    path = parquet(tmp_path, a=[1, 2], flag=[True, False])
    np.testing.assert_array_equal(read(path, columns=("a", "flag")), [[1, 1], [2, 0]])


def test_a_single_column_is_taken_only_when_asked_for(tmp_path: Path) -> None:
    path = csv(tmp_path, "size,city\n1,Bonn\n2,Jena\n")
    assert re.search("only 1 numeric column, 'size'.*--columns size", refusal(path))
    np.testing.assert_array_equal(read(path, columns=("size",)), [[1], [2]])
    path = npy(tmp_path, np.arange(3.0))
    assert re.search("only 1 numeric column, '0'.*--columns 0", refusal(path))
    np.testing.assert_array_equal(read(path, columns=("0",)), [[0], [1], [2]])


def test_integers_that_become_floats_after_the_first_megabyte_are_read(tmp_path: Path) -> None:
    rows = 150_000
    path = csv(tmp_path, "a,b\n" + "1,222222\n" * rows + "1.5,2\n")
    assert path.stat().st_size > 2**20
    matrix = read(path)
    assert matrix.shape == (rows + 1, 2)
    assert matrix[-1].tolist() == [1.5, 2.0]


# Unfit values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b,c\n1,,3\n4,5,\n7,,9\n", r"missing .* 'b' \(2 of 3 rows\), 'c' \(1 of 3 rows\); use --drop b,c"),
        ("a,b\n1,NaN\n4,5\n", r"missing values in 'b' \(1 of 2 rows\); use --drop b"),
        ("a,b\n,NA\n,\n", r"missing values in 'a' \(2 of 2 rows\), 'b' .*take other columns with --columns"),
        ("a,b\n1,inf\n4,5\n", r"infinite values in 'b' \(1 of 2 rows\); use --drop b"),
        ("a,b c\n1,-inf\n4,5\n", r"infinite values in 'b c' \(1 of 2 rows\); use --drop 'b c'"),
    ],
)  # fmt: skip
def test_missing_and_infinite_values_name_columns_counts_and_remedy(
    text: str, expected: str, tmp_path: Path
) -> None:
    assert re.search(expected, refusal(csv(tmp_path, text)))


def test_missing_values_in_a_column_asked_for_suggest_to_ask_for_others(tmp_path: Path) -> None:
    path = parquet(tmp_path, a=[1.0, 2.0], b=[None, 2.0], c=pa.array([None, None], pa.float64()))
    message = refusal(path, columns=("a", "b"))
    assert re.search(r"missing values in 'b' \(1 of 2 rows\); leave out of --columns b", message)
    assert re.search(r"'b' .* 'c' \(2 of 2 rows\); use --drop b,c", refusal(path))


def test_a_missing_value_beyond_the_first_block_is_counted(tmp_path: Path) -> None:
    array = np.ones((200_000, 2))
    array[[3, 199_999], 1] = np.nan
    assert "'1' (2 of 200000 rows)" in refusal(npy(tmp_path, array))


@pytest.mark.parametrize("make", [npy, lambda f, a: parquet(f, **{"0": a[:, 0], "1": a[:, 1]})])
def test_values_beyond_float32_name_the_column_and_float64(make: Any, tmp_path: Path) -> None:
    array = np.array([[1.0, 1.0], [2.0, 1e39], [3.0, -1e300]])
    path = make(tmp_path, array)
    message = refusal(path, "float32")
    assert re.search(r"beyond the range of float32 in '1' \(2 of 3 rows\); use --dtype float64", message)
    np.testing.assert_array_equal(read(path, "float64"), array)


def test_text_asked_for_is_refused_by_name(tmp_path: Path) -> None:
    path = csv(tmp_path, "a,city,b\n1,Bonn,2\n")
    assert re.search(
        r"column 'city' is string, not numeric: 1 of the 2", refusal(path, columns=("a", "city"))
    )


def test_text_after_the_first_megabyte_names_the_column_and_the_remedy(tmp_path: Path) -> None:
    path = csv(tmp_path, "a,b,size\n" + "1,2,222222\n" * 150_000 + "1,2,unknown\n")
    message = refusal(path)
    assert re.search(r"column 'size' turns to text further down.*unknown.*--drop size", message)
    assert read(path, drop=("size",)).shape == (150_001, 2)


@pytest.mark.parametrize("option", ["columns", "drop"])
def test_an_unknown_column_proposes_the_nearest(option: str, tmp_path: Path) -> None:
    path = parquet(tmp_path, fare_amount=[1, 2], distance=[3, 4])
    near: dict[str, Any] = {option: ("fare_amont",)}
    message = refusal(path, **near)
    assert f"--{option}: no column 'fare_amont'; did you mean 'fare_amount'?" in message
    assert "it has fare_amount, distance" in refusal(path, **{**near, option: ("zzz",)})


@pytest.mark.parametrize(
    ("make", "choice"),
    [
        (lambda f: csv(f, "city,land\nBonn,NW\n"), {}),
        (lambda f: csv(f, "a,b\n1,2\n"), {"drop": ("a", "b")}),
        (lambda f: csv(f, "a,b\n1,2\n"), {"columns": ("a",), "drop": ("a",)}),
    ],
)
def test_no_numeric_column_says_what_there_is(
    make: Callable[[Path], Path], choice: dict[str, Any], tmp_path: Path
) -> None:
    assert re.search(
        r"no numeric column left of 2: \w+ \(\w+\), \w+ \(\w+\)", refusal(make(tmp_path), **choice)
    )


def test_a_repeated_name_is_refused(tmp_path: Path) -> None:
    assert "column 'a' occurs 2 times; rename" in refusal(csv(tmp_path, "a,b,a\n1,2,3\n"))


@pytest.mark.parametrize(
    "make",
    [
        lambda f: csv(f, ""),
        lambda f: csv(f, "a,b\n"),
        lambda f: csv(f, "", "t.csv.gz"),
        lambda f: csv(f, "a,b\r\n", "t.csv.gz"),
        lambda f: csv(f, "a,b\n\n\n"),
        lambda f: parquet(f, a=pa.array([], pa.int64()), b=pa.array([], pa.int64())),
        lambda f: npy(f, np.empty((0, 2))),
        lambda f: idx(f, np.empty((0, 2, 2), np.uint8), 0x08),
    ],
)
def test_no_rows_is_an_error(make: Callable[[Path], Path], tmp_path: Path) -> None:
    assert "no rows" in refusal(make(tmp_path))


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.ones((2, 3, 4)), r"shape \(2, 3, 4\)"),
        (np.array(1.0), r"shape \(\)"),
        (np.empty((3, 0)), r"shape \(3, 0\)"),
        (np.array([["a", "b"]]), "array of <U1, not of numbers"),
        (np.ones((2, 2), bool), "array of bool"),
        (np.ones((2, 2), complex), "array of complex128"),
        (np.zeros(3, dtype=[("a", "f8")]), "not of numbers"),
        (np.array([[1, None]], dtype=object), "Python objects"),
    ],
)
def test_an_array_that_is_no_matrix_of_numbers_is_refused(
    array: AnyArray, expected: str, tmp_path: Path
) -> None:
    assert re.search(expected, refusal(npy(tmp_path, array)))
    assert re.search(expected, refusal(npz(tmp_path, X=array)))


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"a": VALUES, "b": VALUES}, "no array X and 2 2-D arrays among a, b; save the samples under"),
        ({"y": np.arange(3)}, "no array X and 0 2-D arrays among y"),
        ({}, "no array X and 0 2-D arrays among none"),
    ],
)  # fmt: skip
def test_an_archive_without_one_matrix_names_its_keys(
    arrays: dict[str, AnyArray], expected: str, tmp_path: Path
) -> None:
    assert expected in refusal(npz(tmp_path, **arrays))


# Unfit files


def test_a_file_that_is_not_there_or_of_unknown_format_is_refused(tmp_path: Path) -> None:
    for name in ("x.npy", "x.npz", "x.csv", "x.csv.gz", "x.parquet", "x-idx3-ubyte", "x-idx3-ubyte.gz"):
        assert "no such file" in refusal(tmp_path / name)
        (tmp_path / name).mkdir()
        assert "is a folder" in refusal(tmp_path / name)
    assert "unknown format; give .npy, .npz, .csv" in refusal(tmp_path / "x.xlsx")
    with pytest.raises(UserError, match="unknown format"):
        readers.fingerprint(tmp_path / "x.xlsx")
    with pytest.raises(UserError, match="no such file"):
        readers.fingerprint(tmp_path / "y.npy")


def test_a_file_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Permissions do not stop root, whom tests often run as: the system's answer is put in by hand.
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = FILES["npy"](tmp_path)
    monkeypatch.setattr(Path, "open", denied)
    assert "may not be read; check its permissions" in refusal(path)


DAMAGED = [name for name in FILES if not name.startswith("csv") or "gzipped" in name]


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.95])
def test_a_file_cut_short_is_refused(name: str, keep: float, tmp_path: Path) -> None:
    path = FILES[name](tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    # An empty .csv.gz is an empty file to gzip as well.
    assert re.search("damaged or cut short|no rows", refusal(path))


@pytest.mark.parametrize("name", DAMAGED)
def test_a_file_of_noise_is_refused(name: str, tmp_path: Path) -> None:
    path = FILES[name](tmp_path)
    path.write_bytes(np.random.default_rng(0).bytes(5_000))
    assert "damaged or cut short" in refusal(path)


def test_a_packed_file_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    for name in ("csv, gzipped", "idx, gzipped"):
        path = FILES[name](tmp_path)
        content = bytearray(path.read_bytes())
        content[-6] ^= 1
        path.write_bytes(content)
        assert "CRC check failed" in refusal(path)


def test_rows_of_different_lengths_are_refused(tmp_path: Path) -> None:
    assert "Expected 2 columns, got 3" in refusal(csv(tmp_path, "a,b\n1,2\n1,2,3\n"))


def test_labels_are_one_column(tmp_path: Path) -> None:
    path = idx(tmp_path, np.arange(5, dtype=np.uint8), 0x08, "train-labels-idx1-ubyte")
    assert "only 1 numeric column" in refusal(path)


def test_without_pyarrow_a_table_says_what_to_install_and_an_array_is_read(tmp_path: Path) -> None:
    table, array = FILES["csv"](tmp_path), FILES["npy"](tmp_path)
    program = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from pathlib import Path; from harness import readers\n"
        "print(readers.read(Path(sys.argv[1]), dtype='float32').shape)\n"
        "try: readers.read(Path(sys.argv[2]), dtype='float32')\n"
        "except readers.UserError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(array), str(table)], capture_output=True, text=True, check=True
    )
    shape, message = done.stdout.splitlines()
    assert shape == "(3, 3)"
    assert "pip install 'pyarrow" in message


# MNIST through scikit-learn


def test_mnist_without_a_network_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", unreachable)
    with pytest.raises(
        UserError, match=r"Name or service not known.*--data PATH/train-images-idx3-ubyte\.gz"
    ):
        readers.fetch_mnist(tmp_path, dtype="float32")


def test_mnist_is_asked_for_by_version_and_kept_in_the_folder_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def fetch(name: str, **arguments: Any) -> SimpleNamespace:
        asked.update(arguments, name=name)
        return SimpleNamespace(data=np.zeros((70_000, 784), dtype=np.uint8))

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    matrix = readers.fetch_mnist(tmp_path, dtype="float32", columns=("0", "783"))
    assert matrix.shape == (70_000, 2)
    assert (asked["name"], asked["version"], asked["data_home"]) == ("mnist_784", 1, str(tmp_path))


def test_mnist_of_another_shape_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", lambda *_, **__: SimpleNamespace(data=VALUES))
    with pytest.raises(UserError, match=r"shape \(3, 3\), not \(70000, 784\)"):
        readers.fetch_mnist(tmp_path, dtype="float32")


# The real data


def test_covertype_is_read(real_data: Path) -> None:
    path = real_data / "tables" / "covertype_286k.npz"
    matrix = read(path, "float32")
    assert matrix.shape == (286_048, 10)
    with np.load(path) as archive:
        np.testing.assert_array_equal(matrix, archive["X"])


def test_the_taxi_table_is_read_by_columns_and_refused_whole(real_data: Path) -> None:
    path = real_data / "tables" / "green_tripdata_2020-10.parquet"
    assert read(path, columns=("trip_distance", "fare_amount", "total_amount")).shape == (95_120, 3)
    message = refusal(path)
    assert "'VendorID' (42510 of 95120 rows)" in message
    assert "'ehail_fee' (95120 of 95120 rows)" in message
    # The remedy works as it is printed.
    found = re.search(r"--drop ([\w,]+),", message)
    assert found is not None
    assert read(path, drop=tuple(found[1].split(","))).shape == (95_120, 10)
    assert "is large_string" in refusal(path, columns=("trip_distance", "store_and_fwd_flag"))


def test_mnist_images_are_read(real_data: Path) -> None:
    matrix = read(real_data / "mnist" / "t10k-images-idx3-ubyte.gz", "float32")
    assert matrix.shape == (10_000, 784)
    assert matrix.min() == 0
    assert matrix.max() == 255
