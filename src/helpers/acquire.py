"""Which texts to label next: pure functions from arrays to indices.

Every strategy takes `probabilities` (n, classes), `embeddings` (n, d), the number of picks `k` and a `seed`, uses what it
needs, and returns at most n distinct positions, best first. Ties are broken by the seed. STRATEGIES maps names to functions.
What else is known travels as keywords:

- of the pool: `base_probabilities` (n, classes), `informativeness` (n,), `groups` (n,)
- of labelled rows: `labelled` (m, d) embeddings, `labelled_probabilities` (m, classes), `labels` (m,) class numbers
- of rows with known answers that the learner did not train on: `held_out` (h, d) embeddings, `errors` (h,)

Time and memory beside the pool grow in proportion to n: distances are worked out in chunks, bounds are refined only where they
decide, and what is quadratic happens in a sample whose size the function states.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import partial

import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans, kmeans_plusplus
from sklearn.linear_model import LogisticRegression

from helpers.env import UserError

MEASURES = ("least_confidence", "margin", "entropy", "bald", "star")
DRAWS = ("power", "softmax", "softrank")
Array, Maybe = np.ndarray, np.ndarray | None
TIE = 1e-9  # distances closer than this share of each other are equal


def random(probabilities: Array, embeddings: Array, k: int, seed: int = 0) -> Array:
    """Uniformly at random: the baseline every claim stands beside."""
    n = len(probabilities)
    return np.random.default_rng(seed).permutation(n)[:k]


# --- uncertainty ------------------------------------------------------------------------------------------------------


def uncertainty(
    probabilities: Array,
    measure: str = "margin",
    base_probabilities: Maybe = None,
    tuned_weight: float = 0.5,
) -> Array:
    """How unsure the learner is of each text, the higher the less sure: shape (n,), by one of MEASURES.

    Draws (draws, n, classes), of MC dropout or an ensemble, are averaged, except by `bald`: the part of the entropy on which
    the draws disagree (Houlsby et al. 2011, arXiv 1112.5745). `star` mixes the entropies of the tuned and the base model, the
    tuned one with weight `tuned_weight`, to be raised round by round (after Zhang et al. 2024, arXiv 2403.01165).
    """
    p = _checked(probabilities)
    if measure == "bald":
        if p.ndim != 3:
            raise UserError(f"Parameter probabilities has shape {p.shape}: bald needs (draws, texts, classes).")
        return _entropy(p.mean(0)) - _entropy(p).mean(0)
    if measure not in MEASURES:
        raise UserError(f"Parameter measure={measure!r} is unknown: choose one of {', '.join(MEASURES)}.")
    p = _mean(p)
    if measure == "star":
        base = _mean(_checked(_given(base_probabilities, "base_probabilities", "star")))
        return tuned_weight * _entropy(p) + (1 - tuned_weight) * _entropy(base)
    if measure == "entropy":
        return _entropy(p)
    top = np.partition(p, -2, axis=1)[:, -2:]
    return top[:, 0] - top[:, 1] if measure == "margin" else 1 - top[:, 1]


def uncertain(
    probabilities: Array,
    embeddings: Array,
    k: int,
    seed: int = 0,
    *,
    measure: str = "margin",
    how: str = "top",
    beta: float = 1.0,
    base_probabilities: Maybe = None,
    tuned_weight: float = 0.5,
) -> Array:
    """The most uncertain texts by one of MEASURES, or, where `how` is not `top`, a draw that favours them (`stochastic`)."""
    scores = uncertainty(probabilities, measure, base_probabilities, tuned_weight)
    if how == "top":
        return _largest(scores, k, seed)
    return stochastic(np.maximum(scores + (measure == "margin"), 0), k, seed, how, beta)


def margin(probabilities: Array, embeddings: Array, k: int, seed: int = 0) -> Array:
    """Smallest gap between the two likeliest classes (Scheffer et al. 2001)."""
    return uncertain(probabilities, embeddings, k, seed, measure="margin")


def entropy(probabilities: Array, embeddings: Array, k: int, seed: int = 0) -> Array:
    """Largest predictive entropy (Shannon; Settles & Craven 2008)."""
    return uncertain(probabilities, embeddings, k, seed, measure="entropy")


def stochastic(scores: Array, k: int, seed: int = 0, how: str = "power", beta: float = 1.0) -> Array:
    """`k` positions drawn without replacement, the likelier the higher their score (n,): Gumbel noise, then the largest.

    `power` draws in proportion to score ** beta, `softmax` to exp(beta · score), `softrank` to rank ** -beta; a large `beta` is
    nearly greedy (Kirsch et al. 2021, arXiv 2106.12059).
    """
    if how not in DRAWS:
        raise UserError(f"Parameter how={how!r} is unknown: choose one of top, {', '.join(DRAWS)}.")
    if not beta > 0:
        raise UserError(f"Parameter beta={beta} is no strength of preference: give a number above 0.")
    if how == "power" and scores.min(initial=0) < 0:
        raise UserError(f"Parameter scores has a value of {scores.min():.3g}: power sampling needs scores from 0 up.")
    if how == "softrank":
        rank = np.empty(len(scores))
        rank[_largest(scores, len(scores), seed)] = np.arange(1, len(scores) + 1)
        logit = -np.log(rank)
    else:
        with np.errstate(divide="ignore"):
            logit = np.log(scores) if how == "power" else scores
    return _largest(logit + np.random.default_rng([seed, 1]).gumbel(size=len(scores)) / beta, k, seed)


# --- coverage ---------------------------------------------------------------------------------------------------------


def representatives(embeddings: Array, k: int, seed: int = 0) -> Array:
    """Positions of the texts nearest to the centres of `k` clusters: one for every region of the pool."""
    if len(embeddings) <= k or k <= 0:
        return np.arange(min(len(embeddings), max(k, 0)))
    clusters = kmeans(embeddings, k, seed)
    picks = []
    for members in _members(clusters):
        distance = np.linalg.norm(embeddings[members] - embeddings[members].mean(0), axis=1)
        picks.append(int(members[distance.argmin()]))
    return _filled(picks, len(embeddings), k, seed)  # identical texts give fewer clusters than k


def kmeans_centres(probabilities: Array, embeddings: Array, k: int, seed: int = 0) -> Array:
    """The text nearest to each of `k` cluster centres, whatever the learner says."""
    return representatives(embeddings, k, seed)


def coreset(probabilities: Array, embeddings: Array, k: int, seed: int = 0, *, labelled: Maybe = None) -> Array:
    """Again and again the text farthest from all that is labelled or picked (Sener & Savarese 2018, arXiv 1708.00489).

    The picks are those of the naive greedy k-centre, at a fraction of its distances: one float32 pass bounds every text's
    distance from above; then, as bounds only fall, a pick needs exact float64 distances for the front-runners alone.
    Starts from `labelled` (m, d), or from a random text. Of texts at an equal distance the first is taken.
    """
    x, k = _vectors(embeddings), min(k, len(embeddings))
    if k <= 0:
        return np.empty(0, dtype=int)
    old = _known(labelled, "labelled", x)
    picks = [] if len(old) else [int(np.random.default_rng(seed).integers(len(x)))]
    centres = np.concatenate([old, x[picks]]).astype(np.float64)
    norms = np.concatenate([np.einsum("ij,ij->i", x[part], x[part]) for part in _chunks(len(x))]).astype(np.float64)
    scale = max(float(norms.max()), float((centres**2).sum(1).max()))
    rounding = 2 * x.shape[1] * np.finfo(np.float32).eps * scale  # the most that float32 can be wrong by
    near = centres[:64].astype(np.float32)
    far = np.concatenate([_squared(x[part], near).min(1) for part in _chunks(len(x))]) + rounding
    seen = np.zeros(len(x), dtype=np.int32)  # how many centres a text's distance takes into account
    far[picks] = -1.0
    while len(picks) < k:
        block = 1024
        while True:
            fresh = seen == len(centres)
            top = far[fresh].max(initial=-1.0)
            stale = np.flatnonzero(~fresh & (far >= top - TIE * abs(top)) & (far >= 0))
            if not len(stale):
                break
            if len(stale) > block:
                stale = stale[np.argpartition(far[stale], -block)[-block:]]
            for part in _chunks(len(stale), 4096):
                rows = stale[part]
                distance = _squared(x[rows], centres[seen[rows].min() :])
                exact = distance.min(1)
                far[rows] = np.where(seen[rows] == 0, exact, np.minimum(far[rows], exact))
            seen[stale] = len(centres)
            block = min(4 * block, 2**16)
        if top <= 1e-12 * scale:  # every text left repeats one that is covered
            break
        picks.append(int(np.flatnonzero(far >= top * (1 - TIE))[0]))
        centres = np.concatenate([centres, x[picks[-1:]]])
        far[picks[-1]] = -1.0
    return _filled(picks, len(x), k, seed)


def typiclust(probabilities: Array, embeddings: Array, k: int, seed: int = 0, *, labelled: Maybe = None) -> Array:
    """The text with the closest neighbours in each of the largest clusters without a label (Hacohen et al. 2022, arXiv 2202.02794).

    As many clusters as there are labels (m, d) and picks, 500 at most. In a cluster of more than 1,000 texts the 20 neighbours
    are sought in a random 1,000 of them, from which the pick comes too.
    """
    x, rng = _vectors(embeddings), np.random.default_rng(seed)
    if len(x) <= k:
        return rng.permutation(len(x))
    known = _known(labelled, "labelled", x)
    model = _clustering(x, min(k + len(known), 500), seed)
    members, have = _members(model.labels_), _count(model, known)
    order = np.lexsort((rng.random(len(members)), [-len(m) for m in members], have))[:k]
    ranked = []
    for rows in (members[c] for c in order):
        rows = rng.permutation(rows)[:1000]
        apart = np.sort(_squared(x[rows], x[rows]), axis=1)[:, 1 : 1 + min(20, max(1, len(rows) // 2))]
        ranked.append(rows[np.sqrt(apart).sum(1).argsort(kind="stable")])
    return _filled(_round_robin(ranked, k), len(x), k, seed)


def probcover(
    probabilities: Array,
    embeddings: Array,
    k: int,
    seed: int = 0,
    *,
    labelled: Maybe = None,
    radius: float | None = None,
) -> Array:
    """Again and again the text with the most uncovered texts within a radius (Yehuda et al. 2022, arXiv 2205.11320).

    The radius is the largest at which 95 % of the balls stay inside one of as many k-means clusters as there are classes.
    Above 10,000 texts all happens in a random 10,000: a share of the pool is then off by 0.01 at most, 19 times in 20.
    """
    x, rng = _vectors(embeddings), np.random.default_rng(seed)
    rows = rng.permutation(len(x))[:10_000]
    sample = x[rows].astype(np.float32)
    if radius is None:
        clusters = kmeans(sample, max(2, np.shape(probabilities)[-1]), seed) if len(sample) else rows
        other = [
            np.where(clusters[part][:, None] == clusters, np.inf, _squared(sample[part], sample)).min(1)
            for part in _chunks(len(sample), 1024)
        ]
        square = np.quantile(np.concatenate([[np.inf], *other]), 0.05, method="lower") * (1 - 1e-6)
    else:
        square = radius**2
    near = np.zeros((len(sample), len(sample)), dtype=bool)
    for part in _chunks(len(sample), 1024):
        near[part] = _squared(sample[part], sample) <= square
    open_ = np.ones(len(sample), dtype=bool)
    known = _known(labelled, "labelled", x)
    for part in _chunks(len(sample) if len(known) else 0, 1024):
        open_[part] = _squared(sample[part], known).min(1) > square
    gain, picks = near[:, open_].sum(1), []
    while len(picks) < k and len(sample) and gain.max() > 0:
        picks.append(int(gain.argmax()))
        newly = near[picks[-1]] & open_
        gain -= near[:, newly].sum(1)
        open_ &= ~newly
    return _filled(rows[picks], len(x), k, seed)


def contrastive(
    probabilities: Array,
    embeddings: Array,
    k: int,
    seed: int = 0,
    *,
    labelled: Maybe = None,
    labelled_probabilities: Maybe = None,
    neighbours: int = 10,
) -> Array:
    """The texts whose scores differ most from their nearest labelled neighbours' (Margatina et al. 2021, arXiv 2109.03764).

    The difference is the mean divergence KL(neighbour ‖ text) over the `neighbours` nearest rows of `labelled` (m, d), whose
    scores are `labelled_probabilities` (m, classes).
    """
    x = _vectors(embeddings)
    known = _known(_given(labelled, "labelled", "contrastive"), "labelled", x)
    log_p = np.log(np.clip(_mean(_checked(probabilities)), 1e-12, 1))
    q = np.asarray(_given(labelled_probabilities, "labelled_probabilities", "contrastive", known))
    q = np.clip(_mean(_checked(q)), 1e-12, 1)
    own, count = (q * np.log(q)).sum(1), min(neighbours, len(known))
    scores = np.empty(len(x))
    for part in _chunks(len(x), 4096):
        nearest = np.argpartition(_squared(x[part], known), count - 1, axis=1)[:, :count]
        scores[part] = own[nearest].mean(1) - (q[nearest].mean(1) * log_p[part]).sum(1)
    return _largest(scores, k, seed)


def discriminative(
    probabilities: Array,
    embeddings: Array,
    k: int,
    seed: int = 0,
    *,
    labelled: Maybe = None,
    rounds: int = 5,
) -> Array:
    """The texts a classifier tells most surely from labelled ones (Gissin & Shalev-Shwartz 2019, arXiv 1907.06347).

    Picks count as labelled in the next of `rounds` parts of the batch. The classifier, a logistic regression, is trained on
    `labelled` (m, d) and ten times as many random texts of the pool, between 1,000 and 20,000.
    """
    x, rng = _vectors(embeddings), np.random.default_rng(seed)
    known, picks = _known(_given(labelled, "labelled", "discriminative"), "labelled", x), np.empty(0, dtype=int)
    for size in filter(None, np.diff(np.linspace(0, min(k, len(x)), rounds + 1).round().astype(int))):
        free = np.setdiff1d(np.arange(len(x)), picks)
        drawn = rng.permutation(free)[: min(max(10 * len(known), 1000), 20_000)]
        answer = np.repeat([0, 1], [len(known), len(drawn)])
        model = LogisticRegression(class_weight="balanced", max_iter=300)
        seen = np.concatenate([known, x[drawn]])
        model.fit(seen / np.sqrt((seen**2).mean() + 1e-30), answer)
        scores = x @ model.coef_[0].astype(x.dtype)
        new = free[_largest(scores[free], size, seed)]
        picks, known = np.concatenate([picks, new]), np.concatenate([known, x[new]])
    return picks


# --- both -------------------------------------------------------------------------------------------------------------


def cluster_margin(probabilities: Array, embeddings: Array, k: int, seed: int = 0) -> Array:
    """The most uncertain tenfold, then round-robin over its clusters from the smallest (Citovsky et al. 2021, arXiv 2107.14263)."""
    candidates = margin(probabilities, embeddings, 10 * k, seed)
    if len(candidates) <= k:
        return candidates
    clusters = kmeans(embeddings[candidates], min(k, len(candidates)), seed)
    members = [candidates[rows] for rows in _members(clusters)]  # each in order of margin
    return np.array(_round_robin(sorted(members, key=len), k))


def badge(probabilities: Array, embeddings: Array, k: int, seed: int = 0) -> Array:
    """k-means++ draws among the gradients of the last layer, large where unsure (Ash et al. 2020, arXiv 1906.03671).

    A gradient is the product of p − onehot(argmax p), (n, classes), and the embedding, (n, d): it is never formed, as inner
    products factor. A draw in proportion to the squared distance is made by rejection from an upper bound of it, so that
    only the texts that come up are compared with all picks.
    """
    p, x, rng = _mean(_checked(probabilities)).astype(np.float64), _vectors(embeddings), np.random.default_rng(seed)
    p[np.arange(len(p)), p.argmax(1)] -= 1
    size = (p**2).sum(1) * np.concatenate([np.einsum("ij,ij->i", x[c], x[c]) for c in _chunks(len(x))])
    if k <= 0 or size.max(initial=0) <= 0:
        return _filled([], len(x), k, seed)
    picks = [int(_largest(size, 1, seed)[0])]
    bound = size + size[picks[0]] - 2 * (p @ p[picks[0]]) * (x @ x[picks[0]])
    bound = np.where(bound > 1e-6 * (size + size[picks[0]]), bound, 0)
    while len(picks) < min(k, len(x)):
        tries, fresh = 32, []
        while not len(fresh):
            tries, total = min(2 * tries, 2**14), bound.cumsum()
            if total[-1] <= 0:  # every gradient left repeats a pick
                return _filled(picks, len(x), k, seed)
            rows = np.minimum(np.searchsorted(total, rng.random(tries) * total[-1], side="right"), len(x) - 1)
            proposed = bound[rows]
            inner = (p[rows] @ p[picks].T) * (x[rows].astype(np.float64) @ x[picks].astype(np.float64).T)
            exact = (size[rows, None] + size[picks] - 2 * inner).min(1)
            bound[rows] = np.where(exact > 1e-6 * size[rows], np.minimum(exact, proposed), 0)
            fresh = rows[rng.random(tries) * proposed < bound[rows]]
        picks.append(int(fresh[0]))
        bound[picks[-1]] = 0
    return np.array(picks)


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
    x, scores = _vectors(embeddings), _informativeness(probabilities, informativeness)
    expected = 1 - _mean(_checked(probabilities)).max(1)
    if len(x) <= k:
        return _largest(scores, k, seed)
    model = _clustering(x, regions, seed)
    members = _members(model.labels_)
    rate = np.array([expected[rows].mean() for rows in members])
    if len(checked := _known(held_out, "held_out", x)):
        wrong = np.asarray(_given(errors, "errors", "dcalm", checked), dtype=float)
        rate = (_count(model, checked, wrong) + 2 * rate) / (_count(model, checked) + 2)
    picks: list[int] = []
    for rows, quota in zip(members, shares(rate, [len(m) for m in members], k), strict=True):
        if quota:
            rows = rows[_largest(scores[rows], len(rows), seed)]
            picks += _round_robin([rows[part] for part in _members(kmeans(x[rows], quota, seed))], quota)
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
    members = _members(kmeans(_vectors(embeddings), regions, seed))
    sizes = [len(rows) for rows in members]
    given = shares(sizes if quota == "proportional" else np.ones(len(sizes)), sizes, k)
    best = [rows[_largest(scores[rows], n, seed)] for rows, n in zip(members, given, strict=True)]
    return np.array(_round_robin(best, k), dtype=int)


def shares(weights: Array, room: Array, k: int) -> Array:
    """`k` units in proportion to `weights` (c,), at most `room` (c,) to each, by highest averages (Sainte-Laguë)."""
    weights, room = np.asarray(weights, dtype=float), np.asarray(room)
    given = np.zeros(len(room), dtype=int)
    for _ in range(min(k, room.sum())):
        given[np.where(given < room, (weights + 1e-12) / (2 * given + 1), -1).argmax()] += 1
    return given


# --- around another strategy ------------------------------------------------------------------------------------------


def group_minimum(
    probabilities: Array,
    embeddings: Array,
    k: int,
    seed: int = 0,
    *,
    groups: Maybe = None,
    minimum: int | None = None,
    inner: str = "margin",
    **known,
) -> Array:
    """The picks of `inner`, with at least `minimum` from each of `groups` (n,) as far as the pool has them.

    No label is looked at. A group that falls short gets the picks of `inner` among its own texts, in place of the last picks
    of groups above the minimum. Without `minimum`, half an equal share.
    """
    groups = np.unique(np.asarray(_given(groups, "groups", "group_minimum")).astype(str), return_inverse=True)[1]
    sizes = np.bincount(groups)
    minimum = k // (2 * len(sizes)) if minimum is None else minimum
    floor = np.minimum(minimum, sizes)
    if len(groups) > k < floor.sum():
        raise UserError(
            f"Parameter minimum={minimum} needs {floor.sum()} picks for {len(sizes)} groups: a batch has {k}."
        )
    picks = select(inner, probabilities, embeddings, k, seed, **known)
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
    x = _vectors(embeddings)
    anchors = _known(labelled, "labelled", x)
    best, where = np.empty((len(anchors), 0), dtype=x.dtype), np.empty((len(anchors), 0), dtype=int)
    for part in _chunks(len(x)):
        best = np.hstack([best, _squared(anchors, x[part])])
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
    inner: str = "margin",
    **known,
) -> Array:
    """`inner` among the nearest neighbours of the labelled rows (Coleman et al. 2022, arXiv 2007.00077).

    They are `labelled` (m, d), with class numbers `labels` (m,); given `rare`, those of that class alone.
    """
    anchors = np.asarray(_given(labelled, "labelled", "seals"))
    known |= {"labelled": labelled, "labels": labels}
    if rare is not None:
        anchors = anchors[np.asarray(_given(labels, "labels", "seals", anchors)) == rare]
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
    inner: str = "margin",
    **known,
) -> Array:
    """`inner` among the neighbours of a few anchors of every class, drawn anew by seed (Lesci & Vlachos 2024, arXiv 2404.05623).

    Anchors are k-means++ draws among the rows of `labelled` (m, d) with one class in `labels` (m,): a rare class weighs as much.
    """
    x = np.asarray(_given(labelled, "labelled", "anchoral"))
    y = np.asarray(_given(labels, "labels", "anchoral", x))
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
    coverage: str = "typiclust",
    uncertain: str = "power_margin",
    **known,
) -> Array:
    """A share `trusted` of the batch by uncertainty, the rest by coverage around it; `trust` says how large a share.

    Typical texts teach most under a low budget, uncertain ones under a high one (Hacohen et al. 2022, arXiv 2202.02794).
    """
    share = float(_given(trusted, "trusted", "scheduled"))
    if not 0 <= share <= 1:
        raise UserError(f"Parameter trusted={trusted} is a share: give a number from 0 to 1.")
    first = select(uncertain, probabilities, embeddings, round(share * min(k, len(embeddings))), seed, **known)
    rest = np.setdiff1d(np.arange(len(embeddings)), first)
    old = known.get("labelled")
    around = embeddings[first] if old is None else np.concatenate([old, embeddings[first]])
    more = _inside(rest, coverage, probabilities, embeddings, k - len(first), seed, known | {"labelled": around})
    return np.concatenate([first, rest[more]])


# --- cold start -------------------------------------------------------------------------------------------------------


def keyword_seeds(embeddings: Array, hits: Array, k: int, seed: int = 0, share: float = 0.5) -> Array:
    """First texts when positives are rare: a `share` of them where a keyword or lexicon hit, all representative.

    `hits` (n,) is true or above zero where one did; of scored hits the highest tenfold is kept, and clustered.
    """
    hits = np.asarray(hits, dtype=float)
    if hits.shape != (len(embeddings),):
        raise UserError(
            f"Parameter hits has shape {hits.shape}: it needs one value for each of {len(embeddings)} texts."
        )
    if not 0 <= share <= 1:
        raise UserError(f"Parameter share={share} is a share: give a number from 0 to 1.")
    wanted = round(share * k)
    found = _largest(hits, min(10 * wanted, int((hits > 0).sum())), seed)
    found = found[representatives(embeddings[found], wanted, seed)] if wanted else found[:0]
    rest = np.setdiff1d(np.flatnonzero(hits <= 0), found)
    others = rest[representatives(embeddings[rest], k - len(found), seed)]
    return _filled(np.concatenate([found, others]), len(embeddings), k, seed)


# --- by name ----------------------------------------------------------------------------------------------------------

STRATEGIES = {
    **{f.__name__: f for f in (random, margin, entropy, cluster_margin)},
    **{m: partial(uncertain, measure=m) for m in ("least_confidence", "bald", "star")},
    **{f"{how}_{m}": partial(uncertain, measure=m, how=how) for how in DRAWS for m in MEASURES},
    **{"kmeans": kmeans_centres, "coreset": coreset, "typiclust": typiclust, "probcover": probcover},
    **{"contrastive": contrastive, "discriminative": discriminative, "badge": badge, "dcalm": dcalm},
    "cluster_equal": partial(cluster_informative, quota="equal"),
    "cluster_proportional": partial(cluster_informative, quota="proportional"),
    **{"group_minimum": group_minimum, "seals": seals, "anchoral": anchoral, "scheduled": scheduled},
}
PER_TEXT = ("base_probabilities", "informativeness", "groups")  # what is known of every text of the pool


def select(strategy: str, probabilities: Array, embeddings: Array, k: int, seed: int = 0, **known) -> Array:
    """`k` distinct positions by the named strategy, all of them when fewer remain; raises UserError on a wrong name.

    `known` is what else is known, as the module says; a strategy takes the part it uses.
    """
    if strategy not in STRATEGIES:
        raise UserError(f"Parameter strategy={strategy!r} is unknown: choose one of {', '.join(STRATEGIES)}.")
    if k < 0:
        raise UserError(f"Parameter k={k} is below zero: ask for 0 picks or more.")
    if np.ndim(probabilities) < 2:
        raise UserError(f"Parameter probabilities has shape {np.shape(probabilities)}: it needs (texts, classes).")
    texts = np.shape(probabilities)[-2]
    for name, rows in {"embeddings": embeddings, **{n: known[n] for n in PER_TEXT if known.get(n) is not None}}.items():
        if len(rows) != texts:
            raise UserError(
                f"Parameter {name} has {len(rows)} rows, probabilities has {texts}: they are of the same texts."
            )
    if odd := known.keys() - {p for f in STRATEGIES.values() for p in inspect.signature(f).parameters}:
        raise UserError(f"Parameter {min(odd)} is unknown: no strategy takes it.")
    if not texts or not k:
        return np.empty(0, dtype=int)
    takes = inspect.signature(STRATEGIES[strategy]).parameters
    used = known if "known" in takes else {name: value for name, value in known.items() if name in takes}
    return STRATEGIES[strategy](probabilities, embeddings, k, seed, **used)


# --- shared -----------------------------------------------------------------------------------------------------------


def kmeans(embeddings: Array, k: int, seed: int = 0) -> Array:
    """Cluster number of every row; mini-batches above 5,000 rows."""
    return _clustering(embeddings, k, seed).labels_


def _clustering(embeddings: Array, k: int, seed: int) -> KMeans | MiniBatchKMeans:
    x = _vectors(embeddings)
    distinct: set[bytes] = set()
    for row in x:  # no more clusters than distinct rows
        distinct.add((row + 0.0).tobytes())
        if len(distinct) >= k:
            break
    k = min(k, len(distinct))
    model = KMeans(k, n_init=1, random_state=seed) if len(x) <= 5000 else None
    model = model or MiniBatchKMeans(k, n_init=1, batch_size=2048, random_state=seed)
    return model.fit(x)


def _members(clusters: Array) -> list[Array]:
    """Positions of each cluster's rows, in order."""
    order = np.argsort(clusters, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(clusters[order])) + 1)


