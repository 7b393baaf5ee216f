"""The bench's command line: wiring only.

``python runner.py --sizes 1e3..1e6`` measures; ``runner.py report`` makes a page of what was measured;
``runner.py compare BASE HEAD`` tells whether one version is worse than another; ``runner.py list`` and
``runner.py data`` look around.
"""

from __future__ import annotations

import contextlib
import difflib
import math
import os
import re
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from dotenv import load_dotenv
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness import bench, compare, datasets, environment, headline, record, scaling, terminal, versions
from harness.errors import UserError
from harness.isolate import Limits, probe
from harness.record import Row
from harness.registry import ENTRIES, select
from harness.scenario import (
    DTYPES,
    PRESETS,
    SOURCES,
    TRACKS,
    Grid,
    Summary,
    Track,
    doublings,
    locate_real,
    parse_axis,
    parse_names,
)

if TYPE_CHECKING:
    from harness.analysis import MachineLimits

ROOT = Path(__file__).resolve().parent
CACHE = ROOT / "data"
PREFIX = "KMEANS_BENCH_"
INTERRUPTED = 130
#: scikit-learn takes no larger seed.
MAX_SEED = 2**32 - 1
NOT_IN_ENVIRONMENT = ("ctx", "quick", "fresh", "estimate", "return")
#: Options of `compare` that only revisions, which it measures itself, can heed.
MEASURING = (
    "sizes",
    "dims",
    "clusters",
    "implementations",
    "dtype",
    "track",
    "repeats",
    "threads",
    "timeout",
)
MEMORY_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}

