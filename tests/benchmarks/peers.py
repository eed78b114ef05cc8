"""small-text and scikit-activeml behind one function: the same arrays in, positions out. Installed by `make bench-al` alone."""

from __future__ import annotations

import importlib
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression

# What takes arrays of this size in a sensible time. Left out of small-text: the greedy core-set (41 s a batch of 20,000), EGL and
# DAL (they train a neural network of their own), SEALS and anchors (they need hnswlib); least confidence and entropy, which rank
# two classes as the margin does.
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

    def __init__(self, at: np.ndarray):
        self.at = at

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, i) -> _Rows:
        return _Rows(self.at[i])


class _Fitted:
    """small-text's classifier: probabilities and embeddings that are known already."""

    num_classes = 2

    def __init__(self, probabilities: np.ndarray, embeddings: np.ndarray):
        self.p, self.x = probabilities, embeddings

    def predict_proba(self, rows: _Rows) -> np.ndarray:
        return self.p[rows.at]

    def embed(self, rows: _Rows, return_proba: bool = False, pbar=None):
        return (self.x[rows.at], self.p[rows.at]) if return_proba else self.x[rows.at]


def pick(name: str, x: np.ndarray, labelled: np.ndarray, y: np.ndarray, head: LogisticRegression, k: int, seed: int):
    """`k` positions in the pool `x` (n, d) by the named peer; `labelled` (m,) have labels `y` (m,), `head` is fitted on them."""
    library, _, short = name.partition(" ")
    np.random.seed(seed)  # small-text takes its randomness from here
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if library == "small-text":
            return _small_text(short, x, labelled, y, head, k)
        return _skactiveml(short, x, labelled, y, head, k, seed)


def _small_text(short, x, labelled, y, head, k):
    kind, options = SMALL_TEXT[short]
    where = "small_text.integrations.pytorch.query_strategies" if kind == "BADGE" else "small_text"
    strategy = getattr(importlib.import_module(where), kind)(**options)
    free = np.setdiff1d(np.arange(len(x)), labelled)
    return np.asarray(
        strategy.query(_Fitted(head.predict_proba(x), x), _Rows(np.arange(len(x))), free, labelled, y, n=k)
    )


def _skactiveml(short, x, labelled, y, head, k, seed):
    from skactiveml.classifier import SklearnClassifier

    kind, options = SKACTIVEML[short]
    strategy = getattr(importlib.import_module("skactiveml.pool"), kind)(random_state=seed, **options)
    known = np.full(len(x), np.nan)
    known[labelled] = y
    arguments = {"X": x, "y": known, "batch_size": k}
    if kind not in ("TypiClust", "CoreSet", "ProbCover"):
        learner = "estimator" if kind == "Clue" else "clf"
        fitted = SklearnClassifier(head, classes=[0, 1], random_state=seed)
        arguments |= {learner: fitted.fit(x[labelled], y)}
        arguments |= {f"fit_{learner}": False}
    return np.asarray(strategy.query(**arguments))