def _count(model: KMeans | MiniBatchKMeans, rows: Array, weights: Maybe = None) -> Array:
    """How many rows, or how much weight, fall in each non-empty cluster."""
    where = model.predict(rows) if len(rows) else np.empty(0, dtype=int)
    return np.bincount(where, weights, minlength=len(model.cluster_centers_))[np.unique(model.labels_)]


def _round_robin(ranked: list[Array], k: int) -> list[int]:
    """The first of each list, then the second of each, up to `k`."""
    deepest = max(map(len, ranked), default=0)
    return [int(rows[depth]) for depth in range(min(deepest, k)) for rows in ranked if depth < len(rows)][:k]


def _inside(rows, inner, probabilities, embeddings, k, seed, known) -> Array:
    """Positions in the sorted `rows` of the picks of `inner` among them."""
    if k <= 0:
        return np.empty(0, dtype=int)
    if len(rows) == len(embeddings):
        return select(inner, probabilities, embeddings, k, seed, **known)
    part = {n: np.asarray(v)[rows] if n in PER_TEXT and v is not None else v for n, v in known.items()}
    return select(inner, np.asarray(probabilities)[..., rows, :], embeddings[rows], k, seed, **part)


def _first(rows, inner, probabilities, embeddings, k, seed, known) -> Array:
    """The picks of `inner` among `rows`, and if those are too few, its picks among the rest."""
    picks = rows[_inside(rows, inner, probabilities, embeddings, k, seed, known)]
    rest = np.setdiff1d(np.arange(len(embeddings)), rows)
    more = _inside(rest, inner, probabilities, embeddings, k - len(picks), seed, known)
    return np.concatenate([picks, rest[more]])


