"""Which kinds of exclusion a text has, beside its label: one logistic regression a kind on the learner's pooled states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

FEWEST = 3  # texts of a kind, and texts without it, from which it is learned
STRENGTH = 10.0  # inverse of the regularisation (tests/benchmarks/README.md)


@dataclass
class Kinds:
    """A multi-label linear head.

    Attributes
    ----------
    names : tuple of strings
        The kinds that were learned, in order.
    weight, bias : float tensors (kinds, hidden), (kinds,)
        For states of length 1.
    """

    names: tuple[str, ...]
    weight: torch.Tensor
    bias: torch.Tensor

    @classmethod
    def empty(cls, names: Sequence[str], hidden: int) -> Kinds:
        return cls(tuple(names), torch.zeros(len(names), hidden), torch.zeros(len(names)))

    @classmethod
    def fit(cls, states: np.ndarray, kinds: Sequence[Sequence[str]]) -> Kinds | None:
        """Learn the kinds that FEWEST texts have; classes weigh alike. None where there is no such kind.

        Parameters
        ----------
        states : float array (texts, hidden)
        kinds : for each text those that it has
        """
        names = sorted({name for own in kinds for name in own})
        has = {name: np.array([name in own for own in kinds]) for name in names}
        learned = [name for name in names if min(has[name].sum(), (~has[name]).sum()) >= FEWEST]
        if not learned:
            return None
        head = LogisticRegression(C=STRENGTH, max_iter=3000, class_weight="balanced")
        fitted = [head.fit(normalize(states), has[name]) and (head.coef_[0], head.intercept_[0]) for name in learned]
        weight, bias = (torch.tensor(np.array(part), dtype=torch.float32) for part in zip(*fitted, strict=True))
        return cls(tuple(learned), weight, bias)

    def probabilities(self, states: np.ndarray) -> np.ndarray:
        """Float64 array (texts, kinds)."""
        return expit(normalize(states) @ self.weight.numpy().T.astype(float) + self.bias.numpy().astype(float))

    def tensors(self) -> dict[str, torch.Tensor]:
        return {"weight": self.weight, "bias": self.bias}
