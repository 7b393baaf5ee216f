"""What a reader gets: one HTML file that works offline, and Markdown for a pull request.

All figures are made by `harness.analysis`; here they become sentences, cells of tables and the data that the
page of ``harness/page`` draws. The page asks nothing of any server.
"""

from __future__ import annotations

import html
import json
import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from harness import analysis, environment, stats
from harness.analysis import MachineLimits, Run
from harness.errors import UserError
from harness.headline import OBJECTIVE_MARGIN, OURS
from harness.markdown import COMMENT, code, plain, row, shortened
from harness.record import COLUMNS, Row
from harness.terminal import format_seconds

PAGE = Path(__file__).resolve().parent / "page"
#: Columns of a line that the page shows or draws.
SHOWN = (
    *analysis.LINE,
    "data",
    "dtype",
    "semantics",
    "library_version",
    *analysis.AXES,
    "n_threads",
    "n_rows",
    "n",
    "status",
    "reason",
    "fit_seconds",
    "fit_low",
    "fit_high",
    "n_iter",
    "inertia",
    "objective_gap",
    "peak_rss_bytes",
    "fit_rss_bytes",
    "instability",
)
#: Options of the command line that a command leaves out where they have this value.
DEFAULTS: Mapping[str, object] = {
    "seed": 0,
    "spread": 2.0,
    "imbalance": 1.0,
    "max-iter": 100,
    "timeout": 120.0,
    "max-memory": None,
    "columns": "",
    "drop": "",
}
#: Heading of what `_ends` returns.
ENDS = "95 % interval"
#: Digits that figures of the page keep: more than any interval can bear.
DIGITS = 5


@dataclass(frozen=True)
class Results:
    """What a report is about.

    Parameters
    ----------
    runs : sequence of Run
        At least one.
    baseline : str
        The implementation the ratios are to, at first: the reader of the page chooses another.
    limits : MachineLimits, optional
        Of the machine, where they are known.
    """

    runs: Sequence[Run]
    baseline: str
    limits: MachineLimits | None = None

    @property
    def rows(self) -> pd.DataFrame:
        """Every row of every run."""
        return analysis.together(self.runs)

    def implementations(self) -> list[str]:
        """Return who was measured, with ours first, then the baseline, then by name."""
        names = set(self.rows["implementation"])
        return sorted(names, key=lambda name: (name != OURS, name != self.baseline, name))


def collect(folders: Sequence[Path], baseline: str, limits: MachineLimits | None = None) -> Results:
    """Read the runs of a report.

    Raises
    ------
    UserError
        If a folder is no run (`analysis.read_run`), a run is named twice, or the baseline is not in any.
    """
    results = Results([analysis.read_run(folder) for folder in folders], baseline, limits)
    known = results.implementations()
    if baseline not in known:
        raise UserError(
            f"--baseline: no rows of {baseline!r} in these results; choose from {', '.join(known)}"
        )
    return results


def verdict(rows: pd.DataFrame, lines: pd.DataFrame, baseline: str) -> list[tuple[str, str]]:
    """Return the verdict of each run, track and type: the claim with its interval, and what it rests on.

    Parameters
    ----------
    rows, lines : DataFrame
        Of `analysis.read` and `analysis.summarise`.
    baseline : str
        The implementation that ours is held against.
    """
    found = analysis.verdicts(rows, baseline)
    if baseline == OURS or found.empty:
        return [(_no_verdict(rows, baseline), "")]
    if not found["n_cells"].any():
        return [(_no_verdict(rows, baseline), "")]
    own = lines[lines["implementation"] == OURS].groupby(["run_id", "track", "dtype"])
    # Above the best exact one, at most.
    gaps = 100 * own["objective_gap"].max().dropna()
    busy = own["instability"].agg(
        lambda told: told.str.contains(stats.Instability.NOISY_MACHINE).mean() > 0.5
    )
    several = found["run_id"].nunique() > 1
    verdicts = []
    for one in found.sort_values(["track", "dtype", "run_id"], ascending=[False, True, True]).itertuples():
        where = one.run_id, one.track, one.dtype
        claim = _claim(one, baseline, busy=bool(busy.get(where, default=False)))
        verdicts.append((claim, _detail(one, gaps.get(where), several=several)))
    return verdicts


