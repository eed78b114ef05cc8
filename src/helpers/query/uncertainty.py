"""Query strategies that ask what the learner is unsure of, alone or spread over clusters; arguments as `acquire` says."""

from __future__ import annotations

import numpy as np

from helpers.env import UserError
from helpers.query.arrays import (
    Array,
    Maybe,
    checked_probabilities,
    chunks,
    entropy_of,
    filled,
    kmeans,
    labelled_rows,
    largest,
    mean_of_draws,
    members_of,
    required,
    round_robin,
    vectors,
)

MEASURES = ("least_confidence", "margin", "entropy", "bald", "star")
DRAWS = ("power", "softmax", "softrank")


def uncertainty(
    probabilities: Array,
    measure: str = "margin",
    base_probabilities: Maybe = None,
    tuned_weight: float = 0.5,
) -> Array:
    """How unsure the learner is of each text, the higher the less sure: shape (n,), by one of MEASURES.

    Draws (draws, n, classes), of MC dropout or an ensemble, are averaged, except by `bald`: the part of the entropy on which
    the draws disagree (Houlsby et al. 2011, arXiv 1112.5745). `star` mixes the entropies of the tuned and the base model, the
    tuned one with weight `tuned_weight`, to be raised round by round (after Zhang et al. 2024, arXiv 2403.01165).
    """
    p = checked_probabilities(probabilities)
    if measure == "bald":
        if p.ndim != 3:
            raise UserError(f"Parameter probabilities has shape {p.shape}: bald needs (draws, texts, classes).")
        return entropy_of(p.mean(0)) - entropy_of(p).mean(0)
    if measure not in MEASURES:
        raise UserError(f"Parameter measure={measure!r} is unknown: choose one of {', '.join(MEASURES)}.")
    p = mean_of_draws(p)
    if measure == "star":
        base = mean_of_draws(checked_probabilities(required(base_probabilities, "base_probabilities", "star")))
        return tuned_weight * entropy_of(p) + (1 - tuned_weight) * entropy_of(base)
    if measure == "entropy":
        return entropy_of(p)
    top = np.partition(p, -2, axis=1)[:, -2:]
    return top[:, 0] - top[:, 1] if measure == "margin" else 1 - top[:, 1]


def uncertain(
    probabilities: Array,
    embeddings: Array,
    k: int,
    seed: int = 0,
    *,
    measure: str = "margin",
    how: str = "top",
    beta: float = 1.0,
    base_probabilities: Maybe = None,
    tuned_weight: float = 0.5,
) -> Array:
    """The most uncertain texts by one of MEASURES, or, where `how` is not `top`, a draw that favours them (`stochastic`)."""
    scores = uncertainty(probabilities, measure, base_probabilities, tuned_weight)
    if how == "top":
        return largest(scores, k, seed)
    return stochastic(np.maximum(scores + (measure == "margin"), 0), k, seed, how, beta)


def margin(probabilities: Array, embeddings: Array, k: int, seed: int = 0) -> Array:
    """Smallest gap between the two likeliest classes (Scheffer et al. 2001)."""
    return uncertain(probabilities, embeddings, k, seed, measure="margin")


def entropy(probabilities: Array, embeddings: Array, k: int, seed: int = 0) -> Array:
    """Largest predictive entropy (Shannon; Settles & Craven 2008)."""
    return uncertain(probabilities, embeddings, k, seed, measure="entropy")


def stochastic(scores: Array, k: int, seed: int = 0, how: str = "power", beta: float = 1.0) -> Array:
    """`k` positions drawn without replacement, the likelier the higher their score (n,): Gumbel noise, then the largest.

    `power` draws in proportion to score ** beta, `softmax` to exp(beta · score), `softrank` to rank ** -beta; a large `beta` is
    nearly greedy (Kirsch et al. 2021, arXiv 2106.12059).
    """
    if how not in DRAWS:
        raise UserError(f"Parameter how={how!r} is unknown: choose one of top, {', '.join(DRAWS)}.")
    if not beta > 0:
        raise UserError(f"Parameter beta={beta} is no strength of preference: give a number above 0.")
    if how == "power" and scores.min(initial=0) < 0:
        raise UserError(f"Parameter scores has a value of {scores.min():.3g}: power sampling needs scores from 0 up.")
    if how == "softrank":
        rank = np.empty(len(scores))
        rank[largest(scores, len(scores), seed)] = np.arange(1, len(scores) + 1)
        logit = -np.log(rank)
    else:
        with np.errstate(divide="ignore"):
            logit = np.log(scores) if how == "power" else scores
    return largest(logit + np.random.default_rng([seed, 1]).gumbel(size=len(scores)) / beta, k, seed)


def cluster_margin(probabilities: Array, embeddings: Array, k: int, seed: int = 0) -> Array:
    """The most uncertain tenfold, then round-robin over its clusters from the smallest (Citovsky et al. 2021, arXiv 2107.14263)."""
    candidates = margin(probabilities, embeddings, 10 * k, seed)
    if len(candidates) <= k:
        return candidates
    clusters = kmeans(embeddings[candidates], min(k, len(candidates)), seed)
    members = [candidates[rows] for rows in members_of(clusters)]  # each in order of margin
    return np.array(round_robin(sorted(members, key=len), k))


