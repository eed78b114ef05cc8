"""Query strategies that share a batch out: over regions, groups, sub-pools of the pool, or between two strategies.

An `inner` strategy is a function such as `uncertainty.margin`; what it needs beyond its own arguments is handed through.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from sklearn.cluster import kmeans_plusplus

from helpers.env import UserError
from helpers.query.arrays import (
    PER_TEXT,
    Array,
    Maybe,
    Strategy,
    apply,
    checked_probabilities,
    chunks,
    clustering,
    kmeans,
    labelled_rows,
    largest,
    mean_of_draws,
    members_of,
    required,
    round_robin,
    squared_distances,
    vectors,
    weight_in_clusters,
)
from helpers.query.coverage import typiclust
from helpers.query.uncertainty import margin, uncertain, uncertainty

power_margin = partial(uncertain, measure="margin", how="power")


def shares(weights: Array, room: Array, k: int) -> Array:
    """`k` units in proportion to `weights` (c,), at most `room` (c,) to each, by highest averages (Sainte-Laguë)."""
    weights, room = np.asarray(weights, dtype=float), np.asarray(room)
    given = np.zeros(len(room), dtype=int)
    for _ in range(min(k, room.sum())):
        given[np.where(given < room, (weights + 1e-12) / (2 * given + 1), -1).argmax()] += 1
    return given


def dcalm(
    probabilities: Array,
    embeddings: Array,
    k: int,
    seed: int = 0,
    *,
    held_out: Maybe = None,
    errors: Maybe = None,
    informativeness: Maybe = None,
    regions: int = 10,
) -> Array:
    """Picks for a region in proportion to the error there, spread inside it (Hassan & Alikhani 2023, arXiv 2305.17013).

    Each region is clustered again into as many parts as it gets picks, and the most informative text of each part is taken
    (`informativeness` (n,), or the margin). The error is that on `held_out` (h, d), where `errors` (h,) is 1 for a wrong answer,
    shrunk with the weight of two rows towards what a calibrated learner expects, 1 − max p, which serves alone without them.
    """
    x, scores = vectors(embeddings), _informativeness(probabilities, informativeness)
    expected = 1 - mean_of_draws(checked_probabilities(probabilities)).max(1)
    if len(x) <= k:
        return largest(scores, k, seed)
    model = clustering(x, regions, seed)
    members = members_of(model.labels_)
    rate = np.array([expected[rows].mean() for rows in members])
    if len(checked := labelled_rows(held_out, "held_out", x)):
        wrong = np.asarray(required(errors, "errors", "dcalm", checked), dtype=float)
        rate = (weight_in_clusters(model, checked, wrong) + 2 * rate) / (weight_in_clusters(model, checked) + 2)
    picks: list[int] = []
    for rows, quota in zip(members, shares(rate, [len(m) for m in members], k), strict=True):
        if quota:
            rows = rows[largest(scores[rows], len(rows), seed)]
            picks += round_robin([rows[part] for part in members_of(kmeans(x[rows], quota, seed))], quota)
    return np.array(picks)


def cluster_informative(
    probabilities: Array,
    embeddings: Array,
    k: int,
    seed: int = 0,
    *,
    informativeness: Maybe = None,
    quota: str = "equal",
    regions: int = 10,
) -> Array:
    """The most informative texts of each cluster, equally many or by its size (Hassan et al. 2024, arXiv 2410.13641).

    `informativeness` (n,) may be any score, such as an auxiliary model's of what a generator wrote; without it, the margin.
    """
    if quota not in ("equal", "proportional"):
        raise UserError(f"Parameter quota={quota!r} is unknown: choose equal or proportional.")
    scores = _informativeness(probabilities, informativeness)
    members = members_of(kmeans(vectors(embeddings), regions, seed))
    sizes = [len(rows) for rows in members]
    given = shares(sizes if quota == "proportional" else np.ones(len(sizes)), sizes, k)
    best = [rows[largest(scores[rows], n, seed)] for rows, n in zip(members, given, strict=True)]
    return np.array(round_robin(best, k), dtype=int)


def group_minimum(
    probabilities: Array,
    embeddings: Array,
    k: int,
    seed: int = 0,
    *,
    groups: Maybe = None,
    minimum: int | None = None,
    inner: Strategy = margin,
    **known,
) -> Array:
    """The picks of `inner`, with at least `minimum` from each of `groups` (n,) as far as the pool has them.

    No label is looked at. A group that falls short gets the picks of `inner` among its own texts, in place of the last picks
    of groups above the minimum. Without `minimum`, half an equal share.
    """
    groups = np.unique(np.asarray(required(groups, "groups", "group_minimum")).astype(str), return_inverse=True)[1]
    sizes = np.bincount(groups)
    minimum = k // (2 * len(sizes)) if minimum is None else minimum
    floor = np.minimum(minimum, sizes)
    if len(groups) > k < floor.sum():
        raise UserError(
            f"Parameter minimum={minimum} needs {floor.sum()} picks for {len(sizes)} groups: a batch has {k}."
        )
    picks = _inside(np.arange(len(groups)), inner, probabilities, embeddings, k, seed, known)
    for g in np.flatnonzero(np.bincount(groups[picks], minlength=len(sizes)) < floor):
        rest = np.setdiff1d(np.flatnonzero(groups == g), picks)
        short = floor[g] - (groups[picks] == g).sum()
        picks = np.concatenate([picks, rest[_inside(rest, inner, probabilities, embeddings, short, seed, known)]])
    have = np.bincount(groups[picks], minlength=len(sizes))
    keep = np.ones(len(picks), dtype=bool)
    for i in range(len(picks) - 1, -1, -1):
        if keep.sum() > k and have[groups[picks[i]]] > floor[groups[picks[i]]]:
            keep[i], have[groups[picks[i]]] = False, have[groups[picks[i]]] - 1
    return picks[keep]


def neighbourhood(embeddings: Array, labelled: Array, count: int = 100) -> Array:
    """Positions in `embeddings` (n, d) of the `count` nearest texts of each of `labelled` (a, d), sorted, each once."""
    x = vectors(embeddings)
    anchors = labelled_rows(labelled, "labelled", x)
    best, where = np.empty((len(anchors), 0), dtype=x.dtype), np.empty((len(anchors), 0), dtype=int)
    for part in chunks(len(x)):
        best = np.hstack([best, squared_distances(anchors, x[part])])
        here = np.arange(part.start, part.stop)
        where = np.hstack([where, np.broadcast_to(here, (len(anchors), len(here)))])
        if best.shape[1] > count:
            keep = np.argpartition(best, count - 1, axis=1)[:, :count]
            best, where = np.take_along_axis(best, keep, 1), np.take_along_axis(where, keep, 1)
    return np.unique(where)


def seals(
    probabilities: Array,
    embeddings: Array,
    k: int,
    seed: int = 0,
    *,
    labelled: Maybe = None,
    labels: Maybe = None,
    rare: int | None = None,
    neighbours: int = 100,
    inner: Strategy = margin,
    **known,
) -> Array:
    """`inner` among the nearest neighbours of the labelled rows (Coleman et al. 2022, arXiv 2007.00077).

    They are `labelled` (m, d), with class numbers `labels` (m,); given `rare`, those of that class alone.
    """
    anchors = np.asarray(required(labelled, "labelled", "seals"))
    known |= {"labelled": labelled, "labels": labels}
    if rare is not None:
        anchors = anchors[np.asarray(required(labels, "labels", "seals", anchors)) == rare]
        if not len(anchors):
            raise UserError(f"Parameter rare={rare} has no labelled row yet: seed with keyword_seeds first.")
    return _first(neighbourhood(embeddings, anchors, neighbours), inner, probabilities, embeddings, k, seed, known)


def anchoral(
    probabilities: Array,
    embeddings: Array,
    k: int,
    seed: int = 0,
    *,
    labelled: Maybe = None,
    labels: Maybe = None,
    per_class: int = 10,
    neighbours: int = 50,
    inner: Strategy = margin,
    **known,
) -> Array:
    """`inner` among the neighbours of a few anchors of every class, drawn anew by seed (Lesci & Vlachos 2024, arXiv 2404.05623).

    Anchors are k-means++ draws among the rows of `labelled` (m, d) with one class in `labels` (m,): a rare class weighs as much.
    """
    x = np.asarray(required(labelled, "labelled", "anchoral"))
    y = np.asarray(required(labels, "labels", "anchoral", x))
    known |= {"labelled": labelled, "labels": labels}
    own = [x[y == c] for c in np.unique(y)]
    anchors = [kmeans_plusplus(rows, min(per_class, len(rows)), random_state=seed)[0] for rows in own]
    pool = neighbourhood(embeddings, np.concatenate(anchors), neighbours)
    return _first(pool, inner, probabilities, embeddings, k, seed, known)


def trust(labels: Array, classes: int, accuracy: float, calibration_error: float = 0.0) -> float:
    """How far the learner's uncertainty may steer the choice, 0 to 1: the weakest of three pieces of evidence decides.

    From `labels` (m,) class numbers: labels of the rarest class, 0 at 5 and 1 at 20; from held-out rows: balanced `accuracy`, 0
    at chance and 1 halfway from there to perfect; expected `calibration_error`, 1 at 0.05 and 0 at 0.20.
    """
    labels = np.asarray(labels, dtype=int)
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise UserError(
            f"Parameter labels holds {labels.min()} to {labels.max()}: class numbers from 0 to {classes - 1}."
        )
    rarest = np.bincount(labels, minlength=classes).min()
    chance = 1 / classes
    evidence = ((rarest - 5) / 15, 2 * (accuracy - chance) / (1 - chance), (0.20 - calibration_error) / 0.15)
    return float(np.clip(min(evidence), 0, 1))


def scheduled(
    probabilities: Array,
    embeddings: Array,
    k: int,
    seed: int = 0,
    *,
    trusted: float | None = None,
    coverage: Strategy = typiclust,
    uncertain: Strategy = power_margin,
    **known,
) -> Array:
    """A share `trusted` of the batch by uncertainty, the rest by coverage around it; `trust` says how large a share.

    Typical texts teach most under a low budget, uncertain ones under a high one (Hacohen et al. 2022, arXiv 2202.02794).
    """
    share = float(required(trusted, "trusted", "scheduled"))
    if not 0 <= share <= 1:
        raise UserError(f"Parameter trusted={trusted} is a share: give a number from 0 to 1.")
    everywhere = np.arange(len(embeddings))
    count = round(share * min(k, len(embeddings)))
    first = _inside(everywhere, uncertain, probabilities, embeddings, count, seed, known)
    rest = np.setdiff1d(everywhere, first)
    old = known.get("labelled")
    around = embeddings[first] if old is None else np.concatenate([old, embeddings[first]])
    more = _inside(rest, coverage, probabilities, embeddings, k - len(first), seed, known | {"labelled": around})
    return np.concatenate([first, rest[more]])


def _inside(rows, inner, probabilities, embeddings, k, seed, known) -> Array:
    """Positions in the sorted `rows` of the picks of `inner` among them."""
    if k <= 0 or not len(rows):
        return np.empty(0, dtype=int)
    if len(rows) == len(embeddings):
        return apply(inner, probabilities, embeddings, k, seed, known)
    part = {n: np.asarray(v)[rows] if n in PER_TEXT and v is not None else v for n, v in known.items()}
    return apply(inner, np.asarray(probabilities)[..., rows, :], embeddings[rows], k, seed, part)


def _first(rows, inner, probabilities, embeddings, k, seed, known) -> Array:
    """The picks of `inner` among `rows`, and if those are too few, its picks among the rest."""
    picks = rows[_inside(rows, inner, probabilities, embeddings, k, seed, known)]
    rest = np.setdiff1d(np.arange(len(embeddings)), rows)
    more = _inside(rest, inner, probabilities, embeddings, k - len(picks), seed, known)
    return np.concatenate([picks, rest[more]])


def _informativeness(probabilities: Array, given: Maybe) -> Array:
    scores = uncertainty(probabilities, "margin") if given is None else np.asarray(given, dtype=float)
    if not np.isfinite(scores).all():
        raise UserError("Parameter informativeness has a value that is not finite: give a number for every text.")
    return scores
