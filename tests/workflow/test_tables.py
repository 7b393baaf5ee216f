"""Tables are read alike from every kind of file, whole or in parts; columns become numbers or are refused."""

from __future__ import annotations

import bz2
import datetime
import decimal
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet

from rust_kmeans.workflow import WorkflowError, iter_table, read_table
from rust_kmeans.workflow import _tables as tables_module
from rust_kmeans.workflow._tables import how_it_is_read, pieces_of, values_of, write_table


@pytest.fixture
def frame() -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "size": random.normal(size=500),
            "count": random.integers(0, 9, 500),
            "name": [f"row, {i}" for i in range(500)],
            "open": random.random(500) < 0.5,
        }
    )


def written(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.csv.bz2", "t.parquet"])
def test_a_file_gives_the_table_that_was_written_whole_and_in_parts(
    frame: pd.DataFrame, tmp_path: Path, name: str
) -> None:
    path = written(frame, tmp_path / name)
    pd.testing.assert_frame_equal(read_table(path), frame)
    parts = list(iter_table(path, n_rows=64))
    assert max(map(len, parts)) == 64
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), frame)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_only_the_columns_asked_for_are_read_in_their_order(
    frame: pd.DataFrame, tmp_path: Path, name: str
) -> None:
    path = written(frame, tmp_path / name)
    assert list(read_table(path, ["count", "size"]).columns) == ["count", "size"]
    assert [list(part.columns) for part in iter_table(path, ["open", "size"], 300)] == [["open", "size"]] * 2


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_npy_file_has_numbered_columns(tmp_path: Path, order: Any) -> None:
    matrix = np.arange(60, dtype=np.float32).reshape(20, 3, order=order)
    np.save(tmp_path / "m.npy", matrix)
    table = read_table(tmp_path / "m.npy")
    assert list(table.columns) == ["x0", "x1", "x2"]
    np.testing.assert_array_equal(table.to_numpy(), matrix)
    parts = [part.to_numpy() for part in iter_table(tmp_path / "m.npy", ["x2", "x0"], n_rows=7)]
    assert [len(part) for part in parts] == [7, 7, 6]
    np.testing.assert_array_equal(np.concatenate(parts), matrix[:, [2, 0]])


def test_a_folder_of_parquet_files_is_one_table_with_the_columns_of_its_folders(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    for month, part in ((1, frame[:200]), (2, frame[200:])):
        folder = tmp_path / "trips" / f"month={month}"
        folder.mkdir(parents=True)
        part.to_parquet(folder / "part.parquet")
    table = read_table(tmp_path / "trips")
    pd.testing.assert_frame_equal(table[list(frame.columns)], frame)
    assert table["month"].tolist() == [1] * 200 + [2] * 300


def test_files_of_a_folder_need_not_have_the_same_columns_and_types(tmp_path: Path) -> None:
    folder = tmp_path / "trips"
    folder.mkdir()
    pd.DataFrame({"count": [1, 2], "old": [3.0, 4.0]}).to_parquet(folder / "1.parquet")
    pd.DataFrame({"new": [5.0], "count": [1.5]}).to_parquet(folder / "2.parquet")
    expected = pd.DataFrame(
        {"count": [1.0, 2.0, 1.5], "old": [3.0, 4.0, None], "new": [None, None, 5.0]}, dtype=float
    )
    pd.testing.assert_frame_equal(read_table(folder), expected)
    pd.testing.assert_frame_equal(pd.concat(iter_table(folder), ignore_index=True), expected)
    pieces = [piece(["new", "count"]) for piece in pieces_of(folder)]
    pd.testing.assert_frame_equal(pd.concat(pieces, ignore_index=True), expected[["new", "count"]])
    assert how_it_is_read(folder) == (
        "'old' is not in 1 of 2 files, whose rows miss it; 'new' is not in 1 of 2 files, whose rows miss it"
    )


def test_files_of_a_folder_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    pd.DataFrame({"x": [1.0]}).to_parquet(tmp_path / "1.parquet")
    pd.DataFrame({"x": ["a"]}).to_parquet(tmp_path / "2.parquet")
    with pytest.raises(WorkflowError, match="not of one table") as refused:
        read_table(tmp_path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("has_names", [True, False])
@pytest.mark.parametrize("size", [1, 7, 64, 1_000])
def test_pieces_of_a_csv_file_are_whole_lines_and_together_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, has_names: bool
) -> None:
    monkeypatch.setattr(tables_module, "_PIECE_BYTES", size)
    path = tmp_path / "t.csv"
    rows = "".join(f'{i},"Köln, {i}\n""{i}""\n",{i / 7}\r\n' for i in range(20))
    path.write_bytes((("a,b,c\n" if has_names else "0,1,2\n") + rows).encode())
    pieces = pieces_of(path)
    assert (len(pieces) > 10) == (size < 100)
    for columns in (["a", "b", "c"], ["c", "a"]) if has_names else (["x2", "x0"],):
        # A first piece of names alone has no rows to tell the dtypes by.
        parts = [part for piece in pieces if len(part := piece(columns))]
        pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), read_table(path, columns))


