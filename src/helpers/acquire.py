"""Which texts to label next: pure functions from arrays to indices.

Every strategy takes `probabilities` (n, classes), `embeddings` (n, d), the number of picks `k` and a `seed`, uses what it
needs, and returns at most n distinct positions. Ties are broken by the seed. STRATEGIES maps names to functions.
"""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans

from helpers.env import UserError


def random(probabilities: np.ndarray, embeddings: np.ndarray, k: int, seed: int = 0) -> np.ndarray:
    """Uniformly at random: the baseline every claim stands beside."""
    n = len(probabilities)
    return np.random.default_rng(seed).permutation(n)[:k]


def margin(probabilities: np.ndarray, embeddings: np.ndarray, k: int, seed: int = 0) -> np.ndarray:
    """Smallest gap between the two likeliest classes (Scheffer et al. 2001)."""
    top = np.sort(_checked(probabilities), axis=1)[:, ::-1]
    return _largest(top[:, 1] - top[:, 0], k, seed)


def entropy(probabilities: np.ndarray, embeddings: np.ndarray, k: int, seed: int = 0) -> np.ndarray:
    """Largest predictive entropy (Shannon; Settles & Craven 2008)."""
    p = np.clip(_checked(probabilities), 1e-12, 1.0)
    return _largest(-(p * np.log(p)).sum(1), k, seed)


def cluster_margin(probabilities: np.ndarray, embeddings: np.ndarray, k: int, seed: int = 0) -> np.ndarray:
    """The most uncertain tenfold, then round-robin over its clusters from the smallest (Citovsky et al. 2021, arXiv 2107.14263)."""
    candidates = margin(probabilities, embeddings, 10 * k, seed)
    if len(candidates) <= k:
        return candidates
    clusters = kmeans(embeddings[candidates], min(k, len(candidates)), seed)
    members = [candidates[clusters == c] for c in np.unique(clusters)]  # each in order of margin
    members.sort(key=len)
    picks: list[int] = []
    for depth in range(max(map(len, members))):
        for group in members:
            if depth < len(group) and len(picks) < k:
                picks.append(int(group[depth]))
    return np.array(picks)


STRATEGIES = {"random": random, "margin": margin, "entropy": entropy, "cluster_margin": cluster_margin}


def select(strategy: str, probabilities: np.ndarray, embeddings: np.ndarray, k: int, seed: int = 0) -> np.ndarray:
    """`k` distinct positions by the named strategy, all of them when fewer remain; raises UserError on a wrong name."""
    if strategy not in STRATEGIES:
        raise UserError(f"Parameter strategy={strategy!r} is unknown: choose one of {', '.join(STRATEGIES)}.")
    return STRATEGIES[strategy](probabilities, embeddings, k, seed)


def representatives(embeddings: np.ndarray, k: int, seed: int = 0) -> np.ndarray:
    """Positions of the texts nearest to the centres of `k` clusters: one for every region of the pool."""
    if len(embeddings) <= k:
        return np.arange(len(embeddings))
    clusters = kmeans(embeddings, k, seed)
    picks = []
    for c in np.unique(clusters):
        members = np.flatnonzero(clusters == c)
        distance = np.linalg.norm(embeddings[members] - embeddings[members].mean(0), axis=1)
        picks.append(int(members[distance.argmin()]))
    rest = np.setdiff1d(np.arange(len(embeddings)), picks)  # identical texts give fewer clusters than k
    fill = np.random.default_rng(seed).permutation(rest)[: k - len(picks)]
    return np.concatenate([np.array(picks), fill])


def kmeans(embeddings: np.ndarray, k: int, seed: int = 0) -> np.ndarray:
    """Cluster number of every row; mini-batches above 5,000 rows."""
    k = min(k, len(np.unique(embeddings, axis=0)))
    model = KMeans(k, n_init=1, random_state=seed) if len(embeddings) <= 5000 else None
    model = model or MiniBatchKMeans(k, n_init=1, batch_size=2048, random_state=seed)
    return model.fit_predict(embeddings)


def _checked(probabilities: np.ndarray) -> np.ndarray:
    bad = np.flatnonzero(~np.isfinite(probabilities).all(1))
    if len(bad):
        raise UserError(
            f"Scores of {len(bad)} texts are not finite (first: row {bad[0]}): lower learning_rate and retrain."
        )
    return probabilities


def _largest(scores: np.ndarray, k: int, seed: int) -> np.ndarray:
    tie = np.random.default_rng(seed).random(len(scores))
    return np.lexsort((tie, -scores))[:k]
