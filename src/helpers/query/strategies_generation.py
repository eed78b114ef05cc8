"""Which inputs to have a target written for next, in active learning for generation: pure functions from arrays to indices.

Every strategy takes `embeddings` (n, d) of the inputs, the number of picks `k` and a `seed`, and of what else is known the keywords
it names: `compliance` (n,), how well the learner's interim output keeps the regulated attribute, 1 for wholly; `nll` (n,), the mean
loss of a token of that output; `labelled` (m, d), embeddings of inputs that have a target. It returns at most n distinct positions,
best first; ties are broken by the seed. STRATEGIES maps names to functions.
"""

from __future__ import annotations

import inspect
from functools import partial

import numpy as np
from sklearn.preprocessing import normalize

from helpers.env import UserError
from helpers.query import coverage
from helpers.query.arrays import Array, Maybe, Strategy, labelled_rows, largest, required, vectors
from helpers.query.quotas import cluster_informative


def random(embeddings: Array, k: int, seed: int = 0) -> Array:
    """Uniformly at random: the baseline every claim stands beside."""
    return np.random.default_rng(seed).permutation(len(embeddings))[:k]


def hassan(
    embeddings: Array, k: int, seed: int = 0, *, compliance: Maybe = None, quota: str = "equal", regions: int = 10
) -> Array:
    """In every cluster the inputs whose interim outputs comply least (Hassan, Sicilia & Alikhani 2024, arXiv 2410.13641).

    Equally many from each of `regions` k-means clusters, or with quota `proportional` by their size.
    """
    violation = _violation(compliance, "hassan", embeddings)
    return cluster_informative(violation, embeddings, k, seed, informativeness=violation, quota=quota, regions=regions)


def top_n(embeddings: Array, k: int, seed: int = 0, *, compliance: Maybe = None) -> Array:
    """The inputs whose interim outputs comply least, without clusters."""
    return largest(_violation(compliance, "top_n", embeddings), k, seed)


def cluster_random(embeddings: Array, k: int, seed: int = 0, *, regions: int = 10) -> Array:
    """Equally many inputs from each of `regions` clusters, at random inside it."""
    chance = np.random.default_rng(seed).random(len(embeddings))
    return cluster_informative(chance, embeddings, k, seed, informativeness=chance, regions=regions)


def nll(embeddings: Array, k: int, seed: int = 0, *, nll: Maybe = None) -> Array:
    """The inputs whose interim output is least likely to the learner itself, by the mean over its tokens.

    Normalised sequence probability (Ueffing & Ney 2007); without the mean over tokens, length alone would decide. An empty output
    has none and comes first.
    """
    loss = np.asarray(required(nll, "nll", "nll", embeddings), dtype=float)
    return largest(np.where(np.isnan(loss), np.inf, loss), k, seed)


def idds(embeddings: Array, k: int, seed: int = 0, *, labelled: Maybe = None, weight: float = 0.67) -> Array:
    """In-domain diversity sampling: like the pool, unlike what has a target (Tsvigun et al. 2022, arXiv 2301.03252).

    `weight` × mean cosine similarity to the inputs without a target − (1 − `weight`) × the mean to those with one; every pick moves
    from the former to the latter before the next is chosen, so that a batch does not repeat itself.
    """
    x = vectors(embeddings).astype(np.float64)
    known = labelled_rows(labelled, "labelled", x)
    x, known = normalize(x), normalize(known) if len(known) else known
    tie = np.random.default_rng(seed).random(len(x)) * 1e-12
    without, having = x.sum(0), known.sum(0)
    free, picks = np.ones(len(x), bool), []
    for _ in range(min(k, len(x))):
        near = x @ without / free.sum()
        far = x @ having / max(1, len(known) + len(picks))
        picks.append(int(np.where(free, weight * near - (1 - weight) * far + tie, -np.inf).argmax()))
        free[picks[-1]] = False
        without, having = without - x[picks[-1]], having + x[picks[-1]]
    return np.array(picks, dtype=int)


def core_set(embeddings: Array, k: int, seed: int = 0, *, labelled: Maybe = None) -> Array:
    """Again and again the input farthest from all that have a target or are picked (Sener & Savarese 2018, arXiv 1708.00489)."""
    return coverage.coreset(embeddings, embeddings, k, seed, labelled=labelled)


STRATEGIES: dict[str, Strategy] = {
    **{f.__name__: f for f in (hassan, random, top_n, cluster_random, nll, idds, core_set)},
    "hassan_proportional": partial(hassan, quota="proportional"),
}
KNOWN = ("compliance", "nll", "labelled")


def needs(strategy: str) -> set[str]:
    """What a strategy must be told beside the embeddings; raises UserError on a wrong name."""
    if strategy not in STRATEGIES:
        raise UserError(f"Parameter strategy={strategy!r} is unknown: choose one of {', '.join(STRATEGIES)}.")
    return set(inspect.signature(STRATEGIES[strategy]).parameters) & set(KNOWN)


def select(strategy: str, embeddings: Array, k: int, seed: int = 0, **known) -> Array:
    """`k` distinct positions by the named strategy, all of them when fewer remain; `known` is what the module names."""
    wanted = needs(strategy)
    if k < 0:
        raise UserError(f"Parameter k={k} is below zero: ask for 0 picks or more.")
    if odd := known.keys() - set(KNOWN):
        raise UserError(f"Parameter {min(odd)} is unknown: no strategy takes it.")
    if not len(embeddings) or not k:
        return np.empty(0, dtype=int)
    return STRATEGIES[strategy](embeddings, k, seed, **{name: known.get(name) for name in wanted})


def _violation(compliance: Maybe, strategy: str, rows: Array) -> Array:
    """1 − compliance; an output that the scorer has no answer for counts as wholly compliant, so it is not chosen for that."""
    scores = np.asarray(required(compliance, "compliance", strategy, rows), dtype=float)
    return 1 - np.where(np.isnan(scores), 1.0, scores)
