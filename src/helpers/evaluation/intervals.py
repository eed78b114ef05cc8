"""95 % intervals: percentile bootstrap (Efron 1979) by `scipy.stats.bootstrap`, and Wilson's for plain rates.

Where every draw is alike, as the score of a model without an error, resampling shows nothing of what may happen: there an
interval says what the share of rows that may be otherwise (`unseen_share`) does at most.

Rows that were made from one text, which `clusters` names, are drawn together and count as one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

BATCH = 1_000_000  # resampled values that are in memory at once


def bootstrap_draws(
    statistic: Callable[..., np.ndarray],
    *samples: np.ndarray,
    draws: int = 1000,
    seed: int = 0,
    clusters: Sequence | None = None,
) -> np.ndarray:
    """Values (draws,) of a statistic on samples (n,) drawn with replacement.

    `statistic(*samples, axis=-1)` is vectorised over the leading axes. Samples are paired: position i
    of each belongs to the same row and is drawn together, as are rows with the same name in `clusters`.
    """
    rows = len(samples[0])
    if clusters is not None and len(set(clusters)) < rows:
        return _cluster_draws(statistic, samples, draws, seed, clusters)
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


def _cluster_draws(statistic, samples, draws: int, seed: int, clusters: Sequence) -> np.ndarray:
    """Draws of whole clusters; one at a time, because their numbers of rows differ."""
    samples, (_, cluster) = list(map(np.asarray, samples)), np.unique(np.asarray(clusters), return_inverse=True)
    members = np.split(np.argsort(cluster, kind="stable"), np.cumsum(np.bincount(cluster))[:-1])
    rng, values = np.random.default_rng(seed), np.empty(draws)
    for i in range(draws):
        rows = np.concatenate([members[k] for k in rng.integers(0, len(members), len(members))])
        values[i] = statistic(*(sample[rows] for sample in samples), axis=-1)
    return values


def bootstrap_interval(
    statistic: Callable[..., np.ndarray],
    *samples: np.ndarray,
    draws: int = 1000,
    seed: int = 0,
    clusters: Sequence | None = None,
    otherwise: Callable[[float], tuple[float, float]] | None = None,
) -> tuple[float, float]:
    """95 % interval (low, high) of a statistic over rows; see `bootstrap_draws`. NaN without rows.

    `otherwise` gives the lowest and highest value of the statistic if a share of the rows were otherwise, which is the
    interval where all draws are alike.
    """
    if not len(samples[0]):
        return float("nan"), float("nan")
    values = bootstrap_draws(statistic, *samples, draws=draws, seed=seed, clusters=clusters)
    low, high = np.quantile(values, [0.025, 0.975])
    if otherwise and np.isclose(low, high, rtol=0, atol=1e-9):
        low, high = otherwise(unseen_share(len(samples[0] if clusters is None else set(clusters))))
    return float(low), float(high)


def mean_interval(
    values: np.ndarray,
    lowest: float = 0.0,
    highest: float = 1.0,
    draws: int = 1000,
    clusters: Sequence | None = None,
) -> tuple[float, float]:
    """As `bootstrap_interval`, of the mean of values between `lowest` and `highest`."""
    values = np.asarray(values, float)

    def otherwise(share: float) -> tuple[float, float]:
        mean = values.mean()
        return mean - share * (mean - lowest), mean + share * (highest - mean)

    return bootstrap_interval(np.mean, values, draws=draws, clusters=clusters, otherwise=otherwise)


def unseen_share(rows: int) -> float:
    """The largest share of cases that may well be missing among so many rows: the upper end of the exact 95 % interval of 0.

    Clopper and Pearson (1934), two-sided, about 3.7 / rows; one-sided it is the rule of three, 3 / rows (Hanley and
    Lippman-Hand 1983).
    """
    return 1 - 0.025 ** (1 / rows)


def f1_otherwise(
    hits: np.ndarray, own: np.ndarray, total: np.ndarray, moved: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(F1 with `moved` rows more that are missed, with as many more that are found, the rows that can be missed) by class.

    `own` are the rows of each class, `hits` those of them that are found, `total` is `own` and the rows named so together.
    """
    lost, found = np.minimum(moved, hits), np.minimum(moved, own - hits)
    worse, better = (
        2 * (hits - lost) / np.maximum(total - lost, 1e-9),
        2 * (hits + found) / np.maximum(total + found, 1e-9),
    )
    return worse, better, lost


def wilson_interval(hits: np.ndarray, clusters: Sequence | None = None, level: float = 0.95) -> tuple[float, float]:
    """Interval (low, high) of the share of True in `hits` (Wilson 1927); NaN without rows.

    With `clusters` it is as wide as that of one row for each: rows of a cluster may all be alike.
    """
    if not len(hits):
        return float("nan"), float("nan")
    rows, share = len(hits if clusters is None else set(clusters)), float(np.mean(hits))
    z = stats.norm.ppf(0.5 + level / 2)
    middle = (share + z**2 / (2 * rows)) / (1 + z**2 / rows)
    half = z / (1 + z**2 / rows) * np.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2))
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


def rate_difference(
    first: np.ndarray, second: np.ndarray, clusters: tuple[Sequence | None, Sequence | None] = (None, None), tests=1
) -> tuple[float, float, float]:
    """Share of True in `first` minus that in `second`, other rows, with its 95 % interval (Newcombe 1998).

    `tests` is the number of differences that are looked at together: the interval is as much wider as
    Bonferroni asks, so that all of them hold at once. Returns (difference, low, high).
    """
    level = 1 - 0.05 / tests
    (low, high), (other_low, other_high) = (
        wilson_interval(hits, names, level) for hits, names in zip((first, second), clusters, strict=True)
    )
    share, other = float(np.mean(first)), float(np.mean(second))
    below, above = np.hypot(share - low, other_high - other), np.hypot(high - share, other - other_low)
    return share - other, share - other - float(below), share - other + float(above)
