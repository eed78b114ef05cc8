"""Calibrated probabilities: softmax, weighted likelihood, and a temperature from held-out rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from helpers.core.batches import Targets


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities in float64 from logits, row by row."""
    exponent = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return exponent / exponent.sum(1, keepdims=True)


def negative_log_likelihood(logits: np.ndarray, classes: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Weighted mean of -log p(class) over the rows.

    Parameters
    ----------
    logits : float array (rows, labels)
    classes : int array (rows,)
    weights : float array (rows,), optional
    """
    shifted = logits - logits.max(1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(classes)), classes]
    return float(np.average(losses, weights=weights))


def fit_temperature(logits: np.ndarray, classes: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Temperature in [0.25, 10] of the lowest negative log-likelihood (Guo et al. 2017).

    A log-normal prior with a deviation of 0.5 keeps it near 1: a dozen correct rows would ask for
    certainty. Arguments as for `negative_log_likelihood`.
    """
    from scipy.optimize import minimize_scalar

    total = len(classes) if weights is None else weights.sum()

    def loss(log_t: float) -> float:
        return negative_log_likelihood(logits / np.exp(log_t), classes, weights) + 2 * log_t**2 / total

    return float(np.exp(minimize_scalar(loss, bounds=np.log([0.25, 10]), method="bounded").x))


class HeldOutLoss:
    """Loss on held-out rows at their best temperature; `temperature` belongs to the lowest so far.

    The temperature is divided out first because the model is calibrated after training in any case.
    """

    def __init__(self, logits: Callable[[], np.ndarray], targets: Targets, class_weights: np.ndarray):
        self.logits, self.targets = logits, targets
        self.weights = class_weights[targets.classes] * targets.weights
        self.lowest, self.temperature = float("inf"), 1.0

    def __call__(self) -> float:
        logits, classes = self.logits(), self.targets.classes
        temperature = fit_temperature(logits, classes, self.targets.weights)
        loss = negative_log_likelihood(logits / temperature, classes, self.weights)
        if loss < self.lowest:
            self.lowest, self.temperature = loss, temperature
        return loss
