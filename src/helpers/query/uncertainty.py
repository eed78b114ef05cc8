"""Query strategies for texts that the learner is unsure of, alone or spread over the pool."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import kmeans_plusplus

from helpers.query.arrays import Array, filled, kmeans, largest, members_of, round_robin

# Upper bounds of BAIT: its candidates and its sample of the pool, and their dimensions.
BAIT_ROWS, BAIT_WIDTH = 20_000, 512


def margins(probabilities: Array) -> Array:
    """Gap between the two largest probabilities of every text."""
    two_largest = np.partition(probabilities, -2, axis=1)[:, -2:]
    return two_largest[:, 1] - two_largest[:, 0]


def entropies(probabilities: Array) -> Array:
    """Entropy of every row, in nats."""
    p = np.clip(probabilities, 1e-12, 1.0)
    return -(p * np.log(p)).sum(1)


def margin(rows: int, k: int, seed: int, *, probabilities: Array) -> Array:
    """Select the texts with the smallest gap between the two likeliest classes (Scheffer et al. 2001)."""
    return largest(-margins(probabilities), k, seed)


def entropy(rows: int, k: int, seed: int, *, probabilities: Array) -> Array:
    """Select the texts with the largest predictive entropy (Settles & Craven 2008)."""
    return largest(entropies(probabilities), k, seed)


def least_confidence(rows: int, k: int, seed: int, *, probabilities: Array) -> Array:
    """Select the texts whose likeliest class is least likely (Lewis & Gale 1994)."""
    return largest(1 - probabilities.max(1), k, seed)


def power_margin(rows: int, k: int, seed: int, *, probabilities: Array) -> Array:
    """Draw texts with probability proportional to one minus the margin (Kirsch et al. 2021, arXiv 2106.12059)."""
    with np.errstate(divide="ignore"):
        logits = np.log(np.maximum(1 - margins(probabilities), 0))
    # The largest sums of logit and Gumbel noise are draws without replacement.
    return largest(logits + np.random.default_rng([seed, 1]).gumbel(size=rows), k, seed)


def cluster_margin(rows: int, k: int, seed: int, *, probabilities: Array, embeddings: Array) -> Array:
    """Cluster the 10 k texts of smallest margin; take from each in turn (Citovsky et al. 2021, arXiv 2107.14263)."""
    candidates = margin(rows, 10 * k, seed, probabilities=probabilities)
    if len(candidates) <= k:
        return candidates
    clusters = kmeans(embeddings[candidates], k, seed)
    members = [candidates[positions] for positions in members_of(clusters)]  # each in order of margin
    return np.array(round_robin(sorted(members, key=len), k))


def badge(rows: int, k: int, seed: int, *, probabilities: Array, embeddings: Array) -> Array:
    """Draw texts by k-means++ on the gradients of the last layer (BADGE, Ash et al. 2020, arXiv 1906.03671).

    The gradient of a text is the outer product of p − onehot(argmax p) and its embedding: long where the learner is
    unsure.
    """
    residuals = probabilities.astype(np.float64)
    residuals[np.arange(rows), residuals.argmax(1)] -= 1
    if residuals.shape[1] == 2:
        residuals = residuals[:, :1]  # the other column is its negative: distances only double
    gradients = (residuals[:, :, None] * embeddings[:, None, :]).reshape(rows, -1)
    # One trial a draw is plain k-means++, as in the paper. Equal gradients can be drawn twice.
    draws = kmeans_plusplus(gradients, min(k, rows), random_state=seed, n_local_trials=1)[1]
    return filled(list(dict.fromkeys(draws.tolist())), rows, k, seed)


def bait(
    rows: int,
    k: int,
    seed: int,
    *,
    probabilities: Array,
    embeddings: Array,
    labelled: Array,
    labelled_probabilities: Array,
) -> Array:
    """Select one by one the text whose label most lowers the expected variance of the answers to the pool.

    BAIT (Ash et al. 2021, arXiv 2106.09675). The Fisher information is that of a logistic regression with a unit ridge
    on centred rows of unit length; a text weighs (1 − Σ p²) / 2, which is p (1 − p) with two classes. Candidates are
    the texts of smallest margin: all of them at first, then a share k / m of the pool with m labels, never fewer than
    20 k. Above BAIT_ROWS rows candidates and pool are sampled; above BAIT_WIDTH columns rows are projected at random.
    """
    rng = np.random.default_rng(seed)
    count = int(np.clip(rows * min(k, rows) / max(len(labelled), 1), 20 * min(k, rows), rows))
    candidates = margin(rows, count, seed, probabilities=probabilities)
    if count > BAIT_ROWS:
        candidates = rng.permutation(candidates)[: max(BAIT_ROWS, k)]
    sample = rng.permutation(rows)[:BAIT_ROWS]
    projection, width = None, embeddings.shape[1]
    if width > BAIT_WIDTH:
        projection = rng.normal(0, BAIT_WIDTH**-0.5, (width, BAIT_WIDTH))
    centre = embeddings[sample].mean(0)
    x, x_labelled, x_sample = (
        _unit_rows(part - centre, projection) for part in (embeddings[candidates], labelled, embeddings[sample])
    )
    weights, labelled_weights, sample_weights = (
        (1 - (part**2).sum(1)) / 2
        for part in (probabilities[candidates], labelled_probabilities, probabilities[sample])
    )
    information = np.eye(x.shape[1]) + (x_labelled * labelled_weights[:, None]).T @ x_labelled
    pool_information = (x_sample * sample_weights[:, None]).T @ x_sample / len(sample)
    picks = _bait_picks(x, weights, np.linalg.inv(information), pool_information, min(k, rows))
    return candidates[picks]


def _bait_picks(x: Array, weights: Array, inverse: Array, pool_information: Array, k: int) -> list[int]:
    """Greedy picks among the rows of `x`: each lowers tr(inverse · pool_information) most.

    With A the information of the labelled rows and F that of the pool, a pick changes A by a matrix of rank one, so
    that zᵀ A⁻¹ z (`variance`) and zᵀ A⁻¹ F A⁻¹ z (`gain`) of every row z follow from those before.
    """
    variance = ((x @ inverse) * x).sum(1)
    gain = ((x @ (inverse @ pool_information @ inverse)) * x).sum(1)
    picks, is_open = [], np.ones(len(x), dtype=bool)
    for _ in range(k):
        pick = int(np.where(is_open, weights * gain / (1 + weights * variance), -1).argmax())
        picks.append(pick)
        is_open[pick] = False
        a = inverse @ x[pick]
        step = weights[pick] / (1 + weights[pick] * variance[pick])
        b, along = pool_information @ a, x @ a
        gain += step * along * (step * (a @ b) * along - 2 * (x @ (inverse @ b)))
        variance -= step * along**2
        inverse = inverse - step * np.outer(a, a)
    return picks


def _unit_rows(rows: Array, projection: Array | None) -> Array:
    """The rows as float64 of length one, projected if a projection is passed."""
    rows = rows.astype(np.float64) if projection is None else rows @ projection
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
