"""Stopping rules: they stop when they should, keep on when they should, and say why with figures."""

import numpy as np
import pytest

from helpers.env import UserError
from helpers.query import stopping

RNG = np.random.default_rng(0)


def test_budget():
    assert stopping.budget(100, 100) == (True, "The budget of 100 labels is spent (100).")
    assert stopping.budget(1.5, 2.0, "euros") == (False, "0.5 of 2.0 euros are left.")
    with pytest.raises(UserError, match="limit=nan"):
        stopping.budget(1, float("nan"))


def test_kappa_stops_on_agreement_only():
    truth = RNG.integers(0, 2, 2000)
    wobble = [np.where(RNG.random(2000) < 0.1, 1 - truth, truth) for _ in range(4)]
    stop, reason = stopping.kappa_average([truth] * 4)
    assert stop and "mean kappa of 1.000 over 3 rounds, at least 0.99" in reason
    stop, reason = stopping.kappa_average(wobble)
    assert not stop and "below 0.99" in reason
    assert stopping.kappa_average([*wobble, truth, truth, truth, truth])[0]  # only the last rounds count
    assert not stopping.kappa_average([truth] * 3 + wobble[:1])[0]
    assert stopping.kappa_average([truth] * 3) == (False, "Kappa needs 4 rounds, there are 3.")


def test_kappa_counts_agreement_beyond_chance():
    rare = [(np.arange(1000) == i).astype(int) for i in range(4)]  # 99.8 % equal answers, none on the positive
    stop, reason = stopping.kappa_average(rare, threshold=0.9)
    assert not stop and "-0.001" in reason


def test_a_constant_learner_never_stops_by_agreement():
    same = np.zeros(50, dtype=int)
    assert not stopping.kappa_average([same] * 5)[0]
    assert not stopping.classification_change(same, same)[0]


def test_classification_change():
    before = np.arange(200) % 2
    after = before.copy()
    assert stopping.classification_change(before, after)[0]
    after[:3] = 1 - after[:3]
    stop, reason = stopping.classification_change(before, after)
    assert not stop and reason.startswith("3 of 200 answers changed since the last round (1.50%), more than 0.00%")
    assert stopping.classification_change(before, after, threshold=0.02)[0]
    with pytest.raises(UserError, match="same texts"):
        stopping.classification_change(before, after[:-1])


def test_overall_uncertainty_is_a_share_of_the_largest():
    even = np.full((10, 4), 0.25)
    stop, reason = stopping.overall_uncertainty(even)
    assert not stop and "1.000 of the largest possible" in reason
    assert stopping.overall_uncertainty(np.eye(4))[0]
    assert stopping.overall_uncertainty(even[:0])[0]
    with pytest.raises(UserError, match="finite scores"):
        stopping.overall_uncertainty(np.array([[np.nan, 0.5]]))


def test_plateau():
    scores = [0.5, 0.6, 0.7, 0.7, 0.702, 0.699]
    low, high = np.array(scores) - 0.03, np.array(scores) + 0.03
    stop, reason = stopping.plateau(scores, low, high)
    assert stop and "0.702, +0.002 on the best before, 0.700 [0.670, 0.730]" in reason and "±0.030 hides" in reason
    assert "hides" not in stopping.plateau(scores, np.array(scores) - 0.005, np.array(scores) + 0.005)[1]
    stop, reason = stopping.plateau([*scores[:-1], 0.72], low, high)
    assert not stop and "still rises" in reason
    stop, reason = stopping.plateau([*scores[:-1], 0.6], low, high)
    assert not stop and "fell to 0.600" in reason
    assert not stopping.plateau(scores[:3], low[:3], high[:3])[0]
    with pytest.raises(UserError, match="one a round"):
        stopping.plateau(scores, low[:2], high)
    with pytest.raises(UserError, match="not finite"):
        stopping.plateau([*scores[:-1], np.nan], low, high)


def test_projection_of_a_clean_curve_is_the_curve():
    n = np.arange(50, 501, 50)
    for curve in (lambda v: 0.85 - 2.0 * v**-0.8, lambda v: 0.8 - 0.4 * np.exp(-v / 150)):
        found = stopping.projection(n, curve(n), more=100)
        assert found["gain"] == pytest.approx(curve(600) - curve(500), abs=0.003)
        assert found["labels"] == 600 and found["tells"]


def test_projection_says_worth_it_not_worth_it_or_cannot_tell():
    n = np.arange(50, 501, 50)
    rising = stopping.projection(n, 0.4 + 0.0006 * n, worth=0.01)
    assert rising["tells"] and rising["low"] >= 0.01 and rising["reason"].endswith("0.01 or more.")
    flat = stopping.projection(n, 0.7 + 0.001 * np.sin(n), worth=0.01)
    assert flat["tells"] and flat["high"] < 0.01 and "less than 0.01" in flat["reason"]
    noisy = stopping.projection(n[:6], [0.55, 0.68, 0.56, 0.7, 0.6, 0.72], worth=0.01)
    assert not noisy["tells"] and noisy["low"] < 0.01 <= noisy["high"] and "cannot be told" in noisy["reason"]
    few = stopping.projection(n[:4], [0.5, 0.6, 0.65, 0.66])
    assert (
        few["gain"] is None
        and not few["tells"]
        and few["reason"] == "It cannot be told from 4 rounds: a curve needs 5."
    )


def test_projection_never_promises_more_than_perfection_nor_a_loss():
    n = np.arange(50, 501, 50)
    high = stopping.projection(n, np.minimum(0.9 + 0.0002 * n, 1.0), more=100_000)
    assert high["high"] <= 0.1 + 1e-9
    falling = stopping.projection(n, 0.8 - 0.0003 * n)
    assert falling["gain"] == pytest.approx(0, abs=1e-9) and falling["low"] >= 0


def test_projection_interval_covers_the_truth():
    n, rng, hits = np.arange(50, 551, 50), np.random.default_rng(1), 0
    for trial in range(60):
        noisy = 0.8 - 1.5 * n**-0.6 + rng.normal(0, 0.01, len(n))
        found = stopping.projection(n, noisy, draws=200, seed=trial)
        hits += found["low"] <= 1.5 * (550**-0.6 - 650**-0.6) <= found["high"]
    assert hits >= 51  # 85 % at least, of a nominal 95 %


def test_projection_repeats_and_refuses_nonsense():
    n, s = np.arange(50, 501, 50), RNG.uniform(0.5, 0.7, 10)
    assert stopping.projection(n, s, seed=3) == stopping.projection(n, s, seed=3)
    for bad in ({"labels": n[:5], "scores": s}, {"labels": n - 50, "scores": s}, {"labels": n, "scores": s * np.nan}):
        with pytest.raises(UserError, match="one finite pair a round"):
            stopping.projection(**bad)
    with pytest.raises(UserError, match="more=0"):
        stopping.projection(n, s, more=0)
