"""Learners with the same verbs and no language model: majority, lexicon, TF-IDF + logistic regression, frozen-embedding probe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import normalize

from helpers.task import Task


class Sklearn:
    """Any scikit-learn classifier over texts as a learner; a class it has not seen gets probability zero."""

    def __init__(self, task: Task, pipeline: Any):
        self.task, self.pipeline = task, pipeline

    def fit(self, records: list[dict], seed: int = 0) -> dict[str, Any]:
        self.pipeline.fit([r["text"] for r in records], self.task.index([r["label"] for r in records]))
        return {"train_rows": len(records)}

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        """float64 (texts, labels)."""
        out = np.zeros((len(texts), len(self.task.labels)))
        if len(texts):
            out[:, self.pipeline.classes_] = self.pipeline.predict_proba(list(texts))
        return out


class _Texts:
    """One constant feature a text: all that a majority classifier needs."""

    def fit(self, texts, _=None):
        return self

    def transform(self, texts):
        return np.zeros((len(texts), 1))


def majority(task: Task) -> Sklearn:
    """Answers with the commonest label of its training rows."""
    return Sklearn(task, make_pipeline(_Texts(), DummyClassifier(strategy="prior")))


def tfidf(task: Task, class_weights: bool = True) -> Sklearn:
    """Logistic regression on TF-IDF of word 1-2-grams and character 2-5-grams inside words."""
    features = FeatureUnion(
        [
            (
                "words",
                TfidfVectorizer(
                    ngram_range=(1, 2), sublinear_tf=True, strip_accents=None, token_pattern=r"(?u)\b\w+\b"
                ),
            ),
            ("characters", TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)),
        ]
    )
    weight = "balanced" if class_weights else None
    return Sklearn(task, make_pipeline(features, LogisticRegression(C=10.0, max_iter=2000, class_weight=weight)))


class Lexicon:
    """Answers `positive` where `cues(text)` finds anything, the first other label elsewhere."""

    def __init__(self, task: Task, cues: Callable[[str], list]):
        self.task, self.cues = task, cues

    def fit(self, records: list[dict], seed: int = 0) -> dict[str, Any]:
        return {"train_rows": 0}

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        positive = self.task.labels.index(self.task.positive)
        negative = next(i for i in range(len(self.task.labels)) if i != positive)
        out = np.zeros((len(texts), len(self.task.labels)))
        for row, text in zip(out, texts, strict=True):
            row[positive if self.cues(text) else negative] = 1.0
        return out


def lsa(texts: Sequence[str], dimensions: int = 128, seed: int = 0) -> np.ndarray:
    """Unit-length latent semantic embeddings, float32 (texts, dimensions): TF-IDF of words, truncated SVD."""
    features = TfidfVectorizer(sublinear_tf=True, max_features=50_000, token_pattern=r"(?u)\b\w+\b").fit_transform(
        texts
    )
    dimensions = max(1, min(dimensions, min(features.shape) - 1))
    return normalize(TruncatedSVD(dimensions, random_state=seed).fit_transform(features)).astype(np.float32)
