"""What the query strategies share: checks of their inputs, orders, distances and clusters."""

from __future__ import annotations

from itertools import zip_longest

import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans

from helpers.env import UserError

Array = np.ndarray
PER_TEXT = ("probabilities", "embeddings", "groups", "compliance", "nll")  # one entry a text


def checked_inputs(strategy: str, rows: int, inputs: dict) -> dict[str, Array]:
    """Return the inputs that `strategy` declares as arrays, empty ones for labelled or held-out rows that are None.

    Raises UserError on one that is missing, has the wrong length, or holds numbers that are not finite.
    """
    arrays = {name: _with_length(value, rows, name, strategy) for name, value in inputs.items() if name in PER_TEXT}
    if "probabilities" in arrays:
        bad_rows = np.flatnonzero(~np.isfinite(arrays["probabilities"]).all(1))
        if len(bad_rows):
            problem = f"Scores of {len(bad_rows)} texts are not finite (first: row {bad_rows[0]})"
            raise UserError(f"{problem}: lower learning_rate and retrain.")
    if "embeddings" in arrays:
        arrays["embeddings"] = vectors(arrays["embeddings"])
    for name, answers, empty in (
        ("labelled", "labelled_probabilities", np.empty((0, 2))),
        ("held_out", "errors", np.empty(0)),
    ):
        if name in inputs:
            arrays[name] = _known_rows(inputs[name], name, arrays["embeddings"])
        if answers in inputs:
            count = len(arrays[name])
            arrays[answers] = _with_length(inputs[answers], count, answers, strategy) if count else empty
    return arrays


def vectors(embeddings: Array, name: str = "embeddings") -> Array:
    """Return the rows as float32 or float64; raises UserError unless they are finite."""
    x = np.asarray(embeddings)
    if x.dtype not in (np.float32, np.float64):
        x = x.astype(np.float32)
    bad_rows = np.flatnonzero(~np.isfinite(x.sum(1)))
    if len(bad_rows):
        raise UserError(f"Parameter {name} has {len(bad_rows)} rows that are not finite (first: row {bad_rows[0]}).")
    return x


def _with_length(value, rows: int, name: str, strategy: str) -> Array:
    if value is None:
        raise UserError(f"Strategy {strategy} needs {name}, which is missing: pass it, or choose another strategy.")
    if np.shape(value)[:1] != (rows,):
        raise UserError(f"Parameter {name} has shape {np.shape(value)}: it needs one entry for each of {rows} rows.")
    return np.asarray(value)


def _known_rows(rows: Array | None, name: str, embeddings: Array) -> Array:
    """Embeddings of labelled or held-out rows in the pool's precision; an empty array for None."""
    if rows is None or not len(rows):
        return embeddings[:0]
    return vectors(rows, name).astype(embeddings.dtype, copy=False)


def largest(scores: Array, k: int, seed: int) -> Array:
    """Positions of the `k` largest scores, best first; the seed breaks ties."""
    tie_breaker = np.random.default_rng(seed).random(len(scores))
    return np.lexsort((tie_breaker, -scores))[:k]


def filled(picks, rows: int, k: int, seed: int) -> Array:
    """The picks, followed by random other positions until there are `k`."""
    picks = np.asarray(picks, dtype=int)
    if len(picks) >= min(k, rows):
        return picks[:k]
    rest = np.setdiff1d(np.arange(rows), picks)
    return np.concatenate([picks, np.random.default_rng(seed).permutation(rest)[: k - len(picks)]])


def round_robin(ranked: list[Array], k: int) -> list[int]:
    """The first position of every list, then the second of every list, until there are `k`."""
    return [int(position) for turn in zip_longest(*ranked) for position in turn if position is not None][:k]


def squared_distances(a: Array, b: Array) -> Array:
    """Squared Euclidean distances (len(a), len(b)), in the precision of `b`."""
    a = a.astype(b.dtype, copy=False)
    d = np.einsum("ij,ij->i", a, a)[:, None] - 2 * (a @ b.T) + np.einsum("ij,ij->i", b, b)
    return np.maximum(d, 0, out=d)


def kmeans(embeddings: Array, k: int, seed: int = 0) -> Array:
    """Cluster number of every row, by k-means (in mini-batches above 5,000 rows)."""
    return clustering(embeddings, k, seed).labels_


def clustering(embeddings: Array, k: int, seed: int) -> KMeans | MiniBatchKMeans:
    """Fit k-means with `k` clusters, or with as many as there are distinct rows."""
    x = vectors(embeddings)
    k = min(k, len({hash((row + 0.0).tobytes()) for row in x}))  # + 0.0 makes -0.0 and 0.0 equal
    if len(x) <= 5000:
        return KMeans(k, n_init=1, random_state=seed).fit(x)
    return MiniBatchKMeans(k, n_init=1, batch_size=2048, random_state=seed).fit(x)


def members_of(clusters: Array) -> list[Array]:
    """Positions of the rows of every cluster that is not empty."""
    order = np.argsort(clusters, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(clusters[order])) + 1)


def weight_in_clusters(model: KMeans | MiniBatchKMeans, rows: Array, weights: Array | None = None) -> Array:
    """Number of `rows`, or their total weight, in every cluster that is not empty."""
    nearest = model.predict(rows) if len(rows) else np.empty(0, dtype=int)
    return np.bincount(nearest, weights, minlength=len(model.cluster_centers_))[np.unique(model.labels_)]
