"""Ours, dask-ml and scikit-learn on one Dask cluster and one generated array: what the two programs share.

`dask_impl.run_local` and `dask_impl.run_cluster` differ in the cluster alone. They are no implementations of
the bench but beside its runner: they write its rows and its tables.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import math
import os
import shlex
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial as bind
from functools import reduce
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console

from harness import bench, environment, record, terminal
from harness.contract import FloatArray, Settings
from harness.errors import UserError
from harness.record import Row
from harness.scenario import DTYPES, parse_axis, parse_names

if TYPE_CHECKING:
    from distributed import Client

ROOT = Path(__file__).resolve().parent.parent
#: Centers of the blobs lie in a cube of this side around the origin, as those of the bench.
CUBE_SIDE = 20.0
#: Points of the picture, at most.
MAX_POINTS = 20_000
#: Rows of each chunk in a first fit of every library, which loads its code and is not timed.
WARM_UP_ROWS = 2048
#: Implementation that the ratios of the table are to.
BASELINE = "sklearn-lloyd"
#: Characters of a reason: some libraries print arrays into their exceptions.
MAX_REASON = 500


@dataclass(frozen=True)
class Options:
    """What is generated and compared; read from words by `read_options`."""

    rows: int
    features: int
    clusters: int
    chunk: int
    spread: float
    dtype: str
    seed: int
    repeats: int
    plot: Path | None
    results: Path
    report: Path | None


@dataclass(frozen=True)
class Fitted:
    """What a contender ends with.

    Parameters
    ----------
    centers : ndarray of shape (n_clusters, n_features)
        Final centers.
    n_iter : int
        Iterations, as the library counts them.
    reported_inertia : float
        The library's own objective.
    settings : Settings
        What was really used.
    """

    centers: FloatArray
    n_iter: int
    reported_inertia: float
    settings: Settings


@dataclass(frozen=True)
class Contender:
    """One of the libraries that are compared.

    Parameters
    ----------
    name : str
        As in the rows of the bench.
    package : str
        What its version is read from.
    module : str
        Where its ``KMeans`` is.
    gathered : bool
        Whether it takes a NumPy array: all samples in the memory of this process.
    """

    name: str
    package: str
    module: str
    gathered: bool = False


def read_options(
    *,
    rows: Annotated[str, typer.Option(help="Samples, as 500000 or 5e5.")] = "5e5",
    features: Annotated[str, typer.Option(help="Features.")] = "2",
    clusters: Annotated[str, typer.Option(help="Clusters, generated and asked for.")] = "4",
    chunk: Annotated[str, typer.Option(help="Rows of a chunk.")] = "1e5",
    spread: Annotated[float, typer.Option(help="Standard deviation of a blob.")] = 2.0,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    seed: Annotated[int, typer.Option(help="Seed of the data and of the libraries.")] = 0,
    repeats: Annotated[str, typer.Option(help="Fits of each; each is a row.")] = "1",
    plot: Annotated[Path | None, typer.Option(help="Picture of the clusters [beside the rows].")] = None,
    results: Annotated[Path, typer.Option(help="Folder of the results.")] = ROOT / "results",
    report: Annotated[
        Path | None, typer.Option(help="Dask's performance report of one more fit, an .html file.")
    ] = None,
) -> Options:
    """Return checked options.

    Raises
    ------
    UserError
        If one of them cannot be used.
    """
    wanted = Options(
        rows=_one(rows, "--rows"),
        features=_one(features, "--features"),
        clusters=_one(clusters, "--clusters"),
        chunk=_one(chunk, "--chunk"),
        spread=spread,
        dtype=parse_names(dtype, "--dtype", DTYPES)[0],
        seed=seed,
        repeats=_one(repeats, "--repeats"),
        plot=plot,
        results=results,
        report=report,
    )
    if wanted.clusters > wanted.rows:
        raise UserError(
            f"{wanted.clusters} clusters of {wanted.rows} samples; lower --clusters or raise --rows"
        )
    if not 0 <= spread < math.inf:
        raise UserError(f"--spread: {spread:g} is not a standard deviation; give a number from 0")
    if not 0 <= seed <= 2**32 - 1 - wanted.repeats:
        raise UserError(f"--seed: {seed} is not a seed of the libraries; give a number from 0 to 4e9")
    if report is not None and importlib.util.find_spec("bokeh") is None:
        raise UserError("--report: Dask draws its report with bokeh; install it: pip install bokeh")
    return wanted


def program(name: str, command: Callable[..., None]) -> int:
    """Run one of the programs; a user's mistake is one line and exit code 2.

    Parameters
    ----------
    name : str
        Of its module.
    command : callable
        Called as ``command(options, **own)``: the `Options`, and options of its own, typed for typer.
    """
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.command()(_with_shared_options(command))
    try:
        return int(app(sys.argv[1:], prog_name=f"python -m dask_impl.{name}", standalone_mode=False) or 0)
    except UserError as error:
        message = str(error)
    except typer.TyperException as error:
        message = error.format_message()
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    return 2


def compare(where: str, options: Options, cluster: AbstractContextManager[Client]) -> None:
    """Generate, cluster with each library, print and write what came of it.

    Parameters
    ----------
    where : str
        What kind of cluster, for the names of the scenario and of the folder.
    options : Options
        What to do.
    cluster : context manager of a distributed.Client
        Started here and ended whatever happens.

    Raises
    ------
    UserError
        If a file cannot be written.
    """
    # A pipe has no width of its own: lines stay whole there.
    console = Console() if sys.stdout.isatty() or "COLUMNS" in os.environ else Console(width=160)
    facts = environment.describe()
    with cluster as client:
        threads = sum(client.nthreads().values())
        console.print(f"dashboard: {client.dashboard_link}", highlight=False, soft_wrap=True)
        run = _open_run(where, options, facts, threads)
        X = _persisted(options, client)
        gather_started = perf_counter()
        gathered = np.ascontiguousarray(client.compute(X).result())
        gather_seconds = perf_counter() - gather_started
        sheet = _Sheet(where, options, run, hashlib.sha256(gathered.data).hexdigest(), threads)
        best: tuple[float, FloatArray] | None = None
        _warm_up(X, gathered, options, client)
        for repeat in range(options.repeats):
            for contender in CONTENDERS:
                data, prepared = (gathered, gather_seconds) if contender.gathered else (X, None)
                fitted, seconds, reason = _timed(contender, data, options, options.seed + repeat, client)
                inertia = None if fitted is None else objective(X, fitted.centers, client)
                if fitted is not None and inertia is not None and (best is None or inertia < best[0]):
                    best = inertia, fitted.centers
                row = sheet.row(contender, fitted, seconds, prepared, inertia, repeat, reason)
                record.append(run.folder / f"{sheet.scenario}.csv", row)
        rows = [row for row in run.rows() if row.scenario == sheet.scenario]
        terminal.print_tables(console, rows, BASELINE, environment.one_line(facts))
        terminal.print_csv_paths(console, run.folder)
        if best is not None:
            picture = options.plot or run.folder / f"{sheet.scenario}.png"
            draw(picture, gathered, best[1])
            console.print(f"clusters: {picture}", highlight=False, soft_wrap=True, markup=False)
        if options.report is not None:
            write_report(options.report, bind(fit, CONTENDERS[0], X, options, options.seed, client), client)
            console.print(f"report: {options.report}", highlight=False, soft_wrap=True, markup=False)


def generated(options: Options) -> da.Array:
    """Return Gaussian blobs as a lazy array, each chunk made where it is needed; nothing is stored.

    The values depend on the seed and the rows of a chunk.
    """
    centers = np.random.default_rng(options.seed).uniform(
        -CUBE_SIDE / 2, CUBE_SIDE / 2, (options.clusters, options.features)
    )
    random = da.random.default_rng(options.seed)
    shape = options.rows, options.features
    blobs = random.integers(options.clusters, size=options.rows, chunks=options.chunk)
    noise = random.normal(scale=options.spread, size=shape, chunks=(options.chunk, options.features))
    means = blobs.map_blocks(
        lambda chosen: centers[chosen],
        chunks=noise.chunks,
        new_axis=1,
        dtype=np.float64,
        meta=np.empty((0, options.features)),
    )
    return (means + noise).astype(options.dtype)


def objective(X: da.Array, centers: FloatArray, client: Client) -> float:
    """Return the sum of squared distances of the samples to their nearest centers, in float64."""
    samples = X.astype(np.float64)
    nearest = reduce(
        da.minimum, (((samples - center) ** 2).sum(axis=1) for center in centers.astype(np.float64))
    )
    return float(client.compute(nearest.sum()).result())


def draw(path: Path, X: FloatArray, centers: FloatArray) -> None:
    """Save a scatter plot of the first two features, a color a cluster, the centers marked.

    Parameters
    ----------
    path : Path
        The picture; its ending names the format.
    X : ndarray of shape (n_samples, n_features)
        The samples; of many, evenly spaced ones are drawn.
    centers : ndarray of shape (n_clusters, n_features)
        The centers, which decide the colors.

    Raises
    ------
    UserError
        If the picture cannot be written.
    """
    from matplotlib.figure import Figure

    points = X[:: -(-len(X) // MAX_POINTS)].astype(np.float64)
    distances = np.stack([((points - center) ** 2).sum(axis=1) for center in centers.astype(np.float64)])
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(*_plane(points), c=distances.argmin(axis=0), s=3, cmap="tab20", linewidths=0)
    axes.scatter(*_plane(centers), c="black", marker="x", s=60)
    shown = "" if len(points) == len(X) else f", {len(points)} of them drawn"
    axes.set_title(f"{len(X)} samples{shown}, {len(centers)} clusters")
    axes.set_xlabel("feature 0")
    axes.set_ylabel("feature 1" if X.shape[1] > 1 else "")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise UserError(
            f"--plot: {path} cannot be written ({error}); name a .png, .svg or .pdf file"
        ) from error


def write_report(path: Path, work: Callable[[], object], client: Client) -> None:
    """Do some work that is not timed and write what Dask's own instruments saw of it.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    from distributed import performance_report

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with client.as_current(), performance_report(filename=str(path)):
            work()
    except OSError as error:
        raise UserError(
            f"--report: {path} cannot be written ({error.strerror}); name another file"
        ) from error


