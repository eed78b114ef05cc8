"""Diversity of a set of texts, how much of a pool it covers, and how near rewritten texts are to their references."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from itertools import zip_longest

import numpy as np
import pandas as pd

from helpers.text import normalise

# --- diversity -------------------------------------------------------------------------------------------------------


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


def self_bleu(texts: Sequence[str], sample: int = 100, seed: int = 0) -> float:
    """Mean BLEU (0–100) of a text against all others (Zhu et al. 2018): higher means more alike; NaN below two texts.

    By sacrebleu on lower-cased words, among `sample` texts drawn by seed: the cost grows with the square of their number, and the
    score with the number, so compare equal samples.
    """
    from sacrebleu.metrics import BLEU

    chosen = np.sort(np.random.default_rng(seed).permutation(len(texts))[:sample])
    rows = [normalise(texts[i]) for i in chosen]
    if len(rows) < 2:
        return float("nan")
    bleu = BLEU(tokenize="none", effective_order=True)
    scores = [bleu.sentence_score(row, rows[:i] + rows[i + 1 :]).score for i, row in enumerate(rows)]
    return float(np.mean(scores))


def mtld(texts: Sequence[str], threshold: float = 0.72, tokens: int | None = None) -> float:
    """Measure of textual lexical diversity of the first `tokens` words, or all (McCarthy & Jarvis 2010), in words.

    The texts are read one after the other: the mean length of a stretch until its type-token ratio falls below `threshold`, read
    forwards and backwards; NaN where no word comes twice. The threshold was tuned on English: compare Italian only with Italian,
    and read distinct-n beside it.
    """
    words = [word for text in texts for word in normalise(text).split()][:tokens]
    factors = [_factors(order, threshold) for order in (words, words[::-1])]
    return float(np.mean([len(words) / f for f in factors])) if all(factors) else float("nan")


def _factors(words: list[str], threshold: float) -> float:
    """How often the type-token ratio falls below the threshold, with the rest as a fraction."""
    factors, types, length = 0.0, set(), 0
    for word in words:
        types.add(word)
        length += 1
        if len(types) / length < threshold:
            factors, types, length = factors + 1, set(), 0
    return factors + ((1 - len(types) / length) / (1 - threshold) if length else 0.0)


def vocabulary_growth(texts: Sequence[str], points: int = 20) -> pd.DataFrame:
    """Different words after so many words of the texts in their order (Heaps' curve): columns words, vocabulary."""
    words = [word for text in texts for word in normalise(text).split()]
    sizes = np.append(0, np.cumsum(~pd.Series(words, dtype=object).duplicated().to_numpy(bool)))
    at = np.unique(np.linspace(0, len(words), points + 1).round().astype(int))
    return pd.DataFrame({"words": at, "vocabulary": sizes[at]})


def new_words(texts: Sequence[str], known: Sequence[str]) -> float:
    """Share of the vocabulary of `texts` that `known` does not have; NaN without a word."""
    ours, theirs = ({word for text in part for word in normalise(text).split()} for part in (texts, known))
    return len(ours - theirs) / len(ours) if ours else float("nan")


def coverage(pool: np.ndarray, rows: np.ndarray, k: int = 5) -> float:
    """Share of pool rows that have one of `rows` no farther than their k-th neighbour in the pool (Naeem et al. 2020).

    pool (n, d), rows (m, d) float, n > k; Euclidean distance, on unit rows the same as cosine.
    """
    from sklearn.neighbors import NearestNeighbors

    if len(pool) <= k:
        raise ValueError(f"coverage needs more than k = {k} pool rows, there are {len(pool)}")
    if not len(rows):
        return 0.0
    radius = NearestNeighbors(n_neighbors=k).fit(pool).kneighbors()[0][:, -1]  # without the row itself
    nearest = NearestNeighbors(n_neighbors=1).fit(rows).kneighbors(pool)[0][:, 0]
    return float(np.mean(nearest <= radius))


# --- nearness to a reference -----------------------------------------------------------------------------------------


def overlap(outputs: Sequence[str], references: Sequence[str | Sequence[str]]) -> dict[str, float]:
    """chrF and BLEU (0–100) of the whole set against one reference or several a row, by sacrebleu; NaN without a row."""
    import sacrebleu

    _same_length(outputs, references)
    if not len(outputs):
        return {"chrF": float("nan"), "BLEU": float("nan")}
    # sacrebleu wants the first reference of every row, then the second, with None where a row has fewer.
    streams = [list(stream) for stream in zip_longest(*map(several, references))]
    pair = (list(outputs), streams)
    return {"chrF": sacrebleu.corpus_chrf(*pair).score, "BLEU": sacrebleu.corpus_bleu(*pair).score}


def chrf(outputs: Sequence[str], references: Sequence[str | Sequence[str]]) -> np.ndarray:
    """chrF (0–100) of each row, for intervals and subgroups, to the nearest of its references; its mean is not that of the set."""
    from sacrebleu.metrics import CHRF

    _same_length(outputs, references)
    metric = CHRF()
    return np.array(
        [metric.sentence_score(o, several(r)).score for o, r in zip(outputs, references, strict=True)], float
    )


def several(references: str | Sequence[str]) -> list[str]:
    """The references of one row as a list."""
    return [references] if isinstance(references, str) else list(references)


def edits(source: str, target: str) -> set[tuple[int, int, str]]:
    """Token edits (start, end, new tokens) that turn `source` into `target`; tokens are words and single other signs.

    A stretch replaced by one of equal length counts token by token, so a half-done correction gets half the credit.
    """
    old, new = (re.findall(r"\w+|[^\w\s]", text) for text in (source, target))
    found = set()
    for tag, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "replace" and b - a == d - c:
            found |= {(a + i, a + i + 1, new[c + i]) for i in range(b - a)}
        elif tag != "equal":
            found.add((a, b, " ".join(new[c:d])))
    return found


def edit_scores(
    sources: Sequence[str], outputs: Sequence[str], references: Sequence[str | Sequence[str]]
) -> dict[str, float]:
    """Precision, recall and F1 of the edits made against those of the references, over the set; share of rows equal to theirs.

    As in grammatical error correction without error types (Bryant et al. 2017): of several references the one that fits a row best
    counts. NaN where nothing was edited or was to be.
    """
    _same_length(sources, outputs)
    _same_length(sources, references)
    counts = [edit_counts(*row) for row in zip(sources, outputs, references, strict=True)]
    hits, made, wanted = np.sum(counts, axis=0) if counts else (0, 0, 0)
    same = [o in several(r) for o, r in zip(outputs, references, strict=True)]
    return {
        "precision": hits / made if made else float("nan"),
        "recall": hits / wanted if wanted else float("nan"),
        "F1": 2 * hits / (made + wanted) if made + wanted else float("nan"),
        "exact match": float(np.mean(same)) if same else float("nan"),
    }


def edit_counts(source: str, output: str, references: str | Sequence[str]) -> tuple[int, int, int]:
    """(right edits, edits made, edits wanted) of one row, against the reference that it fits best."""
    ours = edits(source, output)
    found = [(len(ours & theirs), len(ours), len(theirs)) for theirs in (edits(source, r) for r in several(references))]
    return max(found, key=lambda c: (2 * c[0] / (c[1] + c[2]) if c[1] + c[2] else 1.0, -c[2]))


def _same_length(one: Sequence[str], other: Sequence[str]) -> None:
    if len(one) != len(other):
        raise ValueError(f"{len(one)} texts stand against {len(other)}: each needs its own")


def keyword_finder(keywords: Sequence[str]) -> Callable[[str], list[str]]:
    """A function from a text to the words in it that are among `keywords`, in any case; a trailing * stands for any ending."""
    parts = [re.escape(k.removesuffix("*")) + (r"\w*" if k.endswith("*") else "") for k in keywords if k.strip("* ")]
    return re.compile(rf"(?<!\w)(?:{'|'.join(parts)})(?!\w)" if parts else r"(?!)", re.IGNORECASE).findall
