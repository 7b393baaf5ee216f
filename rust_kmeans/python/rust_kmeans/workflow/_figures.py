"""Figures of an explanation as SVG: distributions of a column by cluster, and the projection.

Drawn here and not by a library so that colours follow the page (light or dark), text stays text, and a figure
takes kilobytes. Classes `c0` to `c7` are the colours of clusters, set by the page's style.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from rust_kmeans.workflow._cards import percent, plain
from rust_kmeans.workflow._explain import Explanation, Projection
from rust_kmeans.workflow._groups import SPAN

#: Colours, and marks that tell clusters apart without them.
N_COLORS = 8
MARKS = ("dot", "square", "plus", "cross")
#: Width of a figure in its own units, a pixel each on a small phone.
WIDTH = 320
#: Height of one cluster's part of a distribution: histogram, gap, box, gap.
BARS, BOX, GAP = 24, 7, 5
GUTTER, BASE = 26, 22
#: Radius of the circle that holds the label of a center.
LABEL = 9


def color_of(cluster: int) -> str:
    """Return the class that colours a cluster."""
    return f"c{cluster % N_COLORS}"


def mark_of(cluster: int) -> str:
    """Return the mark of a cluster in a projection; clusters of the same colour have different ones."""
    return MARKS[(cluster + cluster // N_COLORS) % len(MARKS)]


def distribution(explanation: Explanation, feature: int, clusters: Sequence[int]) -> str:
    """Draw a histogram and a box plot of one column for each of some clusters, on one axis.

    The highest bars of all clusters are equally high, so that each shape shows. The box spans the quartiles,
    its bar is the median, the whiskers reach from the 5 % to the 95 % quantile.

    Parameters
    ----------
    explanation : Explanation
        Of `explain`.
    feature : int
        Index of the column.
    clusters : sequence of int
        Which to draw, from top to bottom.

    Returns
    -------
    str
        An SVG element with an alternative text.
    """
    groups = explanation.groups
    edges = groups.edges[feature]
    edges = edges[~np.isnan(edges)]
    quantiles = groups.quantiles[:, feature]
    low, high = float(edges[0]), float(edges[-1])
    bars = groups.histograms[:, feature, : len(edges) - 1]
    heights = BARS * bars / np.maximum(bars.max(axis=1, keepdims=True), 1)

    def across(value: NDArray[np.float64] | float) -> NDArray[np.float64]:
        return np.clip(
            GUTTER + (np.asarray(value) - low) / (high - low) * (WIDTH - GUTTER - 8), GUTTER, WIDTH - 8
        )

    step = BARS + BOX + 2 * GAP
    bottom = step * len(clusters)
    parts = [*_axis(low, high, across, bottom)]
    positions = across(edges)
    for row, cluster in enumerate(clusters):
        base = row * step + GAP + BARS
        color = color_of(cluster)
        told = _in_words(quantiles[cluster], high - low)
        parts.append(f'<g class="{color}"><title>Cluster {cluster}: {told}</title>')
        parts.append(f'<text x="{GUTTER - 6}" y="{base - 2}" text-anchor="end">{cluster}</text>')
        if groups.present[cluster, feature]:
            parts.append(_bars(positions, base - heights[cluster], base))
            parts.append(_box(across(quantiles[cluster]), base + 2 + BOX / 2))
        else:
            parts.append(f'<text x="{GUTTER + 4}" y="{base - 2}">no values</text>')
        parts.append("</g>")
    alternative = f"Distribution of {explanation.names[feature]}. " + "; ".join(
        f"cluster {cluster}: {_in_words(quantiles[cluster], high - low)}" for cluster in clusters
    )
    return _svg(bottom + BASE, alternative, parts)


def scatter(projection: Projection, clusters: Sequence[int]) -> str:
    """Draw the projection: a mark a row, and the centers with their labels.

    Parameters
    ----------
    projection : Projection
        Of an `Explanation`.
    clusters : sequence of int
        Whose rows and centers to draw, the first ones lowest.

    Returns
    -------
    str
        An SVG element with an alternative text.
    """
    shown = np.isin(projection.labels, clusters)
    points, centers = projection.points[shown], projection.centers[list(clusters)]
    labels = projection.labels[shown]
    # A few far points must not squeeze all others: the window holds nearly all of them, and all centers.
    low, high = centers.min(axis=0), centers.max(axis=0)
    if len(points):
        ends = np.quantile(points, SPAN, axis=0)
        low, high = np.minimum(low, ends[0]), np.maximum(high, ends[1])
    span = np.maximum(high - low, 1e-9 * max(float(np.abs(centers).max()), 1.0))
    # One scale for both axes: distances on the page are distances in the plane.
    scale = (WIDTH - 40) / span[0]
    height = float(np.clip(scale * span[1], 140, 340))
    scale = min(scale, height / span[1])
    middle = (low + high) / 2

    def place(position: NDArray[np.float64]) -> NDArray[np.float64]:
        placed: NDArray[np.float64] = (position - middle) * scale * (1, -1) + (WIDTH / 2, height / 2 + 16)
        return placed

    placed = place(points)
    inside = ((placed > 4) & (placed < (WIDTH - 4, height + 28))).all(axis=1)
    parts = []
    for cluster in clusters:
        chosen = placed[inside & (labels == cluster)]
        outline = "".join(_mark(mark_of(cluster), x, y) for x, y in chosen)
        if outline:
            mark = mark_of(cluster)
            parts.append(f'<path class="mark {mark} {color_of(cluster)}" d="{outline}"/>')
    at = place(centers)
    for cluster, (from_x, from_y), (x, y) in zip(clusters, at, _apart(at, 2 * LABEL + 1), strict=True):
        parts.append(
            f'<g class="center {color_of(cluster)}"><title>Center of cluster {cluster}</title>'
            f'<path d="M{from_x:.1f} {from_y:.1f}L{x:.1f} {y:.1f}"/>'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{LABEL}"/>'
            f'<text x="{x:.1f}" y="{y + 3.5:.1f}" text-anchor="middle">{cluster}</text></g>'
        )
    told = [percent(float(share)) for share in projection.explained]
    beyond = int(len(placed) - inside.sum())
    alternative = (
        f"{len(points):,} rows in the plane of the first two principal components, which hold {told[0]} and "
        f"{told[1]} of the variance, with the centers of {len(clusters)} clusters"
        + (f"; {beyond} rows lie outside the figure." if beyond else ".")
    )
    return _svg(height + 32, alternative, parts)


def legend_mark(cluster: int) -> str:
    """Draw the mark of a cluster, for a line of text."""
    mark = mark_of(cluster)
    return (
        f'<svg class="key" viewBox="2 2 8 8" aria-hidden="true"><path class="mark {mark} '
        f'{color_of(cluster)}" d="{_mark(mark, 6, 6)}"/></svg>'
    )


def _svg(height: float, alternative: str, parts: Iterable[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(alternative)}">'
        f"{''.join(parts)}</svg>"
    )


def _mark(mark: str, x: float, y: float) -> str:
    """Return a mark as a part of a path; dots and squares are the caps of lines without length."""
    if mark == "plus":
        return f"M{x - 2:.1f} {y:.1f}h4m-2-2v4"
    if mark == "cross":
        return f"M{x - 1.6:.1f} {y - 1.6:.1f}l3.2 3.2m0-3.2l-3.2 3.2"
    return f"M{x:.1f} {y:.1f}h0"


def _apart(places: NDArray[np.float64], gap: float) -> NDArray[np.float64]:
    """Return places of labels, moved until none hides another."""
    places = places.copy()
    index = np.arange(len(places))
    # Labels at one place part sideways.
    sideways = np.sign(index[:, np.newaxis] - index)[:, :, np.newaxis] * np.array([1.0, 0.0])
    for _ in range(100):
        way = places[:, np.newaxis] - places
        distance = np.hypot(way[:, :, 0], way[:, :, 1])
        missing = np.where(distance < gap, gap - distance, 0.0)
        np.fill_diagonal(missing, 0.0)
        if not missing.any():
            break
        direction = np.where(
            distance[:, :, np.newaxis] > 0, way / np.maximum(distance, 1e-9)[:, :, np.newaxis], sideways
        )
        places += 0.6 * (direction * missing[:, :, np.newaxis]).sum(axis=1)
    return places


def _bars(positions: NDArray[np.float64], tops: NDArray[np.float64], base: float) -> str:
    """Return a histogram as one area."""
    corners = "".join(f"V{top:.1f}H{end:.1f}" for top, end in zip(tops, positions[1:], strict=True))
    return f'<path class="bars" d="M{positions[0]:.1f} {base:.1f}{corners}V{base:.1f}Z"/>'


def _box(positions: NDArray[np.float64], y: float) -> str:
    """Return a box plot lying on its side, from the places of `PROBABILITIES`."""
    _, low, first, median, third, high, _ = positions
    half = BOX / 2
    return (
        f'<path class="whisker" d="M{low:.1f} {y:.1f}H{high:.1f}"/>'
        f'<rect class="box" x="{first:.1f}" y="{y - half:.1f}" width="{max(third - first, 0.5):.1f}" '
        f'height="{BOX}"/>'
        f'<path class="median" d="M{median:.1f} {y - half - 1:.1f}v{BOX + 2}"/>'
    )


def _axis(
    low: float, high: float, across: Callable[[float], NDArray[np.float64]], bottom: float
) -> Iterator[str]:
    """Yield the lines and figures of a horizontal axis."""
    step = _nice_step((high - low) / 4)
    first, last = math.ceil(low / step), math.floor(high / step)
    for tick in range(first, last + 1):
        x = float(across(tick * step))
        yield f'<path class="gridline" d="M{x:.1f} 0V{bottom:.1f}"/>'
        yield (
            f'<text class="tick" x="{x:.1f}" y="{bottom + 13:.1f}" text-anchor="middle">'
            f"{plain(tick * step, step * 10)}</text>"
        )
    yield f'<path class="axis" d="M{GUTTER} {bottom:.1f}H{WIDTH - 8}"/>'


def _nice_step(rough: float) -> float:
    """Return 1, 2 or 5 times a power of ten, not below a rough step."""
    power = 10.0 ** math.floor(math.log10(rough))
    return float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9)))


def _in_words(quantiles: NDArray[np.float64], spread: float) -> str:
    """Return what a box shows."""
    if np.isnan(quantiles).all():
        return "no values"
    _, low, first, median, third, high, _ = (plain(float(one), spread) for one in quantiles)
    return f"median {median}, half from {first} to {third}, nine tenths from {low} to {high}"