app = typer.Typer(
    help="Measure k-means implementations on identical data; without a command: run.",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _option(name: str, text: str) -> typer.models.OptionInfo:
    variable = PREFIX + name.removeprefix("--").replace("-", "_").upper()
    return cast("typer.models.OptionInfo", typer.Option(name, help=text, envvar=variable, show_envvar=False))


@app.command()
def run(
    ctx: typer.Context,
    sizes: Annotated[
        str | None, _option("--sizes", "Samples: 1e3,5e3 or 1e3..1e6 or 1e3..1e6:7 [1e3..1e6].")
    ] = None,
    dims: Annotated[str | None, _option("--dims", "Features, same forms [10].")] = None,
    clusters: Annotated[str | None, _option("--clusters", "Clusters, same forms [10].")] = None,
    implementations: Annotated[
        str | None, _option("--implementations", "Comma-separated names; see `list`.")
    ] = None,
    dtype: Annotated[str | None, _option("--dtype", "float32, float64 or both [float32].")] = None,
    track: Annotated[
        str | None, _option("--track", "matched (same start), default (own seeding), or both [matched].")
    ] = None,
    repeats: Annotated[
        int | None, _option("--repeats", "Measurements of each cell [3; 1 with --quick].")
    ] = None,
    threads: Annotated[int | None, _option("--threads", "Core budget of each [all usable cores].")] = None,
    timeout: Annotated[
        float, _option("--timeout", "Seconds a measurement may take, imports included.")
    ] = 120.0,
    max_memory: Annotated[
        str | None, _option("--max-memory", "Limit of a process tree, as 4GiB [none].")
    ] = None,
    max_iter: Annotated[int, _option("--max-iter", "Cap on iterations, matched track.")] = 100,
    seed: Annotated[int, _option("--seed", "Seed of data, starts and libraries.")] = 0,
    data: Annotated[str | None, _option("--data", "blobs, two-gaussians, mnist, or a file [blobs].")] = None,
    columns: Annotated[str, _option("--columns", "Columns of the file to use [all numeric ones].")] = "",
    drop: Annotated[str, _option("--drop", "Columns of the file to leave out.")] = "",
    spread: Annotated[
        float, _option("--spread", "Standard deviation of a blob; centers lie in a cube of side 20.")
    ] = 2.0,
    imbalance: Annotated[float, _option("--imbalance", "Largest over smallest share of the blobs.")] = 1.0,
    baseline: Annotated[str, _option("--baseline", "Implementation the ratios are to.")] = "sklearn-lloyd",
    results: Annotated[Path, _option("--results", "Folder of the results.")] = ROOT / "results",
    preset: Annotated[
        str | None,
        _option(
            "--preset",
            "seed: n 1e3..1e6 × 2,10,100 features × 2,10,30 clusters; headline: that, real data and a wide "
            "case, ours beside every peer; scaling: n 1e5..1e7 × 10 features × 10,30 clusters, Dask and "
            "Spark on 1, 2, 4, ... workers up to --threads. Other options keep the part they name.",
        ),
    ] = None,
    real: Annotated[
        Path | None,
        _option("--real", "Folder of the real data of a preset (MNIST, covertype) [MNIST: fetched]."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Under a minute: no n above 1e4, one repeat.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure all again instead of resuming.")] = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Say what it would cost, and measure nothing.")
    ] = False,
) -> None:
    """Measure implementations on identical data, each in its own process (the default command).

    The same command resumes a run that was interrupted. Every option but --quick, --fresh and --estimate can
    also be set in the environment or in .env, as KMEANS_BENCH_SIZES and so on; the command line wins.
    """
    console = _console()
    if quick or (preset and _given(ctx, "preset")):
        # What --quick or a preset on the command line decides, a default from the environment does not undo.
        sizes, dims, clusters = (
            value if _given(ctx, name) else None
            for name, value in (("sizes", sizes), ("dims", dims), ("clusters", clusters))
        )
        dtype, track = (
            value if _given(ctx, name) else None for name, value in (("dtype", dtype), ("track", track))
        )
        repeats = repeats if _given(ctx, "repeats") else None
        implementations = implementations if _given(ctx, "implementations") else None
    _refuse_idle_options(ctx, data, preset)
    chosen = PRESETS[parse_names(preset, "--preset", tuple(PRESETS))[0]] if preset else None
    axes = {
        "sizes": parse_axis(sizes, "--sizes") if sizes else (),
        "dims": parse_axis(dims, "--dims") if dims else (),
        "clusters": parse_axis(clusters, "--clusters") if clusters else (),
    }
    if chosen is None:
        # Fields by name: mypy does not follow which type each has.
        grid = replace(Grid(source=_source(data or "blobs")), **{k: v for k, v in axes.items() if v})  # type: ignore[arg-type]
        grids: tuple[Grid, ...] = (grid.quick() if quick else grid,)
    else:
        grids = _narrowed(chosen.quick if quick else chosen.grids, axes, data, preset)
        grids, missing_data = locate_real(grids, real)
        if missing_data:
            console.print(
                f"left out for want of data: {', '.join(missing_data)}; give its folder with --real",
                highlight=False,
            )
    common: dict[str, Any] = {
        "seed": _at_least(seed, 0, "--seed"),
        "spread": spread,
        "imbalance": imbalance,
        "columns": _words(columns),
        "drop": _words(drop),
    }
    if dtype:
        common["dtypes"] = parse_names(dtype, "--dtype", DTYPES)
    if track is None:
        tracks = chosen.tracks if chosen else ("matched",)
    else:
        tracks = cast("tuple[Track, ...]", parse_names(track, "--track", TRACKS))
    plan = bench.Plan(
        scenarios=tuple(one for grid in grids for one in replace(grid, **common).scenarios()),
        entries=select(
            chosen.implementations if chosen is not None and implementations is None else implementations
        ),
        tracks=tracks,
        repeats=_at_least(repeats if repeats is not None else 1 if quick else 3, 1, "--repeats"),
        n_threads=_threads(threads),
        max_iter=_at_least(max_iter, 1, "--max-iter"),
        seed=seed,
        limits=Limits(_positive(timeout, "--timeout"), _memory(max_memory)),
    )
    if plan.seed + plan.repeats > MAX_SEED:
        raise UserError(f"--seed: {seed} and the repeats after it exceed {MAX_SEED}, the libraries' limit")
    baselines = parse_names(baseline, "--baseline", [entry.name for entry in ENTRIES])
    if len(baselines) != 1:
        raise UserError(f"--baseline: one implementation, not {len(baselines)}")
    summary = chosen.summary if chosen is not None else "tables"
    counts = doublings(plan.n_threads) if summary == "scaling" else (plan.n_threads,)
    plans = [replace(plan, n_threads=count) for count in counts]
    if estimate:
        measurements = [one for part in plans for one in part.measurements()]
        terminal.print_estimate(console, measurements, _known_rows(results))
        return
    runs = [_execute(part, results, fresh, console) for part in plans]
    rows = [row for done in runs for row in done.rows()]
    _print_summary(summary, console, rows, baselines[0])
    for done in runs:
        terminal.print_csv_paths(console, done.folder)
    _refuse_gaps_under_ci(plan, rows)


@app.command()
def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Folders of runs, or their names under --results [the latest].", metavar="[RUN]..."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The page: one HTML file [report.html].")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="The same as Markdown.")] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", help="Folder of the figures, as SVG and PNG.")
    ] = None,
    baseline: Annotated[
        str, _option("--baseline", "Implementation the ratios are to, at first.")
    ] = "sklearn-lloyd",
    results: Annotated[Path, _option("--results", "Folder of the results.")] = ROOT / "results",
    peak_gflops: Annotated[
        str | None,
        typer.Option("--peak-gflops", help="Limit of the machine, float32,float64: see `make roofline`."),
    ] = None,
    bandwidth_gbs: Annotated[
        float | None, typer.Option("--bandwidth-gbs", help="Limit of the machine: GB/s read from memory.")
    ] = None,
) -> None:
    """Make a page, Markdown or figures of what was measured (without an option: report.html)."""
    # pandas and matplotlib take a second to import, which no other command should pay.
    from harness import figures as drawings
    from harness import report as pages

    found = pages.collect(_folders(runs or [], results), baseline, _limits(peak_gflops, bandwidth_gbs))
    written: list[Path] = []
    if out is not None or (markdown is None and figures is None):
        out = out or Path("report.html")
        pages.write_html(out, found)
        written.append(out)
    if markdown is not None:
        pages.write_markdown(markdown, found)
        written.append(markdown)
    if figures is not None:
        written += drawings.write_figures(figures, found)
    for path in written:
        _console().print(str(path), highlight=False, soft_wrap=True, markup=False)


