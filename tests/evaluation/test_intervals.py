"""Bootstrap intervals: against theory, paired, and for the smallest samples."""

import numpy as np
import pytest
from scipy import stats

from helpers.evaluation.intervals import (
    bootstrap_draws,
    bootstrap_interval,
    mean_interval,
    rate_difference,
    wilson_interval,
)


def test_the_interval_of_a_mean_is_that_of_theory():
    values = np.random.default_rng(0).normal(5, 2, 400)
    low, high = bootstrap_interval(np.mean, values, draws=4000)
    margin = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - margin, values.mean() + margin), abs=0.02)
    assert bootstrap_interval(np.mean, values, seed=1) == bootstrap_interval(np.mean, values, seed=1)
    assert bootstrap_interval(np.mean, values, seed=1) != bootstrap_interval(np.mean, values, seed=2)


def test_samples_are_drawn_together():
    def difference(one, other, axis):
        return (one - other).mean(axis)

    values = np.random.default_rng(0).normal(0, 9, 50)
    assert bootstrap_interval(difference, values + 1, values) == pytest.approx((1, 1))


def test_small_samples():
    assert bootstrap_interval(np.mean, np.array([3.0])) == (3, 3)
    assert np.isnan(bootstrap_interval(np.mean, np.array([]))).all()


def test_what_no_row_shows_may_still_happen():
    """The bounds are Clopper and Pearson's for 0 or all of n, by scipy's own."""
    exact = stats.binomtest(24, 24).proportion_ci(method="exact")
    assert mean_interval(np.ones(24)) == pytest.approx((exact.low, 1)) and exact.low == pytest.approx(0.8575, abs=1e-4)
    assert mean_interval(np.zeros(24)) == pytest.approx((0, 1 - exact.low))
    assert mean_interval(np.full(24, 100.0), 0, 100) == pytest.approx((100 * exact.low, 100))
    assert mean_interval(np.zeros(24), -1) == pytest.approx((exact.low - 1, 1 - exact.low))
    assert mean_interval(np.ones(24), clusters=np.arange(24) // 2)[0] < exact.low  # twelve texts
    some = np.arange(24) % 3 == 0
    assert mean_interval(some) == bootstrap_interval(np.mean, some.astype(float))
    assert np.isnan(mean_interval(np.array([]))).all()


def test_infinite_draws_are_kept():
    draws = bootstrap_draws(np.max, np.array([0.0, 1.0, np.inf]), draws=500)
    assert set(draws) == {0, 1, np.inf} and np.isinf(draws).mean() == pytest.approx(1 - (2 / 3) ** 3, abs=0.06)


def test_wilsons_interval_is_as_published():
    assert wilson_interval(np.array([True] * 8 + [False] * 2)) == pytest.approx((0.49016, 0.94332), abs=1e-5)
    assert wilson_interval(np.ones(10, bool))[1] == pytest.approx(1) and wilson_interval(np.zeros(10, bool))[0] == 0
    assert np.isnan(wilson_interval(np.array([], bool))).all()
    hits = np.array([True, True, False, False])
    assert wilson_interval(hits, ["a", "a", "b", "b"]) == wilson_interval(hits[::2])  # two texts, not four


def test_a_difference_of_rates_is_newcombes():
    """The example of his paper (1998, table II, method 10): 56 of 70 against 48 of 80."""
    first, second = np.arange(70) < 56, np.arange(80) < 48
    assert rate_difference(first, second) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)
    _, low, high = rate_difference(first, second, tests=20)
    assert low < 0.0524 and high > 0.3339


def test_rows_of_a_cluster_are_drawn_together():
    values, names = np.repeat([0.0, 1.0, 5.0], 4), np.repeat(["a", "b", "c"], 4)
    draws = bootstrap_draws(np.mean, values, draws=400, clusters=names)
    assert {round(v, 6) for v in draws} <= {
        round((a + b + c) / 3, 6) for a in (0, 1, 5) for b in (0, 1, 5) for c in (0, 1, 5)
    }
    alone = bootstrap_draws(np.mean, values, draws=50, clusters=range(12))
    assert (alone == bootstrap_draws(np.mean, values, draws=50)).all()
