"""Query strategies that spread over the pool, and the choice of the first texts of all."""

from __future__ import annotations

import numpy as np
from sklearn.utils import gen_batches

from helpers.query.arrays import (
    Array,
    clustering,
    filled,
    kmeans,
    largest,
    members_of,
    round_robin,
    squared_distances,
    weight_in_clusters,
)

BATCH = 8192  # rows whose distances are in memory at once
TIE = 1e-9  # distances that differ by less than this share are equal
PROBCOVER_ROWS = 10_000  # ProbCover works on a sample of this size: it compares every text with every other


def representatives(rows: int, k: int, seed: int, *, embeddings: Array) -> Array:
    """Select the text nearest to the centre of each of `k` clusters."""
    if not 0 < k < rows:
        return np.arange(min(rows, k))
    picks = []
    for members in members_of(kmeans(embeddings, k, seed)):
        distances = np.linalg.norm(embeddings[members] - embeddings[members].mean(0), axis=1)
        picks.append(int(members[distances.argmin()]))
    return filled(picks, rows, k, seed)  # identical texts give fewer clusters than k


def coreset(rows: int, k: int, seed: int, *, embeddings: Array, labelled: Array) -> Array:
    """Select one by one the text farthest from all labelled and selected ones, or from a random first text.

    Greedy k-centre (Sener & Savarese 2018, arXiv 1708.00489). Of texts at the same distance the first is selected.
    """
    centre = embeddings.mean(0, dtype=np.float64)
    points = embeddings - centre  # float64; centred rows lose fewer digits in the distances below
    norms = np.einsum("ij,ij->i", points, points)
    picks = [] if len(labelled) else [int(np.random.default_rng(seed).integers(rows))]
    centres = labelled - centre if len(labelled) else points[picks]
    nearest = np.concatenate([squared_distances(points[part], centres).min(1) for part in gen_batches(rows, BATCH)])
    while len(picks) < min(k, rows):
        farthest = nearest.max()
        if farthest <= 1e-12 * norms.max():  # every text left repeats a covered one
            break
        pick = int(np.flatnonzero(nearest >= farthest * (1 - TIE))[0])
        picks.append(pick)
        nearest = np.minimum(nearest, norms - 2 * (points @ points[pick]) + norms[pick])
    return filled(picks, rows, k, seed)


def typiclust(rows: int, k: int, seed: int, *, embeddings: Array, labelled: Array) -> Array:
    """Select the most typical text of each of the largest clusters without a label.

    TypiClust (Hacohen et al. 2022, arXiv 2202.02794). There are as many clusters as labelled rows and picks, at most
    500. The typical text has the closest 20 neighbours among at most 1,000 random texts of its cluster.
    """
    rng = np.random.default_rng(seed)
    if rows <= k:
        return rng.permutation(rows)
    model = clustering(embeddings, min(k + len(labelled), 500), seed)
    members = members_of(model.labels_)
    labels_inside = weight_in_clusters(model, labelled)
    order = np.lexsort((rng.random(len(members)), [-len(positions) for positions in members], labels_inside))
    rankings = []
    for cluster in order[:k]:
        positions = rng.permutation(members[cluster])[:1000]
        neighbours = min(20, max(1, len(positions) // 2))
        distances = squared_distances(embeddings[positions], embeddings[positions])
        distances = np.sort(distances, axis=1)[:, 1 : 1 + neighbours]  # column 0 is the text itself
        rankings.append(positions[np.sqrt(distances).sum(1).argsort(kind="stable")])
    return filled(round_robin(rankings, k), rows, k, seed)


def probcover(rows: int, k: int, seed: int, *, probabilities: Array, embeddings: Array, labelled: Array) -> Array:
    """Select one by one the text with the most uncovered texts within a radius.

    ProbCover (Yehuda et al. 2022, arXiv 2205.11320). Texts within the radius of a labelled or selected one are
    covered. Above PROBCOVER_ROWS texts a random sample stands for the pool.
    """
    sample = np.random.default_rng(seed).permutation(rows)[:PROBCOVER_ROWS]
    x = embeddings[sample].astype(np.float32)
    square = _squared_radius(x, max(2, probabilities.shape[1]), seed)
    near = np.concatenate([squared_distances(x[part], x) <= square for part in gen_batches(len(x), 1024)])
    is_uncovered = np.ones(len(x), dtype=bool)
    if len(labelled):
        for part in gen_batches(len(x), 1024):
            is_uncovered[part] = squared_distances(x[part], labelled).min(1) > square
    gains = near[:, is_uncovered].sum(1)
    picks: list[int] = []
    while len(picks) < k and gains.max() > 0:
        picks.append(int(gains.argmax()))
        newly = near[picks[-1]] & is_uncovered
        gains -= near[:, newly].sum(1)
        is_uncovered &= ~newly
    return filled(sample[picks], rows, k, seed)


def _squared_radius(x: Array, classes: int, seed: int) -> float:
    """Square of the largest radius at which 95 % of the balls around rows stay inside one of `classes` clusters."""
    clusters = kmeans(x, classes, seed)
    to_other_cluster = [
        np.where(clusters[part][:, None] == clusters, np.inf, squared_distances(x[part], x)).min(1)
        for part in gen_batches(len(x), 1024)
    ]
    return np.quantile(np.concatenate([[np.inf], *to_other_cluster]), 0.05, method="lower") * (1 - 1e-6)


def keyword_seeds(embeddings: Array, hits: Array, k: int, seed: int = 0) -> Array:
    """Select the first `k` texts when positives are rare: half with a hit, as far as there are enough, half without.

    `hits` (texts,) is above zero where a keyword or cue occurs. Both halves are `representatives`, the first of the
    texts with the highest hits, ten times as many as needed.
    """
    hits, rows = np.asarray(hits, dtype=float), len(embeddings)
    hit_count = round(k / 2)
    candidates = largest(hits, min(10 * hit_count, int((hits > 0).sum())), seed)
    with_hit = candidates[representatives(len(candidates), hit_count, seed, embeddings=embeddings[candidates])]
    rest = np.flatnonzero(hits <= 0)
    without_hit = rest[representatives(len(rest), k - len(with_hit), seed, embeddings=embeddings[rest])]
    return filled(np.concatenate([with_hit, without_hit]), rows, k, seed)
