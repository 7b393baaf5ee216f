"""K-means in the plane, step by step, to look at: what `python_impl.kmeans` does in every iteration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from python_impl.kmeans import FloatArray, LabelArray, assign, assign_block, means

#: After Okabe and Ito (2008), readable for the colour-blind.
COLORS = ListedColormap(["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"])


@dataclass(frozen=True)
class Step:
    """The state after one step.

    Parameters
    ----------
    title : str
        What was done.
    centers : ndarray of shape (n_clusters, 2) or None
        Where the centers are; None before there are any.
    labels : ndarray of shape (n_samples,) or None
        Nearest centers; None before samples were assigned.
    before : ndarray of shape (n_clusters, 2) or None
        Where the centers were, if this step moved them.
    """

    title: str
    centers: FloatArray | None = None
    labels: LabelArray | None = None
    before: FloatArray | None = None


def steps(X: FloatArray, start: FloatArray, *, max_iter: int = 300) -> list[Step]:
    """Run Lloyd's algorithm and keep every step.

    Parameters
    ----------
    X : ndarray of shape (n_samples, 2)
        The samples.
    start : ndarray of shape (n_clusters, 2)
        The starting centers.
    max_iter : int
        Most iterations.

    Returns
    -------
    list of Step
        The data, the start, assign and update in turn, and the result, at which no label changes any more.
    """
    done = [Step("the data"), Step("random samples as centers", start)]
    centers, previous = start, np.full(len(X), -1, dtype=np.int32)
    for number in range(1, max_iter + 1):
        labels, partial = assign_block(X, centers, with_inertia=False)
        if np.array_equal(labels, previous):
            break
        done.append(Step(f"{number}. assign: to the nearest center", centers, labels))
        moved = means(partial).astype(X.dtype)
        done.append(Step(f"{number}. update: to the mean", moved, labels, before=centers))
        centers, previous = moved, labels
    labels, distances = assign(X, centers)
    return [*done, Step(f"the result: inertia {distances.sum():.4g}", centers, labels)]


def draw(X: FloatArray, shown: Sequence[Step]) -> Figure:
    """Draw steps, a panel each: samples in the colour of their center, centers as crosses, moves as arrows.

    Parameters
    ----------
    X : ndarray of shape (n_samples, 2)
        The samples.
    shown : sequence of Step
        Of `steps`, all or some.
    """
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    with mpl.rc_context({"font.size": 8, "axes.titlesize": 8.5, "figure.dpi": 130}):
        figure = Figure(figsize=(2.6 * columns, 2.5 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for panel, step in zip(panels, shown, strict=False):
            _draw_one(panel, X, step)
        for unused in panels[len(shown) :]:
            unused.remove()
    return figure


def _draw_one(panel: Axes, X: FloatArray, step: Step) -> None:
    panel.set(title=step.title, xticks=[], yticks=[])
    shades = "#8a857b" if step.labels is None else COLORS(step.labels % COLORS.N)
    panel.scatter(X[:, 0], X[:, 1], s=7, c=shades, linewidths=0)
    if step.centers is None:
        return
    if step.before is not None:
        for start, end in zip(step.before, step.centers, strict=True):
            arrow = {"arrowstyle": "->", "color": "k", "linewidth": 0.9}
            panel.annotate("", xy=tuple(end), xytext=tuple(start), arrowprops=arrow)
    colors = COLORS(np.arange(len(step.centers)) % COLORS.N)
    panel.scatter(
        step.centers[:, 0],
        step.centers[:, 1],
        s=110,
        marker="X",
        c=colors,
        edgecolors="k",
        linewidths=1.2,
        zorder=3,
    )
