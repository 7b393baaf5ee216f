"""A row survives its round trip, and an interrupted one is noticed."""

from __future__ import annotations

import csv
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UserError
from harness.record import COLUMNS, Row, append, load, repair

ROW = Row(
    schema_version=1,
    run_id="abc",
    started_at="2026-01-01T00:00:00.000+00:00",
    scenario="blobs-n10-d2-k3-float32",
    track="matched",
    implementation="rust",
    semantics="exact",
    library_version="0.1.0",
    dataset="blobs",
    dataset_sha256="0" * 64,
    n_samples=10,
    n_features=2,
    n_clusters=3,
    dtype="float32",
    repeat=0,
    status="ok",
    reason="",
    fit_seconds=0.1 + 0.2,
    reported_fit_seconds=None,
    seeding_seconds=None,
    prepare_seconds=1e-9,
    predict_seconds=0.5,
    n_iter=7,
    inertia=1e300,
    reported_inertia=float("inf"),
    label_agreement=1.0,
    peak_rss_bytes=1 << 40,
    baseline_rss_bytes=1,
    fit_rss_bytes=-4096,
    peak_polled_bytes=None,
    peak_hwm_bytes=2,
    memory_method="vmhwm",
    n_threads=2,
    isa="",
    algorithm="lloyd",
    init="given",
    n_init=1,
    tol=0.0,
    max_iter=300,
    seed=0,
)


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    rows = [ROW, replace(ROW, repeat=1, status="failed", reason='said "no", twice', fit_seconds=None)]
    for row in rows:
        append(path, row)
    assert load(path) == rows


@given(st.text(st.characters(codec="utf-8")))
def test_any_reason_stays_within_its_line(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        append(path, replace(ROW, reason=text))
        append(path, ROW)
        assert [row.reason for row in load(path)] == [" ".join(text.split()), ""]
        assert path.read_bytes().count(b"\n") == 3


def test_the_header_is_written_once_and_has_the_columns_of_the_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    append(path, ROW)
    append(path, ROW)
    with path.open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == list(COLUMNS) == [column.name for column in fields(Row)]
    assert len(lines) == 3


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_a_row_cut_off_in_the_middle_is_left_out_and_mended(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    append(path, ROW)
    append(path, replace(ROW, repeat=1))
    path.write_bytes(path.read_bytes()[:-cut])
    assert load(path) == [ROW]
    assert repair(path)
    append(path, replace(ROW, repeat=2))
    assert [row.repeat for row in load(path)] == [0, 2]
    assert not repair(path)


def test_a_file_with_other_columns_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"rows\.csv: not the columns of schema 1"):
        load(path)


def test_a_damaged_number_is_refused_with_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    append(path, ROW)
    path.write_text(path.read_text().replace("1e+300", "1e3oo"))
    with pytest.raises(UserError, match=r"line 2, column inertia: '1e3oo'"):
        load(path)


def test_a_folder_that_is_gone_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot write the row: No such file"):
        append(tmp_path / "gone" / "rows.csv", ROW)
