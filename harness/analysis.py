"""Rows in, tables out: every step takes a DataFrame and returns one. What a row means stands in `record`.

`read` brings the rows of one or more runs into one frame, with every row that was written. `summarise` makes
one line of the repeats of one implementation in one cell; what follows works on its lines. A cell is one
scenario on one track in one run, and nothing is ever compared across cells.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import pandas as pd

from harness import environment, headline, record, stats
from harness.errors import UserError
from harness.record import COLUMNS, Row
from harness.scenario import DTYPES

#: What makes a cell, and a line in it.
CELL = ["run_id", "scenario", "track"]
LINE = [*CELL, "implementation"]
#: The axes of the grid.
AXES = ("n_samples", "n_features", "n_clusters")
#: Columns that are the same in all rows of a line.
CONSTANT = ("dtype", "semantics", "dataset", *AXES, "n_threads")
#: What stands in place of a figure that an implementation does not tell.
MISSING = math.nan
NUMBER = (int, float)
#: What the ``env.json`` of a run holds: a type, several, a dict of them, or a list of one.
FACTS: Mapping[str, Any] = {
    "run_id": str,
    "command": str,
    "environment": {
        **dict.fromkeys(("cpu", "system", "python"), str),
        "cpu_features": [str],
        "cores": int,
        "memory_bytes": int,
        "libraries": dict,
    },
    "plan": {
        "scenarios": [dict],
        "tracks": [str],
        **dict.fromkeys(("repeats", "n_threads", "max_iter"), int),
        "seed": int,
        "limits": {"timeout_seconds": NUMBER, "max_memory_bytes": (int, NoneType)},
    },
}
SESSION: Mapping[str, Any] = {
    "commit": (str, NoneType),
    "uncommitted_changes": (bool, NoneType),
    "load_average": (list, NoneType),
}
SCENARIO: Mapping[str, Any] = {
    "name": str,
    "dataset": {
        "kind": str,
        **dict.fromkeys(("n_samples", "n_features", "n_clusters"), int),
        "dtype": str,
        **dict.fromkeys(("spread", "imbalance"), NUMBER),
        "columns": [str],
        "drop": [str],
        "path": (str, NoneType),
    },
}


@dataclass(frozen=True)
class Run:
    """One run as it lies on disk.

    Parameters
    ----------
    folder : Path
        Where.
    run_id : str
        The name in its rows.
    command : str
        The command line that made it.
    environment : dict
        Machine, versions and commit, as `harness.environment.describe` gave them.
    sessions : list of dict
        ``started_at``, ``commit``, ``uncommitted_changes`` and ``load_average`` of every time that the run
        was begun or resumed.
    plan : dict
        Everything that was to be measured, as JSON values.
    rows : DataFrame
        All of its rows.
    """

    folder: Path
    run_id: str
    command: str
    environment: dict[str, Any]
    sessions: list[dict[str, Any]]
    plan: dict[str, Any]
    rows: pd.DataFrame


def read_run(folder: Path) -> Run:
    """Read the folder of a run.

    Raises
    ------
    UserError
        If it is not one, or holds no rows, or a row no measurement can have made.
    """
    path = folder / "env.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        run_id, command = facts["run_id"], facts["command"]
        machine, plan = facts["environment"], facts["plan"]
        # Runs from before sessions were kept are of one.
        sessions = facts.get("sessions") or [{name: machine[name] for name in environment.OF_A_SESSION}]
        _check(facts, FACTS)
        for session in sessions:
            _check(session, SESSION)
            _check(session["load_average"] or [0.0], [NUMBER])
        for scenario in plan["scenarios"]:
            _check(scenario, SCENARIO)
        planned = {scenario["name"] for scenario in plan["scenarios"]}
    except OSError as error:
        raise UserError(
            f"{folder}: cannot read env.json ({error.strerror}); name the folder of a run, as results/RUN"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: not what the bench writes; measure the run again") from None
    rows: list[Row] = []
    for csv in sorted(folder.glob("*.csv")):
        rows += record.load(csv)
    if not rows:
        raise UserError(f"{folder}: no rows yet; measure first: {command}")
    if strangers := sorted({row.scenario for row in rows} - planned):
        raise UserError(f"{folder}: env.json plans no scenario {strangers[0]!r}; move its file away")
    if others := sorted({row.run_id for row in rows} - {run_id}):
        raise UserError(f"{folder}: rows of run {others[0]!r}, not of {run_id!r}; move their file away")
    key, times = Counter(row.key for row in rows).most_common(1)[0]
    if times > 1:
        raise UserError(
            f"{folder}: {' '.join(map(str, key[:3]))}, repeat {key[3]}: in {times} rows; move the copy away"
        )
    return Run(
        folder,
        run_id,
        command,
        machine,
        sessions,
        plan,
        frame(rows, load_per_core(machine["cores"], sessions)),
    )


def read(folders: Iterable[Path]) -> pd.DataFrame:
    """Return all rows of some runs, one below the other.

    Raises
    ------
    UserError
        As `read_run`.
    """
    return together([read_run(folder) for folder in folders])


def together(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the rows of some runs in one frame.

    Raises
    ------
    UserError
        If two of them are the same run.
    """
    seen = Counter(run.run_id for run in runs)
    for run in runs:
        if seen[run.run_id] > 1:
            raise UserError(f"{run.folder}: run {run.run_id} is given more than once; name each run once")
    return pd.concat([run.rows for run in runs], ignore_index=True)


