"""Gender-swapped versions of a text, and how often a detector answers them differently."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from helpers import english
from helpers.evaluation.intervals import wilson_interval
from helpers.italian import gender


def answer_pairs(learner, texts: Sequence[str], variants: Sequence[list[str]]) -> pd.DataFrame:
    """A learner's answers to every text and its versions: columns origin, text, swapped, answer, swapped_answer.

    `variants` are the gender-swapped versions of each text; `origin` is the text's position, and the
    answers are class indices.
    """
    origin = [i for i, versions in enumerate(variants) for _ in versions]
    pairs = pd.DataFrame({"origin": origin, "text": [texts[i] for i in origin]})
    pairs["swapped"] = [version for versions in variants for version in versions]
    if pairs.empty:
        return pairs.assign(answer=0, swapped_answer=0)
    pairs["answer"] = learner.predict_proba(texts).argmax(1)[origin]
    pairs["swapped_answer"] = learner.predict_proba(list(pairs.swapped)).argmax(1)
    return pairs


def flip_rates(pairs: pd.DataFrame) -> dict[str, float]:
    """How often the answer changes with the gender in a text (Garg et al. 2019), from `answer_pairs`.

    `flip_rate` is the share of `pairs` whose answers differ, with its 95 % interval; the versions of a
    text count as one row there. NaN without a pair.
    """
    flips = (pairs.answer != pairs.swapped_answer).to_numpy()
    if not len(flips):
        return {"pairs": 0, "flip_rate": float("nan"), "low": float("nan"), "high": float("nan")}
    low, high = wilson_interval(flips, pairs.origin)
    return {"pairs": len(flips), "flip_rate": float(flips.mean()), "low": low, "high": high}


def changed_pairs(pairs: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """The pairs whose answers differ, in the names of the classes, those of the shortest texts first."""
    changed = pairs[pairs.answer != pairs.swapped_answer]
    changed = changed.sort_values("text", key=lambda texts: texts.map(len), kind="stable", ignore_index=True)
    names = {column: changed[column].map(dict(enumerate(labels))) for column in ("answer", "swapped_answer")}
    return changed.assign(**names).drop(columns="origin")


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
