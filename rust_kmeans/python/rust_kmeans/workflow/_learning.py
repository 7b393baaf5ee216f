"""What is learned of a table before it is clustered, and each decision made on the way."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from rust_kmeans.workflow._columns import LARGEST, Parts, Ranges, deviations, means, quantiles, ranges
from rust_kmeans.workflow._errors import WorkflowError
from rust_kmeans.workflow._preparation import MissingName, Preparation, ScaleName
from rust_kmeans.workflow._sources import Progress, Source
from rust_kmeans.workflow._tables import Kind, example_of, is_boolean, kind_of, numbers_of, require

if TYPE_CHECKING:
    import pandas as pd

UnusableName = Literal["drop", "error"]
DtypeName = Literal["float32", "float64"]
Floating = TypeVar("Floating", np.float32, np.float64)

SCALES: tuple[ScaleName, ...] = ("standard", "minmax", "robust", "none")
MISSING: tuple[MissingName, ...] = ("mean", "median", "drop", "error")
UNUSABLE: tuple[UnusableName, ...] = ("drop", "error")
DTYPES: tuple[DtypeName, ...] = ("float32", "float64")
#: Rules for outliers, with the factor each has unless one is given.
OUTLIERS = {"none": None, "gross": 10.0, "zscore": 3.0, "iqr": 1.5}

# A column of which more is missing is made up rather than filled.
_MOST_MISSING = 0.5
# The middle 99 % of the values.
_MIDDLE = [0.005, 0.995]
# From so many rows on a column that rises from row to row is likely to number them.
_ROWS_OF_A_NUMBERING = 10
# What columns without a name are called here, and by pandas: often the numbers of the rows, stored along.
_WITHOUT_NAME = re.compile(r"column \d+|Unnamed: \d+")
# A value so many standard deviations from the mean makes the standard deviation say little of the others.
_FAR = 100.0


@dataclass(frozen=True)
class Decision:
    """Something decided about a table, for a person to read.

    Parameters
    ----------
    column : str
        The column it is about; empty for the whole table.
    action : str
        What was done: "read", "dropped", "left out", "filled", "scaled", "clustered", or "noted" where
        nothing was.
    reason : str
        Why and how much, in words.
    """

    column: str
    action: str
    reason: str

    def __str__(self) -> str:
        """Return the decision as a line."""
        return f"{self.action}{f' {self.column}' if self.column else ''}: {self.reason}"


@dataclass(frozen=True)
class Options:
    """How a table is to be prepared; the parameters of `TablePreparer`."""

    columns: Sequence[str] | None = None
    drop: Sequence[str] = ()
    scale: ScaleName = "standard"
    missing: MissingName = "median"
    outliers: str = "gross"
    unusable: UnusableName = "drop"
    dtype: DtypeName = "float32"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("scale", self.scale, SCALES),
            ("missing", self.missing, MISSING),
            ("unusable", self.unusable, UNUSABLE),
            ("dtype", self.dtype, DTYPES),
        ):
            if value not in known:
                msg = f"{name} is {value!r}: it must be one of {', '.join(known)}."
                raise WorkflowError(msg)
        rule_of(self.outliers)


@dataclass(frozen=True)
class Learned:
    """What a table has taught.

    Parameters
    ----------
    preparation : Preparation
        How its rows become features.
    decisions : list of Decision
        What was decided, in the order of the steps.
    n_rows : int
        Rows of the table.
    n_kept : int
        Rows that are clustered.
    """

    preparation: Preparation
    decisions: list[Decision]
    n_rows: int
    n_kept: int


def rule_of(outliers: str) -> tuple[str, float]:
    """Return the rule for outliers and its factor of a text as "none", "iqr" or "zscore:3"."""
    name, _, given = str(outliers).partition(":")
    if name in OUTLIERS:
        factor = OUTLIERS[name]
        try:
            if not given:
                return name, factor or 0.0
            if factor is not None and 0.0 < float(given) < np.inf:
                return name, float(given)
        except ValueError:
            pass
    msg = (
        f"outliers is {outliers!r}: it must be none, gross, iqr or zscore, or one with a factor, as zscore:3."
    )
    raise WorkflowError(msg)


def kept(preparation: Preparation, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which rows are clustered.

    Parameters
    ----------
    preparation : Preparation
        What was learned.
    values : ndarray of shape (n_samples, n_features), float64
        Rows in units of the columns; NaN is missing.

    Returns
    -------
    ndarray of shape (n_samples,), bool
        False for rows with an infinite value or an outlier, and where missing values are not filled for those
        with one.
    """
    lower, upper = np.maximum(preparation.lower, -LARGEST), np.minimum(preparation.upper, LARGEST)
    bad = (values < lower) | (values > upper)
    if preparation.missing in ("drop", "error"):
        bad |= np.isnan(values)
    if not bad.any():
        # As in most parts; to look at each row takes longer than at all of them.
        return np.ones(len(values), dtype=np.bool_)
    return ~np.asarray(bad.any(axis=1))