@app.command("list")
def list_implementations() -> None:
    """Show the implementations with version and availability, and why one is missing."""
    table = Table(header_style="bold")
    for heading in ("implementation", "version", "available", "semantics", "what it is"):
        table.add_column(heading, overflow="fold")
    with ThreadPoolExecutor(environment.usable_cores()) as pool:
        answers = list(pool.map(lambda entry: probe(entry.adapter), ENTRIES))
    for entry, (reason, version) in zip(ENTRIES, answers, strict=True):
        table.add_row(
            entry.name,
            version,
            "[green]yes[/]" if reason is None else f"[yellow]no: {escape(reason)}[/]",
            entry.semantics,
            entry.summary + ("" if entry.default else " (on request)"),
        )
    _console().print(table)


@app.command("data")
def list_data(
    clear: Annotated[bool, typer.Option("--clear", help="Delete the cached data.")] = False,
) -> None:
    """Show the cached data, or delete it."""
    console = _console()
    if clear:
        freed = datasets.clear(CACHE)
        console.print(f"freed {freed / 2**20:.1f} MiB in {CACHE}", highlight=False, soft_wrap=True)
        return
    table = Table(header_style="bold")
    for heading in ("name", "samples × features", "type", "MiB", "created", "state"):
        table.add_column(heading, overflow="fold")
    for entry in datasets.entries(CACHE):
        shape = "" if entry.shape is None else " × ".join(str(length) for length in entry.shape)
        table.add_row(
            entry.name,
            shape,
            entry.dtype or "",
            f"{entry.bytes / 2**20:.1f}",
            entry.created or "",
            entry.state,
        )
    console.print(table)


