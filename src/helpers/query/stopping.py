"""When to stop labelling: pure functions from what the rounds left behind to (stop, reason).

Every rule returns whether it would stop and one sentence with its figures. None of them acts: the notebook prints the sentences and
a person decides. Each looks at one thing, and each can be fooled, so read several.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.stats import t as student
from sklearn.metrics import cohen_kappa_score

from helpers.env import UserError

Verdict = tuple[bool, str]


def budget(spent: float, limit: float, unit: str = "labels") -> Verdict:
    """Stop when `limit` units, of labels or of money, are spent."""
    if not limit >= 0:
        raise UserError(f"Parameter limit={limit} is not a budget: give a number from 0 up.")
    left = limit - spent
    if left <= 0:
        return True, f"The budget of {limit:,} {unit} is spent ({spent:,})."
    return False, f"{left:,} of {limit:,} {unit} are left."


def kappa_average(predictions: Sequence[np.ndarray], threshold: float = 0.99, window: int = 3) -> Verdict:
    """Stop when successive learners agree on a set that nobody labels (Bloodgood & Vijay-Shanker 2009, CoNLL, arXiv 1409.5165).

    `predictions` holds one array (m,) of class numbers a round, always of the same texts, which should be some 2,000 random ones of
    the pool. Cohen's kappa between neighbours, averaged over the last `window` pairs, must reach `threshold`.
    """
    rounds = _rounds(predictions)
    if len(rounds) <= window:
        return False, f"Kappa needs {window + 1} rounds, there are {len(rounds)}."
    recent = rounds[-window - 1 :]
    if any(len(np.unique(r)) < 2 for r in recent):
        return False, "A learner gave every text of the stop set the same class: its agreement says nothing."
    kappas = [cohen_kappa_score(a, b) for a, b in pairwise(recent)]
    mean = float(np.mean(kappas))
    stop = mean >= threshold
    sign = "at least" if stop else "below"
    return stop, (
        f"Successive learners agree on {len(recent[-1]):,} texts with a mean kappa of {mean:.3f} over {window} rounds, "
        f"{sign} {threshold}."
    )


def classification_change(previous: np.ndarray, current: np.ndarray, threshold: float = 0.0) -> Verdict:
    """Stop when the answers to the unlabelled texts (n,) no longer change from round to round (Zhu et al. 2008, COLING).

    `threshold` is the share of changed answers that still counts as none; both arrays are of the same texts.
    """
    before, now = _rounds([previous, current])
    if len(np.unique(now)) < 2:
        return False, "The learner gives every text the same class: that its answers stay says nothing."
    changed = int((before != now).sum())
    share = changed / len(now)
    stop = share <= threshold
    return stop, (
        f"{changed:,} of {len(now):,} answers changed since the last round ({share:.2%}), "
        f"{'no more' if stop else 'more'} than {threshold:.2%}."
    )


def overall_uncertainty(probabilities: np.ndarray, threshold: float = 0.05) -> Verdict:
    """Stop when the mean entropy of the unlabelled texts, as a share of its maximum, is small (Zhu et al. 2008, COLING).

    `probabilities` (n, classes). An over-confident learner passes at once: calibrate first.
    """
    p = np.asarray(probabilities, dtype=float)
    if p.ndim != 2 or p.shape[1] < 2 or not np.isfinite(p).all():
        raise UserError(f"Parameter probabilities has shape {p.shape}: it needs finite scores of two classes or more.")
    if not len(p):
        return True, "No unlabelled text is left."
    p = np.clip(p, 1e-12, 1)
    mean = float(-(p * np.log(p)).sum(1).mean() / np.log(p.shape[1]))
    stop = mean <= threshold
    return stop, (
        f"The mean uncertainty of {len(p):,} unlabelled texts is {mean:.3f} of the largest possible, "
        f"{'no more' if stop else 'more'} than {threshold}."
    )


def plateau(
    scores: Sequence[float], low: Sequence[float], high: Sequence[float], window: int = 3, gain: float = 0.01
) -> Verdict:
    """Stop when the last `window` rounds gained less than `gain` on the best score before them and stay inside its interval.

    `scores`, `low` and `high` (rounds,) are the validation score and its interval, as the learning curve records them.
    """
    s, lo, hi = (np.asarray(v, dtype=float) for v in (scores, low, high))
    if not len(s) == len(lo) == len(hi):
        raise UserError(
            f"Parameters scores, low and high have {len(s)}, {len(lo)} and {len(hi)} values: give one a round."
        )
    if not all(np.isfinite(v).all() for v in (s, lo, hi)):
        raise UserError("Parameter scores, low or high has a value that is not finite: leave that round out.")
    if len(s) <= window:
        return False, f"A plateau needs {window + 1} rounds, there are {len(s)}."
    best = int(s[:-window].argmax())
    recent = s[-window:]
    gained = float(recent.max() - s[best])
    span = f"[{lo[best]:.3f}, {hi[best]:.3f}]"
    found = f"The best of the last {window} rounds is {recent.max():.3f}, {gained:+.3f} on the best before, {s[best]:.3f} {span}"
    if gained >= gain:
        return False, f"{found}: the score still rises by {gain} or more."
    if recent.min() < lo[best]:
        return False, f"{found}, but one fell to {recent.min():.3f}, below the interval: look at the last labels first."
    half = (hi[best] - lo[best]) / 2
    blind = f", though an interval of ±{half:.3f} hides gains smaller than that" if half > gain else ""
    return True, f"{found}: less than {gain} was gained{blind}."


def projection(
    labels: Sequence[int],
    scores: Sequence[float],
    more: int = 100,
    worth: float = 0.01,
    draws: int = 1000,
    seed: int = 0,
) -> dict:
    """What the next `more` labels would buy: `gain` with a 95 % interval `low`, `high`, whether that `tells`, and a `reason`.

    `labels` and `scores` (rounds,) are the learning curve. Rising curves s = a − b·n^−c (Figueroa et al. 2012, BMC Medical
    Informatics and Decision Making 12:8) and s = a − b·exp(−n / t), with a ≤ 1, are fitted. The interval is a bootstrap of the
    points' residuals in which every draw chooses its own curve, widened for few points: on simulated curves of 6 to 20 rounds it
    held 90 to 97 times in 100. It tells when the interval lies on one side of `worth`: the labels are worth it, or they are not.
    """
    n, s = np.asarray(labels, dtype=float), np.asarray(scores, dtype=float)
    if len(n) != len(s) or not (np.isfinite(n).all() and np.isfinite(s).all()) or (n <= 0).any():
        raise UserError(
            f"Parameters labels ({len(n)}) and scores ({len(s)}) need one finite pair a round, labels above 0."
        )
    if more <= 0:
        raise UserError(f"Parameter more={more} is no number of labels to buy: give one above 0.")
    blank = {"labels": int(n.max(initial=0)) + more, "gain": None, "low": None, "high": None, "tells": False}
    if len(np.unique(n)) < 5:
        return blank | {"reason": f"It cannot be told from {len(np.unique(n))} rounds: a curve needs 5."}
    now = n.max()
    gain, fitted = _fit(n, s[None], now, now + more)
    left = len(n) - 3  # three numbers were fitted
    residual = (s - fitted[0]) * np.sqrt(len(n) / left) * student.ppf(0.975, left) / 1.96  # few points: wider
    drawn = np.random.default_rng(seed).choice(residual - residual.mean(), (draws, len(n)))
    low, high = np.quantile(_fit(n, fitted + drawn, now, now + more)[0], [0.025, 0.975])
    span = f"{gain[0]:+.3f} [{low:+.3f}, {high:+.3f}]"
    found = f"{more} more labels would add {span} to the {fitted[0][n.argmax()]:.3f} at {now:,.0f}"
    tells = bool(low >= worth or high < worth)
    end = (
        f"{worth} or more"
        if low >= worth
        else f"less than {worth}"
        if tells
        else f"it cannot be told whether {worth} or more"
    )
    numbers = {"gain": float(gain[0]), "low": float(low), "high": float(high), "tells": tells}
    return blank | numbers | {"reason": f"{found}: {end}."}


def _fit(n: np.ndarray, scores: np.ndarray, now: float, then: float) -> tuple[np.ndarray, np.ndarray]:
    """Gain from `now` to `then` and fitted values (draws, m) of the rising curve nearest to each row of `scores` (draws, m)."""
    shapes = [lambda v, c=c: (v / now) ** -c for c in np.geomspace(0.05, 3, 30)]
    shapes += [lambda v, t=t: np.exp((now - v) / t) for t in now * np.geomspace(0.05, 10, 30)]
    least = np.full(len(scores), np.inf)
    gain, fitted = np.zeros(len(scores)), np.zeros_like(scores)
    for shape in shapes:
        u = shape(n)
        deviation = u - u.mean()
        slope = np.minimum((scores @ deviation) / (deviation @ deviation), 0)  # a falling curve counts as flat
        top = scores.mean(1) - slope * u.mean()
        over = top > 1  # no score exceeds 1: a = 1, and the slope follows
        slope = np.where(over, np.minimum(((scores - 1) @ u) / (u @ u), 0), slope)
        values = np.where(over, 1, top)[:, None] + slope[:, None] * u
        error = ((scores - values) ** 2).sum(1)
        better = error < least
        least[better], fitted[better] = error[better], values[better]
        gain[better] = slope[better] * (shape(then) - 1)
    return gain, fitted


def _rounds(predictions: Sequence[np.ndarray]) -> list[np.ndarray]:
    rounds = [np.asarray(p) for p in predictions]
    for r in rounds:
        if r.ndim != 1 or not len(r) or len(r) != len(rounds[0]):
            raise UserError(
                f"Parameter predictions has a round of shape {r.shape}: every round answers the same texts."
            )
    return rounds
