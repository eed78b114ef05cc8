"""What a model may answer alone: the curve, and promises that hold."""

import numpy as np
import pytest
from scipy.stats import binom

from helpers.evaluation.selective import fewest_rows, promise, risk_coverage


def drawn(rng, rows, best=0.99, worst=0.6):
    """Confidence and whether the answer is right: the chance of that falls with the confidence."""
    confidence = rng.random(rows)
    return confidence, rng.random(rows) < worst + (best - worst) * confidence


def test_the_curve_of_four_answers():
    curve = risk_coverage(np.array([0.9, 0.6, 0.8, 0.6]), np.array([True, False, True, True]))
    assert curve.coverage.tolist() == [0.25, 0.5, 1.0]  # two of equal confidence are answered together
    assert curve.agreement.tolist() == [1.0, 1.0, 0.75] and curve.confidence.tolist() == [0.9, 0.8, 0.6]


def test_a_promise_is_broken_no_more_often_than_it_says():
    """On 200 draws of labelled rows the model agrees less often than promised in at most 5 % of them, within chance."""
    rng = np.random.default_rng(0)
    broken = covered = 0
    for _ in range(200):
        confidence, is_right = drawn(rng, 1000)
        unlabelled, _ = drawn(rng, 2000)
        kept = promise(confidence, is_right, unlabelled, 0.9)
        if np.isfinite(kept.threshold):
            middle = (1 + max(kept.threshold, 0)) / 2  # the mean confidence of what passes
            broken += 0.6 + 0.39 * middle < 0.9
            covered += np.mean(unlabelled >= kept.threshold)
    assert broken <= binom.ppf(0.99, 200, 0.05)
    assert covered / 200 > 0.2  # .9 is reached at 46 % of the texts; 1,000 labelled rows prove about half of that


def test_a_better_model_may_answer_more():
    rng = np.random.default_rng(1)
    unlabelled = rng.random(1000)
    shares = []
    for worst in (0.5, 0.7, 0.95):
        kept = promise(*drawn(rng, 2000, worst=worst), unlabelled, 0.9)
        shares.append(np.mean(unlabelled >= kept.threshold))
    assert shares == sorted(shares) and shares[-1] == 1


def test_what_cannot_be_promised_says_what_it_would_take():
    assert fewest_rows(0.9) == 29 and fewest_rows(0.95) == 59  # .9 ** 29 and .95 ** 59 are the first below .05
    right = np.ones(20, bool)
    few = promise(np.linspace(0.5, 1, 20), right, np.linspace(0.5, 1, 50), 0.9)
    assert (
        few.threshold == np.inf and "at least 29 labelled rows" in few.reason and few.reason.endswith("are 20: 9 more")
    )
    rng = np.random.default_rng(0)
    confidence = rng.random(300)
    bad = promise(confidence, rng.random(300) < 0.7, confidence, 0.9)
    assert bad.reason.endswith("that takes a better model, not more labels")
    narrow = promise(np.ones(60), np.arange(60) >= 5, np.ones(60), 0.9)  # .917 right
    assert narrow.threshold == np.inf and "as a proof that is too little" in narrow.reason
    more = int(narrow.reason.split("some ")[1].split(" ")[0].replace(",", ""))
    times = (60 + more) / 60
    assert promise(np.ones(60 + more), np.arange(60 + more) >= 5 * times, np.ones(60), 0.9).rows == 60 + more


@pytest.mark.parametrize("rows", [29, 45, 46, 400])
def test_a_model_without_an_error_is_promised_all(rows):
    confidence = np.linspace(0.5, 1, rows)
    kept = promise(confidence, np.ones(rows, bool), confidence, 0.9)
    assert kept.threshold == 0.5 and kept.rows == kept.hits == rows


def test_rows_of_one_text_count_once_and_odd_confidences_are_no_fault():
    rng, given = np.random.default_rng(3), 0
    for _ in range(200):  # 40 texts in five versions each, all right or all wrong together: just under what is promised
        is_right = np.repeat(rng.random(40) < 0.8999, 5)
        clusters = np.repeat(np.arange(40), 5)
        given += np.isfinite(promise(np.ones(200), is_right, np.ones(50), 0.9, clusters).threshold)
    assert given <= binom.ppf(0.99, 200, 0.05)
    low = promise(np.full(200, 0.6), np.ones(200, bool), np.full(50, 0.9), 0.9)
    assert low.threshold == np.inf and low.reason  # no labelled row is as confident as any open text
    assert promise(np.ones(200), np.ones(200, bool), np.zeros(0), 0.9).reason == "no text is left to be answered"
    assert (
        "a promise of 99.9 % takes at least 2,995 labelled rows"
        in promise(np.ones(9), np.ones(9, bool), np.ones(9), 0.999).reason
    )