def badge(probabilities: Array, embeddings: Array, k: int, seed: int = 0) -> Array:
    """k-means++ draws among the gradients of the last layer, large where unsure (Ash et al. 2020, arXiv 1906.03671).

    A gradient is the product of p − onehot(argmax p), (n, classes), and the embedding, (n, d): it is never formed, as inner
    products factor. A draw in proportion to the squared distance is made by rejection from an upper bound of it, so that
    only the texts that come up are compared with all picks.
    """
    p, x = mean_of_draws(checked_probabilities(probabilities)).astype(np.float64), vectors(embeddings)
    rng = np.random.default_rng(seed)
    p[np.arange(len(p)), p.argmax(1)] -= 1
    size = (p**2).sum(1) * np.concatenate([np.einsum("ij,ij->i", x[c], x[c]) for c in chunks(len(x))])
    if k <= 0 or size.max(initial=0) <= 0:
        return filled([], len(x), k, seed)
    picks = [int(largest(size, 1, seed)[0])]
    bound = size + size[picks[0]] - 2 * (p @ p[picks[0]]) * (x @ x[picks[0]])
    bound = np.where(bound > 1e-6 * (size + size[picks[0]]), bound, 0)
    while len(picks) < min(k, len(x)):
        tries, fresh = 32, []
        while not len(fresh):
            tries, total = min(2 * tries, 2**14), bound.cumsum()
            if total[-1] <= 0:  # every gradient left repeats a pick
                return filled(picks, len(x), k, seed)
            rows = np.minimum(np.searchsorted(total, rng.random(tries) * total[-1], side="right"), len(x) - 1)
            proposed = bound[rows]
            inner = (p[rows] @ p[picks].T) * (x[rows].astype(np.float64) @ x[picks].astype(np.float64).T)
            exact = (size[rows, None] + size[picks] - 2 * inner).min(1)
            bound[rows] = np.where(exact > 1e-6 * size[rows], np.minimum(exact, proposed), 0)
            fresh = rows[rng.random(tries) * proposed < bound[rows]]
        picks.append(int(fresh[0]))
        bound[picks[-1]] = 0
    return np.array(picks)


def bait(
    probabilities: Array,
    embeddings: Array,
    k: int,
    seed: int = 0,
    *,
    labelled: Maybe = None,
    labelled_probabilities: Maybe = None,
    share: float = 1.0,
) -> Array:
    """Again and again the text whose label most lowers the answers' expected variance (BAIT, Ash et al. 2021, arXiv 2106.09675).

    The Fisher information is that of a logistic regression with unit ridge on centred, unit-length rows; a text weighs
    (1 − Σ p²) / 2, p (1 − p) with two classes. Candidates are the most uncertain `share` · k / m of the pool, twenty batches at
    least: all of it at first, ever fewer as the m `labelled` rows grow. Above 20,000 rows, candidates and pool are drawn from;
    above 512 columns, rows are projected at random.
    """
    p, x, rng = mean_of_draws(checked_probabilities(probabilities)), vectors(embeddings), np.random.default_rng(seed)
    known, k = labelled_rows(labelled, "labelled", x), min(k, len(x))
    if not len(known):
        known, q = x[:0], p[:0]
    else:
        q = required(labelled_probabilities, "labelled_probabilities", "bait", known)
    count = int(np.clip(share * len(x) * k / max(len(known), 1), 20 * k, len(x)))
    rows = largest(uncertainty(p, "margin"), count, seed)
    rows = rows if count <= 20_000 else rng.permutation(rows)[: max(20_000, k)]
    drawn = rng.permutation(len(x))[:20_000]
    flat = rng.normal(0, 512**-0.5, (x.shape[1], 512)) if x.shape[1] > 512 else None
    centre = x[drawn].mean(0)
    z, old, pool = (_unit(part - centre, flat) for part in (x[rows], known, x[drawn]))
    w, w_old, w_pool = ((1 - (part**2).sum(1)) / 2 for part in (p[rows], mean_of_draws(np.asarray(q)), p[drawn]))
    inverse = np.linalg.inv(np.eye(z.shape[1]) + (old * w_old[:, None]).T @ old)
    fisher = (pool * w_pool[:, None]).T @ pool / max(len(pool), 1)
    return rows[_bait_picks(z, w, inverse, fisher, k)]


def _bait_picks(z: Array, w: Array, inverse: Array, fisher: Array, k: int) -> Array:
    """Greedy picks among `z` (n, d): each lowers tr(inverse · fisher) most; both quadratic forms follow by rank-one updates."""
    variance = ((z @ inverse) * z).sum(1)  # zᵀ A⁻¹ z
    gain = ((z @ (inverse @ fisher @ inverse)) * z).sum(1)  # zᵀ A⁻¹ F A⁻¹ z
    picks, open_ = [], np.ones(len(z), dtype=bool)
    for _ in range(k):
        picks.append(int(np.where(open_, w * gain / (1 + w * variance), -1).argmax()))
        open_[picks[-1]] = False
        a = inverse @ z[picks[-1]]
        step = w[picks[-1]] / (1 + w[picks[-1]] * variance[picks[-1]])
        b, along = fisher @ a, z @ a
        gain += step * along * (step * (a @ b) * along - 2 * (z @ (inverse @ b)))
        variance -= step * along**2
        inverse = inverse - step * np.outer(a, a)
    return np.array(picks, dtype=int)


def _unit(rows: Array, flat: Maybe) -> Array:
    rows = rows.astype(np.float64) if flat is None else rows @ flat
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