@app.command("compare")
def compare_versions(
    ctx: typer.Context,
    base: Annotated[str, typer.Argument(help="A run (results/RUN) or a git revision.")],
    head: Annotated[str, typer.Argument(help="Another, of the same kind.")],
    sizes: Annotated[str, typer.Option(help="Samples.")] = "1e4..1e6",
    dims: Annotated[str, typer.Option(help="Features.")] = "10",
    clusters: Annotated[str, typer.Option(help="Clusters.")] = "10",
    implementations: Annotated[str, typer.Option(help="Comma-separated names; see `list`.")] = "rust",
    dtype: Annotated[str, typer.Option(help="float32, float64 or both.")] = "float32",
    track: Annotated[str, typer.Option(help="matched, default, or both.")] = "matched,default",
    repeats: Annotated[int, typer.Option(help="Measurements of each cell and side.")] = versions.REPEATS,
    threads: Annotated[int | None, typer.Option(help="Core budget of each [all usable cores].")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds a measurement may take.")] = 120.0,
    margin: Annotated[float, typer.Option(help="Tolerated slowdown of a cell.")] = compare.Margins.time,
    memory_margin: Annotated[
        float,
        typer.Option(help="Tolerated growth of a cell's memory: of its peak, and of what the fit adds."),
    ] = compare.Margins.memory,
    markdown: Annotated[Path | None, typer.Option(help="Write the table to this file.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write everything to this file.")] = None,
) -> None:
    """Tell whether HEAD is slower than BASE, takes more memory or reaches a worse objective.

    Exit code 1 if so and a second measurement confirms it, or if HEAD lost a cell; 2 if there is nothing to
    compare; 0 otherwise. Two revisions are built side by side and measured interleaved; the options on what
    is measured are for them. Two runs are compared as they are.
    """
    console = _console()
    margins = compare.Margins(_positive(margin, "--margin"), _positive(memory_margin, "--memory-margin"))
    with terminal.Terminal(console) as watcher:
        where = versions.Bench(
            CACHE, ROOT / "results" / "compare", shlex.join(["python", "runner.py", *sys.argv[1:]]), watcher
        )
        if Path(base).is_dir() and Path(head).is_dir():
            for name in MEASURING:
                if _given(ctx, name):
                    raise UserError(
                        f"--{name}: has no effect on two runs, compared as they are; leave it out"
                    )
            report = versions.compare_runs(Path(base), Path(head), margins, where)
        else:
            grid = Grid(
                sizes=parse_axis(sizes, "--sizes"),
                dims=parse_axis(dims, "--dims"),
                clusters=parse_axis(clusters, "--clusters"),
                dtypes=parse_names(dtype, "--dtype", DTYPES),
            )
            plan = bench.Plan(
                scenarios=tuple(grid.scenarios()),
                entries=select(implementations),
                tracks=cast("tuple[Track, ...]", parse_names(track, "--track", TRACKS)),
                repeats=_at_least(repeats, compare.MIN_PAIRS, "--repeats"),
                n_threads=_threads(threads),
                max_iter=100,
                seed=0,
                limits=Limits(_positive(timeout, "--timeout"), None),
            )
            report = versions.compare_revisions(base, head, plan, margins, where)
    if not report.empty:
        compare.print_report(console, report)
    for path, text in ((markdown, compare.markdown(report)), (json, compare.to_json(report))):
        if path is not None:
            _write(path, text)
    if report.empty:
        raise UserError(report.sentence)
    if report.regressed:
        raise typer.Exit(1)


def main(arguments: list[str]) -> int:
    """Run the command line; a user's mistake is one line and exit code 2."""
    try:
        load_dotenv(ROOT / ".env")
    except (OSError, UnicodeDecodeError) as error:
        return _refuse(f".env cannot be read ({error}); it must be UTF-8 text")
    known = {PREFIX + name.upper() for name in run.__annotations__ if name not in NOT_IN_ENVIRONMENT}
    unknown = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
    if unknown:
        return _refuse(f"{unknown[0]}: no option of that name can be set in the environment or .env")
    # Ending the runner politely must end what it has started, as Ctrl-C does.
    for ending in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(ending, _interrupt)
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("--help", "-h")):
        arguments = ["run", *arguments]
    try:
        code = app(arguments, prog_name="runner.py", standalone_mode=False) or 0
    except UserError as error:
        return _refuse(str(error))
    except typer.TyperException as error:
        return _refuse(error.format_message())
    if code == INTERRUPTED:
        sys.stderr.write("interrupted; the same command measures what is missing\n")
    return int(code)


def _execute(plan: bench.Plan, results: Path, fresh: bool, console: Console) -> bench.Run:
    command = shlex.join(["python", "runner.py", *sys.argv[1:]])
    with terminal.Terminal(console) as watcher:
        return bench.execute(
            plan, cache=CACHE, results=results, fresh=fresh, command=command, watcher=watcher
        )


def _print_summary(summary: Summary, console: Console, rows: Sequence[Row], baseline: str) -> None:
    machine = environment.one_line(environment.describe())
    if summary == "headline":
        headline.print_headline(console, rows, baseline, machine)
    elif summary == "scaling":
        scaling.print_scaling(console, rows, machine)
    else:
        terminal.print_tables(console, rows, baseline, machine)


def _console() -> Console:
    # A file or a pipe has no width of its own: lines stay whole there.
    return Console() if sys.stdout.isatty() or "COLUMNS" in os.environ else Console(width=160)


def _known_rows(results: Path) -> list[Row]:
    """Return the rows of all earlier runs; those of another schema say nothing of this one."""
    found: list[Row] = []
    for path in sorted(results.glob("*/*.csv")):
        with contextlib.suppress(UserError):
            found += record.load(path)
    return found


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; name another file") from error


