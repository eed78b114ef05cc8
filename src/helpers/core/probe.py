"""A learner on frozen embeddings: logistic regression, in a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.preprocessing import normalize

from helpers.task import Task, refuse_one_class


def probe_head() -> LogisticRegression:
    """The classifier of `Probe`, for unit-length rows."""
    return LogisticRegression(C=1.0, max_iter=2000, class_weight="balanced")


def cross_checked(x: np.ndarray, y: np.ndarray, folds: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities of labelled rows by heads that were not trained on them (cross-validation).

    Parameters
    ----------
    x : float array (rows, hidden)
        Unit-length embeddings.
    y : int array (rows,)
        Class numbers.
    folds : int

    Returns
    -------
    (x, probabilities, y)
        Probabilities are (rows, classes in `y`). No row at all where a class has fewer than `folds`
        labels.
    """
    counts = np.unique(y, return_counts=True)[1]
    if counts.min() < folds:
        return x[:0], np.zeros((0, len(counts))), y[:0]
    parts = StratifiedKFold(folds, shuffle=True, random_state=0)
    return x, cross_val_predict(probe_head(), x, y, cv=parts, method="predict_proba"), y


class Probe:
    """Logistic regression on frozen embeddings.

    Parameters
    ----------
    task : Task
    embed : function from texts to a float array (texts, hidden)
    """

    def __init__(self, task: Task, embed: Callable[[Sequence[str]], np.ndarray]):
        self.task, self.embed = task, embed

    def fit(self, records: list[dict], seed: int = 0) -> dict[str, Any]:
        """Train on records with `text` and `label`; the seed is unused.

        Raises UserError with fewer than two classes.
        """
        classes = self.task.index([r["label"] for r in records])
        refuse_one_class(classes)
        self.x, self.y = normalize(self.embed([r["text"] for r in records])), np.array(classes)
        self.model = probe_head().fit(self.x, self.y)
        return {"train_rows": len(records)}

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        """Probabilities, float64 (texts, labels)."""
        return self.score(texts)[0]

    def score(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(probabilities (texts, labels), unit-length embeddings (texts, hidden)).

        A class that `fit` has not seen gets probability zero.
        """
        rows = normalize(self.embed(texts)) if len(texts) else np.zeros((0, self.x.shape[1]), self.x.dtype)
        probabilities = np.zeros((len(rows), len(self.task.labels)))
        if len(rows):
            probabilities[:, self.model.classes_] = self.model.predict_proba(rows)
        return probabilities, rows

    def checked(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(embeddings, probabilities, class numbers) of its labelled rows by `cross_checked`."""
        x, probabilities, y = cross_checked(self.x, self.y)
        padded = np.zeros((len(y), len(self.task.labels)))
        padded[:, self.model.classes_] = probabilities
        return x, padded, y