def _filled(picks, n: int, k: int, seed: int) -> Array:
    """`picks`, and random others up to `k`."""
    picks = np.asarray(picks, dtype=int)
    if len(picks) >= min(k, n):
        return picks[:k]
    rest = np.setdiff1d(np.arange(n), picks)
    return np.concatenate([picks, np.random.default_rng(seed).permutation(rest)[: k - len(picks)]])


def _largest(scores: Array, k: int, seed: int) -> Array:
    tie = np.random.default_rng(seed).random(len(scores))
    return np.lexsort((tie, -scores))[:k]


def _mean(p: Array) -> Array:
    """Probabilities (n, classes): the mean of draws where there are several."""
    return p.mean(0) if p.ndim == 3 else p


def _entropy(p: Array) -> Array:
    p = np.clip(p, 1e-12, 1.0)
    return -(p * np.log(p)).sum(-1)


def _squared(a: Array, b: Array) -> Array:
    """Squared Euclidean distances (len(a), len(b)), in the precision of `b`."""
    a = a.astype(b.dtype, copy=False)
    d = np.einsum("ij,ij->i", a, a)[:, None] - 2 * (a @ b.T) + np.einsum("ij,ij->i", b, b)
    return np.maximum(d, 0, out=d)


def _chunks(n: int, size: int = 8192) -> Iterator[slice]:
    return (slice(i, min(i + size, n)) for i in range(0, n, size))


