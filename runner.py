"""The bench's command line: wiring only.

``python runner.py --sizes 1e3..1e6`` measures; ``runner.py list`` and ``runner.py data`` look around.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import shlex
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Annotated, cast

import typer
from dotenv import load_dotenv
from rich.console import Console
from rich.table import Table

from harness import bench, datasets, environment, terminal
from harness.errors import UserError
from harness.isolate import Limits, probe
from harness.registry import ENTRIES, select
from harness.scenario import DTYPES, PRESETS, TRACKS, Grid, Track, parse_axis, parse_names

ROOT = Path(__file__).resolve().parent
CACHE = ROOT / "data"
PREFIX = "KMEANS_BENCH_"
INTERRUPTED = 130
GENERATORS = ("blobs", "two-gaussians", "mnist")
MEMORY_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}

app = typer.Typer(
    help=__doc__,
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _option(name: str, text: str) -> typer.models.OptionInfo:
    variable = PREFIX + name.removeprefix("--").replace("-", "_").upper()
    return cast("typer.models.OptionInfo", typer.Option(name, help=text, envvar=variable, show_envvar=False))


@app.command()
def run(
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
        str, _option("--track", "matched (same start), default (own seeding), or both.")
    ] = "matched",
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
    data: Annotated[str, _option("--data", "blobs, two-gaussians, mnist, or a file.")] = "blobs",
    columns: Annotated[str, _option("--columns", "Columns of the file to use [all numeric ones].")] = "",
    drop: Annotated[str, _option("--drop", "Columns of the file to leave out.")] = "",
    spread: Annotated[
        float, _option("--spread", "Standard deviation of a blob; centers lie in a cube of side 20.")
    ] = 2.0,
    imbalance: Annotated[float, _option("--imbalance", "Largest over smallest share of the blobs.")] = 1.0,
    baseline: Annotated[str, _option("--baseline", "Implementation the ratios are to.")] = "sklearn-lloyd",
    results: Annotated[Path, _option("--results", "Folder of the results.")] = ROOT / "results",
    preset: Annotated[
        str | None, _option("--preset", "seed: n 1e3..1e6 × 2,10,100 features × 2,10,30 clusters.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Under a minute: no n above 1e4, one repeat.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure all again instead of resuming.")] = False,
) -> None:
    """Measure implementations on identical data, each in its own process (the default command).

    The same command resumes a run that was interrupted. Every option but --quick and --fresh can also be set
    in the environment or in .env, as KMEANS_BENCH_SIZES and so on; the command line wins.
    """
    grid = PRESETS[parse_names(preset, "--preset", tuple(PRESETS))[0]] if preset else Grid()
    if sizes:
        grid = replace(grid, sizes=parse_axis(sizes, "--sizes"))
    if dims:
        grid = replace(grid, dims=parse_axis(dims, "--dims"))
    if clusters:
        grid = replace(grid, clusters=parse_axis(clusters, "--clusters"))
    if dtype:
        grid = replace(grid, dtypes=parse_names(dtype, "--dtype", DTYPES))
    grid = replace(
        grid,
        seed=_at_least(seed, 0, "--seed"),
        spread=spread,
        imbalance=imbalance,
        source=_source(data),
        columns=_words(columns),
        drop=_words(drop),
    )
    if quick:
        grid = grid.quick()
    plan = bench.Plan(
        scenarios=tuple(grid.scenarios()),
        entries=select(implementations),
        tracks=cast("tuple[Track, ...]", parse_names(track, "--track", TRACKS)),
        repeats=_at_least(repeats if repeats is not None else 1 if quick else 3, 1, "--repeats"),
        n_threads=_threads(threads),
        max_iter=_at_least(max_iter, 1, "--max-iter"),
        seed=seed,
        limits=Limits(_positive(timeout, "--timeout"), _memory(max_memory)),
    )
    (baseline,) = parse_names(baseline, "--baseline", [entry.name for entry in ENTRIES])[:1]
    console = _console()
    with terminal.Terminal(console) as watcher:
        command = shlex.join(["python", "runner.py", *sys.argv[1:]])
        done = bench.execute(
            plan, cache=CACHE, results=results, fresh=fresh, command=command, watcher=watcher
        )
    rows = done.rows()
    terminal.print_tables(console, rows, baseline, environment.one_line(environment.describe()))
    terminal.print_csv_paths(console, done.folder)
    missing = sorted({row.implementation for row in rows if row.status == "skipped"})
    if missing and os.environ.get("CI") == "true":
        raise UserError(
            f"not measured, and CI=true allows no gap: {', '.join(missing)}; `runner.py list` says why"
        )


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
            "[green]yes[/]" if reason is None else f"[yellow]no: {reason}[/]",
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


def main(arguments: list[str]) -> int:
    """Run the command line; a user's mistake is one line and exit code 2."""
    load_dotenv(ROOT / ".env")
    # Ending the runner politely must end what it has started, as Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupt)
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


def _console() -> Console:
    # A file or a pipe has no width of its own: lines stay whole there.
    return Console() if sys.stdout.isatty() or "COLUMNS" in os.environ else Console(width=160)


def _refuse(message: str) -> int:
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    return 2


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _at_least(value: int, least: int, option: str) -> int:
    if value < least:
        raise UserError(f"{option}: {value} is less than {least}")
    return value


def _positive(value: float, option: str) -> float:
    if not 0 < value < math.inf:
        raise UserError(f"{option}: {value:g} is not a positive number of seconds")
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
    if match is None or float(match[1]) <= 0:
        raise UserError(f"--max-memory: {text!r} is not a size; write 4GiB, 500MB or a number of bytes")
    return int(float(match[1]) * MEMORY_UNITS[match[2] or ""])


def _source(text: str) -> str:
    if text in GENERATORS:
        return text
    if Path(text).exists():
        return str(Path(text).resolve())
    close = difflib.get_close_matches(text, GENERATORS, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise UserError(f"--data: no file {text!r}{hint}; give a file or one of {', '.join(GENERATORS)}")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
