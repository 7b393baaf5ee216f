"""A drift report as a figure: quantiles of columns and shares of clusters, training rows beside new ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from rust_kmeans.workflow._drift import DriftReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = {"training": "#4c72b0", "new": "#dd8452"}
#: Panels in a row, and as many columns of a table as are drawn; those that drifted first.
_ACROSS = 4
_MOST = 23


def drift_figure(report: DriftReport) -> Figure:
    """Draw a report.

    Parameters
    ----------
    report : DriftReport
        Of `drift`.

    Returns
    -------
    matplotlib.figure.Figure
        One panel for the shares of clusters and one for each column (23 at most, those that drifted first): a
        line from the 5 % to the 95 % quantile, a bar over the middle half, a dot at the median. The title of
        a panel that is an alarm says so.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    alarms = report.table[report.table["verdict"] == "drift"]
    names = list(dict.fromkeys([*alarms["feature"], *report.quantiles["feature"]]))
    known = set(report.quantiles["feature"])
    names = [name for name in names if name in known][:_MOST]
    n_rows = math.ceil((len(names) + 1) / _ACROSS)
    figure = Figure(figsize=(3.2 * _ACROSS, 2.4 * n_rows + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels: Any = figure.subplots(n_rows, _ACROSS, squeeze=False).ravel()
    _draw_shares(panels[0], report, "cluster shares" in set(alarms["test"]))
    for panel, name in zip(panels[1:], names, strict=False):
        _draw_quantiles(panel, report, name, name in set(alarms["feature"]))
    for panel in panels[len(names) + 1 :]:
        panel.set_axis_off()
    figure.suptitle("Drift" if report.is_drift else "No drift", parse_math=False)
    return figure


def _draw_shares(panel: Axes, report: DriftReport, is_alarm: bool) -> None:
    places = np.arange(len(report.shares))
    for offset, kind in ((-0.2, "training"), (0.2, "new")):
        panel.bar(places + offset, report.shares[kind], 0.4, color=_COLORS[kind], label=kind)
    panel.set_title("cluster shares" + (": drift" if is_alarm else ""))
    panel.set_xlabel("cluster")
    panel.legend(fontsize="small")


def _draw_quantiles(panel: Axes, report: DriftReport, name: str, is_alarm: bool) -> None:
    rows = report.quantiles[report.quantiles["feature"] == name]
    for place, kind in ((1, "training"), (0, "new")):
        values = rows[kind].to_numpy()
        if np.isfinite(values).all():
            panel.plot(values[[0, -1]], [place, place], color=_COLORS[kind], linewidth=1)
            panel.plot(
                values[[1, -2]], [place, place], color=_COLORS[kind], linewidth=8, solid_capstyle="butt"
            )
            panel.plot(values[2], place, "o", color="black", markersize=4)
    panel.set_yticks([1, 0], ["training", "new"])
    panel.set_ylim(-0.6, 1.6)
    # A name may hold what would be a formula.
    panel.set_title(name + (": drift" if is_alarm else ""), parse_math=False)
