"""The page of an explanation: one HTML file without scripts that asks nothing of any server."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rust_kmeans.workflow import _figures
from rust_kmeans.workflow._cards import CHOSEN, Card, describe_clusters, left_out, percent, plain, rows
from rust_kmeans.workflow._effects import CIRCULAR, CONFIDENCE, LARGE, MEDIUM, SMALL
from rust_kmeans.workflow._explain import MAX_TESTS, Explanation
from rust_kmeans.workflow._files import write_bytes

PARTS = Path(__file__).resolve().parent / "page"
#: What a page can hold and a person read; the files of `write_explanation_tables` hold all.
MAX_CLUSTERS, MAX_FEATURES, MAX_LINES = 12, 24, 300
#: Arrows and shade of an effect of each size.
LEVELS = {"small": 1, "medium": 2, "large": 3}


def write_explanation(explanation: Explanation, path: str | Path) -> None:
    """Write an explanation as one HTML file: readable offline, without scripts, in the dark and on a phone.

    Of more than 24 columns or 12 clusters the page shows those that matter most and says so.

    Parameters
    ----------
    explanation : Explanation
        Of `explain`.
    path : str or Path
        The file; what it held is replaced.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    write_bytes(path, page(explanation).encode())


def page(explanation: Explanation) -> str:
    """Return the page that `write_explanation` writes: the same bytes for the same explanation."""
    clusters = _clusters(explanation)
    features = [explanation.names.index(name) for name in explanation.features["feature"][:MAX_FEATURES]]
    sections = [
        ("clusters", "The clusters", _cards_section(explanation, clusters)),
        ("profile", "Averages", _profile_section(explanation, clusters, features)),
        ("projection", "In two dimensions", _projection_section(explanation, clusters)),
        ("columns", "Column by column", _columns_section(explanation, clusters, features)),
        ("effects", "Effect sizes", _effects_section(explanation, clusters, features)),
        ("tests", "Tests", _tests_section(explanation)),
        ("words", "What the words mean", _words_section()),
    ]
    filled = {
        "title": escape(_claim(explanation)),
        "style": (PARTS / "explain.css").read_text(encoding="utf-8"),
        "claim": escape(_claim(explanation)),
        "detail": "".join(f"<p>{escape(sentence)}</p>" for sentence in _details(explanation)),
        "parts": " ".join(f'<a href="#{name}">{title}</a>' for name, title, body in sections if body),
        "model": escape(explanation.model_id),
        "sections": "\n".join(
            f'<section id="{name}" aria-labelledby="{name}-title"><h2 '
            f'id="{name}-title">{title}</h2>{body}</section>'
            for name, title, body in sections
            if body
        ),
    }
    text = (PARTS / "explain.html").read_text(encoding="utf-8")
    # Split once: no text of a table is taken for a place to fill.
    head, *rest = text.split("{{")
    pieces = [head]
    for piece in rest:
        name, after = piece.split("}}", 1)
        pieces += [filled[name], after]
    return "".join(pieces)


def _clusters(explanation: Explanation) -> list[int]:
    """Return the clusters that the page shows: the largest ones, in the order of their labels."""
    counts = explanation.groups.counts
    return sorted(np.argsort(-counts, kind="stable")[:MAX_CLUSTERS].tolist())


def _claim(explanation: Explanation) -> str:
    count = rows(explanation.n_samples)
    if explanation.n_clusters == 1:
        return f"{count} in one cluster"
    best = explanation.features.iloc[0]
    if math.isnan(best["eta_squared"]):
        return f"{count} in {explanation.n_clusters} clusters, with no column that varies"
    return (
        f"{count} in {explanation.n_clusters} clusters, set apart most by {best['feature']}: they account "
        f"for {percent(best['eta_squared'])} of its variance"
    )


def _details(explanation: Explanation) -> list[str]:
    """Return what is not in the figures, as sentences."""
    told = left_out(explanation)
    empty = np.flatnonzero(explanation.groups.counts == 0).tolist()
    if empty:
        listed = ", ".join(map(str, empty[:MAX_CLUSTERS])) + (", ..." if len(empty) > MAX_CLUSTERS else "")
        told.append(
            f"No row is in cluster {listed}." if len(empty) == 1 else f"No row is in clusters {listed}."
        )
    if explanation.n_clusters > MAX_CLUSTERS:
        told.append(f"This page shows the {MAX_CLUSTERS} largest clusters; the CSV files hold all.")
    if len(explanation.names) > MAX_FEATURES:
        told.append(
            f"Of {len(explanation.names)} columns it shows the {MAX_FEATURES} that set the clusters apart "
            "most."
        )
    return told