def frame(rows: Iterable[Row], load_per_core: float = MISSING) -> pd.DataFrame:
    """Return rows as a DataFrame, a column a field of `Row`, in the order given.

    Parameters
    ----------
    rows : iterable of Row
        Of one run.
    load_per_core : float, default=NaN
        Load average over cores when the run began; becomes a column of that name.

    Returns
    -------
    DataFrame
        Text is object, whole numbers that are always there int64, all other numbers float64 with NaN where
        a cell is empty.
    """
    table = pd.DataFrame([asdict(row) for row in rows], columns=list(COLUMNS))
    for column in fields(Row):
        kind = str(column.type)
        table[column.name] = table[column.name].astype(
            "object" if "str" in kind else "int64" if kind == "int" else "float64"
        )
    return table.assign(load_per_core=float(load_per_core))


def to_rows(rows: pd.DataFrame) -> list[Row]:
    """Return the rows a frame was made of."""
    kinds = {column.name: str(column.type) for column in fields(Row)}

    def value(name: str, cell: object) -> object:
        if not isinstance(cell, int | float):
            return cell
        if "None" in kinds[name] and math.isnan(cell):
            return None
        return float(cell) if "float" in kinds[name] else int(cell)

    # Each value has the type its column declares, which mypy cannot follow.
    return [
        Row(**{name: value(name, cell) for name, cell in zip(COLUMNS, cells, strict=True)})  # type: ignore[arg-type]  # each by name
        for cells in rows[list(COLUMNS)].itertuples(index=False, name=None)
    ]


def load_per_core(cores: int, sessions: Iterable[Mapping[str, Any]]) -> float:
    """Return the load average of the minute before the busiest session over the cores; NaN if not known."""
    known = [session["load_average"][0] for session in sessions if session["load_average"]]
    return float(max(known) / cores) if known else MISSING