def drawn(parts: Iterable[NDArray[Floating]], n_rows: int, most: int, random_state: int) -> NDArray[Floating]:
    """Return rows that come in parts: all, or of more than `most` so many drawn at random.

    Every so-many-th row would not do: tables in which groups take turns would show one of them.

    Parameters
    ----------
    parts : iterable of ndarray of shape (n, n_features)
        The rows, at least one part.
    n_rows : int
        How many rows there are in all parts.
    most : int
        How many to return at most; 0 for all.
    random_state : int
        Which rows are drawn.

    Returns
    -------
    ndarray of shape (min(n_rows, most), n_features), dtype of `parts`
        The rows in their order: the same ones however they come in parts.
    """
    chosen = np.arange(n_rows)
    if 0 < most < n_rows:
        chosen = np.sort(np.random.default_rng(random_state).choice(n_rows, most, replace=False))
    found, first = [], 0
    for part in parts:
        start, stop = np.searchsorted(chosen, (first, first + len(part)))
        found.append(part[chosen[start:stop] - first])
        first += len(part)
    return np.concatenate(found)


def learn(source: Source, options: Options, progress: Progress) -> Learned:
    """Learn from a table how its rows become features.

    Parameters
    ----------
    source : Source
        The table.
    options : Options
        What is asked for.
    progress : callable
        Told of each pass over the rows.

    Returns
    -------
    Learned
        The same bits however the rows come in parts.

    Raises
    ------
    WorkflowError
        For a table without rows or usable columns, for unusable columns or missing values where these are to
        be refused, and for a table of which no row is left.
    """
    columns, n_rows = _survey(source, progress)
    if not columns:
        msg = "the table has no columns."
        raise WorkflowError(msg)
    if n_rows == 0:
        msg = "the table has no rows."
        raise WorkflowError(msg)
    if n_rows == 1:
        msg = "the table has one row: at least two are needed to cluster."
        raise WorkflowError(msg)
    names, decisions = _usable(columns, n_rows, options)
    decisions += _notes([columns[name] for name in names], n_rows)
    _refuse_gaps([columns[name] for name in names], n_rows, options)
    while True:
        learned = _of_columns(source, [columns[name] for name in names], n_rows, options, progress)
        if isinstance(learned, Learned):
            return replace(learned, decisions=decisions + learned.decisions)
        # What is left out may have been all that differed: then the others are looked at again.
        decisions += learned
        names = [name for name in names if name not in {decision.column for decision in learned}]
        _refuse_nothing(names, decisions)


