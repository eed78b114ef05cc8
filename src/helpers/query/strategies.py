"""Which texts to label, or to have rewritten, next: the query strategies by name, for both kinds of task.

A strategy is a pure function `function(rows, k, seed, **inputs)` from arrays to an int array of at most `k` distinct
positions in a pool of `rows` texts, best first; the seed breaks ties. STRATEGIES declares which inputs each one is
passed. Of the pool there are:

- `probabilities` (texts, classes): the learner's answers
- `embeddings` (texts, d)
- `groups` (texts,)
- `compliance` (texts,): how well the present output for each text complies, from 0 to 1; NaN without a score
- `nll` (texts,): mean loss per token of that output

The inputs about rows with a label or a target may be missing (None), as there may be no such row yet:

- `labelled` (m, d), `labelled_probabilities` (m, classes): embeddings and the learner's answers
- `held_out` (h, d): embeddings of rows that the learner was not trained on
- `errors` (h,): 1 where its answer to one of them is wrong
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from helpers.env import UserError
from helpers.query import coverage, generation, quotas, uncertainty
from helpers.query.arrays import Array, checked_inputs


class Strategy(NamedTuple):
    """A query strategy: its function, the inputs it is passed, and the kinds of task it serves."""

    function: Callable[..., Array]
    inputs: tuple[str, ...]
    kinds: tuple[str, ...]


def random(rows: int, k: int, seed: int) -> Array:
    """Select uniformly at random: the baseline of every comparison."""
    return np.random.default_rng(seed).permutation(rows)[:k]


LABEL, TARGET = ("classification",), ("generation",)
POOL = ("probabilities", "embeddings")
BAIT = (*POOL, "labelled", "labelled_probabilities")
STRATEGIES: dict[str, Strategy] = {
    "random": Strategy(random, (), LABEL + TARGET),
    # uncertainty
    "margin": Strategy(uncertainty.margin, ("probabilities",), LABEL),
    "entropy": Strategy(uncertainty.entropy, ("probabilities",), LABEL),
    "least_confidence": Strategy(uncertainty.least_confidence, ("probabilities",), LABEL),
    "power_margin": Strategy(uncertainty.power_margin, ("probabilities",), LABEL),
    # coverage
    "kmeans": Strategy(coverage.representatives, ("embeddings",), LABEL),
    "coreset": Strategy(coverage.coreset, ("embeddings", "labelled"), LABEL),
    "typiclust": Strategy(coverage.typiclust, ("embeddings", "labelled"), LABEL),
    "probcover": Strategy(coverage.probcover, (*POOL, "labelled"), LABEL),
    # both
    "cluster_margin": Strategy(uncertainty.cluster_margin, POOL, LABEL),
    "badge": Strategy(uncertainty.badge, POOL, LABEL),
    "bait": Strategy(uncertainty.bait, BAIT, LABEL),
    # quotas for regions or groups
    "dcalm": Strategy(quotas.dcalm, (*POOL, "held_out", "errors"), LABEL),
    "cluster_equal": Strategy(quotas.cluster_equal, POOL, LABEL),
    "cluster_proportional": Strategy(quotas.cluster_proportional, POOL, LABEL),
    "group_minimum": Strategy(quotas.group_minimum, ("groups", *BAIT), LABEL),
    # generation
    "hassan": Strategy(generation.hassan, ("embeddings", "compliance"), TARGET),
    "hassan_proportional": Strategy(generation.hassan_proportional, ("embeddings", "compliance"), TARGET),
    "top_n": Strategy(generation.top_n, ("compliance",), TARGET),
    "cluster_random": Strategy(generation.cluster_random, ("embeddings",), TARGET),
    "nll": Strategy(generation.nll, ("nll",), TARGET),
    "idds": Strategy(generation.idds, ("embeddings", "labelled"), TARGET),
    "core_set": Strategy(coverage.coreset, ("embeddings", "labelled"), TARGET),
}
INPUTS = {name for strategy in STRATEGIES.values() for name in strategy.inputs}


def names(kind: str) -> list[str]:
    """Names of the strategies for tasks of `kind`, classification or generation."""
    return [name for name, strategy in STRATEGIES.items() if kind in strategy.kinds]


def inputs_of(strategy: str) -> tuple[str, ...]:
    """Names of the inputs that a strategy is passed; raises UserError on an unknown strategy."""
    return _by_name(strategy).inputs


def check_strategy(strategy: str, kind: str) -> None:
    """Raise UserError unless the strategy exists and serves tasks of `kind`."""
    if kind not in _by_name(strategy).kinds:
        choices = ", ".join(sorted(names(kind)))
        raise UserError(f"Parameter strategy={strategy!r} is not for tasks of kind {kind}: choose one of {choices}.")


def select(strategy: str, rows: int, k: int, seed: int = 0, **inputs) -> Array:
    """Select `k` of `rows` texts by the named strategy; returns their positions, best first.

    `inputs` are those that the module describes; the strategy ignores what it does not declare. Raises UserError on an
    unknown strategy or input, and on a declared input that is missing or has the wrong length or shape.
    """
    entry = _by_name(strategy)
    if k < 0:
        raise UserError(f"Parameter k={k} is below zero: pass the number of texts to select.")
    if unknown := inputs.keys() - INPUTS:
        raise UserError(f"Parameter {min(unknown)} is unknown: no strategy takes it.")
    if not rows or not k:
        return np.empty(0, dtype=int)
    declared = {name: inputs.get(name) for name in entry.inputs}
    return entry.function(rows, k, seed, **checked_inputs(strategy, rows, declared))


def _by_name(strategy: str) -> Strategy:
    if strategy not in STRATEGIES:
        raise UserError(f"Parameter strategy={strategy!r} is unknown: choose one of {', '.join(sorted(STRATEGIES))}.")
    return STRATEGIES[strategy]
