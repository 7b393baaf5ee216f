"""The headline summary on rows made by hand: losses first, nobody wins by stopping early, means by hand."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from harness.headline import Cell, cells, geometric_mean, means, print_headline
from harness.record import Row
from tests.rows import row

BASELINE = "sklearn-lloyd"


def only(rows: list[Row]) -> Cell:
    (cell,) = cells(rows, BASELINE)
    return cell


def test_a_cell_has_the_ratios_of_medians_and_names_the_best_peer() -> None:
    ours = [row("rust", seconds, repeat=i) for i, seconds in enumerate((9.0, 1.0, 2.0))]
    cell = only([*ours, row(BASELINE, 8.0), row("faiss", 6.0), row("mlpack-elkan", 7.0)])
    assert (cell.seconds, cell.over_baseline, cell.peer, cell.over_peer) == (2.0, 4.0, "faiss", 3.0)
    assert not cell.lost


def test_scikit_learn_is_a_peer_and_those_of_this_project_are_none() -> None:
    cell = only([row("rust", 2.0), row("rust-cli", 0.1), row("dask-rust", 0.1), row(BASELINE, 8.0)])
    assert (cell.peer, cell.over_peer) == (BASELINE, 4.0)


def test_cells_we_lose_come_first_and_the_worst_of_them_before_the_others() -> None:
    def scenario(name: str, ours: float | None, baseline: float, **more: object) -> list[Row]:
        return [row("rust", ours, scenario=name, **more), row(BASELINE, baseline, scenario=name)]

    rows = [
        *scenario("won", 1.0, 2.0),
        *scenario("lost", 1.0, 0.9),
        *scenario("lost by far", 1.0, 0.5),
        *scenario("crashed", None, 1.0, status="failed"),
    ]
    found = cells(rows, BASELINE)
    assert [cell.scenario for cell in found] == ["crashed", "lost by far", "lost", "won"]
    assert [cell.lost for cell in found] == [True, True, True, False]
    assert found[0].status == "failed"
    assert found[0].over_baseline is None


def test_losing_to_one_peer_is_losing() -> None:
    cell = only([row("rust", 1.0), row(BASELINE, 5.0), row("sklearnex", 0.5)])
    assert cell.lost
    assert (cell.over_baseline, cell.over_peer) == (5.0, 0.5)


@pytest.mark.parametrize("status", ["wrong", "failed", "timeout", "oom", "skipped"])
def test_only_rows_that_are_ok_count(status: str) -> None:
    cell = only([row("rust", 1.0), row(BASELINE, 3.0), row("faiss", 0.1, status=status)])
    assert (cell.peer, cell.over_peer) == (BASELINE, 3.0)


def test_a_cell_without_any_peer_has_no_ratio_and_is_not_lost() -> None:
    cell = only([row("rust", 1.0), row(BASELINE, None, status="timeout")])
    assert (cell.over_baseline, cell.peer, cell.over_peer, cell.lost) == (None, None, None, False)
    assert means([cell], BASELINE) == []


def test_other_mathematics_stand_beside_and_are_never_the_best_peer() -> None:
    quick = row("superkmeans", 0.5, semantics="approximate", inertia=102.0)
    cell = only([row("rust", 1.0), row(BASELINE, 3.0), quick])
    assert (cell.peer, cell.lost) == (BASELINE, False)
    assert (cell.inexact, cell.over_inexact) == ("superkmeans", 0.5)
    assert cell.inexact_gap == pytest.approx(0.02)


def test_on_the_default_track_nobody_wins_by_stopping_early() -> None:
    rows = [row("rust", 1.0), row(BASELINE, 3.0), row("faiss", 0.5, inertia=110.0), row("mlpack-elkan", 2.0)]
    defaults = [row(r.implementation, r.fit_seconds, inertia=r.inertia, track="default") for r in rows]
    assert only(defaults).peer == "mlpack-elkan"
    ours = [row("rust", 1.0, inertia=105.0, track="default"), *defaults[1:]]
    cell = only(ours)
    assert cell.objective_gap == pytest.approx(0.05)
    assert cell.lost


def test_the_geometric_mean_cancels_a_ratio_and_its_inverse() -> None:
    assert geometric_mean([4.0, 0.25]) == pytest.approx(1.0)
    assert geometric_mean([2.0, 4.0, 8.0]) == pytest.approx(4.0)


def test_means_keep_the_types_and_the_tracks_apart_and_name_the_worst_cell() -> None:
    def pair(name: str, ratio: float, **more: object) -> list[Row]:
        return [row("rust", 1.0, scenario=name, **more), row(BASELINE, ratio, scenario=name, **more)]

    rows = [
        *pair("a", 2.0),
        *pair("b", 8.0),
        *pair("c", 3.0, dtype="float64"),
        *pair("d", 5.0, track="default"),
    ]
    found = {(m.track, m.dtype): m for m in means(cells(rows, BASELINE), BASELINE) if m.opponent == BASELINE}
    assert set(found) == {("matched", "float32"), ("matched", "float64"), ("default", "float32")}
    mean = found["matched", "float32"]
    assert mean.n_cells == 2
    assert mean.geometric_mean == pytest.approx(4.0)
    assert (mean.worst.scenario, mean.worst_ratio) == ("a", 2.0)


def test_what_is_printed_begins_with_the_losses() -> None:
    printed = printed_for([row("rust", 1.0), row(BASELINE, 0.5)])
    assert printed.index("cells that rust loses: 1 of 1") < printed.index("geometric means")
    assert "0.50×" in printed
    assert "rust loses none of 1 cells" in printed_for([row("rust", 1.0), row(BASELINE, 2.0)])


def printed_for(rows: list[Row]) -> str:
    console = Console(width=200, file=io.StringIO())
    print_headline(console, rows, BASELINE, "a machine")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