def cautions(lines: pd.DataFrame) -> list[str]:
    """Return what makes the figures of these lines less than certain, and of how many of them."""
    measured = lines[lines["n"] > 0]
    counts = {name: int(measured["instability"].str.contains(name.value).sum()) for name in stats.Instability}
    told = {
        stats.Instability.TOO_FEW_REPEATS: f"have fewer than {stats.MIN_REPEATS} repeats, so that their "
        "interval is hardly more than the range seen",
        stats.Instability.WIDE_SPREAD: f"scatter by more than {stats.WIDE_SPREAD:.0%} (interquartile range "
        "over median)",
        stats.Instability.NOISY_MACHINE: "were measured while the machine was busy or slow as a whole",
        stats.Instability.THROTTLING: "were measured while the machine became slower from repeat to repeat",
    }
    found = [
        f"{_share(counts[name], len(measured))} figures {text}" for name, text in told.items() if counts[name]
    ]
    missing = len(lines) - len(measured)
    return (
        [*found, f"{_share(missing, len(lines))} lines have none; their status says why"]
        if missing
        else found
    )


def write_html(path: Path, results: Results) -> None:
    """Write the report as one HTML file.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    content = payload(results)
    # Inside a script element only "<" could end it early; as an escape it is the same JSON.
    data = json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    claim, detail = content["verdicts"][results.baseline][0]
    parts = {
        "{{style}}": (PAGE / "page.css").read_text(encoding="utf-8"),
        "{{script}}": (PAGE / "page.js").read_text(encoding="utf-8"),
        "{{claim}}": html.escape(claim),
        "{{detail}}": html.escape(detail),
        "{{care}}": html.escape(_care(content["cautions"])),
        "{{machine}}": html.escape("; ".join(dict.fromkeys(run["machine"] for run in content["runs"]))),
        "{{data}}": data,
    }
    # In one pass: a word of the data that looks like a mark is none.
    marks = re.compile("|".join(map(re.escape, parts)))
    text = (PAGE / "page.html").read_text(encoding="utf-8")
    _write(path, marks.sub(lambda found: parts[found[0]], text))


def write_markdown(path: Path, results: Results) -> None:
    """Write the report as Markdown, short enough for a comment.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    _write(path, markdown(results))


