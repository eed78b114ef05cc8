"""Baseline learners (majority, TF-IDF, lexicon), and text embeddings by LSA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import normalize

from helpers.env import UserError
from helpers.task import Task

MANY_CLASSES, FEATURES = 30, 5_000
WORD = r"(?u)\b\w+\b"  # words of one letter count: Italian articles and prepositions have one


class Sklearn:
    """A scikit-learn classifier as a learner; a class without training rows gets probability zero."""

    def __init__(self, task: Task, classifier: Any):
        self.task, self.classifier = task, classifier

    def fit(self, records: list[dict], seed: int = 0) -> None:
        """Train on labelled records. `seed` is common to all learners; nothing here is random."""
        self.classifier.fit([r["text"] for r in records], self.task.index([r["label"] for r in records]))

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        """Probabilities of the task's labels: float array (texts, labels)."""
        probabilities = np.zeros((len(texts), len(self.task.labels)))
        if len(texts):
            probabilities[:, self.classifier.classes_] = self.classifier.predict_proba(list(texts))
        return probabilities


def majority(task: Task) -> Sklearn:
    """Predicts the most frequent label of its training rows."""
    return Sklearn(task, DummyClassifier(strategy="prior"))


def tfidf(task: Task) -> Sklearn:
    """Logistic regression on TF-IDF of word 1-2-grams and character 2-5-grams, classes balanced.

    Beyond MANY_CLASSES classes it takes the FEATURES commonest of each kind only: L-BFGS holds some 25 numbers for each
    class and feature, which with 200 classes and a hundred thousand features is several GiB.
    """
    most = FEATURES if len(task.labels) > MANY_CLASSES else None
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=WORD, max_features=most)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, max_features=most)
    classifier = LogisticRegression(C=10.0, max_iter=2000, class_weight="balanced")
    return Sklearn(task, make_pipeline(make_union(words, characters), classifier))


def most_similar(records: Sequence[dict], texts: Sequence[str], count: int) -> list[list[dict]]:
    """For each text the `count` records with the most similar texts by TF-IDF of words (cosine), the most similar last."""
    vectorizer = TfidfVectorizer(sublinear_tf=True, token_pattern=WORD)
    known = vectorizer.fit_transform([r["text"] for r in records])
    similarity = (vectorizer.transform(texts) @ known.T).toarray()
    order = np.argsort(similarity, axis=1, kind="stable")[:, -count:]
    return [[records[i] for i in row] for row in order]


class Lexicon:
    """Predicts the positive label where `cues(text)` finds anything, else the first other one."""

    def __init__(self, task: Task, cues: Callable[[str], list]):
        self.task, self.cues = task, cues

    def fit(self, records: list[dict], seed: int = 0) -> None:
        """Do nothing: a lexicon does not learn."""

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        """Zeros and ones: float array (texts, labels)."""
        positive = self.task.labels.index(self.task.positive)
        negative = 0 if positive else 1
        return np.eye(len(self.task.labels))[[positive if self.cues(text) else negative for text in texts]]


def lsa(texts: Sequence[str], seed: int = 0) -> np.ndarray:
    """Latent semantic embeddings (Deerwester et al. 1990): truncated SVD of TF-IDF of words.

    Unit vectors (texts, 128), with fewer dimensions where there are fewer texts or words. Raises UserError where the
    texts have fewer than three different words.
    """
    vectorizer = TfidfVectorizer(sublinear_tf=True, max_features=50_000, token_pattern=WORD)
    try:
        features = vectorizer.fit_transform(texts)
    except ValueError:  # no word at all
        features = np.zeros((len(texts), 0))
    if features.shape[1] < 3:
        remedy = "check that text_column names the column with the texts"
        raise UserError(f"The {len(texts):,} texts have fewer than three different words: {remedy}.")
    dimensions = max(1, min(128, min(features.shape) - 1))
    return normalize(TruncatedSVD(dimensions, random_state=seed).fit_transform(features)).astype(np.float32)
