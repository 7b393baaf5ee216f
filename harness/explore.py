"""What the notebooks show: a run to look at, and the figures that the report does not have."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, silhouette_score

from harness import analysis, bench, figures
from harness.contract import FitSpec
from harness.datasets import obtain
from harness.environment import ROOT, usable_cores
from harness.isolate import Limits, measure
from harness.registry import REFERENCE, select
from harness.scenario import TRACKS, DatasetSpec, Grid, Track
from harness.terminal import Terminal

#: Names another folder of results than the checkout's.
RESULTS_VARIABLE = "KMEANS_BENCH_RESULTS"
CACHE = ROOT / "data"
#: What is measured where there is no run yet: seconds, and two values on two axes.
SMALL = Grid(sizes=(1_000, 10_000), dims=(2, 10), clusters=(3,))
SMALL_NAMES = "rust,sklearn-lloyd"
LIMITS = Limits(120.0)
#: More samples than this make a scatter plot a blot, and a silhouette slow: it looks at all pairs.
SHOWN = 2_000


def latest_run() -> analysis.Run:
    """Return the run measured last, or measure a small one, on both tracks, if there is none.

    Runs lie under ``results/``, or where ``KMEANS_BENCH_RESULTS`` says.
    """
    folder = _results()
    found = sorted(folder.glob("*/env.json"), key=lambda path: path.stat().st_mtime)
    return analysis.read_run(found[-1].parent) if found else _measured(SMALL, SMALL_NAMES, folder, TRACKS)


def scaling_run(n_samples: int, names: str = "rust,dask-rust", *, repeats: int = 3) -> pd.DataFrame:
    """Measure implementations on the matched track with 1, 2, 4, ... cores, up to all.

    Parameters
    ----------
    n_samples : int
        Of blobs of 10 features and clusters.
    names : str
        Comma-separated, as for ``runner.py``.
    repeats : int
        Of each measurement.

    Returns
    -------
    DataFrame
        Of `analysis.summarise`; ``n_threads`` is the number of cores.
    """
    cores = usable_cores()
    counts = sorted({*(1 << power for power in range(cores.bit_length()) if 1 << power <= cores), cores})
    grid, folder = Grid(sizes=(n_samples,)), _results() / "scaling"
    runs = [
        _measured(grid, names, folder, ("matched",), n_threads=count, repeats=repeats) for count in counts
    ]
    return analysis.summarise(analysis.together(runs), names.split(",", maxsplit=1)[0])


def samples(spec: DatasetSpec) -> Figure:
    """Draw a dataset: its samples on their two principal axes, and how each feature is spread.

    Parameters
    ----------
    spec : DatasetSpec
        Which.
    """
    data = obtain(spec, CACHE)
    rows = _some(np.asarray(data.dataset.memmap(), dtype=np.float64))
    starts = data.init.astype(np.float64)
    if rows.shape[1] > 2:
        axes_of = PCA(2).fit(rows)
        plane, starts = axes_of.transform(rows), axes_of.transform(starts)
    else:
        plane = rows
    with mpl.rc_context(figures.STYLE):
        figure = Figure(figsize=(8.4, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot(*plane[:, :2].T, ".", color=figures.COLORS[1], markersize=2, alpha=0.5, label="samples")
        left.plot(
            *starts[:, :2].T, "X", color=figures.COLORS[0], markersize=8, label="stored starting centers"
        )
        left.set(title="samples on two principal axes" if rows.shape[1] > 2 else "samples")
        left.legend()
        right.boxplot(rows[:, :20], showfliers=False, medianprops={"color": figures.COLORS[0]})
        right.set(title="features (the first 20 at most)", xlabel="feature", ylabel="value")
    return figure


def quality(spec: DatasetSpec, names: str = "rust,sklearn-minibatch") -> pd.DataFrame:
    """Fit a dataset from the stored start and say how good the clusters are.

    Parameters
    ----------
    spec : DatasetSpec
        Which data, and into how many clusters.
    names : str
        Comma-separated, as for ``runner.py``. Those that cannot start from given centers seed themselves.

    Returns
    -------
    DataFrame
        A line an implementation: ``silhouette`` (of at most 2,000 samples: how much nearer a sample is to its
        own cluster than to the next, from -1 to 1) and ``agreement`` (adjusted Rand index with the clusters
        of the reference: 1 for the same ones).
    """
    data = obtain(spec, CACHE)
    X = np.asarray(data.dataset.memmap())
    labels = {}
    for entry in (REFERENCE, *(one for one in select(names) if one != REFERENCE)):
        start = data.init if entry.matched else None
        fit = FitSpec(spec.n_clusters, start, 1, 100, 0.0, spec.seed, usable_cores(), spec.dtype)
        outcome = measure(entry.adapter, data.dataset, fit, LIMITS)
        if outcome.labels is not None:
            labels[entry.name] = outcome.labels
    reference = labels[REFERENCE.name]
    return pd.DataFrame(
        {
            name: {
                "silhouette": silhouette_score(_some(X), _some(found)),
                "agreement": adjusted_rand_score(reference, found),
            }
            for name, found in labels.items()
        }
    ).T


def bars(table: pd.DataFrame) -> Figure:
    """Draw every column of a table as a panel of bars, with the values at their ends."""
    with mpl.rc_context(figures.STYLE):
        figure = Figure(figsize=(4.2 * len(table.columns), 0.5 * len(table) + 1.2), layout="constrained")
        panels = figure.subplots(1, len(table.columns), squeeze=False, sharey=True)[0]
        for panel, column in zip(panels, table.columns, strict=True):
            drawn = panel.barh(table.index, table[column], color=figures.COLORS[1], height=0.6)
            panel.bar_label(drawn, fmt="%.4f", padding=3)
            panel.set(title=column)
            panel.margins(x=0.25)
        panels[0].invert_yaxis()
    return figure


def scaling(lines: pd.DataFrame) -> Figure:
    """Draw the speed of every implementation on several cores over that on one.

    Parameters
    ----------
    lines : DataFrame
        Of `scaling_run`.
    """
    with mpl.rc_context(figures.STYLE):
        figure = Figure(figsize=(5.2, 3.6), layout="constrained")
        panel = figure.subplots()
        most = int(lines["n_threads"].max())
        panel.plot([1, most], [1, most], ":", color="#8a857b", label="as many times as cores")
        for place, (name, own) in enumerate(lines.groupby("implementation")):
            line = own.sort_values("n_threads")
            alone = float(line["fit_seconds"].iloc[0])
            panel.plot(
                line["n_threads"],
                alone / line["fit_seconds"],
                color=figures.COLORS[place],
                marker=figures.MARKS[place],
                label=name,
            )
        panel.set(xlabel="cores", ylabel="speed over one core", xticks=sorted(set(lines["n_threads"])))
        panel.legend()
    return figure


def _measured(
    grid: Grid,
    names: str,
    folder: Path,
    tracks: tuple[Track, ...],
    *,
    n_threads: int | None = None,
    repeats: int = 1,
) -> analysis.Run:
    plan = bench.Plan(
        scenarios=tuple(replace(grid, dtypes=("float32",)).scenarios()),
        entries=select(names),
        tracks=tracks,
        repeats=repeats,
        n_threads=n_threads or usable_cores(),
        max_iter=100,
        seed=0,
        limits=LIMITS,
    )
    axes = ("sizes", "dims", "clusters")
    spelled = [f"--{axis}={','.join(map(str, getattr(grid, axis)))}" for axis in axes]
    spelled += [f"--track={','.join(tracks)}", f"--implementations={names}", f"--repeats={repeats}"]
    command = shlex.join(["python", "runner.py", *spelled, f"--threads={plan.n_threads}"])
    with Terminal(Console(quiet=True)) as watcher:
        run = bench.execute(plan, cache=CACHE, results=folder, fresh=False, command=command, watcher=watcher)
    return analysis.read_run(run.folder)


def _results() -> Path:
    return Path(os.environ.get(RESULTS_VARIABLE) or ROOT / "results")


def _some(values: np.ndarray) -> np.ndarray:
    """Return at most `SHOWN` entries, equally far apart."""
    return values[:: -(-len(values) // SHOWN)]
