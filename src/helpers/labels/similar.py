"""Texts that resemble each other, so that a person can label them together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


def most_similar(
    texts: Sequence[str], count: int, embed: Callable[[Sequence[str]], np.ndarray] | None = None
) -> list[int]:
    """Positions of the first text and of the `count` − 1 most similar to it, the most similar first.

    Similarity is the cosine of the embeddings that `embed` gives, (texts, hidden); without it, of TF-IDF over words.
    """
    if len(texts) <= 1 or count <= 1:
        return list(range(min(len(texts), count)))
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    if embed is None:
        rows = TfidfVectorizer(token_pattern=r"\w+|[^\w\s]", sublinear_tf=True).fit_transform(texts)
        closeness = (rows @ rows[0].T).toarray().ravel()
    else:
        rows = normalize(np.asarray(embed(texts), dtype=np.float64))
        closeness = rows @ rows[0]
    closeness[0] = np.inf  # the first text is the first of the page, whatever its copies
    return np.argsort(-closeness, kind="stable")[:count].tolist()