@dataclass
class _Column:
    """What a first pass sees of a column."""

    name: str
    kinds: set[Kind | Literal["booleans"]] = field(default_factory=set)
    example: str = ""
    n_present: int = 0
    n_infinite: int = 0
    lowest: float = np.inf
    highest: float = -np.inf
    #: Whether each value is a whole number larger than the one before.
    rises: bool = True

    def add(self, column: pd.Series) -> None:
        kind = kind_of(column)
        if kind == "nothing" or not len(column):
            self.rises &= not len(column)
            return
        if kind != "numbers":
            self.n_present += int(column.notna().sum())
            self.example = self.example or example_of(column)
            self.kinds.add(kind)
            return
        values = numbers_of(column)
        missing = np.isnan(values)
        present = values[~missing] if missing.any() else values
        self.n_present += present.size
        if not present.size:
            self.rises = False
            return
        self.kinds.add("booleans" if is_boolean(column) else "numbers")
        self.rises = self.rises and present.size == len(values) and self._goes_on(values)
        if max(-present.min(), present.max()) > LARGEST:
            infinite = _infinite(present)
            self.n_infinite += int(np.count_nonzero(infinite))
            present = present[~infinite]
        if present.size:
            self.lowest = min(self.lowest, float(present.min()))
            self.highest = max(self.highest, float(present.max()))

    def _goes_on(self, values: NDArray[np.float64]) -> bool:
        # -inf before the first part: the largest so far is the last, as long as values rise.
        rises = values[0] > self.highest and bool((values[1:] > values[:-1]).all())
        return rises and bool((values == np.trunc(values)).all())

    def _numbers_the_rows(self, n_rows: int) -> bool:
        return self.rises and n_rows > 1 and self.highest - self.lowest == n_rows - 1

    def flaw(self, n_rows: int, *, asked_for: bool) -> str | None:
        """Return why the column cannot be clustered, if so."""
        if self.n_present == 0:
            return "it has no value in any row"
        if self.example or len(self.kinds) > 1:
            others = " and ".join(sorted(self.kinds - {"numbers", "booleans"}))
            # Both of these occur in parts of a file; in memory such a column is text.
            return (
                f"it holds {others}, such as {self.example}" if others else "it holds booleans among numbers"
            )
        share = 1.0 - self.n_present / n_rows
        if share > _MOST_MISSING and not asked_for:
            return f"it is missing in {_percent(share)} of the rows, more than half; name it to keep it"
        if not asked_for and _WITHOUT_NAME.fullmatch(self.name) and self._numbers_the_rows(n_rows):
            return "it has no name and numbers the rows; name it to keep it"
        if self.n_infinite == self.n_present:
            return "all its values are infinite"
        is_constant = self.lowest == self.highest
        return f"it is constant, {self.lowest:g} wherever it has a value" if is_constant else None


def _survey(source: Source, progress: Progress) -> tuple[dict[str, _Column], int]:
    """Look at all columns, in one pass."""
    columns: dict[str, _Column] = {}
    n_rows = 0
    for table in source.tables():
        names = [str(name) for name in table.columns]
        if not columns:
            columns = {name: _Column(name) for name in names}
        elif names != list(columns):
            msg = f"the columns of the table change at row {n_rows}: each part must have the same ones."
            raise WorkflowError(msg)
        for name, column in columns.items():
            column.add(table[name])
        n_rows += len(table)
        progress("looking at the columns", n_rows, None)
    return columns, n_rows


def _usable(columns: dict[str, _Column], n_rows: int, options: Options) -> tuple[list[str], list[Decision]]:
    """Return the columns to use, and why others are not."""
    known = list(columns)
    require(options.drop, known, "the table")
    if options.columns is None:
        asked = known
    else:
        require(options.columns, known, "the table")
        asked = list(dict.fromkeys(options.columns))
    decisions = [Decision(name, "dropped", "as asked") for name in asked if name in set(options.drop)]
    flaws: dict[str, str] = {}
    for name in asked:
        flaw = columns[name].flaw(n_rows, asked_for=options.columns is not None)
        if flaw is not None and name not in set(options.drop):
            flaws[name] = flaw
    if flaws and options.unusable == "error":
        msg = f"columns cannot be used: {_listed(flaws)}; drop them, or let them be dropped."
        raise WorkflowError(msg)
    decisions += [Decision(name, "dropped", flaw) for name, flaw in flaws.items()]
    out = {decision.column for decision in decisions}
    names = [name for name in asked if name not in out]
    _refuse_nothing(names, decisions)
    return names, decisions


def _refuse_nothing(names: list[str], decisions: list[Decision]) -> None:
    if not names:
        why = {decision.column: decision.reason for decision in decisions if decision.action == "dropped"}
        msg = f"no column is left to cluster: {_listed(why)}."
        raise WorkflowError(msg)


def _notes(columns: list[_Column], n_rows: int) -> list[Decision]:
    notes = []
    for column in columns:
        if column.rises and n_rows >= _ROWS_OF_A_NUMBERING:
            text = "it rises by whole numbers from row to row: if it numbers the rows, drop it"
            notes.append(Decision(column.name, "noted", text))
        elif re.search(r"(^|_)id$|[a-z]I[Dd]$", column.name):
            text = "by its name it is an identifier or a code, whose size says nothing: if so, drop it"
            notes.append(Decision(column.name, "noted", text))
        if "booleans" in column.kinds:
            notes.append(Decision(column.name, "read", "false as 0, true as 1"))
    return notes


def _refuse_gaps(columns: list[_Column], n_rows: int, options: Options) -> None:
    if options.missing != "error":
        return
    gaps = {}
    for column in columns:
        counts = {"missing": n_rows - column.n_present, "infinite": column.n_infinite}
        if any(counts.values()):
            gaps[column.name] = " and ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    if gaps:
        msg = (
            f"values are not there: {_listed(gaps)}; repair them, or have them filled or their rows dropped."
        )
        raise WorkflowError(msg)


