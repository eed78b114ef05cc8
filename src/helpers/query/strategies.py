"""Which texts to label next: pure functions from arrays to indices.

Every strategy takes `probabilities` (n, classes), `embeddings` (n, d), the number of picks `k` and a `seed`, uses what it
needs, and returns at most n distinct positions, best first. Ties are broken by the seed. STRATEGIES maps names to functions.
What else is known travels as keywords:

- of the pool: `base_probabilities` (n, classes), `informativeness` (n,), `groups` (n,)
- of labelled rows: `labelled` (m, d) embeddings, `labelled_probabilities` (m, classes), `labels` (m,) class numbers
- of rows with known answers that the learner did not train on: `held_out` (h, d) embeddings, `errors` (h,)

Time and memory beside the pool grow in proportion to n: distances are worked out in chunks, bounds are refined only where they
decide, and what is quadratic happens in a sample whose size the function states.
"""

from __future__ import annotations

import inspect
from functools import partial

import numpy as np

from helpers.env import UserError
from helpers.query.arrays import PER_TEXT, Array, Strategy, apply
from helpers.query.coverage import contrastive, coreset, discriminative, kmeans_centres, probcover, typiclust
from helpers.query.quotas import anchoral, cluster_informative, dcalm, group_minimum, scheduled, seals
from helpers.query.uncertainty import DRAWS, MEASURES, badge, bait, cluster_margin, entropy, margin, uncertain


def random(probabilities: Array, embeddings: Array, k: int, seed: int = 0) -> Array:
    """Uniformly at random: the baseline every claim stands beside."""
    n = len(probabilities)
    return np.random.default_rng(seed).permutation(n)[:k]


STRATEGIES = {
    **{f.__name__: f for f in (random, margin, entropy, cluster_margin)},
    **{m: partial(uncertain, measure=m) for m in ("least_confidence", "bald", "star")},
    **{f"{how}_{m}": partial(uncertain, measure=m, how=how) for how in DRAWS for m in MEASURES},
    **{"kmeans": kmeans_centres, "coreset": coreset, "typiclust": typiclust, "probcover": probcover},
    **{"contrastive": contrastive, "discriminative": discriminative, "badge": badge, "bait": bait, "dcalm": dcalm},
    "cluster_equal": partial(cluster_informative, quota="equal"),
    "cluster_proportional": partial(cluster_informative, quota="proportional"),
    **{"group_minimum": group_minimum, "seals": seals, "anchoral": anchoral, "scheduled": scheduled},
}
INNER = ("inner", "coverage", "uncertain")  # parameters that name the strategy inside another


def select(strategy: str, probabilities: Array, embeddings: Array, k: int, seed: int = 0, **known) -> Array:
    """`k` distinct positions by the named strategy, all of them when fewer remain; raises UserError on a wrong name.

    `known` is what else is known, as the module says; a strategy takes the part it uses.
    """
    chosen = by_name(strategy)
    if k < 0:
        raise UserError(f"Parameter k={k} is below zero: ask for 0 picks or more.")
    if np.ndim(probabilities) < 2:
        raise UserError(f"Parameter probabilities has shape {np.shape(probabilities)}: it needs (texts, classes).")
    texts = np.shape(probabilities)[-2]
    for name, rows in {"embeddings": embeddings, **{n: known[n] for n in PER_TEXT if known.get(n) is not None}}.items():
        if len(rows) != texts:
            raise UserError(
                f"Parameter {name} has {len(rows)} rows, probabilities has {texts}: they are of the same texts."
            )
    if odd := known.keys() - {p for f in STRATEGIES.values() for p in inspect.signature(f).parameters}:
        raise UserError(f"Parameter {min(odd)} is unknown: no strategy takes it.")
    if not texts or not k:
        return np.empty(0, dtype=int)
    known |= {name: by_name(known[name], name) for name in INNER if name in known}
    return apply(chosen, probabilities, embeddings, k, seed, known)


def by_name(strategy: str, parameter: str = "strategy") -> Strategy:
    """The strategy of that name; raises UserError on a wrong one."""
    if strategy not in STRATEGIES:
        raise UserError(f"Parameter {parameter}={strategy!r} is unknown: choose one of {', '.join(STRATEGIES)}.")
    return STRATEGIES[strategy]
