"""Diversity of a set of texts."""

from __future__ import annotations

from collections.abc import Sequence

from helpers.data import normalise


def distinct_n(texts: Sequence[str], n: int, tokens: int = 5000) -> float:
    """Share of different n-grams among those of the first `tokens` words (Li et al. 2016); NaN without an n-gram.

    The cut makes sets of different size comparable: the share falls with length by itself.
    """
    grams, used = [], 0
    for text in texts:
        words = normalise(text).split()[: tokens - used]
        used += len(words)
        grams += [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else float("nan")


def diversity(texts: Sequence[str]) -> dict[str, float]:
    """Texts, words, vocabulary, mean length in words, distinct-1 and distinct-2."""
    words = [normalise(t).split() for t in texts]
    total = sum(map(len, words))
    return {
        "texts": len(texts),
        "words": total,
        "vocabulary": len({w for row in words for w in row}),
        "mean words": round(total / max(1, len(texts)), 1),
        "distinct-1": round(distinct_n(texts, 1), 3),
        "distinct-2": round(distinct_n(texts, 2), 3),
    }