def _cards_section(explanation: Explanation, clusters: Sequence[int]) -> str:
    described = describe_clusters(explanation)
    counts = explanation.groups.counts
    ordered = sorted(clusters, key=lambda cluster: (-counts[cluster], cluster))
    note = (
        "Averages of a cluster against those of all other rows, the largest cluster first. Much, clearly and "
        "somewhat are large, medium and small effects."
    )
    items = [_card(described[one], counts[one] / counts.sum()) for one in ordered]
    care = f'<p class="care">{CHOSEN}</p>' if explanation.n_clusters > 1 else ""
    return f'<p class="note">{note}</p>{care}<div class="cards">{"".join(items)}</div>'


def _card(card: Card, share: float) -> str:
    traits = "".join(
        f'<li><span class="sign" aria-hidden="true">{"↑" if trait.higher else "↓"}</span>'
        f"{trait.degree} {'higher' if trait.higher else 'lower'} <b>{escape(trait.feature)}</b> "
        f'<span class="means">{trait.mean} against {trait.mean_of_rest}</span></li>'
        for trait in card.traits
    )
    remarks = "".join(f'<p class="remark">{escape(remark)}</p>' for remark in card.remarks)
    return (
        f'<article class="card {_figures.color_of(card.cluster)}"><h3>Cluster {card.cluster}</h3>'
        f'<p class="size">{escape(card.size)}</p>'
        f'<svg class="share" viewBox="0 0 100 1" preserveAspectRatio="none" role="img" '
        f'aria-label="{percent(share)} of rows"><rect width="{100 * share:.2f}" height="1"/></svg>'
        f"<ul>{traits}</ul>{remarks}</article>"
    )


def _profile_section(explanation: Explanation, clusters: Sequence[int], features: Sequence[int]) -> str:
    differences = _differences(explanation)
    shares = explanation.features.set_index("feature")["eta_squared"]
    cells = {name: _grid(explanation, name) for name in ("mean", "hedges_g", "effect")}
    spread = {name: _grid(explanation, name) for name in ("std", "iqr")}
    centers = explanation.centers.to_numpy()

    def table(name: str, cell: Callable[[int, int], str], more: Callable[[int], str] | None = None) -> str:
        headings = ["column", *(["between"] if more else []), *(f"cluster {one}" for one in clusters)]
        lines = [
            [
                _heading(explanation.names[feature]),
                *([_number(more(feature))] if more else []),
                *(cell(cluster, feature) for cluster in clusters),
            ]
            for feature in features
        ]
        return _table(name, headings, lines, tall=False)

    def of_mean(cluster: int, feature: int) -> str:
        effect, size = cells["effect"][cluster, feature], cells["hedges_g"][cluster, feature]
        level = LEVELS.get(str(effect), 0)
        shade = f" {'up' if size > 0 else 'down'}{level}" if level else ""
        arrows = ("↑" if size > 0 else "↓") * level
        value = plain(cells["mean"][cluster, feature], differences[feature])
        return f'<td class="number{shade}">{value}<span class="arrow">{arrows}</span></td>'

    means = table("Averages", of_mean, lambda feature: _share(shares[explanation.names[feature]]))
    of_centers = table(
        "Centers", lambda cluster, feature: _number(plain(centers[cluster, feature], differences[feature]))
    )
    of_spread = table(
        "Spread",
        lambda cluster, feature: _number(
            f"{plain(spread['std'][cluster, feature], differences[feature])} · "
            f"{plain(spread['iqr'][cluster, feature], differences[feature])}"
        ),
    )
    return (
        '<p class="note">The average of each column in each cluster, in the units of the table. Between: the '
        "share of the column’s variance that lies between the clusters (eta squared). One, two and three "
        "arrows are small, medium and large effects against all other rows.</p>"
        f"{means}<details><summary>Centers of the model, in the same units</summary>"
        '<p class="note">They are the averages of the rows of the fit with missing values filled.</p>'
        f"{of_centers}</details>"
        "<details><summary>Spread: standard deviation · interquartile range</summary>"
        f"{of_spread}</details>"
    )