def test_a_line_that_is_too_long_is_refused_in_any_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables_module, "_PIECE_BYTES", 8)
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "1,2\n" * 9 + "1,2,3\n" * 9)
    with pytest.raises(WorkflowError, match=r"t\.csv cannot be read"):
        [piece(None) for piece in pieces_of(path)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a;b\n1,5;2\n2,5;3\n", "columns are separated by ';'; numbers have a decimal comma"),
        ("a\tb\n1.5\t2\n2.5\t3\n", "columns are separated by a tab"),
        ('"a"|"b"\n1.5|2\n2.5|3\n', "columns are separated by '|'"),
        ("a,b\n1.5,2\n2.5,3\n", None),
        ('a,b\n"1,5",2\n"2,5",3\n', "numbers have a decimal comma"),
    ],
)
def test_how_a_csv_file_is_written_is_found_and_said(tmp_path: Path, text: str, said: str | None) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    assert how_it_is_read(path) == said
    assert read_table(path).to_dict("list") == {"a": [1.5, 2.5], "b": [2, 3]}


def test_a_csv_file_whose_first_line_has_numbers_has_no_names(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("1.5,2\n2.5,3\n")
    assert read_table(path).to_dict("list") == {"x0": [1.5, 2.5], "x1": [2, 3]}
    assert "named x0" in str(how_it_is_read(path))


@pytest.mark.parametrize(
    ("text", "names", "said"),
    [
        ("1,5;2,5;3,5\n2,5;3,5;4,5\n", ["x0", "x1", "x2"], "the first line holds numbers"),
        ("price, EUR;size, m;tax, %\n1,5;2,5;3,5\n2,5;3,5;4,5\n", ["price, EUR", "size, m", "tax, %"], None),
        ("price; EUR,size; m,tax\n1.5,2.5,3.5\n2.5,3.5,4.5\n", ["price; EUR", "size; m", "tax"], None),
    ],
)
def test_a_comma_in_names_or_numbers_is_no_separator_where_another_cuts_all_lines_alike(
    tmp_path: Path, text: str, names: list[str], said: str | None
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    table = read_table(path)
    assert list(table.columns) == names
    np.testing.assert_array_equal(table.to_numpy(), [[1.5, 2.5, 3.5], [2.5, 3.5, 4.5]])
    assert (said or "") in (how_it_is_read(path) or "")


def test_quoted_thousands_are_no_fractions(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('a,b\n"1,000",2\n"2,000",3\n')
    assert how_it_is_read(path) is None
    assert read_table(path)["a"].tolist() == ["1,000", "2,000"]


def test_a_first_line_with_a_number_is_taken_for_names_and_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "iris.csv"
    path.write_text("5.1,3.5,setosa\n4.9,3.0,setosa\n")
    assert how_it_is_read(path) == "the first line is taken for names, though '5.1' is a number"


def test_text_that_is_not_in_utf_8_is_taken_for_windows_1252_and_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("Größe,Ort\n1,Köln\n2,Zürich\n".encode("latin-1"))
    assert read_table(path).to_dict("list") == {"Größe": [1, 2], "Ort": ["Köln", "Zürich"]}
    assert how_it_is_read(path) == "text is not in UTF-8, and is taken for Windows-1252"


@pytest.mark.parametrize("name", ["T.CSV", "T.CSV.GZ", "T.CSV.ZST", "T.PARQUET", "T.NPY"])
def test_a_name_in_capitals_is_as_good(frame: pd.DataFrame, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    numbers = frame[["size", "count"]]
    if name == "T.NPY":
        with path.open("wb") as file:
            np.save(file, numbers.to_numpy())
    else:
        write_table(path, [numbers])
    np.testing.assert_array_equal(read_table(path).to_numpy(), numbers.to_numpy())
    np.testing.assert_array_equal(pd.concat(iter_table(path, n_rows=64)).to_numpy(), numbers.to_numpy())


def test_a_csv_file_may_have_a_byte_order_mark_a_column_without_a_name_and_lines_in_quotes(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbfa,,c\n1,2,"x\ny"\n3,4,z\n')
    expected = {"a": [1, 3], "column 2": [2, 4], "c": ["x\ny", "z"]}
    assert read_table(path).to_dict("list") == expected


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", b"\xff\xfea\x00,\x00b\x00", "UTF-16"),
        ("t.csv", b"a,b\n" + b"1,2\n" * 20_000 + b"\xe9\xe8,1\n", "save it as UTF-8"),
        ("t.csv", b"a,b\n1,2,3\n", "names for 2 columns and 3 columns"),
        ("t.csv", b"a,b\n1,2\n1,2,3\n", "line 3"),
        ("t.csv", b"a,b,a\n1,2,3\n", "several columns named 'a'"),
        ("t.csv.gz", gzip.compress(b"a,b\n1,2\n" * 9999, mtime=0)[:-60], "t.csv.gz"),
        ("t.csv.bz2", bz2.compress(b"a,b\n1,2\n" * 99)[:30], "t.csv.bz2"),
        ("t.parquet", b"PAR1 and no more", "cannot be read"),
        ("t.npy", b"not an array", "cannot be read"),
        ("t.xlsx", b"", "none of .csv"),
        ("t", b"", "none of .csv"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_one_line_that_names_it(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    for read in (read_table, lambda path: list(iter_table(path, n_rows=10))):
        with pytest.raises((WorkflowError, OSError), match=reason) as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("matrix", [np.zeros(3), np.zeros((2, 2), dtype=complex), np.array([["a"]])])
def test_a_npy_file_that_is_no_matrix_of_numbers_is_refused(tmp_path: Path, matrix: Any) -> None:
    np.save(tmp_path / "m.npy", matrix)
    with pytest.raises(WorkflowError, match="a matrix of real numbers is needed"):
        read_table(tmp_path / "m.npy")


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    for name in ("t.csv", "t.parquet", "t.npy"):
        with pytest.raises(OSError, match=name):
            read_table(tmp_path / name)


def test_columns_that_are_not_there_are_refused_with_the_nearest_names(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    path = written(frame, tmp_path / "t.parquet")
    for read in (lambda names: read_table(path, names), lambda names: values_of(frame, names)):
        with pytest.raises(
            WorkflowError, match="no column 'Sise' \\(is it 'size'\\?\\), 'q'; its columns are"
        ):
            read(["Sise", "count", "q"])


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.npy"])
def test_a_file_without_rows_is_one_part_with_its_columns(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "t.npy":
        np.save(path, np.empty((0, 2)))
    else:
        written(pd.DataFrame({"x0": [1.0], "x1": [1.0]}).iloc[:0], path)
    [part] = iter_table(path)
    assert part.shape == (0, 2)
    assert list(read_table(path).columns) == ["x0", "x1"]


def test_values_are_found_by_name_whatever_the_frame_is_of() -> None:
    columns: dict[str, Any] = {
        "whole": [1, 2, None],
        "text": ["a", "b", "c"],
        "sum": [decimal.Decimal("0.5"), None, decimal.Decimal("2.25")],
        "flag": [True, None, False],
    }
    expected = np.array([[1.0, 1.0, 0.5], [np.nan, 2.0, np.nan], [0.0, np.nan, 2.25]])
    frame = pd.DataFrame(columns)
    nullable = frame.astype({"whole": "Int64", "flag": "boolean"})
    arrow = pa.table(columns)
    on_arrow = arrow.to_pandas(types_mapper=pd.ArrowDtype)
    for table in (frame, nullable, on_arrow, arrow, pl.DataFrame(columns), pl.LazyFrame(columns)):
        found = values_of(table, ["flag", "whole", "sum"])
        np.testing.assert_array_equal(found, expected[[0, 1, 2]])
        assert found.dtype == np.float64


def test_values_of_an_array_are_found_by_position() -> None:
    matrix = np.arange(6).reshape(3, 2)
    np.testing.assert_array_equal(values_of(matrix, ["a", "b"]), matrix)
    np.testing.assert_array_equal(values_of(matrix.tolist(), ["a", "b"]), matrix)
    with pytest.raises(WorkflowError, match=r"shape \(3, 2\): they must be \(n_samples, 3\)"):
        values_of(matrix, ["a", "b", "c"])
    with pytest.raises(WorkflowError, match="no number"):
        values_of(np.array([["x", 1.0]], dtype=object), ["a", "b"])
    with pytest.raises(WorkflowError, match="only numbers"):
        values_of(np.array([["x", "1"]]), ["a", "b"])


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (["a", "b"], "text"),
        ([datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)], "dates"),
        (pd.to_datetime(["2020-01-01", "2020-01-02"]), "dates"),
        (pd.to_timedelta(["1s", "2s"]), "dates"),
        (pd.period_range("2020", periods=2, freq="D"), "dates"),
        (pd.Categorical(["a", "b"]), "categories"),
        ([1j, 2j], "objects"),
        ([[1], [2]], "objects"),
        ([1, "a"], "objects"),
    ],
)
def test_a_column_of_no_numbers_is_refused_by_what_it_holds(column: Any, kind: str) -> None:
    with pytest.raises(WorkflowError, match=f"column 'c' holds {kind} .*: only numbers can be clustered"):
        values_of(pd.DataFrame({"c": column}), ["c"])


def test_a_column_of_numbers_and_text_is_refused_by_the_text() -> None:
    with pytest.raises(WorkflowError, match=r"column 'a' holds text \('none'\)"):
        values_of(pd.DataFrame({"a": ["1", "2.5", "none"]}), ["a"])


def test_a_column_without_any_value_is_missing_whatever_its_dtype() -> None:
    for column in ([None, None], pd.array([None, None], dtype="string"), pd.Categorical([None, None])):
        assert np.isnan(values_of(pd.DataFrame({"c": column}), ["c"])).all()


def test_columns_of_the_same_name_are_refused_in_frames_too() -> None:
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(WorkflowError, match="several columns named 'a'"):
        values_of(frame, ["a"])


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
def test_what_is_written_in_parts_is_read_back(frame: pd.DataFrame, tmp_path: Path, name: str) -> None:
    write_table(tmp_path / name, (frame[first : first + 100] for first in range(0, 500, 100)))
    pd.testing.assert_frame_equal(read_table(tmp_path / name), frame)


def test_a_csv_file_is_written_without_needless_quotes(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", [pd.DataFrame({"label": [1, 2]})])
    assert (tmp_path / "t.csv").read_text() == "label\n1\n2\n"


def test_a_table_that_ends_in_an_error_leaves_the_old_file_and_nothing_beside_it(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(b"old")

    def parts() -> Any:
        yield frame
        raise WorkflowError("no more")

    with pytest.raises(WorkflowError, match="no more"):
        write_table(path, parts())
    assert [file.name for file in tmp_path.iterdir()] == ["t.parquet"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("name", "reason"), [("t.xlsx", "must end in"), ("none/t.csv", "there is no folder")]
)
def test_a_place_that_cannot_be_written_to_is_refused_at_once(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(WorkflowError, match=reason):
        write_table(tmp_path / name, [pd.DataFrame({"a": [1]})])


def test_an_index_that_pandas_stored_is_no_column(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame[frame["count"] > 3].to_parquet(tmp_path / "t.parquet")
    assert "__index_level_0__" in parquet.read_schema(tmp_path / "t.parquet").names
    assert list(read_table(tmp_path / "t.parquet").columns) == list(frame.columns)