def fit(
    contender: Contender, X: da.Array | FloatArray, options: Options, seed: int, client: Client
) -> Fitted:
    """Fit one of the libraries with its own seeding and stopping rule: all have scikit-learn's interface."""
    estimator = importlib.import_module(contender.module).KMeans
    with client.as_current():
        found = estimator(n_clusters=options.clusters, random_state=seed).fit(X)
    return Fitted(
        centers=np.asarray(found.cluster_centers_),
        n_iter=int(found.n_iter_),
        reported_inertia=float(found.inertia_),
        settings=Settings(init=str(found.init), n_init=1, max_iter=found.max_iter, tol=found.tol),
    )


#: Ours first: the report is of the first one.
CONTENDERS = (
    Contender("dask-rust", "rust-kmeans", "rust_kmeans.dask"),
    Contender("dask-ml", "dask-ml", "dask_ml.cluster"),
    Contender(BASELINE, "scikit-learn", "sklearn.cluster", gathered=True),
)


@dataclass(frozen=True)
class _Sheet:
    """What all rows of one comparison have in common."""

    where: str
    options: Options
    run: bench.Run
    sha256: str
    threads: int

    @property
    def scenario(self) -> str:
        options = self.options
        shape = f"n{options.rows}-d{options.features}-k{options.clusters}-{options.dtype}"
        return f"dask-{self.where}-{shape}"

    def row(
        self,
        contender: Contender,
        fitted: Fitted | None,
        seconds: float | None,
        prepare_seconds: float | None,
        inertia: float | None,
        repeat: int,
        reason: str,
    ) -> Row:
        options = self.options
        settings = fitted.settings if fitted is not None else Settings("", None, None, None)
        return Row(
            schema_version=record.SCHEMA_VERSION,
            run_id=self.run.run_id,
            started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            scenario=self.scenario,
            track="default",
            implementation=contender.name,
            semantics="exact",
            library_version=_version(contender.package),
            dataset=f"generated-chunk{options.chunk}-spread{options.spread:g}-seed{options.seed}",
            dataset_sha256=self.sha256,
            n_samples=options.rows,
            n_features=options.features,
            n_clusters=options.clusters,
            dtype=options.dtype,
            repeat=repeat,
            status="ok" if fitted is not None else "failed",
            reason=reason,
            fit_seconds=seconds,
            reported_fit_seconds=None,
            seeding_seconds=None,
            prepare_seconds=prepare_seconds,
            predict_seconds=None,
            n_iter=fitted.n_iter if fitted is not None else None,
            inertia=inertia,
            reported_inertia=fitted.reported_inertia if fitted is not None else None,
            label_agreement=None,
            peak_rss_bytes=None,
            baseline_rss_bytes=None,
            fit_rss_bytes=None,
            peak_polled_bytes=None,
            peak_hwm_bytes=None,
            memory_method="",
            n_threads=self.threads,
            isa="",
            algorithm="",
            init=settings.init,
            n_init=settings.n_init,
            tol=settings.tol,
            max_iter=settings.max_iter,
            seed=options.seed + repeat,
        )