def _projection_section(explanation: Explanation, clusters: Sequence[int]) -> str:
    projection = explanation.projection
    if projection is None:
        return ""
    counts = explanation.groups.counts
    legend = "".join(
        f"<li>{_figures.legend_mark(cluster)}cluster {cluster} "
        f"({percent(counts[cluster] / counts.sum())})</li>"
        for cluster in clusters
    )
    shares = [percent(float(share)) for share in projection.explained]
    sampled = (
        "All rows"
        if len(projection.points) == explanation.n_samples
        else f"A random sample of {rows(len(projection.points))}"
    )
    found = (
        "all of them"
        if projection.n_projected == explanation.n_samples
        else f"{rows(projection.n_projected)} drawn at random"
    )
    total = float(projection.explained.sum())
    warning = (
        " Most of the variance is not in this picture: what overlaps here may lie far apart."
        if total < 0.5
        else ""
    )
    return (
        f'<p class="note">{sampled} in the plane of the first two principal components of the scaled '
        f"columns, found from {found}: across {shares[0]}, upwards {shares[1]} of the variance.{warning} "
        "The figure spans the middle 99 % along each axis, and all centers: the circles, moved apart where "
        'they would hide each other.</p><figure class="projection">'
        f'{_figures.scatter(projection, clusters)}</figure><ul class="legend">{legend}</ul>'
    )


def _columns_section(explanation: Explanation, clusters: Sequence[int], features: Sequence[int]) -> str:
    shares = explanation.features.set_index("feature")["eta_squared"]
    figures = "".join(
        f"<figure><figcaption>{escape(explanation.names[feature])} "
        f"<span>{_share(shares[explanation.names[feature]])} between</span></figcaption>"
        f"{_figures.distribution(explanation, feature, clusters)}</figure>"
        for feature in features
    )
    return (
        '<p class="note">A histogram and a box for each cluster, from all of its rows; the highest bars '
        "of all clusters are equally high. The box spans the middle half, its thick line is the median, "
        "whiskers reach over the middle nine tenths. The axis spans what lies between the quantiles 0.5 % "
        f'and 99.5 % of the column; what lies beyond is not drawn.</p><div class="panels">{figures}</div>'
    )


def _effects_section(explanation: Explanation, clusters: Sequence[int], features: Sequence[int]) -> str:
    if explanation.n_clusters == 1:
        return ""
    sizes, lows, highs = (_grid(explanation, name) for name in ("hedges_g", "low", "high"))
    names = explanation.names
    lines = [
        [
            _heading(names[feature]),
            *(
                _number(
                    f"{plain(sizes[cluster, feature], 0.1)} "
                    f'<span class="unit">{plain(lows[cluster, feature], 0.1)} to '
                    f"{plain(highs[cluster, feature], 0.1)}</span>"
                )
                for cluster in clusters
            ),
        ]
        for feature in features
    ]
    table = _table("Effect sizes", ["column", *(f"cluster {one}" for one in clusters)], lines, tall=False)
    return (
        '<p class="note">Hedges’ g of each cluster against all other rows, the difference of the averages in '
        f"standard deviations pooled over both, with its {percent(CONFIDENCE)} interval.</p>"
        '<p class="care">The clusters were chosen to differ in these columns: the sizes describe these rows, '
        "and say less of others than sizes and intervals of groups known beforehand would.</p>"
        f"<details><summary>The table</summary>{table}</details>"
    )


def _tests_section(explanation: Explanation) -> str:
    if explanation.n_clusters == 1:
        return ""
    care = f'<p class="care">{escape(CIRCULAR)}</p>'
    features = explanation.features.head(MAX_LINES)
    lines = [
        [
            _heading(line.feature),
            _number(_share(line.eta_squared)),
            _number(_freedom(line.f, line.df, line.df_within)),
            _number(_p_value(line.p_adjusted)),
            _number(_freedom(line.welch_f, line.welch_df, line.welch_df_within)),
            _number(_p_value(line.welch_p_adjusted)),
            f'<td class="reason">{escape(line.reason)}</td>',
        ]
        for line in features.itertuples()
    ]
    headings = ["column", "between", "F", "p", "Welch’s F", "p", "remark"]
    text = (
        "<h3>Each column over all clusters</h3>"
        '<p class="note">Analysis of variance: Fisher’s, which takes equal spreads for granted, and Welch’s, '
        "which does not and is the one to read where the boxes above differ in width. p is corrected for "
        f"the number of columns (Holm).</p>{care}{_table('Analysis of variance', headings, lines)}"
        f"{_cut(len(explanation.features), 'features.csv')}"
        "<h3>Each column between each two clusters</h3>"
    )
    if explanation.tests.empty:
        return (
            f'{text}<p class="note">None is made: so many clusters and columns would take more than '
            f"{MAX_TESTS:,} tests.</p>"
        )
    tests = explanation.tests.head(MAX_LINES)
    lines = [
        [
            _heading(line.feature),
            _number(f"{line.cluster} – {line.other}"),
            _number(plain(line.difference, 0)),
            _number(_freedom(line.t, line.df)),
            _number(_p_value(line.p_adjusted)),
            f'<td class="reason">{escape(line.reason)}</td>',
        ]
        for line in tests.itertuples()
    ]
    headings = ["column", "clusters", "difference", "t", "p", "remark"]
    return (
        f'{text}<p class="note">Welch’s t-test, two-sided; p is corrected for all {len(explanation.tests):,} '
        f"of them (Holm).</p>{care}<details><summary>The table</summary>"
        f"{_table('Pairwise tests', headings, lines)}{_cut(len(explanation.tests), 'tests.csv')}</details>"
    )