def _informativeness(probabilities: Array, given: Maybe) -> Array:
    scores = uncertainty(probabilities, "margin") if given is None else np.asarray(given, dtype=float)
    if not np.isfinite(scores).all():
        raise UserError("Parameter informativeness has a value that is not finite: give a number for every text.")
    return scores


def _given(value, name: str, strategy: str, rows: Maybe = None):
    """`value`, which must be there, with one entry for each of `rows`."""
    if value is None or (np.ndim(value) and not len(value)):
        raise UserError(
            f"Strategy {strategy} needs {name}, which is missing or empty: give it, or take another strategy."
        )
    if rows is not None and len(value) != len(rows):
        raise UserError(f"Parameter {name} has {len(value)} values for {len(rows)} rows: give one for each.")
    return value


def _checked(probabilities: Array) -> Array:
    if np.ndim(probabilities) < 2 or np.shape(probabilities)[-1] < 2:
        raise UserError(f"Parameter probabilities has shape {np.shape(probabilities)}: it needs two classes or more.")
    finite = np.isfinite(probabilities).all(-1)
    bad = np.flatnonzero(~(finite.all(0) if finite.ndim == 2 else finite))
    if len(bad):
        raise UserError(
            f"Scores of {len(bad)} texts are not finite (first: row {bad[0]}): lower learning_rate and retrain."
        )
    return probabilities


def _known(rows: Maybe, name: str, embeddings: Array) -> Array:
    """Checked rows (m, d) in the pool's precision; none for None."""
    if rows is None or not len(rows):
        return embeddings[:0]
    if np.shape(rows)[1:] != embeddings.shape[1:]:
        raise UserError(
            f"Parameter {name} has shape {np.shape(rows)}: its rows need the {embeddings.shape[1]} numbers of the pool's."
        )
    return _vectors(rows, name).astype(embeddings.dtype, copy=False)


def _vectors(embeddings: Array, name: str = "embeddings") -> Array:
    x = np.asarray(embeddings)
    if x.ndim != 2:
        raise UserError(f"Parameter {name} has shape {x.shape}: it needs one row of numbers a text.")
    x = x if x.dtype in (np.float32, np.float64) else x.astype(np.float32)
    finite = np.isfinite(np.concatenate([x[part].sum(1) for part in _chunks(len(x))])) if len(x) else np.ones(0, bool)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        raise UserError(f"Parameter {name} has {len(bad)} rows that are not finite (first: row {bad[0]}).")
    return x
