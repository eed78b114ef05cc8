"""Percentile bootstrap intervals (Efron 1979), by `scipy.stats.bootstrap`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

BATCH = 1_000_000  # resampled values that are in memory at once


def bootstrap_draws(
    statistic: Callable[..., np.ndarray], *samples: np.ndarray, draws: int = 1000, seed: int = 0
) -> np.ndarray:
    """Values (draws,) of a statistic on samples (n,) drawn with replacement.

    `statistic(*samples, axis=-1)` is vectorised over the leading axes. Samples are paired: position i
    of each belongs to the same row and is drawn together.
    """
    rows = len(samples[0])
    if rows == 1:  # scipy refuses a single row; every draw is that row
        return np.full(draws, statistic(*samples, axis=-1), float)
    with np.errstate(invalid="ignore"):  # scipy's own interval subtracts infinite draws
        result = stats.bootstrap(
            samples,
            statistic,
            n_resamples=draws,
            batch=max(1, BATCH // rows),
            paired=True,
            vectorized=True,
            method="percentile",
            random_state=np.random.default_rng(seed),  # `rng` needs scipy 1.15
        )
    return result.bootstrap_distribution


def bootstrap_interval(
    statistic: Callable[..., np.ndarray], *samples: np.ndarray, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """95 % interval (low, high) of a statistic over rows; see `bootstrap_draws`. NaN without rows."""
    if not len(samples[0]):
        return float("nan"), float("nan")
    low, high = np.quantile(bootstrap_draws(statistic, *samples, draws=draws, seed=seed), [0.025, 0.975])
    return float(low), float(high)
