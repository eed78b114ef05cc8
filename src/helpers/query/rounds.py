"""A round of active learning beside fit and select: what a strategy is told, whether to go on, which texts show it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from helpers.env import UserError
from helpers.query import stopping, strategies
from helpers.query.quotas import trust

RULES = ("budget", "kappa", "change", "uncertainty", "plateau")


def needs(strategy: str | Callable) -> set[str]:
    """What a strategy of `acquire` takes beside probabilities and embeddings, its inner strategies included; `draws` for bald."""
    function = strategies.by_name(strategy) if isinstance(strategy, str) else strategy
    takes = inspect.signature(function).parameters
    measure = takes["measure"].default if "measure" in takes else ""
    inner = [needs(p.default) for p in takes.values() if callable(p.default) and p.default is not p.empty]
    found = set(takes).union(*inner) | ({"draws"} if measure == "bald" else set())
    return found if measure == "star" else found - {"base_probabilities"}


def strategy_inputs(
    strategy: str, learner, probe, known: list[dict], free: list[dict], seed: int = 0
) -> dict[str, Any]:
    """The keywords of `acquire.select` that the strategy uses, from labelled rows `known` and the open rows `free`.

    `probe` is a frozen-embedding learner: what it says of the texts is the base's view, for `star`. Groups are those of the task's
    first group column. Raises UserError where the task or the learner cannot say what the strategy needs.
    """
    wanted, task, out = needs(strategy), learner.task, {}
    if wanted & {"labelled", "labelled_probabilities", "labels"}:
        probabilities, embeddings = learner.score([r["text"] for r in known])
        out |= {"labelled": embeddings, "labelled_probabilities": probabilities}
        out["labels"] = np.array(task.index([r["label"] for r in known]))
    if wanted & {"errors", "trusted"}:
        out |= skill(*learner.checked(), np.array(task.index([r["label"] for r in known])), len(task.labels))
    if "groups" in wanted:
        if not task.groups:
            raise UserError(
                f"Strategy {strategy} needs groups: name a column in group_columns, or take another strategy."
            )
        out["groups"] = np.array([str(r.get(task.groups[0], "")) for r in free])
    if "base_probabilities" in wanted:
        if learner is probe:
            raise UserError(f"Strategy {strategy} compares the tuned model with its base: set learner: qlora.")
        probe.fit(known)
        out["base_probabilities"] = probe.predict_proba([r["text"] for r in free])
    if "draws" in wanted:
        out["draws"] = learner.draws([r["text"] for r in free], seed=seed)
    return out


def skill(x: np.ndarray, p: np.ndarray, y: np.ndarray, labels: np.ndarray, classes: int) -> dict[str, Any]:
    """`held_out`, `errors` and `trusted` from answers `p` (h, classes) to rows `x` (h, d) of classes `y` that were not trained on.

    `labels` (m,) are the class numbers of all labelled rows; without an answer nothing is trusted.
    """
    if not len(y):
        return {"held_out": None, "errors": None, "trusted": 0.0}
    right = p.argmax(1) == y
    balanced = float(np.mean([right[y == c].mean() for c in np.unique(y)]))
    trusted = trust(labels, classes, balanced, _calibration_error(y, p))
    return {"held_out": x, "errors": (~right).astype(float), "trusted": trusted}


def _calibration_error(y: np.ndarray, p: np.ndarray, bins: int = 10) -> float:
    confidence, right = p.max(1), p.argmax(1) == y
    place = np.minimum(np.digitize(confidence, np.linspace(1 / p.shape[1], 1, bins + 1)[1:-1]), bins - 1)
    sums = [np.bincount(place, values, bins) for values in (confidence, right)]
    return float(np.abs(sums[0] - sums[1]).sum() / len(y))


def stop_set(pool: list[dict], size: int = 2000, seed: int = 0) -> list[str]:
    """Texts whose answers are compared from round to round: the same ones in every round."""
    return [pool[i]["text"] for i in np.random.default_rng([seed, 7]).permutation(len(pool))[:size]]


def verdict(rule: str, done: list[dict], limit: int, probabilities: np.ndarray | None = None) -> tuple[bool, str]:
    """Whether `rule` would stop after the rounds `done`, and why; the last is the present one, whose picks are still to come.

    A round has `picks`, `macro_f1`, `low`, `high`, for kappa and change `answers`; `probabilities` are those of open texts.
    A budget of `limit` picks ends it under every rule.
    """
    if rule not in RULES:
        raise UserError(f"Parameter stop={rule!r} is unknown: choose one of {', '.join(RULES)}.")
    spent = stopping.budget(sum(len(r.get("picks", [])) for r in done), limit)
    if spent[0] or rule == "budget":
        return spent
    if rule == "plateau":
        return stopping.plateau(*([r[c] for r in done] for c in ("macro_f1", "low", "high")))
    if rule == "uncertainty":
        return stopping.overall_uncertainty(probabilities)
    answers = [np.array(r["answers"]) for r in done]
    if rule == "kappa":
        return stopping.kappa_average(answers)
    if len(answers) < 2:
        return False, "A change needs two rounds, there is one."
    return stopping.classification_change(*answers[-2:])
