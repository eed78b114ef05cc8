"""Query strategies that apportion a batch to regions or groups of the pool."""

from __future__ import annotations

import numpy as np

from helpers.query.arrays import (
    PER_TEXT,
    Array,
    clustering,
    kmeans,
    largest,
    members_of,
    round_robin,
    weight_in_clusters,
)
from helpers.query.uncertainty import bait, margins

REGIONS = 10  # k-means clusters of the pool


def apportion(weights: Array, sizes: Array, k: int) -> Array:
    """Apportion `k` picks to parts by their weights, at most `sizes` to each, by highest averages (Sainte-Laguë)."""
    weights, sizes = np.asarray(weights, dtype=float), np.asarray(sizes)
    quotas = np.zeros(len(sizes), dtype=int)
    for _ in range(min(k, sizes.sum())):
        quotas[np.where(quotas < sizes, (weights + 1e-12) / (2 * quotas + 1), -1).argmax()] += 1
    return quotas


def best_of_clusters(scores: Array, embeddings: Array, k: int, seed: int, proportional: bool = False) -> Array:
    """Positions of the highest scores of every region: equally many, or in proportion to its size."""
    members = members_of(kmeans(embeddings, REGIONS, seed))
    sizes = [len(positions) for positions in members]
    quotas = apportion(sizes if proportional else np.ones(len(sizes)), sizes, k)
    best = [part[largest(scores[part], quota, seed)] for part, quota in zip(members, quotas, strict=True)]
    return np.array(round_robin(best, k), dtype=int)


def cluster_equal(rows: int, k: int, seed: int, *, probabilities: Array, embeddings: Array) -> Array:
    """Select the texts of smallest margin in every region, equally many (after Hassan et al. 2024, arXiv 2410.13641)."""
    return best_of_clusters(-margins(probabilities), embeddings, k, seed)


def cluster_proportional(rows: int, k: int, seed: int, *, probabilities: Array, embeddings: Array) -> Array:
    """Select the texts of smallest margin in every region, in proportion to its size."""
    return best_of_clusters(-margins(probabilities), embeddings, k, seed, proportional=True)


def dcalm(
    rows: int, k: int, seed: int, *, probabilities: Array, embeddings: Array, held_out: Array, errors: Array
) -> Array:
    """Select texts in proportion to the error rate of their region.

    D-CALM (Hassan & Alikhani 2023, arXiv 2305.17013). Every region is clustered again into as many parts as it gets
    picks, and the text of smallest margin in each part is selected. The error rate of a region on held-out rows is
    shrunk, with the weight of two rows, towards 1 − max p, which a calibrated learner expects.
    """
    scores = -margins(probabilities)
    if rows <= k:
        return largest(scores, k, seed)
    model = clustering(embeddings, REGIONS, seed)
    members = members_of(model.labels_)
    expected_rates = np.array([(1 - probabilities[positions].max(1)).mean() for positions in members])
    wrong_answers, answers = weight_in_clusters(model, held_out, errors), weight_in_clusters(model, held_out)
    rates = (wrong_answers + 2 * expected_rates) / (answers + 2)
    picks: list[int] = []
    quotas = apportion(rates, [len(positions) for positions in members], k)
    for positions, quota in zip(members, quotas, strict=True):
        if quota:
            ranked = positions[largest(scores[positions], len(positions), seed)]
            parts = [ranked[part] for part in members_of(kmeans(embeddings[ranked], quota, seed))]
            picks += round_robin(parts, quota)
    return np.array(picks)


def group_minimum(rows: int, k: int, seed: int, *, groups: Array, **inputs: Array) -> Array:
    """Select by BAIT, but from every group at least half of an equal share, as far as the pool has it.

    A group that falls short gets BAIT's picks among its own texts; they replace the last picks of groups that are
    above the minimum. `inputs` is what `bait` takes.
    """
    group_numbers = np.unique(groups.astype(str), return_inverse=True)[1]
    sizes = np.bincount(group_numbers)
    minimum = np.minimum(k // (2 * len(sizes)), sizes)
    picks = bait(rows, k, seed, **inputs)
    counts = np.bincount(group_numbers[picks], minlength=len(sizes))
    for group in np.flatnonzero(counts < minimum):
        own_texts = np.setdiff1d(np.flatnonzero(group_numbers == group), picks)
        own_inputs = {name: value[own_texts] if name in PER_TEXT else value for name, value in inputs.items()}
        missing = minimum[group] - counts[group]
        picks = np.concatenate([picks, own_texts[bait(len(own_texts), missing, seed, **own_inputs)]])
    counts = np.bincount(group_numbers[picks], minlength=len(sizes))
    is_kept = np.ones(len(picks), dtype=bool)
    for i in reversed(range(len(picks))):
        group = group_numbers[picks[i]]
        if is_kept.sum() > k and counts[group] > minimum[group]:
            is_kept[i] = False
            counts[group] -= 1
    return picks[is_kept]
