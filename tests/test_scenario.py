"""The grid syntax says what it means, and refuses what it does not understand."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UserError
from harness.registry import ENTRIES, select
from harness.scenario import (
    HEADLINE,
    MAX_VALUE,
    PRESETS,
    REAL_FILES,
    SEED_GRID,
    Grid,
    locate_real,
    parse_axis,
    parse_names,
)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("10", (10,)),
        ("1e3,5e3", (1_000, 5_000)),
        ("5e3, 1e3 ,5000", (1_000, 5_000)),
        ("1e3..1e6", (1_000, 10_000, 100_000, 1_000_000)),
        ("2..2000", (2, 20, 200, 2_000)),
        ("1.5e3..1.5e5", (1_500, 15_000, 150_000)),
        ("1e3..1e6:7", (1_000, 3_162, 10_000, 31_623, 100_000, 316_228, 1_000_000)),
        ("2..100:2", (2, 100)),
        ("2,10..1000", (2, 10, 100, 1_000)),
    ],
)
def test_an_axis_is_a_list_decades_or_log_spaced(text: str, values: tuple[int, ...]) -> None:
    assert parse_axis(text, "--sizes") == values


@pytest.mark.parametrize(
    "text",
    ["", " ", "x", "1e3,", "-1", "0", "1.5", "nan", "inf", "1e13", "1e3..", "..1e3", "1e6..1e3", "10..10",
     "1e3..5e6", "1e3..1e6:0", "1e3..1e6:1", "1e3..1e6:x", "1e3..1e6..1e9", "1e3:7", "0x10", "1_000"],
)  # fmt: skip
def test_what_is_no_axis_is_refused_with_the_option_and_the_text(text: str) -> None:
    with pytest.raises(UserError, match=r"^--sizes: ") as error:
        parse_axis(text, "--sizes")
    assert "\n" not in str(error.value)


@given(st.text(max_size=20))
def test_any_text_is_read_or_refused_never_anything_else(text: str) -> None:
    try:
        values = parse_axis(text, "--sizes")
    except UserError:
        return
    assert values
    assert list(values) == sorted(set(values))
    assert all(1 <= value <= MAX_VALUE for value in values)


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(2, 50))
def test_log_spaced_values_keep_both_ends(low: int, more: int, count: int) -> None:
    values = parse_axis(f"{low}..{low + more}:{count}", "--sizes")
    assert (values[0], values[-1]) == (low, low + more)
    assert len(values) <= count


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UserError, match="unknown 'rsut'; did you mean 'rust'"):
        parse_names("rsut", "--implementations", ("rust", "numpy"))


def test_names_keep_their_order_and_lose_their_repeats() -> None:
    assert parse_names("b,a,b", "--track", ("a", "b")) == ("b", "a")


def test_more_clusters_than_samples_is_an_impossible_grid() -> None:
    with pytest.raises(UserError, match="impossible grid: 2000 clusters of 1000 samples"):
        Grid(clusters=(10, 2_000)).scenarios()


@pytest.mark.parametrize("grid", [Grid(dims=(10**9,)), Grid(sizes=(10**9,), clusters=(10**9,))])
def test_centers_that_fill_the_memory_are_an_impossible_grid(grid: Grid) -> None:
    with pytest.raises(UserError, match=r"impossible grid: .* lower --dims or --clusters"):
        grid.scenarios()


def test_the_seed_preset_is_the_whole_matrix() -> None:
    scenarios = SEED_GRID.scenarios()
    assert len(scenarios) == 4 * 3 * 3
    assert len({scenario.name for scenario in scenarios}) == len(scenarios)
    specs = [scenario.dataset for scenario in scenarios]
    assert {spec.n_samples for spec in specs} == {10**3, 10**4, 10**5, 10**6}
    assert {spec.n_features for spec in specs} == {2, 10, 100}
    assert {spec.n_clusters for spec in specs} == {2, 10, 30}


def test_the_headline_preset_is_the_seed_matrix_real_data_and_a_wide_case_in_both_types() -> None:
    grids, missing = locate_real(HEADLINE.grids, None)
    assert missing == (REAL_FILES["covertype"],)
    scenarios = [scenario for grid in grids for scenario in grid.scenarios()]
    names = {scenario.name for scenario in scenarios}
    assert len(names) == len(scenarios) == 2 * (36 + 3 + 1)
    assert {"mnist-k256-float64", "blobs-n100000-d384-k1000-float32"} <= names


def test_the_implementations_of_every_preset_are_known() -> None:
    for preset in PRESETS.values():
        assert select(preset.implementations)
    chosen = select(HEADLINE.implementations)
    assert all(entry in chosen for entry in ENTRIES if entry.extra == "peers")


def test_real_data_is_found_by_name_in_any_subfolder(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    table = tmp_path / "deep" / "er" / REAL_FILES["covertype"]
    table.touch()
    grids, missing = locate_real((Grid(source="covertype"), Grid(source="mnist"), Grid()), tmp_path)
    assert [grid.source for grid in grids] == [str(table.resolve()), "blobs"]
    assert missing == (REAL_FILES["mnist"],)
    with pytest.raises(UserError, match="--real: no folder"):
        locate_real(HEADLINE.grids, tmp_path / "nowhere")


def test_narrowing_keeps_the_values_asked_for_and_no_other() -> None:
    grid = SEED_GRID.narrowed(sizes=(1_000, 5_000), dims=(), clusters=(10, 30))
    assert grid is not None
    assert (grid.sizes, grid.dims, grid.clusters) == ((1_000,), (2, 10, 100), (10, 30))
    assert SEED_GRID.narrowed(sizes=(5_000,), dims=(), clusters=()) is None
    mnist = Grid(source="mnist", clusters=(10, 64))
    assert mnist.narrowed(sizes=(), dims=(), clusters=(64, 7)) == Grid(source="mnist", clusters=(64,))
    assert mnist.narrowed(sizes=(1_000,), dims=(), clusters=()) is None


def test_every_dtype_is_a_scenario_of_its_own() -> None:
    names = [scenario.name for scenario in Grid(sizes=(100,), dtypes=("float32", "float64")).scenarios()]
    assert names == ["blobs-n100-d10-k10-float32", "blobs-n100-d10-k10-float64"]


def test_a_file_gives_one_scenario_a_number_of_clusters() -> None:
    names = [scenario.name for scenario in Grid(source="/x/My Table.csv.gz", clusters=(2, 3)).scenarios()]
    assert names == ["my-table-k2-float32", "my-table-k3-float32"]
