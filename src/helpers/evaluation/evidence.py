"""Whether the words that moved a detector are those that people mark: token-F1 (DeYoung et al. 2020, arXiv 1911.03429)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from helpers.evaluation.intervals import mean_interval
from helpers.evaluation.report import highlight
from helpers.text import word_places

MEASURES = ("token_f1", "by_chance")
COLUMNS = ["finder", *(f"{name}{end}" for name in MEASURES for end in ("", "_low", "_high")), "words", "texts"]
Spans = Sequence[Sequence[float]]


def marked_words(text: str, spans: Spans) -> np.ndarray:
    """Which words of a text its spans [start, end) touch, bool array (words,)."""
    places = np.array(word_places(text)).reshape(-1, 2, 1)
    edges = np.array([span[:2] for span in spans]).reshape(-1, 2)
    return ((edges[:, 0] < places[:, 1]) & (places[:, 0] < edges[:, 1])).any(1)


def token_f1(
    texts: Sequence[str],
    marked: Sequence[Spans],
    found: Mapping[str, Sequence[Spans]],
    draws: int = 1000,
    clusters: Sequence | None = None,
) -> pd.DataFrame:
    """One row a finder of words: mean F1 of its words with those that people marked, each with its 95 % bootstrap interval.

    `by_chance` is what as many words, drawn at random in the same texts, are expected to score; `words` is their mean
    number.

    Parameters
    ----------
    texts : strings
        Texts with marked evidence.
    marked : for each text the spans that people marked
    found : name of a finder → for each text its spans
    draws : int
    clusters : sequence, optional
        Texts with the same name are drawn together.
    """
    truth = [marked_words(text, spans) for text, spans in zip(texts, marked, strict=True)]
    sizes, people = np.array([len(t) for t in truth]), np.array([t.sum() for t in truth])
    rows = []
    for name, spans in found.items() if truth else ():
        words = [marked_words(text, own) for text, own in zip(texts, spans, strict=True)]
        counts = np.array([w.sum() for w in words])
        common = np.array([(w & t).sum() for w, t in zip(words, truth, strict=True)])
        total = np.maximum(counts + people, 1)
        row: dict[str, object] = {"finder": name}
        scores = {"token_f1": 2 * common / total, "by_chance": 2 * counts * people / np.maximum(sizes, 1) / total}
        for measure, values in scores.items():
            low, high = mean_interval(values, draws=draws, clusters=clusters)
            row |= {measure: values.mean(), f"{measure}_low": low, f"{measure}_high": high}
        rows.append(row | {"words": counts.mean(), "texts": len(texts)})
    return pd.DataFrame(rows, columns=COLUMNS)


def side_by_side(texts: Sequence[str], marked: Sequence[Spans], found: Sequence[Spans]) -> pd.DataFrame:
    """Every text twice, for `report.as_html`: with what people marked, and with the words that moved the detector."""
    columns = {"people": marked, "detector": found}
    shown = {
        name: pd.Series([highlight(text, own) for text, own in zip(texts, spans, strict=True)], dtype=object)
        for name, spans in columns.items()
    }
    return pd.DataFrame(shown)
