"""The row = the CSV schema; append and fsync, one row at a time."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from harness.errors import UserError
from harness.scenario import DTYPES, TRACKS

#: Raised whenever a column is added, dropped or changes its meaning.
SCHEMA_VERSION = 1
STATUSES = ("ok", "skipped", "failed", "timeout", "oom", "wrong")
#: What a text has to be, where not everything is allowed.
CHOICES = {"status": STATUSES, "track": TRACKS, "dtype": DTYPES}
#: The least that a figure can be; a time of zero or less, which no clock gives, would have no ratio.
LEAST = {
    **dict.fromkeys(("n_samples", "n_features", "n_clusters", "n_threads"), 1),
    **dict.fromkeys(("repeat", "n_iter", "inertia", "label_agreement", "seed"), 0),
    **dict.fromkeys(("seeding_seconds", "prepare_seconds", "predict_seconds", "baseline_rss_bytes"), 0),
    "peak_rss_bytes": 1,
}
#: Whole numbers beyond are not exact in a table of floats.
LARGEST = 2**53

Key = tuple[str, str, str, int]


@dataclass(frozen=True)
class Row:
    """One measurement. An empty cell means: does not apply, or the implementation does not tell.

    Parameters
    ----------
    schema_version : int
        Version of these columns.
    run_id, started_at, scenario, track, implementation, semantics, library_version
        What was measured, when (ISO 8601, UTC), and by which library.
    dataset, dataset_sha256, n_samples, n_features, n_clusters, dtype
        On which bytes.
    repeat : int
        From 0.
    status, reason : str
        ok | skipped | failed | timeout | oom | wrong, and why in one line.
    fit_seconds : float
        ``perf_counter`` around the fit.
    reported_fit_seconds, seeding_seconds, prepare_seconds, predict_seconds : float
        The implementation's own timing of its fit and of the seeding in it; load and start-up; labels of the
        training samples from the final centers.
    n_iter : int
        As the library counts.
    inertia : float
        The referee's, float64.
    reported_inertia : float
        The library's own, whatever it may mean.
    label_agreement : float
        Share of samples with the label they should have (see `harness.referee`).
    peak_rss_bytes, baseline_rss_bytes, fit_rss_bytes : int
        Peak during the fit, right before it, and their difference; of the whole process tree.
    peak_polled_bytes, peak_hwm_bytes, memory_method
        What each method saw, and which made the peak.
    n_threads : int
        The core budget.
    isa, algorithm : str
        Instruction set and algorithm the implementation chose, where it tells.
    init, n_init, tol, max_iter, seed
        What was really used.
    """

    schema_version: int
    run_id: str
    started_at: str
    scenario: str
    track: str
    implementation: str
    semantics: str
    library_version: str
    dataset: str
    dataset_sha256: str
    n_samples: int
    n_features: int
    n_clusters: int
    dtype: str
    repeat: int
    status: str
    reason: str
    fit_seconds: float | None
    reported_fit_seconds: float | None
    seeding_seconds: float | None
    prepare_seconds: float | None
    predict_seconds: float | None
    n_iter: int | None
    inertia: float | None
    reported_inertia: float | None
    label_agreement: float | None
    peak_rss_bytes: int | None
    baseline_rss_bytes: int | None
    fit_rss_bytes: int | None
    peak_polled_bytes: int | None
    peak_hwm_bytes: int | None
    memory_method: str
    n_threads: int
    isa: str
    algorithm: str
    init: str
    n_init: int | None
    tol: float | None
    max_iter: int | None
    seed: int

    @property
    def key(self) -> Key:
        """What makes a measurement the same one when a run is resumed."""
        return self.scenario, self.track, self.implementation, self.repeat


COLUMNS = tuple(column.name for column in fields(Row))


def append(path: Path, row: Row) -> None:
    """Add one row and wait until it is on disk.

    The line goes out in a single write, so that an interrupted one can only be the last; `load` drops it.
    """
    content = b"" if path.exists() and path.stat().st_size else _line(COLUMNS)
    content += _line([_cell(getattr(row, name)) for name in COLUMNS])
    try:
        with path.open("ab", buffering=0) as file:
            whole = file.write(content) == len(content)
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(
            f"{path}: cannot write the row: {error.strerror}; the same command resumes"
        ) from error
    if not whole:
        raise UserError(f"{path}: no room for the whole row; free disk space: the same command resumes")


def repair(path: Path) -> bool:
    """Cut off a last line that was not written to its end; return whether there was one."""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole == len(content):
        return False
    os.truncate(path, whole)
    return True


def load(path: Path) -> list[Row]:
    """Read all rows of one CSV file; a last line without its end is left out.

    Raises
    ------
    UserError
        If the file cannot be read, is not one of ours, is of another schema version, or holds a row that no
        measurement can have made.
    """
    try:
        content = path.read_bytes()
        text = content[: content.rfind(b"\n") + 1].decode()
        table = list(csv.reader(io.StringIO(text, newline="")))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); move it away") from None
    except (UnicodeDecodeError, csv.Error):
        raise UserError(f"{path}: not the text of a table; move the file away") from None
    if not table:
        return []
    header, *lines = table
    if tuple(header) != COLUMNS:
        raise UserError(
            f"{path}: not the columns of schema {SCHEMA_VERSION}; move the file away or use --fresh"
        )
    rows = [_parse(cells, path, number) for number, cells in enumerate(lines, start=2)]
    for number, row in enumerate(rows, start=2):
        if mistake := next(_mistakes(row), ""):
            raise UserError(f"{path}: line {number}: {mistake}; move the file away")
    return rows


def _line(cells: tuple[str, ...] | list[str]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue().encode()


def _cell(value: object) -> str:
    if value is None:
        return ""
    # A line break inside a cell would let an interrupted row pass for two whole lines.
    return " ".join(value.split()) if isinstance(value, str) else repr(value)


def _parse(cells: list[str], path: Path, number: int) -> Row:
    if len(cells) != len(COLUMNS):
        raise UserError(
            f"{path}: line {number} has {len(cells)} cells, not {len(COLUMNS)}; move the file away"
        )
    values: dict[str, object] = {}
    for column, cell in zip(fields(Row), cells, strict=True):
        kind = str(column.type)
        try:
            if "str" in kind:
                values[column.name] = cell
            elif cell == "" and "None" in kind:
                values[column.name] = None
            else:
                values[column.name] = float(cell) if "float" in kind else int(cell)
        except ValueError:
            raise UserError(
                f"{path}: line {number}, column {column.name}: {cell!r} is not a number; move the file away"
            ) from None
    # Each value has just been given the type its column declares, which mypy cannot follow.
    return Row(**values)  # type: ignore[arg-type]


def _mistakes(row: Row) -> Iterator[str]:
    """Yield what no measurement can have written."""
    if row.schema_version != SCHEMA_VERSION:
        yield f"schema {row.schema_version}, not {SCHEMA_VERSION}"
    for name, choices in CHOICES.items():
        if (found := getattr(row, name)) not in choices:
            yield f"{name} {found!r} is none of {', '.join(choices)}"
    if not row.implementation:
        yield "no implementation is named"
    if row.fit_seconds is not None and not 0 < row.fit_seconds < math.inf:
        yield f"fit_seconds {row.fit_seconds!r} is no time"
    for column in fields(Row):
        value = getattr(row, column.name)
        if isinstance(value, int) and abs(value) > LARGEST:
            yield f"{column.name} {value} is beyond all that is counted here"
        # What has no answer may well have an objective that is no number, and a library may report what it
        # likes: no figure is made of either.
        is_figure = row.status == "ok" and column.name != "reported_inertia"
        if isinstance(value, float) and is_figure and not math.isfinite(value):
            yield f"{column.name} {value!r} is no figure"
    for name, least in LEAST.items():
        value = getattr(row, name)
        if value is not None and value < least:
            yield f"{name} {value} is less than {least}"
    if row.status == "ok" and row.fit_seconds is not None and (row.seeding_seconds or 0) > row.fit_seconds:
        yield f"seeding_seconds {row.seeding_seconds} is more than the whole fit"