def _words_section() -> str:
    meanings = {
        "Effect": "How far the average of a cluster lies from that of all other rows, in standard deviations "
        f"pooled over both (Hedges 1981). Small from {SMALL}, medium from {MEDIUM}, large from {LARGE} "
        f"(Cohen 1988), said of the end of the {percent(CONFIDENCE)} interval nearer to 0, so that few rows "
        "claim little. These words are conventions: whether a difference matters, the units of the column "
        "tell better.",
        "Between": "The share of a column’s variance that the clusters account for, from 0 to 100 % (eta "
        "squared).",
        "p": "How often groups that were no different, and not chosen by their values, would differ so much. "
        "These were chosen by their values, so that it is no probability of anything here.",
        "Interquartile range": "From the value that a quarter of the rows lies below to that which a quarter "
        "lies above.",
    }
    return "<dl>" + "".join(f"<dt>{word}</dt><dd>{text}</dd>" for word, text in meanings.items()) + "</dl>"


def _grid(explanation: Explanation, name: str) -> NDArray[Any]:
    """Return a column of `effects` or `spread` as an array of shape (n_clusters, n_features)."""
    frame = explanation.effects if name in explanation.effects else explanation.spread
    grid: NDArray[Any] = frame[name].to_numpy().reshape(explanation.n_clusters, -1)
    return grid


def _differences(explanation: Explanation) -> NDArray[np.float64]:
    """Return what differences matter in each column, to round by: a fifth of the middle nine tenths."""
    quantiles = explanation.groups.quantiles
    low = np.nan_to_num(quantiles[:, :, 1], nan=np.inf).min(axis=0)
    high = np.nan_to_num(quantiles[:, :, -2], nan=-np.inf).max(axis=0)
    return np.where(high > low, high - low, 0.0) / 5


def _table(name: str, headings: Sequence[str], lines: Iterable[Sequence[str]], *, tall: bool = True) -> str:
    """Return a table that scrolls within itself where it does not fit."""
    first, *others = headings
    head = f'<th scope="col">{first}</th>' + "".join(
        f'<th scope="col" class="{"reason" if one == "remark" else "number"}">{one}</th>' for one in others
    )
    body = "".join(f"<tr>{''.join(line)}</tr>" for line in lines)
    return (
        f'<div class="wide{" tall" if tall else ""}" tabindex="0" role="region" '
        f'aria-label="{name}"><table><thead>'
        f"<tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _heading(text: str) -> str:
    return f'<th scope="row">{escape(text)}</th>'


def _number(text: str) -> str:
    return f'<td class="number">{text}</td>'


def _share(share: float) -> str:
    return "–" if math.isnan(share) else percent(share)


def _freedom(statistic: float, *freedom: float) -> str:
    """Return a statistic with its degrees of freedom below it."""
    if math.isnan(statistic):
        return "–"
    degrees = ", ".join(f"{one:,.{0 if one >= 100 or one.is_integer() else 1}f}" for one in freedom)
    return f'{plain(statistic, 0)} <span class="unit">{degrees}</span>'


def _p_value(value: float) -> str:
    """Return a p-value as people read it: two digits, and never as nothing."""
    if math.isnan(value):
        return "–"
    if value < 1e-300:
        return "&lt; 1e−300"
    return f"{value:.1e}".replace("-", "−") if value < 1e-3 else f"{value:.3f}"


def _cut(count: int, file: str) -> str:
    """Return what a table leaves out."""
    if count <= MAX_LINES:
        return ""
    return f'<p class="note">The first {MAX_LINES} of {count:,} lines; {file} holds all.</p>'
