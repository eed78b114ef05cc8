"""A round beside fit and select: a strategy's inputs, the stopping rules, and a projection.

A stopping rule returns (whether it would stop, a sentence with its figures). Each rule looks at one
thing and can be misled.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.stats import t as student
from sklearn.metrics import cohen_kappa_score

from helpers.env import UserError
from helpers.query.strategies import inputs_of
from helpers.query.uncertainty import entropies

Verdict = tuple[bool, str]
RULES = ("budget", "kappa", "change", "uncertainty", "plateau")
WINDOW = 3  # rounds, or pairs of rounds, that kappa and plateau look back on
KAPPA = 0.99  # agreement from which kappa stops
UNCERTAINTY = 0.05  # share of the largest entropy up to which uncertainty stops
WIDEST = 0.2  # half of an interval, from which on a score says nothing
GAIN = 0.01  # macro-F1 that counts as a gain
AHEAD = 100  # labels that the projection looks ahead


def strategy_inputs(strategy: str, learner, labelled_rows: list[dict], open_rows: list[dict]) -> dict[str, Any]:
    """Collect what a strategy declares and a classification learner and the records can provide.

    The learner scores the open or the labelled rows only if the strategy declares one of the two arrays that come from
    that; both arrays are then returned.
    """
    names, task = set(inputs_of(strategy)), learner.task
    inputs: dict[str, Any] = {}
    if "groups" in names:
        if not task.groups:
            remedy = "name a column in group_columns, or choose another strategy"
            raise UserError(f"Strategy {strategy} needs groups: {remedy}.")
        inputs["groups"] = np.array([str(row.get(task.groups[0], "")) for row in open_rows])
    if names & {"probabilities", "embeddings"}:
        inputs["probabilities"], inputs["embeddings"] = learner.score([row["text"] for row in open_rows])
    if names & {"labelled", "labelled_probabilities"}:
        probabilities, embeddings = learner.score([row["text"] for row in labelled_rows])
        inputs |= {"labelled": embeddings, "labelled_probabilities": probabilities}
    if names & {"held_out", "errors"}:
        embeddings, probabilities, classes = learner.checked()
        if len(classes):
            inputs |= {"held_out": embeddings, "errors": (probabilities.argmax(1) != classes).astype(float)}
    return inputs


def stop_set(pool: list[dict], size: int = 2000, seed: int = 0) -> list[str]:
    """Texts whose answers kappa and change compare from round to round: the same ones in every round."""
    return [pool[i]["text"] for i in np.random.default_rng([seed, 7]).permutation(len(pool))[:size]]


# --- when to stop ---


def verdict(rule: str, finished_rounds: list[dict], limit: int, probabilities: np.ndarray | None = None) -> Verdict:
    """Say whether a rule would stop now, and why.

    Parameters
    ----------
    rule : str
        One of RULES. The budget ends labelling under every rule.
    finished_rounds : list of dict
        `picks`, `macro_f1`, `low` and `high` of every round, and `answers` (texts,) to the stop set for kappa and
        change. The last is the present round, which has no picks yet.
    limit : int
        Labels that may be bought.
    probabilities : float array (texts, classes), optional
        The learner's answers to open texts, for uncertainty.
    """
    if rule not in RULES:
        raise UserError(f"Parameter stop={rule!r} is unknown: choose one of {', '.join(sorted(RULES))}.")
    if not limit >= 0:
        raise UserError(f"Parameter limit={limit} is not a budget: pass a number from 0 up.")
    bought = sum(len(row.get("picks", [])) for row in finished_rounds)
    if not limit:
        return True, "No label is bought: those of before fill the budget, or the pool is empty."
    if bought >= limit:
        return True, f"The budget of {limit:,} labels is spent ({bought:,})."
    if rule == "budget":
        return False, f"{limit - bought:,} of {limit:,} labels are left."
    if rule == "plateau":
        return plateau(finished_rounds)
    if rule == "uncertainty":
        if probabilities is None:
            return False, "No open text was scored in this round, so its uncertainty is unknown."
        return overall_uncertainty(probabilities)
    answers = [np.array(row["answers"]) for row in finished_rounds[-WINDOW - 1 :]]
    if len({len(classes) for classes in answers}) > 1:
        raise UserError("Two rounds answered different numbers of texts of the stop set: start a new run_id.")
    return kappa_average(answers) if rule == "kappa" else classification_change(answers)


def kappa_average(answers: Sequence[np.ndarray]) -> Verdict:
    """Stop when Cohen's kappa between neighbouring rounds is high on average over WINDOW pairs.

    Bloodgood & Vijay-Shanker 2009, arXiv 1409.5165.
    """
    if len(answers) <= WINDOW:
        return False, f"Kappa needs {WINDOW + 1} rounds, there are {len(answers)}."
    if any(len(np.unique(classes)) < 2 for classes in answers):
        return False, "A learner gave every text of the stop set the same class: its agreement says nothing."
    kappa = float(np.mean([cohen_kappa_score(a, b) for a, b in pairwise(answers)]))
    facts = f"{len(answers[-1]):,} texts with a mean kappa of {kappa:.3f} over {WINDOW} rounds"
    bound = "at least" if kappa >= KAPPA else "below"
    return kappa >= KAPPA, f"Successive learners agree on {facts}, {bound} {KAPPA}."


def classification_change(answers: Sequence[np.ndarray]) -> Verdict:
    """Stop when no answer to the stop set changed since the last round (Zhu et al. 2008, COLING)."""
    if len(answers) < 2:
        return False, "A change needs two rounds, there is one."
    before, now = answers[-2:]
    if len(np.unique(now)) < 2:
        return False, "The learner gives every text the same class: unchanged answers say nothing."
    count = int((before != now).sum())
    if not count:
        return True, f"None of {len(now):,} answers changed since the last round."
    return False, f"{count:,} of {len(now):,} answers changed since the last round ({count / len(now):.2%})."


def overall_uncertainty(probabilities: np.ndarray) -> Verdict:
    """Stop when the mean entropy of open texts is a small share of the largest possible (Zhu et al. 2008, COLING).

    An over-confident learner meets this at once: calibrate first.
    """
    mean = float(entropies(probabilities).mean() / np.log(probabilities.shape[1]))
    facts = f"The mean uncertainty of {len(probabilities):,} unlabelled texts is {mean:.3f} of the largest possible"
    bound = "no more" if mean <= UNCERTAINTY else "more"
    return mean <= UNCERTAINTY, f"{facts}, {bound} than {UNCERTAINTY}."


def plateau(finished_rounds: list[dict]) -> Verdict:
    """Stop when the last WINDOW rounds gained less than GAIN on the best score before and stayed inside its interval."""
    scores, low, high = ([row[column] for row in finished_rounds] for column in ("macro_f1", "low", "high"))
    if len(scores) <= WINDOW:
        return False, f"A plateau needs {WINDOW + 1} rounds, there are {len(scores)}."
    best = int(np.argmax(scores[:-WINDOW]))
    recent = scores[-WINDOW:]
    gain = max(recent) - scores[best]
    facts = (
        f"The best of the last {WINDOW} rounds is {max(recent):.3f}, {gain:+.3f} on the best before, "
        f"{scores[best]:.3f} [{low[best]:.3f}, {high[best]:.3f}]"
    )
    if gain >= GAIN:
        return False, f"{facts}: the score still rises by {GAIN} or more."
    if min(recent) < low[best]:
        return False, f"{facts}, but one fell to {min(recent):.3f}, below the interval: check the last labels first."
    half_width = (high[best] - low[best]) / 2
    if half_width > WIDEST:
        return False, f"{facts}: ±{half_width:.3f} on so few validation rows says nothing."
    if half_width > GAIN:
        return True, f"{facts}: less than {GAIN} was gained, though ±{half_width:.3f} hides gains smaller than that."
    return True, f"{facts}: less than {GAIN} was gained."


# --- what more labels would bring ---


def projection(labels: Sequence[int], scores: Sequence[float], rounds: int | None = None) -> str:
    """Say how much macro-F1 the next AHEAD labels would add to a learning curve, and whether that is worth GAIN.

    `rounds` is how many rounds the run can have.
    """
    n, s = np.asarray(labels, dtype=float), np.asarray(scores, dtype=float)
    distinct = len(np.unique(n))
    if rounds is not None and distinct <= rounds < 5:
        return f"No projection: a curve needs 5 rounds, and this run has {rounds}."
    if distinct < 5:
        return f"No projection yet: a curve needs 5 rounds, there are {distinct}."
    gain, now, low, high = gain_with_interval(n, s, AHEAD)
    conclusion = f"inconclusive, {GAIN} or more is possible but not certain"
    if low >= GAIN:
        conclusion = f"{GAIN} or more"
    elif high < GAIN:
        conclusion = f"less than {GAIN}"
    return (
        f"{AHEAD} more labels would add {gain:+.3f} [{low:+.3f}, {high:+.3f}] to the {now:.3f} "
        f"at {n.max():,.0f}: {conclusion}."
    )


def gain_with_interval(n: np.ndarray, s: np.ndarray, more: int, seed: int = 0) -> tuple[float, float, float, float]:
    """Gain by `more` labels, the fitted score now, and the bounds of the gain's 95 % interval.

    Rising curves s = a − b·n^−c (Figueroa et al. 2012, BMC Medical Informatics and Decision Making 12:8) and
    s = a − b·exp(−n / t), with a ≤ 1, are fitted to the scores `s` of `n` labels (rounds,). The interval is a bootstrap
    of the residuals in which every draw chooses its own curve, widened for few points: on simulated curves of 6 to 20
    rounds it held 90 to 97 times in 100.
    """
    now = n.max()
    gain, fitted = _fit(n, s[None], now, now + more)
    degrees = len(n) - 3  # three numbers were fitted
    widening = np.sqrt(len(n) / degrees) * student.ppf(0.975, degrees) / 1.96
    residuals = (s - fitted[0]) * widening
    noise = np.random.default_rng(seed).choice(residuals - residuals.mean(), (1000, len(n)))
    low, high = np.quantile(_fit(n, fitted + noise, now, now + more)[0], [0.025, 0.975])
    return float(gain[0]), float(fitted[0, n.argmax()]), float(low), float(high)


def _fit(n: np.ndarray, scores: np.ndarray, now: float, then: float) -> tuple[np.ndarray, np.ndarray]:
    """Gains from `now` to `then` labels (draws,) and values (draws, rounds) of the rising curves nearest to `scores`."""
    shapes = [lambda v, c=c: (v / now) ** -c for c in np.geomspace(0.05, 3, 30)]
    shapes += [lambda v, t=t: np.exp((now - v) / t) for t in now * np.geomspace(0.05, 10, 30)]
    smallest_error = np.full(len(scores), np.inf)
    gain, fitted = np.zeros(len(scores)), np.zeros_like(scores)
    for shape in shapes:
        u = shape(n)
        deviation = u - u.mean()
        slope = np.minimum((scores @ deviation) / (deviation @ deviation), 0)  # a falling curve counts as flat
        ceiling = scores.mean(1) - slope * u.mean()
        over = ceiling > 1  # no score exceeds 1: a = 1, and the slope follows
        slope = np.where(over, np.minimum(((scores - 1) @ u) / (u @ u), 0), slope)
        values = np.where(over, 1, ceiling)[:, None] + slope[:, None] * u
        error = ((scores - values) ** 2).sum(1)
        better = error < smallest_error
        smallest_error[better], fitted[better] = error[better], values[better]
        gain[better] = slope[better] * (shape(then) - 1)
    return gain, fitted
