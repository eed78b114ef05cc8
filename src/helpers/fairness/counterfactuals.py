"""Gender-swapped versions of a text, and how often a detector answers them otherwise."""

from __future__ import annotations

from collections.abc import Sequence

from helpers import english
from helpers.evaluation.detection import interval
from helpers.italian import gender


def flip_rates(learner, texts: Sequence[str], variants: Sequence[list[str]]) -> dict[str, float]:
    """How often the learner answers a gender-swapped text otherwise than the original (Garg et al. 2019), with interval.

    `variants[i]` are the swaps of `texts[i]`; `pairs` counts them.
    """
    pairs = [(i, v) for i, found in enumerate(variants) for v in found]
    if not pairs:
        return {"pairs": 0, "flip_rate": float("nan"), "low": float("nan"), "high": float("nan")}
    original = learner.predict_proba(texts).argmax(1)
    flips = learner.predict_proba([v for _, v in pairs]).argmax(1) != original[[i for i, _ in pairs]]
    low, high = interval(lambda f, _: float(f.mean()), flips, flips)
    return {"pairs": len(pairs), "flip_rate": float(flips.mean()), "low": low, "high": high}


def variants(text: str, language: str) -> list[str]:
    """Gender-swapped versions of a text (`it`: feminine and masculine; `en`: the swap), without the text itself."""
    if language == "it":
        found = [gender.swap(text, "feminine"), gender.swap(text, "masculine")]
    else:
        found = [english.swap(text)] if language == "en" else []
    return [v for v in dict.fromkeys(found) if v != text]
