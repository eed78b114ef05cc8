"""Gender-swapped versions of a text, and how often a detector answers them differently."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from helpers import english
from helpers.evaluation.intervals import bootstrap_interval
from helpers.italian import gender


def flip_rates(learner, texts: Sequence[str], variants: Sequence[list[str]]) -> dict[str, float]:
    """How often a learner's answer changes with the gender in a text (Garg et al. 2019).

    `variants` are the gender-swapped versions of each text. `flip_rate` is the share of `pairs` of a
    text and a version whose answers differ, with its 95 % bootstrap interval; NaN without a pair.
    """
    origin = [i for i, versions in enumerate(variants) for _ in versions]
    if not origin:
        return {"pairs": 0, "flip_rate": float("nan"), "low": float("nan"), "high": float("nan")}
    answers = learner.predict_proba(texts).argmax(1)
    swapped_answers = learner.predict_proba([v for versions in variants for v in versions]).argmax(1)
    flips = swapped_answers != answers[origin]
    low, high = bootstrap_interval(np.mean, flips)
    return {"pairs": len(flips), "flip_rate": float(flips.mean()), "low": low, "high": high}


def variants(text: str, language: str) -> list[str]:
    """Gender-swapped versions of a text that differ from it, by rule (Zmigrod et al. 2019).

    `it` gives the feminine and the masculine version, `en` the swapped one, any other language none.
    """
    if language == "it":
        versions = [gender.swap(text, "feminine"), gender.swap(text, "masculine")]
    elif language == "en":
        versions = [english.swap(text)]
    else:
        versions = []
    return [version for version in dict.fromkeys(versions) if version != text]