def _warm_up(X: da.Array, gathered: FloatArray, options: Options, client: Client) -> None:
    """Fit every library to a part of each chunk, so that each worker has loaded what it needs."""
    rows = max(WARM_UP_ROWS, options.clusters)
    part = client.persist(da.concatenate([block[:rows] for block in X.blocks.ravel()]))
    for contender in CONTENDERS:
        _timed(contender, gathered[:rows] if contender.gathered else part, options, options.seed, client)


def _with_shared_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return a function whose signature, which typer reads, has those of `read_options` too."""
    own, shared = (
        [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in inspect.signature(function, eval_str=True).parameters.values()
            if parameter.name != "options"
        ]
        for function in (command, read_options)
    )

    def whole(**words: object) -> None:
        ours = {parameter.name: words.pop(parameter.name) for parameter in own}
        # Each word has the type of the option it was read for, which mypy cannot follow.
        command(read_options(**words), **ours)  # type: ignore[arg-type]

    whole.__doc__ = command.__doc__
    whole.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *shared)}
    whole.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]  # not in its stub
    return whole


def _timed(
    contender: Contender, data: da.Array | FloatArray, options: Options, seed: int, client: Client
) -> tuple[Fitted | None, float | None, str]:
    """Return the fit, its seconds, and why there is none."""
    started = perf_counter()
    try:
        fitted = fit(contender, data, options, seed, client)
    except Exception as error:  # noqa: BLE001 - whatever a library raises becomes a row, as in the bench
        return None, None, f"{type(error).__name__}: {error}"[:MAX_REASON]
    return fitted, perf_counter() - started, ""


def _persisted(options: Options, client: Client) -> da.Array:
    import distributed

    X = client.persist(generated(options))
    with client.as_current():
        distributed.wait(X)
    return X


def _open_run(where: str, options: Options, facts: dict[str, Any], threads: int) -> bench.Run:
    """Make the folder of this comparison: a new one each time, since a row is one measurement."""
    started = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    run = bench.Run(options.results / f"dask-{where}-{started}", f"dask-{where}-{started}")
    command = shlex.join(["python", "-m", f"dask_impl.run_{where}", *sys.argv[1:]])
    content = {
        "run_id": run.run_id,
        "command": command,
        "environment": facts,
        "plan": {**asdict(options), "threads": threads},
    }
    try:
        run.folder.mkdir(parents=True)
        (run.folder / "env.json").write_text(json.dumps(content, indent=2, default=str) + "\n")
    except OSError as error:
        raise UserError(
            f"--results: cannot write {run.folder}: {error.strerror}; name another folder"
        ) from error
    return run


def _plane(points: FloatArray) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the two coordinates that are drawn; of a single feature the second one is zero."""
    return points[:, 0], points[:, 1] if points.shape[1] > 1 else np.zeros(len(points))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _one(text: str, option: str) -> int:
    values = parse_axis(text, option)
    if len(values) != 1:
        raise UserError(f"{option}: one number, not {text!r}")
    return values[0]
