"""Figures by matplotlib, for pages that draw nothing themselves: SVG and PNG of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from harness import analysis
from harness.errors import UserError
from harness.headline import OURS
from harness.report import Results
from harness.terminal import format_seconds

#: After Okabe and Ito (2008), readable for the colour-blind; marks tell lines apart as well.
COLORS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#b07800", "#6a5acd", "#6b6b6b")
MARKS = "os^Dv"
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e0d8",
    "grid.linewidth": 0.6,
    "axes.titlesize": 9,
    "legend.frameon": False,
    "figure.dpi": 150,
    # The same figures are the same bytes.
    "svg.hashsalt": "k-means",
}
#: Inches of one panel, by how many stand side by side: few are larger, so that titles and legend fit.
PANELS = {1: (6.2, 3.6), 2: (4.0, 2.9), 3: (2.9, 2.4)}
#: Values of an axis that are all marked; of more, decades are.
MAX_TICKS = 5
#: Percent of the objective that the scale of a frontier shows at least.
LEAST_GAP = 0.01
#: Inches that a name takes in the legend, its line included.
LEGEND_WIDTH = 1.4


def write_figures(folder: Path, results: Results) -> list[Path]:
    """Write every figure that these results have, as SVG and PNG, and return the files.

    Raises
    ------
    UserError
        If the folder cannot be written, or nothing can be drawn.
    """
    lines = analysis.summarise(results.rows, results.baseline)
    names = results.implementations()
    makers: dict[str, Callable[[pd.DataFrame, Sequence[str]], Figure | None]] = {
        "runtime-samples": lambda *of: runtime(*of, axis="n_samples"),
        "runtime-features": lambda *of: runtime(*of, axis="n_features"),
        "runtime-clusters": lambda *of: runtime(*of, axis="n_clusters"),
        "memory": memory,
        "frontier": frontier,
    }
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stem, maker in makers.items():
            with mpl.rc_context(STYLE):
                figure = maker(lines, names)
                if figure is None:
                    continue
                for kind in ("svg", "png"):
                    path = folder / f"{stem}.{kind}"
                    figure.savefig(path, metadata={"Date": None} if kind == "svg" else {"Software": None})
                    written.append(path)
    except OSError as error:
        raise UserError(
            f"--figures: {folder} cannot be written: {error.strerror}; name another folder"
        ) from error
    if not written:
        raise UserError("--figures: no row of these results has status ok, so there is nothing to draw")
    return written


def runtime(lines: pd.DataFrame, names: Sequence[str], *, axis: str = "n_samples") -> Figure | None:
    """Draw time against one axis of the grid on logarithmic axes, a panel for each value of the others.

    Parameters
    ----------
    lines : DataFrame
        Of `analysis.summarise`.
    names : sequence of str
        Implementations in the order of their colours.
    axis : {"n_samples", "n_features", "n_clusters"}
        What is on the x axis.

    Returns
    -------
    Figure or None
        Bands are the intervals of the medians. None where the axis has one value alone.
    """
    fixed = ["track", "dtype", "data", *(name for name in analysis.AXES if name != axis), "run_id"]
    timed = lines[lines["fit_seconds"].notna()]
    panels = [
        (key, members) for key, members in timed.groupby(fixed, sort=False) if members[axis].nunique() > 1
    ]
    if not panels:
        return None
    figure, axes = _panels(len(panels))
    for (key, members), panel in zip(panels, axes, strict=True):
        for name, own in members.groupby("implementation"):
            line = own.sort_values(axis)
            look = _look(names, str(name))
            panel.plot(line[axis], line["fit_seconds"], label=name, **look)
            panel.fill_between(
                line[axis], line["fit_low"], line["fit_high"], color=look["color"], alpha=0.18, linewidth=0
            )
        panel.set(xscale="log", yscale="log", title=_title(dict(zip(fixed, key, strict=True)), axis))
        panel.set_xlabel(axis.removeprefix("n_"))
        panel.set_ylabel("time of the fit")
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_seconds(value)))
        panel.yaxis.set_minor_locator(NullLocator())
        panel.xaxis.set_minor_locator(NullLocator())
        values = sorted(set(members[axis]))
        if len(values) <= MAX_TICKS:
            # Decades alone would leave most of them without a mark.
            panel.set_xticks(values, [_count(value) for value in values])
    _legend(figure, axes, names)
    return figure


def memory(lines: pd.DataFrame, names: Sequence[str]) -> Figure | None:
    """Draw the peak memory of every implementation over the grid as a heatmap.

    Parameters
    ----------
    lines : DataFrame
        Of `analysis.summarise`.
    names : sequence of str
        Implementations in the order of their panels.

    Returns
    -------
    Figure or None
        None where no memory was measured.
    """
    grids = [(name, analysis.memory_grid(lines, name)) for name in names]
    known = [(name, grid / 2**20) for name, grid in grids if not grid.empty]
    if not known:
        return None
    low = min(float(grid.min(axis=None)) for _, grid in known)
    high = max(float(grid.max(axis=None)) for _, grid in known)
    # A panel of few rows need not be high.
    figure, axes = _panels(len(known), height=0.8 + 0.25 * max(len(grid) for _, grid in known))
    norm = mpl.colors.LogNorm(low, max(high, low * 1.01))
    for (name, grid), panel in zip(known, axes, strict=True):
        panel.imshow(grid, cmap="cividis_r", norm=norm, aspect="auto")
        panel.set_xticks(range(grid.shape[1]), [_count(n) for n in grid.columns])
        panel.set_yticks(range(grid.shape[0]), [f"d {d}, k {k}" for d, k in grid.index])
        panel.set(title=name, xlabel="samples")
        panel.grid(visible=False)
        for y, values in enumerate(grid.to_numpy()):
            for x, value in enumerate(values):
                if not math.isnan(value):
                    dark = norm(value) > 0.5
                    panel.text(
                        x, y, f"{value:.0f}", ha="center", va="center", fontsize=7, color="w" if dark else "k"
                    )
    figure.suptitle("peak memory of the process tree, MiB", fontsize=10)
    return figure


def frontier(lines: pd.DataFrame, names: Sequence[str]) -> Figure | None:
    """Draw time against objective in the largest cell of every shape on the default track.

    Parameters
    ----------
    lines : DataFrame
        Of `analysis.summarise`.
    names : sequence of str
        Implementations in the order of their colours.

    Returns
    -------
    Figure or None
        None where no cell of the default track has an objective.
    """
    found = analysis.frontier(lines[lines["track"] == "default"]).dropna(subset=["objective_gap"])
    if found.empty:
        return None
    shape = ["dtype", "data", "n_features", "n_clusters", "run_id"]
    largest = found[found["n_samples"] == found.groupby(shape)["n_samples"].transform("max")]
    groups = list(largest.groupby([*shape, "n_samples"], sort=False))
    figure, axes = _panels(len(groups))
    for (key, members), panel in zip(groups, axes, strict=True):
        for line in members.itertuples():
            look = _look(names, line.implementation)
            panel.plot(line.fit_seconds, 100 * line.objective_gap, label=line.implementation, **look)
        ahead = members[members["on_frontier"]].sort_values("fit_seconds")
        panel.step(
            ahead["fit_seconds"],
            100 * ahead["objective_gap"],
            where="post",
            color="#8a857b",
            lw=0.9,
            ls=":",
            zorder=0,
        )
        panel.set(xscale="log", title=_title(dict(zip([*shape, "n_samples"], key, strict=True)), ""))
        panel.set(xlabel="time of the fit", ylabel="objective above the best, %")
        low, high = panel.get_ylim()
        # Gaps of rounding alone shall not look like differences.
        panel.set_ylim(min(low, -0.05 * LEAST_GAP), max(high, LEAST_GAP))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_seconds(value)))
        panel.xaxis.set_minor_locator(NullLocator())
    _legend(figure, axes, names)
    return figure


def _panels(count: int, height: float | None = None) -> tuple[Figure, list[Any]]:
    columns = min(count, 3)
    rows = math.ceil(count / columns)
    width, usual = PANELS[columns]
    figure = Figure(figsize=(width * columns, (height or usual) * rows + 0.7), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def _look(names: Sequence[str], name: str) -> dict[str, Any]:
    place = list(names).index(name)
    others = len(COLORS) - 1
    lines = ("-", "--", ":")
    return {
        # The first colour is of the first alone; the others take turns, told apart by lines and marks.
        "color": COLORS[1 + (place - 1) % others if place else 0],
        "marker": MARKS[place % len(MARKS)],
        "linestyle": lines[max(place - 1, 0) // others % len(lines)],
        "linewidth": 2.0 if name == OURS else 1.1,
        "markersize": 5 if name == OURS else 3.5,
        "zorder": 3 if name == OURS else 2,
    }


def _title(of: dict[str, Any], axis: str) -> str:
    short = {"n_samples": "n", "n_features": "d", "n_clusters": "k"}
    shape = ", ".join(f"{short[name]} {_count(of[name])}" for name in short if name in of and name != axis)
    return ", ".join([shape, *(str(of[name]) for name in ("data", "track", "dtype") if name in of)])


def _count(value: int) -> str:
    """Return a number of samples, features or clusters: powers of ten from a thousand on as such."""
    digits = str(value)
    return f"1e{len(digits) - 1}" if value >= 1000 and digits.strip("0") == "1" else f"{value:,}"


def _legend(figure: Figure, axes: Sequence[Any], names: Sequence[str]) -> None:
    drawn = {
        label: one for panel in axes for one, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    known = [name for name in names if name in drawn]
    handles = [drawn[name] for name in known]
    columns = min(len(known), int(figure.get_figwidth() / LEGEND_WIDTH))
    figure.legend(handles, known, loc="outside lower center", ncols=columns, fontsize=8)
