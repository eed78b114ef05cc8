"""Bootstrap intervals: against theory, paired, and for the smallest samples."""

import numpy as np
import pytest

from helpers.evaluation.intervals import bootstrap_draws, bootstrap_interval


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


def test_infinite_draws_are_kept():
    draws = bootstrap_draws(np.max, np.array([0.0, 1.0, np.inf]), draws=500)
    assert set(draws) == {0, 1, np.inf} and np.isinf(draws).mean() == pytest.approx(1 - (2 / 3) ** 3, abs=0.06)