def summarise(rows: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Return one line for every implementation in every cell.

    Parameters
    ----------
    rows : DataFrame
        Of `read`. Only rows with status ok give figures, and all of those do.
    baseline : str
        The implementation the ratios are to.

    Returns
    -------
    DataFrame
        Sorted by track, type, shape, run, and time. Columns: those of `LINE` and `CONSTANT`; ``data`` (the
        scenario's name without its shape); ``library_version``; ``n_rows``, ``n`` (rows with status ok),
        ``status`` (that of all rows, or how many have which), ``reason`` (of the first row that has one);
        ``fit_seconds``, ``fit_low``, ``fit_high`` (median and interval); ``ratio``, ``ratio_low``,
        ``ratio_high``, ``n_pairs`` (see `ratios`); ``inertia`` (median) and ``objective_gap`` (relative to
        the lowest of an exact implementation in the cell, less 1); ``label_agreement``, ``n_iter``,
        ``peak_rss_bytes``, ``fit_rss_bytes`` (medians); ``instability`` (see
        `instability`). NaN where there is no figure.
    """
    groups = rows.groupby(LINE, sort=True)
    ok = rows[rows["status"] == "ok"]
    lines = groups[[*CONSTANT]].first()
    lines["data"] = [_data(scenario) for scenario in lines.index.get_level_values("scenario")]
    versions = rows[rows["library_version"] != ""].groupby(LINE)["library_version"].first()
    reasons = rows[rows["reason"] != ""].groupby(LINE)["reason"].first()
    lines["library_version"] = versions.reindex(lines.index, fill_value="")
    lines["n_rows"] = groups.size()
    lines["n"] = ok.groupby(LINE).size().reindex(lines.index, fill_value=0)
    lines["status"] = groups["status"].agg(lambda statuses: headline.spell_statuses(Counter(statuses)))
    lines["reason"] = reasons.reindex(lines.index, fill_value="")
    times = _times(rows).reindex(lines.index)
    lines["fit_seconds"], lines["fit_low"], lines["fit_high"] = stats.ragged_medians(times.to_numpy())
    figures = ["inertia", "label_agreement", "n_iter", "peak_rss_bytes", "fit_rss_bytes"]
    medians = ok.groupby(LINE)[figures].median()
    lines = lines.join(medians).join(ratios(rows, baseline))
    lines["instability"] = instability(rows).reindex(lines.index, fill_value="")
    lines = lines.reset_index()
    exact = lines["inertia"].where(lines["semantics"] == "exact")
    best = exact.groupby([lines[name] for name in CELL]).transform("min")
    lines["objective_gap"] = lines["inertia"] / best.where(best > 0) - 1
    order = ["track", "dtype", "n_features", "n_clusters", "n_samples", "scenario", "run_id", "fit_seconds"]
    return lines.sort_values([*order, "implementation"], ascending=[False, *[True] * 8], ignore_index=True)


def ratios(rows: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Return how many times as fast as a baseline everything is: time of the baseline over its own.

    Parameters
    ----------
    rows : DataFrame
        Of `read`.
    baseline : str
        An implementation.

    Returns
    -------
    DataFrame
        Indexed by `LINE`: ``ratio``, ``ratio_low``, ``ratio_high``: the median of the ratios repeat by
        repeat and its interval (`stats.paired_ratio`); ``n_pairs``, their number. Only of lines that share a
        repeat with the baseline.
    """
    logs = log_ratios(rows, baseline)
    values = [np.exp(column) for column in stats.ragged_medians(logs.to_numpy())]
    names = ("ratio", "ratio_low", "ratio_high")
    table = pd.DataFrame(dict(zip(names, values, strict=True)), index=logs.index)
    return table.assign(n_pairs=logs.notna().sum(axis=1))


def log_ratios(rows: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Return the logarithms of the ratios to a baseline.

    Parameters
    ----------
    rows : DataFrame
        Of `read`.
    baseline : str
        An implementation.

    Returns
    -------
    DataFrame
        Indexed by `LINE`, a column a repeat, NaN where one of the two has no time; lines of NaN alone are
        left out.
    """
    times = _times(rows)
    of_baseline = _only(times, baseline)
    cells = times.index.droplevel("implementation")
    paired = stats.log_ratios(of_baseline.reindex(cells).to_numpy(), times.to_numpy())
    table = pd.DataFrame(paired, index=times.index, columns=times.columns)
    return table.dropna(how="all")


def verdicts(rows: pd.DataFrame, baseline: str, ours: str = headline.OURS) -> pd.DataFrame:
    """Return what all cells of a run, track and type say together about two implementations.

    Parameters
    ----------
    rows : DataFrame
        Of `read`.
    baseline, ours : str
        The implementations; ratios are time of the baseline over ours.

    Returns
    -------
    DataFrame
        A line a run, track and type: ``ratio``, ``ratio_low``, ``ratio_high`` (geometric mean over the cells
        and its interval, NaN where no cell has a ratio), ``n_cells`` (those with a ratio), ``n_all`` (those
        with any row), ``missing`` (why the others have none, and how many), ``n_slower`` (ratio below 1),
        ``n_unclear`` (interval holds 1, or there is none), ``n_repeats`` (fewest of a cell), ``worst``,
        ``worst_scenario``, ``semantics`` of the baseline.
    """
    logs = _only(log_ratios(rows, baseline), ours)
    estimates = _only(ratios(rows, baseline), ours)
    kinds = rows.groupby(CELL)["dtype"].first()
    statuses = rows.groupby(LINE)["status"].agg(Counter)
    other = rows.loc[rows["implementation"] == baseline, "semantics"]
    lines = []
    for (run_id, track, dtype), everywhere in kinds.groupby(["run_id", "track", kinds], sort=True):
        members = logs.loc[logs.index.isin(everywhere.index)]
        missing = Counter(
            _why_no_ratio(statuses, cell, baseline, ours) for cell in everywhere.index.difference(logs.index)
        )
        cells = [row[~np.isnan(row)] for row in members.to_numpy()]
        mean = stats.mean_ratio(cells)
        own = estimates.loc[members.index]
        unclear = ~(own["ratio_high"] < 1) & ~(own["ratio_low"] > 1)
        worst = own["ratio"].idxmin() if len(own) else None
        lines.append(
            {
                "run_id": run_id,
                "track": track,
                "dtype": dtype,
                "ratio": mean.estimate,
                "ratio_low": mean.low,
                "ratio_high": mean.high,
                "n_cells": len(own),
                "n_all": len(everywhere),
                "missing": ", ".join(f"{count} {why}" for why, count in sorted(missing.items())),
                "n_slower": int((own["ratio"] < 1).sum()),
                "n_unclear": int(unclear.sum()),
                "n_repeats": min(map(len, cells), default=0),
                "worst": MISSING if worst is None else own.loc[worst, "ratio"],
                "worst_scenario": "" if worst is None else worst[1],
                "semantics": other.iloc[0] if len(other) else "",
            }
        )
    return pd.DataFrame(lines)


def instability(rows: pd.DataFrame) -> pd.Series:
    """Return why the figures of a line should be read with care, joined by commas; empty where nothing is.

    What concerns the machine stands at every line of the cell it was noticed in. On the default track every
    repeat has another seed: there the spread includes that of the seeds, and a slower repeat may be one of
    more iterations, so that only the load names the machine noisy.

    Parameters
    ----------
    rows : DataFrame
        Of `read`.

    Returns
    -------
    Series
        Indexed by `LINE`, of the lines that have a time; words of `stats.Instability`.
    """
    times = _times(rows)
    loads = rows.groupby(CELL)["load_per_core"].max()
    named: dict[Any, str] = {}
    for cell, members in times.groupby(CELL):
        values = members.to_numpy() if cell[2] == "matched" else np.full((0, 0), np.nan)
        of_machine = stats.machine_instability(values, loads[cell])
        for line, own in zip(members.index, members.to_numpy(), strict=True):
            named[line] = ", ".join([*stats.sample_instability(own[~np.isnan(own)]), *of_machine])
    return pd.Series(named, index=times.index, dtype="object")


def where_we_lose(rows: pd.DataFrame, baseline: str, ours: str = headline.OURS) -> pd.DataFrame:
    """Return the cells we lose, those without a time of ours first, then the worst.

    A cell is lost where a repeat of ours has no answer, where the ratio to the baseline or to the fastest
    exact peer is below 1, or where our objective is more than `headline.OBJECTIVE_MARGIN` above the
    baseline's. The ratio is that of `ratios`, so that what is lost is what the table of lines shows below 1.

    Parameters
    ----------
    rows : DataFrame
        Of `read`.
    baseline, ours : str
        The implementation everyone knows, and the one the ratios are of.

    Returns
    -------
    DataFrame
        ``run_id``, ``data``, the fields of `headline.Cell`, and ``ahead`` (the faster of the baseline and the
        fastest exact peer) with ``ratio``, ``ratio_low``, ``ratio_high``, ``n_pairs`` to it: where the
        interval holds 1 the loss may be noise. Empty where no cell is lost.
    """

    @functools.cache
    def over(name: str) -> pd.DataFrame:
        both = rows[rows["implementation"].isin((ours, name))]
        return _only(ratios(both, name), ours)

    lines = []
    for run_id, members in rows.groupby("run_id", sort=False):
        if (members["implementation"] != ours).all():
            # Nothing of ours was asked for in this run, which is no loss.
            continue
        for cell in headline.cells(to_rows(members), baseline, ours):
            opponents = dict.fromkeys((baseline, cell.peer or baseline))
            behind = _behind((run_id, cell.scenario, cell.track), {name: over(name) for name in opponents})
            worse = cell.objective_gap is not None and cell.objective_gap > headline.OBJECTIVE_MARGIN
            if cell.status != "ok" or worse or behind["ratio"] < 1:
                lines.append({"run_id": run_id, "data": _data(cell.scenario), **asdict(cell), **behind})
    own = [field.name for field in fields(headline.Cell)]
    names = ["run_id", "data", *own, "ahead", "ratio", "ratio_low", "ratio_high", "n_pairs"]
    table = pd.DataFrame(lines, columns=names)
    return table.sort_values("ratio", na_position="first", kind="stable", ignore_index=True)


def complexity(lines: pd.DataFrame) -> pd.DataFrame:
    """Return how the time of every implementation grows along every axis of the grid.

    Parameters
    ----------
    lines : DataFrame
        Of `summarise`.

    Returns
    -------
    DataFrame
        A line a run, track, type, implementation and axis that has two values: ``exponent``, ``low``,
        ``high`` (`stats.log_slope` of the medians; what differs in anything but the axis has a factor of its
        own), ``n_points``, ``smallest``, ``largest`` (values of the axis).
    """
    timed = lines[lines["fit_seconds"].notna()]
    found = []
    for key, members in timed.groupby(["run_id", "track", "dtype", "implementation"], sort=True):
        for axis in AXES:
            if members[axis].nunique() < 2:
                continue
            others = [name for name in AXES if name != axis]
            groups = members[["data", *others]].astype(str).agg(" ".join, axis=1)
            slope = stats.log_slope(members[axis], members["fit_seconds"], groups)
            if math.isnan(slope.estimate):
                continue
            found.append(
                {
                    **dict(zip(("run_id", "track", "dtype", "implementation"), key, strict=True)),
                    "axis": axis,
                    "exponent": slope.estimate,
                    "low": slope.low,
                    "high": slope.high,
                    "n_points": len(members),
                    "smallest": members[axis].min(),
                    "largest": members[axis].max(),
                }
            )
    return pd.DataFrame(found)


def memory_grid(lines: pd.DataFrame, implementation: str) -> pd.DataFrame:
    """Return the peak memory of one implementation over the grid.

    Parameters
    ----------
    lines : DataFrame
        Of `summarise`.
    implementation : str
        Which.

    Returns
    -------
    DataFrame
        Bytes; a line for every number of features and clusters, a column for every number of samples. The
        largest where lines differ in anything else: track, type, run.
    """
    own = lines[lines["implementation"] == implementation]
    return own.pivot_table(
        values="peak_rss_bytes", index=["n_features", "n_clusters"], columns="n_samples", aggfunc="max"
    )


def frontier(lines: pd.DataFrame) -> pd.DataFrame:
    """Return the lines that have a time and an objective, with what each is worth against the others.

    Parameters
    ----------
    lines : DataFrame
        Of `summarise`.

    Returns
    -------
    DataFrame
        The lines, and ``on_frontier``: whether nothing in the cell is both faster and of a lower objective.
    """
    known = lines[lines["fit_seconds"].notna() & lines["inertia"].notna()]
    ordered = known.sort_values([*CELL, "fit_seconds", "inertia"])
    # From the fastest on: what is no better than all that were faster is beaten.
    best_before = ordered.groupby(CELL)["inertia"].transform(lambda values: values.cummin().shift())
    ahead = best_before.isna() | (ordered["inertia"] < best_before)
    return known.assign(on_frontier=ahead.reindex(known.index))


def phases(rows: pd.DataFrame) -> pd.DataFrame:
    """Return where the time of every line goes.

    Parameters
    ----------
    rows : DataFrame
        Of `read`.

    Returns
    -------
    DataFrame
        Indexed by `LINE`, medians in seconds over the rows with status ok: ``prepare``, ``seeding`` (NaN
        where the implementation does not tell), ``iteration`` (the fit without its seeding, or all of it),
        ``predict``.
    """
    ok = rows[rows["status"] == "ok"]
    parts = ok.assign(
        prepare=ok["prepare_seconds"],
        seeding=ok["seeding_seconds"],
        iteration=ok["fit_seconds"] - ok["seeding_seconds"].fillna(0.0),
        predict=ok["predict_seconds"],
    )
    return parts.groupby(LINE)[["prepare", "seeding", "iteration", "predict"]].median()


@dataclass(frozen=True)
class MachineLimits:
    """What the machine can do at best, as ``make roofline`` measures it.

    Parameters
    ----------
    flops : dict of str to float
        Floating-point operations a second of fused multiply-adds on all cores, by type.
    bandwidth : float
        Bytes a second read from memory.
    """

    flops: dict[str, float]
    bandwidth: float


def limit_share(lines: pd.DataFrame, limits: MachineLimits) -> pd.Series:
    """Return the share of the machine's limit that every line reaches.

    The limit of an iteration is max(2·n·d·k / peak, n·d·bytes / bandwidth): all distances computed, all
    samples read once. Above 1 are implementations that skip distances, and data that stays in the cache.

    Parameters
    ----------
    lines : DataFrame
        Of `summarise`.
    limits : MachineLimits
        Of the machine that all of the lines were measured on.

    Returns
    -------
    Series
        NaN where the iterations are not known, and on the default track, whose time holds the seeding.
    """
    numbers = lines["n_samples"] * lines["n_features"]
    width = lines["dtype"].map({dtype: np.dtype(dtype).itemsize for dtype in DTYPES})
    computing = 2 * numbers * lines["n_clusters"] / lines["dtype"].map(limits.flops)
    least = np.maximum(computing, numbers * width / limits.bandwidth)
    share = least * lines["n_iter"] / lines["fit_seconds"]
    return share.where(lines["track"] == "matched")


def _times(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the times of the fits with status ok, indexed by `LINE`, a column a repeat."""
    ok = rows[(rows["status"] == "ok") & rows["fit_seconds"].notna()]
    return ok.set_index([*LINE, "repeat"])["fit_seconds"].unstack("repeat")


def _only(table: pd.DataFrame, implementation: str) -> pd.DataFrame:
    """Return what a table indexed by `LINE` says of one implementation, indexed by `CELL`."""
    return table[table.index.get_level_values("implementation") == implementation].droplevel("implementation")


def _why_no_ratio(statuses: pd.Series, cell: tuple[Any, ...], baseline: str, ours: str) -> str:
    """Return what became of ours in a cell without a ratio, or of the baseline where ours has a figure."""
    for name in (ours, baseline):
        counts = statuses.get((*cell, name))
        if counts is None:
            return f"without {name}"
        if not counts["ok"]:
            return f"{name} {headline.spell_statuses(counts)}"
    return "without a common repeat"


def _data(scenario: str) -> str:
    """Return the name of a scenario without its shape and type: what data it is of."""
    return re.sub(r"(-n\d+-d\d+)?-k\d+-float\d+$", "", scenario)


def _behind(cell: tuple[Any, ...], opponents: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Return who is ahead of us in a cell, or nearest behind, with our ratio; the last where none has one."""
    found = [
        {"ahead": name, **table.loc[cell].to_dict()}
        for name, table in opponents.items()
        if cell in table.index
    ]
    nothing = {"ahead": [*opponents][-1], **dict.fromkeys(("ratio", "ratio_low", "ratio_high"), MISSING)}
    return min(found, key=lambda one: one["ratio"], default={**nothing, "n_pairs": 0})


def _check(found: Any, wanted: Any) -> None:  # noqa: ANN401 - JSON values of any type
    """Raise a ValueError where JSON values lack what is wanted or are of another type."""
    if isinstance(wanted, Mapping):
        for name, kind in wanted.items():
            _check(found[name], kind)
        if "cores" in wanted and min(found["cores"], found["memory_bytes"]) < 1:
            raise ValueError("a machine has a core and memory")
    elif isinstance(wanted, list):
        if not isinstance(found, list):
            raise ValueError("not a list")
        for one in found:
            _check(one, wanted[0])
    elif not isinstance(found, wanted) or (isinstance(found, bool) and wanted in (int, NUMBER)):
        raise ValueError("of another type")