def _of_columns(
    source: Source, columns: list[_Column], n_rows: int, options: Options, progress: Progress
) -> Learned | list[Decision]:
    """Learn from usable columns; or return which of them are constant once rows are left out."""
    names = [column.name for column in columns]
    rows = _reading(source, names, progress)
    known = Ranges(
        n_rows,
        np.array([column.n_present - column.n_infinite for column in columns]),
        np.array([column.lowest for column in columns]),
        np.array([column.highest for column in columns]),
    )
    is_finite = not any(column.n_infinite for column in columns)
    lower, upper, rule = _limits(rows if is_finite else _finite(rows), known, options.outliers)
    nothing = np.full(len(names), np.nan)
    limited = Preparation(
        names=tuple(names),
        fill=nothing,
        lower=lower,
        upper=upper,
        offset=np.zeros(len(names)),
        divisor=np.ones(len(names)),
        dtype=options.dtype,
        scale=options.scale,
        missing=options.missing,
        outliers=rule,
    )
    decisions = []
    is_whole = options.missing != "drop" or bool((known.present == n_rows).all())
    is_within = bool((known.lowest >= lower).all() and (known.highest <= upper).all())
    if not (is_finite and is_whole and is_within):
        decisions = _left_out(rows, limited)
        rows = _choosing(rows, limited, is_in_memory=source.is_in_memory)
        known = ranges(rows, len(names))
    if known.n_rows == 0:
        msg = f"no row is left to cluster: {'; '.join(map(str, decisions))}."
        raise WorkflowError(msg)
    same = [
        Decision(name, "dropped", "it has one value at most in the rows that are left")
        for name, low, high in zip(names, known.lowest, known.highest, strict=True)
        if not low < high
    ]
    if same:
        return same
    if options.missing in ("mean", "median"):
        limited, filled = _fill(rows, known, limited)
        decisions += filled
        rows = _filling(rows, limited, is_in_memory=source.is_in_memory)
        # Means and medians lie between the others.
        known = replace(known, present=np.full_like(known.present, known.n_rows))
    preparation, scaled = _scaling(rows, known, limited)
    return Learned(preparation, [*decisions, *scaled], n_rows, known.n_rows)


def _reading(source: Source, names: list[str], progress: Progress) -> Parts:
    def parts() -> Iterator[NDArray[np.float64]]:
        n_rows = 0
        for values in source.values(names):
            yield values
            n_rows += len(values)
            progress("preparing", n_rows, None)

    return parts


def _finite(rows: Parts) -> Parts:
    """Return what reads rows with infinite values as missing."""

    def parts() -> Iterator[NDArray[np.float64]]:
        for values in rows():
            infinite = _infinite(values)
            yield np.where(infinite, np.nan, values) if infinite.any() else values

    return parts


