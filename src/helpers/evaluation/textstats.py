"""Statistics of texts: diversity, coverage of a pool, nearness to references, keywords."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from itertools import zip_longest

import numpy as np
import pandas as pd

from helpers.text import bare_words

TYPE_TOKEN_RATIO = 0.72  # the threshold of MTLD


def all_words(texts: Sequence[str]) -> list[str]:
    """The words of the texts in sequence, in lower case."""
    return [word for text in texts for word in bare_words(text).split()]


# --- diversity ------------------------------------------------------------------------------------


def distinct_n(texts: Sequence[str], n: int, tokens: int = 5000) -> float:
    """Share of n-grams in the first `tokens` words that are different (Li et al. 2016), NaN without one.

    The share falls with the number of words: compare sets at the same `tokens`.
    """
    grams, words_read = [], 0
    for text in texts:
        words = bare_words(text).split()[: tokens - words_read]
        words_read += len(words)
        grams += [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else float("nan")


def diversity(texts: Sequence[str]) -> dict[str, float]:
    """Texts, words, vocabulary, mean length in words, distinct-1 and distinct-2."""
    words = all_words(texts)
    return {
        "texts": len(texts),
        "words": len(words),
        "vocabulary": len(set(words)),
        "mean words": round(len(words) / max(1, len(texts)), 1),
        "distinct-1": round(distinct_n(texts, 1), 3),
        "distinct-2": round(distinct_n(texts, 2), 3),
    }


def self_bleu(texts: Sequence[str], sample: int = 100, seed: int = 0) -> float:
    """Mean BLEU (0–100) of each text against all the others (Zhu et al. 2018).

    By sacrebleu on lower-cased words of `sample` texts drawn by `seed`. A higher score means that
    the texts are more alike; it is NaN below two texts. It grows with the size of the sample, the
    cost with its square: compare equal samples.
    """
    from sacrebleu.metrics import BLEU

    sample_rows = np.sort(np.random.default_rng(seed).permutation(len(texts))[:sample])
    rows = [bare_words(texts[i]) for i in sample_rows]
    if len(rows) < 2:
        return float("nan")
    bleu = BLEU(tokenize="none", effective_order=True)
    scores = [bleu.sentence_score(row, rows[:i] + rows[i + 1 :]).score for i, row in enumerate(rows)]
    return float(np.mean(scores))


def mtld(texts: Sequence[str], tokens: int | None = None) -> float:
    """Mean number of words until the type-token ratio falls below `TYPE_TOKEN_RATIO` (McCarthy & Jarvis 2010).

    It reads the first `tokens` words, or all, forwards and backwards; NaN where no word comes twice.
    The threshold was tuned on English: compare Italian only with Italian, and read distinct-n beside it.
    """
    words = all_words(texts)[:tokens]
    factors = [_factors(words), _factors(words[::-1])]
    return float(np.mean([len(words) / f for f in factors])) if all(factors) else float("nan")


def _factors(words: list[str]) -> float:
    """How often the type-token ratio falls below the threshold, with the remainder as a fraction."""
    factors, types, length = 0.0, set(), 0
    for word in words:
        types.add(word)
        length += 1
        if len(types) / length < TYPE_TOKEN_RATIO:
            factors, types, length = factors + 1, set(), 0
    if length:
        factors += (1 - len(types) / length) / (1 - TYPE_TOKEN_RATIO)
    return factors


def vocabulary_growth(texts: Sequence[str], points: int = 20) -> pd.DataFrame:
    """Different words against words read (Heaps' curve): columns words, vocabulary."""
    words = all_words(texts)
    sizes = np.append(0, np.cumsum(~pd.Series(words, dtype=object).duplicated().to_numpy(bool)))
    positions = np.unique(np.linspace(0, len(words), points + 1).round().astype(int))
    return pd.DataFrame({"words": positions, "vocabulary": sizes[positions]})


def new_words(texts: Sequence[str], known: Sequence[str]) -> float:
    """Share of the vocabulary of `texts` that does not occur in `known`; NaN without a word."""
    ours, theirs = set(all_words(texts)), set(all_words(known))
    return len(ours - theirs) / len(ours) if ours else float("nan")


def coverage(pool: np.ndarray, rows: np.ndarray, k: int = 5) -> float:
    """Share of the pool with one of `rows` within reach of its k-th neighbour (Naeem et al. 2020).

    `pool` (n > k, dimensions) and `rows` (m > 0, dimensions) are vectors. Distances are Euclidean;
    on unit vectors they order as cosines do.
    """
    from sklearn.neighbors import NearestNeighbors

    radius = NearestNeighbors(n_neighbors=k).fit(pool).kneighbors()[0][:, -1]  # without the row itself
    nearest = NearestNeighbors(n_neighbors=1).fit(rows).kneighbors(pool)[0][:, 0]
    return float(np.mean(nearest <= radius))


# --- nearness to a reference ----------------------------------------------------------------------


def bleu(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """BLEU (0–100) of a whole set (Papineni et al. 2002), by sacrebleu; NaN without a text.

    `references[i]` are one or more for `outputs[i]`.
    """
    import sacrebleu

    if not len(outputs):
        return float("nan")
    # sacrebleu wants the first reference of every row, then the second, with None where a row has fewer.
    streams = [list(stream) for stream in zip_longest(*references)]
    return sacrebleu.corpus_bleu(list(outputs), streams).score


def chrf(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """chrF (0–100) of each text to its nearest reference (Popović 2015), by sacrebleu: (texts,).

    The mean over texts differs from the chrF of the whole set.
    """
    from sacrebleu.metrics import CHRF

    metric = CHRF()
    scores = [metric.sentence_score(o, list(r)).score for o, r in zip(outputs, references, strict=True)]
    return np.array(scores, float)


def tokens(text: str) -> list[str]:
    """Words and single other signs, each with the blanks before it: joined they are the text."""
    return re.findall(r"\s*\w+|\s*[^\w\s]|\s+\Z", text)


def edits(source: str, target: str) -> set[tuple[int, int, str]]:
    """Token edits (start, end, new tokens) that turn `source` into `target`; blanks do not count.

    A span replaced by one of equal length counts token by token, so a half-done correction gets
    half the credit.
    """
    old, new = ([token.strip() for token in tokens(text.rstrip())] for text in (source, target))
    changes = set()
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "replace" and b - a == d - c:
            changes |= {(a + i, a + i + 1, new[c + i]) for i in range(b - a)}
        elif kind != "equal":
            changes.add((a, b, " ".join(new[c:d])))
    return changes


def edit_counts(source: str, output: str, references: Sequence[str]) -> tuple[int, int, int]:
    """Edits that are right, that were made and that were needed, against the best-fitting reference.

    As in grammatical error correction, without error types (Bryant et al. 2017).
    """
    ours = edits(source, output)
    counts = [(len(ours & theirs), len(ours), len(theirs)) for theirs in (edits(source, r) for r in references)]

    def fit(count: tuple[int, int, int]) -> tuple[float, int]:
        right, made, needed = count
        return 2 * right / (made + needed) if made + needed else 1.0, -needed

    return max(counts, key=fit)


def keyword_finder(keywords: Sequence[str]) -> Callable[[str], list[str]]:
    """A function that finds keywords in a text, in any case; a final * matches any ending."""
    stems = [(keyword.removesuffix("*"), keyword.endswith("*")) for keyword in keywords if keyword.strip("* ")]
    patterns = [re.escape(stem) + (r"\w*" if is_open else "") for stem, is_open in stems]
    if not patterns:
        return lambda text: []
    return re.compile(rf"(?<!\w)(?:{'|'.join(patterns)})(?!\w)", re.IGNORECASE).findall
