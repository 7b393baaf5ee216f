"""Clusters in plain words: a card each, that claims no more than the effect sizes bear."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rust_kmeans.workflow._explain import Explanation

if TYPE_CHECKING:
    import pandas as pd

#: Columns that a card names at most, and as many with missing values apart from them.
MAX_TRAITS = 5
#: How a size of `Explanation.effects` is said.
WORDS = {"large": "much", "medium": "clearly", "small": "somewhat"}
#: Below so many rows a card warns of its own figures.
FEW_ROWS = 30
#: What a reader of cards must know, as clusters are found in noise too.
CHOSEN = (
    "The clusters were chosen to differ in these columns: their cards describe these rows, and are no "
    "evidence that the clusters exist."
)
#: Shares of missing values this far apart are worth a remark.
MISSING_GAP = 0.25


@dataclass(frozen=True)
class Trait:
    """How one column of a cluster differs from that of all other rows.

    Parameters
    ----------
    feature : str
        The column.
    degree : str
        "much", "clearly" or "somewhat", from Cohen's (1988) large, medium and small by the end of the
        interval of Hedges' g that is nearer to 0.
    higher : bool
        Whether the cluster's mean is above that of the other rows.
    mean, mean_of_rest : str
        Both means, rounded so that their difference shows.

    Attributes
    ----------
    text : str
        The trait as a part of a sentence.
    """

    feature: str
    degree: str
    higher: bool
    mean: str
    mean_of_rest: str

    @property
    def text(self) -> str:
        """Return the trait as a part of a sentence."""
        direction = "higher" if self.higher else "lower"
        return f"{self.degree} {direction} {self.feature} ({self.mean} against {self.mean_of_rest})"


@dataclass(frozen=True)
class Card:
    """One cluster in plain words.

    Parameters
    ----------
    cluster : int
        Its label.
    size : str
        Share and number of its rows.
    traits : tuple of Trait
        What sets it apart most, the largest effect first.
    remarks : tuple of str
        What else a reader should know, as sentences.

    Attributes
    ----------
    text : str
        The card as one paragraph.
    """

    cluster: int
    size: str
    traits: tuple[Trait, ...]
    remarks: tuple[str, ...]

    @property
    def text(self) -> str:
        """Return the card as one paragraph."""
        traits = ", ".join(trait.text for trait in self.traits)
        first = f"Cluster {self.cluster}, {self.size}" + (f": on average {traits}." if traits else ".")
        return " ".join([first, *self.remarks])


def describe_clusters(explanation: Explanation) -> list[Card]:
    """Describe each cluster in plain words.

    Parameters
    ----------
    explanation : Explanation
        Of `explain`.

    Returns
    -------
    list of Card
        In the order of the labels.
    """
    effects = dict(tuple(explanation.effects.groupby("cluster", sort=False)))
    return [_card(explanation, cluster, effects[cluster]) for cluster in range(explanation.n_clusters)]


def left_out(explanation: Explanation) -> list[str]:
    """Return sentences on the rows that are in no cluster, none where all are."""
    told = []
    if explanation.n_outliers:
        told.append(
            f"Left out as outliers, as in the fit: {rows(explanation.n_outliers)} with a value outside its "
            "limits."
        )
    if explanation.n_incomplete:
        told.append(f"Left out for missing values: {rows(explanation.n_incomplete)}.")
    return told


def plain(value: float, spread: float) -> str:
    """Return a number rounded to about a hundredth of what it varies by, as people write it.

    Parameters
    ----------
    value : float
        Any; NaN is a dash.
    spread : float
        What differences matter, in the same units; 0 for a number that stands alone, which keeps three
        digits.
    """
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    scale = spread if spread > 0 and math.isfinite(spread) else abs(value) / 10
    if scale == 0:
        return "0"
    decimals = 1 - math.floor(math.log10(scale))
    largest = max(abs(value), scale)
    if largest >= 1e15 or largest < 1e-4:
        return f"{value:.3g}".replace("-", "−")
    rounded = round(value, decimals) + 0.0
    return f"{rounded:,.{max(decimals, 0)}f}".replace("-", "−")


def percent(share: float) -> str:
    """Return a share (0..1) in percent, never rounded to nothing or to all."""
    if share in {0.0, 1.0}:
        return f"{share:.0%}".replace("%", " %")
    if share < 0.01:
        return f"{100 * share:.1f} %" if share >= 0.001 else "under 0.1 %"
    return "over 99 %" if share > 0.99 else f"{100 * share:.0f} %"


def rows(count: int) -> str:
    """Return a number of rows in words."""
    return "1 row" if count == 1 else f"{count:,} rows"


def _card(explanation: Explanation, cluster: int, effects: pd.DataFrame) -> Card:
    count = int(explanation.groups.counts[cluster])
    if count == 0:
        return Card(cluster, "no rows", (), ("None of these rows is nearest to its center.",))
    found = _traits(effects)
    shown = found[:MAX_TRAITS]
    remarks = [*_on_missing(explanation, cluster), _on_others(explanation, count, len(found), len(shown))]
    if count < FEW_ROWS:
        remarks.append(f"It has only {rows(count)}: do not take its averages for those of a larger group.")
    size = f"{percent(count / explanation.n_samples)} of rows ({count:,})"
    return Card(cluster, size, tuple(shown), tuple(filter(None, remarks)))


def _traits(effects: pd.DataFrame) -> list[Trait]:
    """Return what sets a cluster apart by a small effect or more, the largest one first."""
    certain = effects[effects["effect"].isin(WORDS)]
    order = np.argsort(-certain["hedges_g"].abs().to_numpy(), kind="stable")
    found = []
    for line in certain.iloc[order].itertuples():
        gap = abs(line.mean - line.mean_of_rest)
        means = plain(line.mean, gap), plain(line.mean_of_rest, gap)
        found.append(Trait(line.feature, WORDS[line.effect], line.hedges_g > 0, *means))
    return found


def _on_others(explanation: Explanation, count: int, n_found: int, n_shown: int) -> str:
    """Return a sentence on the columns that a card does not name."""
    if count == explanation.n_samples:
        return "All rows are in this cluster: there are no others to compare it with."
    if not n_found:
        return "No column sets it apart by even a small effect, as far as its rows can tell."
    told = {
        "Less different than these": n_found - n_shown,
        "Hardly different, or too few rows to tell": len(explanation.names) - n_found,
    }
    return " ".join(
        f"{what}: {count} of {len(explanation.names)} columns." for what, count in told.items() if count
    )


def _on_missing(explanation: Explanation, cluster: int) -> list[str]:
    """Return sentences on columns that are missing far more or less often than elsewhere."""
    groups = explanation.groups
    absent = groups.counts[:, None] - groups.present
    inside, outside = groups.counts[cluster], groups.counts.sum() - groups.counts[cluster]
    if not outside:
        return []
    here = absent[cluster] / inside
    elsewhere = (absent.sum(axis=0) - absent[cluster]) / outside
    columns: dict[str, list[str]] = {}
    for feature in np.flatnonzero(np.abs(here - elsewhere) >= MISSING_GAP):
        shares = f"{percent(here[feature])} of its rows, against {percent(elsewhere[feature])} of the others"
        columns.setdefault(shares, []).append(explanation.names[feature])
    return [
        f"Missing in {shares}: {', '.join(names[:MAX_TRAITS])}{_and_more(len(names) - MAX_TRAITS)}."
        for shares, names in list(columns.items())[:MAX_TRAITS]
    ]


def _and_more(count: int) -> str:
    return f" and {count:,} more" if count > 0 else ""
