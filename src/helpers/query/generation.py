"""Query strategies for generation: which inputs should get a written target next."""

from __future__ import annotations

import numpy as np
from sklearn.preprocessing import normalize

from helpers.query.arrays import Array, largest
from helpers.query.quotas import best_of_clusters

IDDS_WEIGHT = 0.67


def hassan(rows: int, k: int, seed: int, *, embeddings: Array, compliance: Array) -> Array:
    """Select in every region, equally many, the inputs whose outputs comply least (Hassan et al. 2024, arXiv 2410.13641)."""
    return best_of_clusters(_violation(compliance), embeddings, k, seed)


def hassan_proportional(rows: int, k: int, seed: int, *, embeddings: Array, compliance: Array) -> Array:
    """Select as `hassan` does, from every region in proportion to its size."""
    return best_of_clusters(_violation(compliance), embeddings, k, seed, proportional=True)


def top_n(rows: int, k: int, seed: int, *, compliance: Array) -> Array:
    """Select the inputs whose outputs comply least, without clusters."""
    return largest(_violation(compliance), k, seed)


def cluster_random(rows: int, k: int, seed: int, *, embeddings: Array) -> Array:
    """Select equally many inputs from every region, at random inside it."""
    return best_of_clusters(np.random.default_rng(seed).random(rows), embeddings, k, seed)


def nll(rows: int, k: int, seed: int, *, nll: Array) -> Array:
    """Select the inputs whose output is least likely to the learner.

    Normalised sequence probability (Ueffing & Ney 2007): without the mean over tokens, length alone would decide. An
    empty output has no loss (NaN) and comes first.
    """
    loss = nll.astype(float)
    return largest(np.where(np.isnan(loss), np.inf, loss), k, seed)


def idds(rows: int, k: int, seed: int, *, embeddings: Array, labelled: Array) -> Array:
    """Select inputs like the pool and unlike those with a target.

    IDDS (Tsvigun et al. 2022, arXiv 2301.03252). The score is IDDS_WEIGHT · mean cosine similarity to the inputs
    without a target − (1 − IDDS_WEIGHT) · the mean to those with one. After every pick the scores are computed again
    as if it had its target, so that a batch does not repeat itself.
    """
    x = normalize(embeddings.astype(np.float64))
    x_labelled = normalize(labelled.astype(np.float64)) if len(labelled) else labelled
    tie_breaker = np.random.default_rng(seed).random(rows) * 1e-12
    open_sum, labelled_sum = x.sum(0), x_labelled.sum(0)
    is_open, picks = np.ones(rows, bool), []
    for _ in range(min(k, rows)):
        to_open = x @ open_sum / is_open.sum()
        to_labelled = x @ labelled_sum / max(1, len(labelled) + len(picks))
        scores = IDDS_WEIGHT * to_open - (1 - IDDS_WEIGHT) * to_labelled + tie_breaker
        pick = int(np.where(is_open, scores, -np.inf).argmax())
        picks.append(pick)
        is_open[pick] = False
        open_sum, labelled_sum = open_sum - x[pick], labelled_sum + x[pick]
    return np.array(picks, dtype=int)


def _violation(compliance: Array) -> Array:
    """1 − compliance; 0 where the scorer cannot judge the output, so that it is not selected for that."""
    scores = compliance.astype(float)
    return 1 - np.where(np.isnan(scores), 1.0, scores)
