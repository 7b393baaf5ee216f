"""The grid syntax says what it means, and refuses what it does not understand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UserError
from harness.scenario import MAX_VALUE, SEED_GRID, Grid, parse_axis, parse_names


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


def test_the_seed_preset_is_the_whole_matrix() -> None:
    scenarios = SEED_GRID.scenarios()
    assert len(scenarios) == 4 * 3 * 3
    assert len({scenario.name for scenario in scenarios}) == len(scenarios)
    specs = [scenario.dataset for scenario in scenarios]
    assert {spec.n_samples for spec in specs} == {10**3, 10**4, 10**5, 10**6}
    assert {spec.n_features for spec in specs} == {2, 10, 100}
    assert {spec.n_clusters for spec in specs} == {2, 10, 30}


def test_every_dtype_is_a_scenario_of_its_own() -> None:
    names = [scenario.name for scenario in Grid(sizes=(100,), dtypes=("float32", "float64")).scenarios()]
    assert names == ["blobs-n100-d10-k10-float32", "blobs-n100-d10-k10-float64"]


def test_a_file_gives_one_scenario_a_number_of_clusters() -> None:
    names = [scenario.name for scenario in Grid(source="/x/My Table.csv.gz", clusters=(2, 3)).scenarios()]
    assert names == ["my-table-k2-float32", "my-table-k3-float32"]
