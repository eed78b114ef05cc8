"""What the query strategies share: checks of their arrays, distances in chunks, clusters, orders with ties broken by the seed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator

import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans

from helpers.env import UserError

Array, Maybe = np.ndarray, np.ndarray | None
Strategy = Callable[..., Array]
PER_TEXT = ("base_probabilities", "informativeness", "groups")  # what is known of every text of the pool


def apply(strategy: Strategy, probabilities: Array, embeddings: Array, k: int, seed: int, known: dict) -> Array:
    """The picks of `strategy`, given the part of `known` that it takes."""
    takes = inspect.signature(strategy).parameters
    used = known if "known" in takes else {name: value for name, value in known.items() if name in takes}
    return strategy(probabilities, embeddings, k, seed, **used)


def checked_probabilities(probabilities: Array) -> Array:
    if np.ndim(probabilities) < 2 or np.shape(probabilities)[-1] < 2:
        raise UserError(f"Parameter probabilities has shape {np.shape(probabilities)}: it needs two classes or more.")
    finite = np.isfinite(probabilities).all(-1)
    bad = np.flatnonzero(~(finite.all(0) if finite.ndim == 2 else finite))
    if len(bad):
        raise UserError(
            f"Scores of {len(bad)} texts are not finite (first: row {bad[0]}): lower learning_rate and retrain."
        )
    return probabilities


def vectors(embeddings: Array, name: str = "embeddings") -> Array:
    x = np.asarray(embeddings)
    if x.ndim != 2:
        raise UserError(f"Parameter {name} has shape {x.shape}: it needs one row of numbers a text.")
    x = x if x.dtype in (np.float32, np.float64) else x.astype(np.float32)
    finite = np.isfinite(np.concatenate([x[part].sum(1) for part in chunks(len(x))])) if len(x) else np.ones(0, bool)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        raise UserError(f"Parameter {name} has {len(bad)} rows that are not finite (first: row {bad[0]}).")
    return x


def labelled_rows(rows: Maybe, name: str, embeddings: Array) -> Array:
    """Checked rows (m, d) in the pool's precision; none for None."""
    if rows is None or not len(rows):
        return embeddings[:0]
    if np.shape(rows)[1:] != embeddings.shape[1:]:
        raise UserError(
            f"Parameter {name} has shape {np.shape(rows)}: its rows need the {embeddings.shape[1]} numbers of the pool's."
        )
    return vectors(rows, name).astype(embeddings.dtype, copy=False)


def required(value, name: str, strategy: str, rows: Maybe = None):
    """`value`, which must be there, with one entry for each of `rows`."""
    if value is None or (np.ndim(value) and not len(value)):
        raise UserError(
            f"Strategy {strategy} needs {name}, which is missing or empty: give it, or take another strategy."
        )
    if rows is not None and len(value) != len(rows):
        raise UserError(f"Parameter {name} has {len(value)} values for {len(rows)} rows: give one for each.")
    return value


def mean_of_draws(p: Array) -> Array:
    """Probabilities (n, classes): the mean of draws where there are several."""
    return p.mean(0) if p.ndim == 3 else p


def entropy_of(p: Array) -> Array:
    p = np.clip(p, 1e-12, 1.0)
    return -(p * np.log(p)).sum(-1)


def largest(scores: Array, k: int, seed: int) -> Array:
    tie = np.random.default_rng(seed).random(len(scores))
    return np.lexsort((tie, -scores))[:k]


def filled(picks, n: int, k: int, seed: int) -> Array:
    """`picks`, and random others up to `k`."""
    picks = np.asarray(picks, dtype=int)
    if len(picks) >= min(k, n):
        return picks[:k]
    rest = np.setdiff1d(np.arange(n), picks)
    return np.concatenate([picks, np.random.default_rng(seed).permutation(rest)[: k - len(picks)]])


def round_robin(ranked: list[Array], k: int) -> list[int]:
    """The first of each list, then the second of each, up to `k`."""
    deepest = max(map(len, ranked), default=0)
    return [int(rows[depth]) for depth in range(min(deepest, k)) for rows in ranked if depth < len(rows)][:k]


def squared_distances(a: Array, b: Array) -> Array:
    """Squared Euclidean distances (len(a), len(b)), in the precision of `b`."""
    a = a.astype(b.dtype, copy=False)
    d = np.einsum("ij,ij->i", a, a)[:, None] - 2 * (a @ b.T) + np.einsum("ij,ij->i", b, b)
    return np.maximum(d, 0, out=d)


def chunks(n: int, size: int = 8192) -> Iterator[slice]:
    return (slice(i, min(i + size, n)) for i in range(0, n, size))


def kmeans(embeddings: Array, k: int, seed: int = 0) -> Array:
    """Cluster number of every row; mini-batches above 5,000 rows."""
    return clustering(embeddings, k, seed).labels_


def clustering(embeddings: Array, k: int, seed: int) -> KMeans | MiniBatchKMeans:
    x = vectors(embeddings)
    distinct: set[bytes] = set()
    for row in x:  # no more clusters than distinct rows
        distinct.add((row + 0.0).tobytes())
        if len(distinct) >= k:
            break
    k = min(k, len(distinct))
    model = KMeans(k, n_init=1, random_state=seed) if len(x) <= 5000 else None
    model = model or MiniBatchKMeans(k, n_init=1, batch_size=2048, random_state=seed)
    return model.fit(x)


def members_of(clusters: Array) -> list[Array]:
    """Positions of each cluster's rows, in order."""
    order = np.argsort(clusters, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(clusters[order])) + 1)


def weight_in_clusters(model: KMeans | MiniBatchKMeans, rows: Array, weights: Maybe = None) -> Array:
    """How many rows, or how much weight, fall in each non-empty cluster."""
    where = model.predict(rows) if len(rows) else np.empty(0, dtype=int)
    return np.bincount(where, weights, minlength=len(model.cluster_centers_))[np.unique(model.labels_)]
