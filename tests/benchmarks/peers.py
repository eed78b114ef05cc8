"""The query strategies of small-text and scikit-activeml, from arrays to positions.

Only `make bench-al` installs the two libraries.
"""

from __future__ import annotations

import importlib
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression

# The strategies that select from arrays of this size in reasonable time. Left out of small-text: the greedy
# core-set (41 s for a batch from 20,000 texts), EGL and DAL (they train their own neural network), SEALS and
# anchor subsampling (they need hnswlib), least confidence and entropy (they rank two classes as the margin does).
SMALL_TEXT = {
    "breaking_ties": ("BreakingTies", {}),
    "embedding_kmeans": ("EmbeddingKMeans", {}),
    "lightweight_coreset": ("LightweightCoreset", {}),
    "contrastive": ("ContrastiveActiveLearning", {"pbar": None}),
    "badge": ("BADGE", {"num_classes": 2}),
}
SKACTIVEML = {
    "margin": ("UncertaintySampling", {"method": "margin_sampling"}),
    "badge": ("Badge", {}),
    "typiclust": ("TypiClust", {}),
    "clue": ("Clue", {}),
    "dropquery": ("DropQuery", {}),
    "falcun": ("Falcun", {}),
    "coreset": ("CoreSet", {}),
    "probcover": ("ProbCover", {}),
    "contrastive": ("ContrastiveAL", {}),
}
NAMES = [f"small-text {n}" for n in SMALL_TEXT] + [f"skactiveml {n}" for n in SKACTIVEML]


class _Rows:
    """small-text's data set: positions in the pool."""

    def __init__(self, positions: np.ndarray):
        self.positions = positions

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, i) -> _Rows:
        return _Rows(self.positions[i])


class _Fitted:
    """small-text's classifier, with probabilities and embeddings that are already known."""

    num_classes = 2

    def __init__(self, probabilities: np.ndarray, embeddings: np.ndarray):
        self.probabilities, self.embeddings = probabilities, embeddings

    def predict_proba(self, rows: _Rows) -> np.ndarray:
        return self.probabilities[rows.positions]

    def embed(self, rows: _Rows, return_proba: bool = False, pbar=None):
        embeddings = self.embeddings[rows.positions]
        return (embeddings, self.predict_proba(rows)) if return_proba else embeddings


def pick(name: str, x: np.ndarray, labelled: np.ndarray, y: np.ndarray, head: LogisticRegression, k: int, seed: int):
    """Select `k` positions in the pool `x` (texts, d) by the named peer.

    `labelled` (m,) are the positions of the rows with labels `y` (m,), on which `head` is fitted.
    """
    library, _, short = name.partition(" ")
    np.random.seed(seed)  # small-text draws from numpy's global generator
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if library == "small-text":
            return _small_text(short, x, labelled, y, head, k)
        return _skactiveml(short, x, labelled, y, head, k, seed)


def _small_text(short, x, labelled, y, head, k):
    kind, options = SMALL_TEXT[short]
    where = "small_text.integrations.pytorch.query_strategies" if kind == "BADGE" else "small_text"
    strategy = getattr(importlib.import_module(where), kind)(**options)
    learner, pool = _Fitted(head.predict_proba(x), x), _Rows(np.arange(len(x)))
    return np.asarray(strategy.query(learner, pool, np.setdiff1d(np.arange(len(x)), labelled), labelled, y, n=k))


def _skactiveml(short, x, labelled, y, head, k, seed):
    from skactiveml.classifier import SklearnClassifier

    kind, options = SKACTIVEML[short]
    strategy = getattr(importlib.import_module("skactiveml.pool"), kind)(random_state=seed, **options)
    labels = np.full(len(x), np.nan)  # NaN marks a row without a label
    labels[labelled] = y
    arguments = {"X": x, "y": labels, "batch_size": k}
    if kind not in ("TypiClust", "CoreSet", "ProbCover"):
        learner = "estimator" if kind == "Clue" else "clf"
        fitted = SklearnClassifier(head, classes=[0, 1], random_state=seed)
        arguments |= {learner: fitted.fit(x[labelled], y), f"fit_{learner}": False}
    return np.asarray(strategy.query(**arguments))