def markdown(results: Results) -> str:
    """Return the verdict, the cells that are lost and the table of medians as Markdown."""
    rows, baseline = results.rows, results.baseline
    lines = analysis.summarise(rows, baseline)
    lost = analysis.where_we_lose(rows, baseline)
    text = [f"## {OURS} against {plain(baseline)}", *_verdict_list(verdict(rows, lines, baseline)), ""]
    text += [care, ""] if (care := _care(cautions(lines))) else []
    if len(lost):
        partly = int((lost["seconds"].notna() & (lost["status"] != "ok")).sum())
        some = f", {partly} of them with repeats that failed" if partly else ""
        table_of_lost = shortened(_lost_table(lost), COMMENT // 2, "cells stand in the page")
        cells = "1 cell" if len(lost) == 1 else f"{len(lost)} cells"
        text += [f"### Where we lose: {cells}{some}", "", *table_of_lost, ""]
    table = "\n".join(_line_table(lines, baseline))
    if len(table) + len("\n".join(text)) < COMMENT:
        text += ["<details><summary>All figures</summary>", "", table, "", "</details>", ""]
    else:
        text += [f"All {len(lines)} lines stand in the page that `python runner.py report` makes.", ""]
    text += [
        f"{code(run.command)}  \n{plain(environment.one_line(run.environment))}\n" for run in results.runs
    ]
    return "\n".join(text)


def payload(results: Results) -> dict[str, Any]:
    """Return all that the page shows, as JSON values with null where there is no figure."""
    rows = results.rows
    names = results.implementations()
    lines = analysis.summarise(rows, results.baseline)
    keys = pd.MultiIndex.from_frame(lines[analysis.LINE])
    columns: dict[str, list[object]] = {name: _plain(lines[name]) for name in SHOWN}
    for phase, seconds in analysis.phases(rows).reindex(keys).items():
        columns[str(phase)] = _plain(seconds)
    front = analysis.frontier(lines)["on_frontier"].reindex(lines.index, fill_value=False)
    columns["on_frontier"] = _plain(front.astype(bool))
    if results.limits is not None:
        columns["limit_share"] = _plain(analysis.limit_share(lines, results.limits))
    plans = {run.run_id: run.plan for run in results.runs}
    columns["command"] = [
        reproduce(plans[line.run_id], line.scenario, line.track, line.implementation)
        for line in lines.itertuples()
    ]
    ratios = {name: analysis.ratios(rows, name).reindex(keys) for name in names}
    return {
        "ours": OURS,
        "baseline": results.baseline,
        "implementations": names,
        "margin": OBJECTIVE_MARGIN,
        "min_repeats": stats.MIN_REPEATS,
        "runs": [_about(run) for run in results.runs],
        "lines": columns,
        "ratios": {name: {str(c): _plain(table[c]) for c in table} for name, table in ratios.items()},
        "verdicts": {name: verdict(rows, lines, name) for name in names},
        "lost": {name: _lost(rows, name) for name in names},
        "cautions": cautions(lines),
        "complexity": _records(analysis.complexity(lines)),
        "rows": _csv(rows),
    }


def reproduce(plan: Mapping[str, Any], scenario: str, track: str, implementation: str) -> str:
    """Return the command that measures one line again.

    Parameters
    ----------
    plan : mapping
        Of the run, as in its ``env.json``.
    scenario, track, implementation : str
        Which line.
    """
    data = next(one["dataset"] for one in plan["scenarios"] if one["name"] == scenario)
    options: dict[str, object] = {}
    if data["kind"] == "blobs":
        options |= {"sizes": data["n_samples"], "dims": data["n_features"]}
    else:
        options["data"] = data["path"] if data["kind"] == "file" else data["kind"]
    options |= {
        "clusters": data["n_clusters"],
        "dtype": data["dtype"],
        "track": track,
        "repeats": plan["repeats"],
        "threads": plan["n_threads"],
        "seed": plan["seed"],
        "max-iter": plan["max_iter"],
        "spread": data["spread"],
        "imbalance": data["imbalance"],
        "columns": ",".join(data["columns"]),
        "drop": ",".join(data["drop"]),
        "timeout": plan["limits"]["timeout_seconds"],
        "max-memory": plan["limits"]["max_memory_bytes"],
        "implementations": implementation,
    }
    words = [
        word
        for name, value in options.items()
        if name not in DEFAULTS or value != DEFAULTS[name]
        for word in (f"--{name}", f"{value:g}" if isinstance(value, float) else str(value))
    ]
    return shlex.join(["python", "runner.py", *words])


def _claim(found: Any, baseline: str, *, busy: bool) -> str:  # noqa: ANN401 - a line of a data frame
    if not found.n_cells:
        return f"No verdict on {OURS} against {baseline} on the {found.track} track in {found.dtype}."
    interval = (
        "no interval, for want of repeats"
        if math.isnan(found.ratio_low)
        else f"{_spread_name(found.n_repeats)} {_range(found.ratio_low, found.ratio_high)}×"
    )
    # Whoever reads but one sentence must not take what else ran on the machine for a property of one of them.
    interval += "; the machine was busy" if busy else ""
    over = "" if found.n_cells == found.n_all else f" over {found.n_cells} of {found.n_all} cells"
    kind = "" if found.semantics in ("exact", "") else f", which is of other mathematics: {found.semantics}"
    if found.ratio_low <= 1 <= found.ratio_high:
        return f"{OURS} and {baseline} cannot be told apart{over}: {_times(found.ratio)} ({interval}){kind}."
    return f"{OURS} is {_times(found.ratio)} as fast as {baseline}{over} ({interval}){kind}."


def _detail(found: Any, gap: float | None, *, several: bool) -> str:  # noqa: ANN401 - a line of a data frame
    run = f" of run {found.run_id}" if several else ""
    missing = f"no figure in {found.n_all - found.n_cells}: {found.missing}" if found.missing else ""
    if not found.n_cells:
        return f"{missing.capitalize()}{run}."
    cells = f"Geometric mean over {found.n_cells} cells" if found.n_cells > 1 else "One cell"
    if missing:
        cells = f"{cells} of {found.n_all} ({missing})"
    slower = f"slower in {found.n_slower or 'none'}"
    unclear = f", too close to call in {found.n_unclear}" if found.n_unclear else ""
    objective = "" if gap is None else f"; objective at most {max(gap, 0.0):.2g} % above the best exact one"
    return (
        f"{cells}, {found.track} track, {found.dtype}{run}: {slower}{unclear}; worst {_times(found.worst)} "
        f"({found.worst_scenario}){objective}."
    )


def _spread_name(n_repeats: int) -> str:
    """Return what the two ends of so many repeats are; of few, no more than the range seen."""
    return "95 % interval" if n_repeats >= stats.MIN_REPEATS else "range"


def _no_verdict(rows: pd.DataFrame, baseline: str) -> str:
    if baseline == OURS:
        return f"Ratios are to {OURS} itself: choose another baseline for a verdict on it."
    names = set(rows.loc[rows["status"] == "ok", "implementation"])
    missing = [name for name in (OURS, baseline) if name not in names]
    reason = f"no figures of {' and '.join(missing)}" if missing else "no cell that both have measured"
    return f"No verdict on {OURS} against {baseline}: {reason}."


def _about(run: Run) -> dict[str, object]:
    facts = run.environment
    return {
        "run_id": run.run_id,
        "command": run.command,
        "machine": environment.one_line(facts),
        "started_at": min(run.rows["started_at"]),
        "facts": {
            "processor": facts["cpu"],
            "instruction sets": ", ".join(facts["cpu_features"]) or "none known",
            "cores": str(facts["cores"]),
            "memory": f"{facts['memory_bytes'] / 2**30:.1f} GiB",
            "system": facts["system"],
            "Python": facts["python"],
            "commit": "; ".join(dict.fromkeys(map(_commit, run.sessions))),
            "load average at start": "; ".join(map(_load, run.sessions)),
            **facts["libraries"],
        },
    }


def _commit(session: Mapping[str, Any]) -> str:
    return (session["commit"] or "unknown") + (" with changes" if session["uncommitted_changes"] else "")


def _load(session: Mapping[str, Any]) -> str:
    return ", ".join(f"{load:.2f}" for load in session["load_average"] or ()) or "unknown"


def _lost(rows: pd.DataFrame, baseline: str) -> list[dict[str, object]]:
    names = ["run_id", "scenario", "track", "dtype", "seconds", "status", "ahead", "objective_gap", "data"]
    found = analysis.where_we_lose(rows, baseline)
    return _records(found[[*names, "ratio", "ratio_low", "ratio_high", "n_pairs"]])


def _share(count: int, total: int) -> str:
    return f"all {total}" if count == total else f"{count} of {total}"


def _care(found: Sequence[str]) -> str:
    return f"Read with care: {'; '.join(found)}." if found else ""


def _verdict_list(found: Sequence[tuple[str, str]]) -> list[str]:
    return [f"- **{plain(claim)}** {plain(detail)}".rstrip() for claim, detail in found]


def _lost_table(lost: pd.DataFrame) -> list[str]:
    table = [
        row(("cell", "track", OURS, "fastest other", f"speed of {OURS} over it", ENDS, "objective")),
        "|---|---|---:|---|---:|---:|---:|",
    ]
    for cell in lost.itertuples():
        seconds = "" if pd.isna(cell.seconds) else format_seconds(cell.seconds)
        own = seconds if cell.status == "ok" else f"{seconds} ({cell.status})" if seconds else cell.status
        figures = (cell.ahead or "–", _times(cell.ratio), _ends(cell), _percent(cell.objective_gap))
        table.append(row((cell.scenario, cell.track, own, *figures)))
    return table


def _line_table(lines: pd.DataFrame, baseline: str) -> list[str]:
    own = ("cell", "track", "implementation", "median")
    table = [
        row((*own, f"speed over {baseline}", ENDS, "objective", "peak MiB", "status")),
        "|---|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for line in lines.itertuples():
        notes = f"{line.status} ({line.instability})" if line.instability else line.status
        seconds = "–" if math.isnan(line.fit_seconds) else format_seconds(line.fit_seconds)
        peak = "–" if math.isnan(line.peak_rss_bytes) else f"{line.peak_rss_bytes / 2**20:.0f}"
        figures = (seconds, _times(line.ratio), _ends(line), _percent(line.objective_gap), peak)
        table.append(row((line.scenario, line.track, line.implementation, *figures, notes)))
    return table


def _times(ratio: float) -> str:
    return "–" if math.isnan(ratio) else f"{_number(ratio)}×"


def _range(low: float, high: float) -> str:
    return "–" if math.isnan(low) else f"{_number(low)}–{_number(high)}"


def _ends(line: Any) -> str:  # noqa: ANN401 - a line of a data frame
    """Return the interval of a ratio, named where it is none but the range."""
    text = _range(line.ratio_low, line.ratio_high)
    return text if text == "–" or line.n_pairs >= stats.MIN_REPEATS else f"{text} (range)"


def _number(ratio: float) -> str:
    """Return three digits, and never fewer than those before the point."""
    return f"{ratio:.2f}" if ratio < 9.995 else f"{ratio:.1f}" if ratio < 99.95 else f"{ratio:.0f}"


def _percent(gap: float | None) -> str:
    return "–" if gap is None or math.isnan(gap) else f"{gap:+.2%}"


def _csv(rows: pd.DataFrame) -> str:
    """Return the rows as the bench wrote them."""
    # Whole numbers that may be missing are floats in the frame and none in the file.
    whole = [column.name for column in fields(Row) if str(column.type) == "int | None"]
    return str(rows[list(COLUMNS)].astype(dict.fromkeys(whole, "Int64")).to_csv(index=False))


def _records(table: pd.DataFrame) -> list[dict[str, object]]:
    columns = {str(name): _plain(table[name]) for name in table}
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def _plain(values: Iterable[Any]) -> list[object]:
    """Return JSON values: numbers of few digits, None for what is missing."""
    return [_json(value) for value in values]


def _json(value: Any) -> object:  # noqa: ANN401 - a cell of a data frame has any type
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else float(f"{value:.{DIGITS}g}") if value % 1 else int(value)
    return value.item() if hasattr(value, "item") else value


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}; name another file") from error
