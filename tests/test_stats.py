"""The statistics: oracles by hand and by scipy, and what must hold of any figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats as scipy_stats

from harness import stats
from harness.stats import Instability, Interval

TIMES = arrays.arrays(np.float64, st.integers(1, 9), elements=st.floats(1e-6, 1e3))


@settings(max_examples=30, deadline=None)
@given(TIMES)
def test_the_interval_of_a_median_holds_it_and_lies_within_what_was_seen(values: stats.Floats) -> None:
    found = stats.median_interval(values)
    assert found.estimate == np.median(values)
    if len(values) == 1:
        assert not found.known
    else:
        # The mean of two equal numbers may round.
        slack = 1e-12 * np.max(values)
        assert np.min(values) - slack <= found.low <= found.estimate + slack
        assert found.estimate - slack <= found.high <= np.max(values) + slack


def test_the_interval_agrees_with_the_exact_distribution_of_the_bootstrap() -> None:
    # The median of 9 drawn from 9 is at most the j-th smallest when at least 5 draws are.
    values = np.sort(np.random.default_rng(1).lognormal(size=9))
    at_most = scipy_stats.binom.sf(4, 9, np.arange(1, 10) / 9)
    low, high = values[np.searchsorted(at_most, 0.025)], values[np.searchsorted(at_most, 0.975)]
    found = stats.median_interval(values)
    assert (found.low, found.high) == (low, high)


def test_the_same_values_give_the_same_interval_whatever_stands_beside_them() -> None:
    rng = np.random.default_rng(2)
    rows = rng.lognormal(size=(600, 7))
    low, high = stats.median_bounds(rows)
    for index in (0, 255, 256, 599):
        alone = stats.median_interval(rows[index])
        assert (alone.low, alone.high) == (low[index], high[index])


def test_a_far_value_is_not_left_out() -> None:
    assert stats.median_interval([1.0, 1.0, 100.0]).high == 100.0
    assert stats.median_interval([1.0, 1.0, 1.0]) == Interval(1.0, 1.0, 1.0)


def test_of_nothing_there_is_no_figure() -> None:
    assert math.isnan(stats.median_interval([]).estimate)
    assert math.isnan(stats.mean_ratio([]).estimate)


def test_missing_repeats_leave_the_figures_of_those_that_are_there() -> None:
    rows = np.array([[1.0, 2.0, 3.0, 4.0], [1.0, np.nan, 3.0, 2.0], [np.nan] * 4, [5.0, *[np.nan] * 3]])
    estimates, low, high = stats.ragged_medians(rows)
    assert estimates[:2].tolist() == [2.5, 2.0]
    assert math.isnan(estimates[2])
    assert estimates[3] == 5.0
    alone = stats.median_interval([1.0, 3.0, 2.0])
    assert (low[1], high[1]) == (alone.low, alone.high)
    assert np.isnan(low[2:]).all()


@settings(max_examples=30, deadline=None)
@given(TIMES, st.data())
def test_a_ratio_and_its_inverse_say_the_same(own: stats.Floats, data: st.DataObject) -> None:
    other = data.draw(arrays.arrays(np.float64, len(own), elements=st.floats(1e-6, 1e3)))
    forth, back = stats.paired_ratio(other, own), stats.paired_ratio(own, other)
    assert forth.estimate == pytest.approx(1 / back.estimate)
    if forth.known:
        # Which of two neighbours a percentile of a finite sample falls on may differ by side.
        assert forth.low <= forth.estimate * (1 + 1e-12)
        assert back.low <= back.estimate * (1 + 1e-12)
        lowest, highest = np.min(other / own), np.max(other / own)
        assert lowest * (1 - 1e-9) <= forth.low <= forth.high <= highest * (1 + 1e-9)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.2, 5.0), arrays.arrays(np.float64, 6, elements=st.floats(0.1, 10.0)))
def test_pairing_cancels_what_falls_on_both(factor: float, drift: stats.Floats) -> None:
    found = stats.paired_ratio(factor * drift, drift)
    assert (found.low, found.estimate, found.high) == pytest.approx((factor,) * 3)


def test_a_pair_without_one_of_its_times_is_no_pair() -> None:
    found = stats.paired_ratio([2.0, np.nan, 8.0], [1.0, 1.0, np.nan])
    assert found.estimate == pytest.approx(2.0)
    assert not found.known


def test_the_interval_of_a_ratio_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    drift = rng.lognormal(0.0, 0.5, size=(300, 15))
    logs = np.log(2.0) + np.log(drift) - np.log(drift) + rng.normal(0.0, 0.05, size=drift.shape)
    low, high = stats.median_bounds(logs)
    covered = np.mean((low <= np.log(2.0)) & (np.log(2.0) <= high))
    assert 0.88 <= covered <= 1.0


def test_the_mean_over_cells_is_geometric_and_its_interval_narrower_than_a_cell_s() -> None:
    rng = np.random.default_rng(4)
    cells = [np.log(factor) + rng.normal(0.0, 0.1, 7) for factor in (2.0, 8.0, 4.0, 4.0)]
    found = stats.mean_ratio(cells)
    assert found.estimate == pytest.approx(math.exp(np.mean([np.median(cell) for cell in cells])))
    assert found.low < found.estimate < found.high
    widths = [own.high - own.low for own in map(stats.median_interval, cells)]
    assert math.log(found.high / found.low) < np.mean(widths)


def test_a_cell_measured_once_takes_the_interval_of_the_mean_away() -> None:
    found = stats.mean_ratio([[math.log(2.0)], [math.log(8.0), math.log(8.0)]])
    assert found.estimate == pytest.approx(4.0)
    assert not found.known


def test_few_or_scattered_repeats_are_named() -> None:
    assert stats.sample_instability([1.0] * 6) == []
    assert stats.sample_instability([1.0] * 5) == [Instability.TOO_FEW_REPEATS]
    assert stats.sample_instability([1.0, 1.0, 1.0, 1.3, 1.3, 1.3]) == [Instability.WIDE_SPREAD]
    assert stats.sample_instability([1.0]) == [Instability.TOO_FEW_REPEATS]


def steady(n_implementations: int = 4, n_repeats: int = 6) -> stats.Floats:
    noise = np.random.default_rng(5).normal(0.0, 0.01, (n_implementations, n_repeats))
    return np.asarray(np.arange(1.0, n_implementations + 1)[:, None] * np.exp(noise))


def test_a_quiet_machine_is_not_accused() -> None:
    assert stats.machine_instability(steady(), 0.1) == []
    assert stats.machine_instability(np.full((4, 6), 2.0), math.nan) == []
    assert stats.machine_instability(np.full((3, 3), np.nan), math.nan) == []


def test_a_repeat_in_which_all_are_slow_is_the_machine_s() -> None:
    times = steady()
    times[:, 2] *= 1.3
    assert stats.slow_repeats(times) == [2]
    assert stats.machine_instability(times, 0.1) == [Instability.NOISY_MACHINE]
    one_slow = steady()
    one_slow[1, 2] *= 1.3
    assert stats.slow_repeats(one_slow) == []


def test_a_loaded_machine_is_noisy() -> None:
    assert stats.machine_instability(steady(), 0.8) == [Instability.NOISY_MACHINE]


def test_a_machine_that_slows_down_is_throttling() -> None:
    times = steady() * np.linspace(1.0, 1.15, 6)
    found = stats.slowdown(times)
    assert found.low < 1.15 < found.high
    assert stats.machine_instability(times, 0.1) == [Instability.THROTTLING]


def test_few_implementations_cannot_tell_the_machine_from_themselves() -> None:
    times = steady(2) * np.linspace(1.0, 1.5, 6)
    assert stats.machine_instability(times, 0.1) == []


def test_a_slope_is_that_of_scipy() -> None:
    rng = np.random.default_rng(6)
    x = np.array([1e3, 1e4, 1e5, 1e6])
    y = 3e-7 * x**0.9 * rng.lognormal(0.0, 0.1, 4)
    expected = scipy_stats.linregress(np.log(x), np.log(y))
    found = stats.log_slope(x, y)
    reach = scipy_stats.t.ppf(0.975, 2) * expected.stderr
    assert found.estimate == pytest.approx(expected.slope)
    assert (found.low, found.high) == pytest.approx((expected.slope - reach, expected.slope + reach))


@settings(max_examples=30, deadline=None)
@given(st.floats(-3.0, 3.0), st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=4))
def test_groups_share_the_exponent_and_not_the_factor(exponent: float, factors: list[float]) -> None:
    x = np.array([1.0, 10.0, 1000.0])
    y = np.concatenate([factor * x**exponent for factor in factors])
    groups = np.repeat(np.arange(len(factors)), len(x))
    found = stats.log_slope(np.tile(x, len(factors)), y, groups)
    assert found.estimate == pytest.approx(exponent, abs=1e-9)
    assert found.low == pytest.approx(exponent, abs=1e-6)


def test_a_slope_needs_two_values_and_its_interval_three() -> None:
    assert math.isnan(stats.log_slope([10.0, 10.0], [1.0, 2.0]).estimate)
    assert math.isnan(stats.log_slope([10.0, 20.0], [1.0, 2.0], ["a", "b"]).estimate)
    two = stats.log_slope([10.0, 100.0], [1.0, 10.0])
    assert two.estimate == pytest.approx(1.0)
    assert not two.known