def _refuse(message: str) -> int:
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    return 2


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _given(ctx: typer.Context, name: str) -> bool:
    """Return whether an option stands on the command line."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _refuse_idle_options(ctx: typer.Context, data: str | None, preset: str | None) -> None:
    """Refuse options on the command line that this data would leave without effect."""
    idle = {"blobs": ("columns", "drop"), "two-gaussians": ("sizes", "dims", "columns", "drop")}.get(
        data or "blobs", ("sizes", "dims", "spread", "imbalance")
    )
    for name in () if preset else idle:
        if _given(ctx, name):
            raise UserError(f"--{name}: has no effect on --data {data or 'blobs'}; leave it out")


def _refuse_gaps_under_ci(plan: bench.Plan, rows: Sequence[Row]) -> None:
    """Where CI=true, refuse rows that are not ok and could be: their implementation does not sit out."""
    by_name = {entry.name: entry for entry in plan.entries}
    missing = {
        f"{row.implementation} ({row.status})"
        for row in rows
        if row.status != "ok"
        and by_name[row.implementation].sits_out(cast("Track", row.track), row.dtype) is None
    }
    if missing and os.environ.get("CI") == "true":
        raise UserError(f"CI=true allows no gap: {', '.join(sorted(missing))}; the reasons stand in the rows")


def _at_least(value: int, least: int, option: str) -> int:
    if value < least:
        raise UserError(f"{option}: {value} is less than {least}")
    return value


def _positive(value: float, option: str) -> float:
    if not 0 < value < math.inf:
        raise UserError(f"{option}: {value:g} is not a positive number")
    return value


def _threads(threads: int | None) -> int:
    cores = environment.usable_cores()
    if threads is None:
        return cores
    if not 1 <= threads <= cores:
        raise UserError(f"--threads: {threads} is not from 1 to {cores}, the cores usable here")
    return threads


def _memory(text: str | None) -> int | None:
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:e\d+)?)\s*([kmg]i?)?b?\s*", text.lower())
    if match is None or not 0 < float(match[1]) < math.inf:
        raise UserError(f"--max-memory: {text!r} is not a size; write 4GiB, 500MB or a number of bytes")
    return int(float(match[1]) * MEMORY_UNITS[match[2] or ""])


def _folders(runs: Sequence[str], results: Path) -> list[Path]:
    """Return the folders of runs given by path or by name; without any, that of the latest run."""
    if not runs:
        facts = max(results.glob("*/env.json"), key=lambda path: path.stat().st_mtime, default=None)
        if facts is None:
            raise UserError(f"no run in {results}; measure first, or give --results or the folder of a run")
        return [facts.parent]
    folders = []
    for name in runs:
        folder = next((path for path in (Path(name), results / name) if path.is_dir()), None)
        if folder is None:
            raise UserError(f"no run {name!r}, neither as a folder nor in {results}")
        folders.append(folder)
    return folders


def _limits(peak_gflops: str | None, bandwidth_gbs: float | None) -> MachineLimits | None:
    if peak_gflops is None and bandwidth_gbs is None:
        return None
    if peak_gflops is None or bandwidth_gbs is None:
        raise UserError("--peak-gflops and --bandwidth-gbs: one alone is no limit; give both")
    words = peak_gflops.split(",")
    numbers = [float(word) if re.fullmatch(r"\s*\d+(\.\d+)?\s*", word) else 0.0 for word in words]
    if len(numbers) != len(DTYPES) or min(numbers) <= 0:
        raise UserError(
            f"--peak-gflops: {peak_gflops!r}; write two numbers, for float32 and float64, as 430,215"
        )
    if not 0 < bandwidth_gbs < math.inf:
        raise UserError(f"--bandwidth-gbs: {bandwidth_gbs:g} is not a positive number")
    from harness.analysis import MachineLimits

    flops = dict(zip(DTYPES, (1e9 * number for number in numbers), strict=True))
    return MachineLimits(flops, 1e9 * bandwidth_gbs)


def _narrowed(
    grids: Sequence[Grid], axes: Mapping[str, tuple[int, ...]], data: str | None, preset: str | None
) -> tuple[Grid, ...]:
    sources = [grid for grid in grids if data is None or grid.source == data]
    kept = [grid.narrowed(**axes) for grid in sources]
    if not any(kept):
        raise UserError(
            f"nothing of the preset {preset!r} has the values asked for with --sizes, --dims, --clusters or "
            "--data; leave one of them out, or --preset"
        )
    return tuple(grid for grid in kept if grid is not None)


def _source(text: str) -> str:
    if text in SOURCES:
        return text
    if Path(text).exists():
        return str(Path(text).resolve())
    close = difflib.get_close_matches(text, list(SOURCES), n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise UserError(f"--data: no file {text!r}{hint}; give a file or one of {', '.join(SOURCES)}")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
