"""A learner on frozen embeddings: logistic regression, in a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.preprocessing import normalize

from helpers.env import UserError
from helpers.task import Task


def probe_head() -> LogisticRegression:
    """The classifier of `Probe`, for unit-length rows."""
    return LogisticRegression(C=1.0, max_iter=2000, class_weight="balanced")


def cross_checked(x: np.ndarray, y: np.ndarray, folds: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rows, probabilities, class numbers) of labelled rows, each answered by a head that did not train on it.

    No row at all where a class has fewer than `folds` labels: it cannot be left out.
    """
    if np.unique(y, return_counts=True)[1].min() < folds:
        return x[:0], np.zeros((0, 2)), y[:0]
    parts = StratifiedKFold(folds, shuffle=True, random_state=0)
    return x, cross_val_predict(probe_head(), x, y, cv=parts, method="predict_proba"), y


class Probe:
    """Logistic regression on frozen embeddings from `embed`."""

    def __init__(self, task: Task, embed: Callable[[Sequence[str]], np.ndarray]):
        self.task, self.embed = task, embed

    def fit(self, records: list[dict], seed: int = 0) -> dict[str, Any]:
        classes = self.task.index([r["label"] for r in records])
        if len(set(classes)) < 2:
            raise UserError("The labels so far are all of one class: label more rows before training.")
        self.x, self.y = normalize(self.embed([r["text"] for r in records])), np.array(classes)
        self.model = probe_head().fit(self.x, self.y)
        return {"train_rows": len(records)}

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        return self.score(texts)[0]

    def score(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(probabilities, embeddings) of the texts."""
        rows = normalize(self.embed(texts)) if len(texts) else np.zeros((0, self.x.shape[1]), self.x.dtype)
        return self._probabilities(self.model, rows), rows

    def draws(self, texts: Sequence[str], count: int = 10, seed: int = 0) -> np.ndarray:
        """(count, texts, labels) of heads fitted on labels drawn with replacement within each class (bagging, Breiman 1996)."""
        rows, rng = self.score(texts)[1], np.random.default_rng(seed)
        out = []
        for _ in range(count):
            drawn = np.concatenate(
                [rng.choice(own, len(own)) for own in map(np.flatnonzero, self.y == np.unique(self.y)[:, None])]
            )
            out.append(self._probabilities(probe_head().fit(self.x[drawn], self.y[drawn]), rows))
        return np.stack(out)

    def checked(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(embeddings, probabilities, class numbers) of its labelled rows, each answered by a head that did not train on it."""
        x, p, y = cross_checked(self.x, self.y)
        out = np.zeros((len(y), len(self.task.labels)))
        out[:, self.model.classes_] = p
        return x, out, y

    def _probabilities(self, head: LogisticRegression, rows: np.ndarray) -> np.ndarray:
        """float64 (rows, labels); a class it has not seen gets probability zero."""
        out = np.zeros((len(rows), len(self.task.labels)))
        if len(rows):
            out[:, head.classes_] = head.predict_proba(rows)
        return out