def _limits(
    rows: Parts, known: Ranges, outliers: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
    """Return between which finite values rows are kept, and the rule with its factor."""
    name, factor = rule_of(outliers)
    if name == "none":
        everything = np.full(len(known.present), np.inf)
        return -everything, everything, "none"
    if name == "zscore":
        middle = means(rows, known)
        reach = factor * deviations(rows, known, middle)
        low, high = middle, middle
    else:
        low, high = quantiles(rows, known, _MIDDLE if name == "gross" else [0.25, 0.75]).T
        reach = factor * (high - low)
    # Of a column whose middle is one value, any other would be an outlier.
    limited = reach > 0
    lower = np.where(limited, low - reach, -np.inf)
    upper = np.where(limited, high + reach, np.inf)
    return lower, upper, f"{name}:{factor:g}"


def _left_out(all_rows: Parts, preparation: Preparation) -> list[Decision]:
    """Say which rows are left out, and why."""
    names, rule = preparation.names, preparation.outliers
    infinite, outside, missing = (np.zeros(len(names), dtype=np.int64) for _ in range(3))
    n_rows = n_kept = 0
    for values in all_rows():
        good = kept(preparation, values)
        n_rows += len(values)
        n_kept += int(np.count_nonzero(good))
        if good.all():
            continue
        # The others have no part in the counts.
        bad = values[~good]
        is_infinite = _infinite(bad)
        infinite += np.count_nonzero(is_infinite, axis=0)
        is_outside = (bad < preparation.lower) | (bad > preparation.upper)
        outside += np.count_nonzero(is_outside & ~is_infinite, axis=0)
        missing += np.count_nonzero(np.isnan(bad), axis=0)
    decisions = []
    for j, name in enumerate(names):
        if infinite[j]:
            decisions.append(Decision(name, "left out", f"{_rows(infinite[j])} with an infinite value"))
        if outside[j]:
            bounds = f"{preparation.lower[j]:.4g} to {preparation.upper[j]:.4g}"
            text = f"{_rows(outside[j])} outside {bounds} ({_rule_in_words(rule)})"
            decisions.append(Decision(name, "left out", text))
        if missing[j] and preparation.missing == "drop":
            decisions.append(Decision(name, "left out", f"{_rows(missing[j])} without a value"))
    if len(decisions) > 1:
        text = f"{_rows(n_rows - n_kept)} in all, {_percent(1 - n_kept / n_rows)} of the table"
        decisions.append(Decision("", "left out", text))
    return decisions


def _choosing(all_rows: Parts, preparation: Preparation, *, is_in_memory: bool) -> Parts:
    def parts() -> Iterator[NDArray[np.float64]]:
        for values in all_rows():
            good = kept(preparation, values)
            yield values if good.all() else values[good]

    return _held(parts) if is_in_memory else parts


def _fill(rows: Parts, known: Ranges, preparation: Preparation) -> tuple[Preparation, list[Decision]]:
    """Learn what missing values are filled with."""
    name = preparation.missing
    fill = means(rows, known) if name == "mean" else quantiles(rows, known, [0.5])[:, 0]
    decisions = []
    for column, present, value in zip(preparation.names, known.present, fill, strict=True):
        if present < known.n_rows:
            count = known.n_rows - int(present)
            text = f"{count:,} missing values ({_percent(count / known.n_rows)}) with the {name}, {value:.6g}"
            decisions.append(Decision(column, "filled", text))
    return replace(preparation, fill=fill), decisions


def _filling(rows: Parts, preparation: Preparation, *, is_in_memory: bool) -> Parts:
    def parts() -> Iterator[NDArray[np.float64]]:
        for values in rows():
            yield preparation.filled(values)

    return _held(parts) if is_in_memory else parts


def _scaling(rows: Parts, known: Ranges, preparation: Preparation) -> tuple[Preparation, list[Decision]]:
    """Learn how columns are scaled, from rows without missing values."""
    scale = preparation.scale
    if scale == "none":
        return preparation, [Decision("", "scaled", "not at all: columns of large numbers weigh most")]
    decisions = []
    if scale == "standard":
        offset = means(rows, known)
        divisor = deviations(rows, known, offset)
        text = "each column less its mean, divided by its standard deviation"
        reach = np.maximum(known.highest - offset, offset - known.lowest) / divisor
        for j in np.flatnonzero(reach > _FAR):
            far = (
                f"a value lies {reach[j]:.0f} standard deviations from the mean, so that the others hardly "
                "differ: leave such rows out, as by outliers 'gross' or 'zscore'"
            )
            decisions.append(Decision(preparation.names[j], "noted", far))
    elif scale == "minmax":
        offset, divisor = known.lowest, known.highest - known.lowest
        text = "each column less its smallest value, divided by its range"
    else:
        low, offset, high = quantiles(rows, known, [0.25, 0.5, 0.75]).T
        divisor = high - low
        text = "each column less its median, divided by the range of its middle half"
        flat = divisor == 0
        if flat.any():
            divisor = np.where(flat, deviations(rows, known, means(rows, known)), divisor)
            for name in np.array(preparation.names)[flat]:
                why = "by its standard deviation instead: its middle half is one value"
                decisions.append(Decision(str(name), "scaled", why))
    return replace(preparation, offset=offset, divisor=divisor), [Decision("", "scaled", text), *decisions]


def _held(parts: Parts) -> Parts:
    held = list(parts())
    return lambda: held


def _infinite(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.abs(values) > LARGEST


def _rule_in_words(rule: str) -> str:
    name, factor = rule_of(rule)
    return {
        "gross": f"gross: beyond the middle 99 % of the values by {factor:g} times its width",
        "iqr": f"iqr: beyond the quartiles by {factor:g} times the range between them",
        "zscore": f"zscore: more than {factor:g} standard deviations from the mean",
    }[name]


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{int(count):,} rows"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.1f} %"


def _listed(reasons: Mapping[str, str]) -> str:
    return "; ".join(f"'{name}': {reason}" for name, reason in reasons.items())
