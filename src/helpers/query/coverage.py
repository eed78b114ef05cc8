"""Query strategies that go where no label is, and the first texts of all; arguments as `acquire` says."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

from helpers.env import UserError
from helpers.query.arrays import (
    Array,
    Maybe,
    checked_probabilities,
    chunks,
    clustering,
    filled,
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

TIE = 1e-9  # distances closer than this share of each other are equal


def representatives(embeddings: Array, k: int, seed: int = 0) -> Array:
    """Positions of the texts nearest to the centres of `k` clusters: one for every region of the pool."""
    if len(embeddings) <= k or k <= 0:
        return np.arange(min(len(embeddings), max(k, 0)))
    clusters = kmeans(embeddings, k, seed)
    picks = []
    for members in members_of(clusters):
        distance = np.linalg.norm(embeddings[members] - embeddings[members].mean(0), axis=1)
        picks.append(int(members[distance.argmin()]))
    return filled(picks, len(embeddings), k, seed)  # identical texts give fewer clusters than k


def kmeans_centres(probabilities: Array, embeddings: Array, k: int, seed: int = 0) -> Array:
    """The text nearest to each of `k` cluster centres, whatever the learner says."""
    return representatives(embeddings, k, seed)


def coreset(probabilities: Array, embeddings: Array, k: int, seed: int = 0, *, labelled: Maybe = None) -> Array:
    """Again and again the text farthest from all that is labelled or picked (Sener & Savarese 2018, arXiv 1708.00489).

    The picks are those of the naive greedy k-centre, at a fraction of its distances: one float32 pass bounds every text's
    distance from above; then, as bounds only fall, a pick needs exact float64 distances for the front-runners alone.
    Starts from `labelled` (m, d), or from a random text. Of texts at an equal distance the first is taken.
    """
    x, k = vectors(embeddings), min(k, len(embeddings))
    if k <= 0:
        return np.empty(0, dtype=int)
    old = labelled_rows(labelled, "labelled", x)
    picks = [] if len(old) else [int(np.random.default_rng(seed).integers(len(x)))]
    centres = np.concatenate([old, x[picks]]).astype(np.float64)
    norms = np.concatenate([np.einsum("ij,ij->i", x[part], x[part]) for part in chunks(len(x))]).astype(np.float64)
    scale = max(float(norms.max()), float((centres**2).sum(1).max()))
    rounding = 2 * x.shape[1] * np.finfo(np.float32).eps * scale  # the most that float32 can be wrong by
    near = centres[:64].astype(np.float32)
    far = np.concatenate([squared_distances(x[part], near).min(1) for part in chunks(len(x))]) + rounding
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
            for part in chunks(len(stale), 4096):
                rows = stale[part]
                distance = squared_distances(x[rows], centres[seen[rows].min() :])
                exact = distance.min(1)
                far[rows] = np.where(seen[rows] == 0, exact, np.minimum(far[rows], exact))
            seen[stale] = len(centres)
            block = min(4 * block, 2**16)
        if top <= 1e-12 * scale:  # every text left repeats one that is covered
            break
        picks.append(int(np.flatnonzero(far >= top * (1 - TIE))[0]))
        centres = np.concatenate([centres, x[picks[-1:]]])
        far[picks[-1]] = -1.0
    return filled(picks, len(x), k, seed)


def typiclust(probabilities: Array, embeddings: Array, k: int, seed: int = 0, *, labelled: Maybe = None) -> Array:
    """The text with the closest neighbours in each of the largest clusters without a label (Hacohen et al. 2022, arXiv 2202.02794).

    As many clusters as there are labels (m, d) and picks, 500 at most. In a cluster of more than 1,000 texts the 20 neighbours
    are sought in a random 1,000 of them, from which the pick comes too.
    """
    x, rng = vectors(embeddings), np.random.default_rng(seed)
    if len(x) <= k:
        return rng.permutation(len(x))
    known = labelled_rows(labelled, "labelled", x)
    model = clustering(x, min(k + len(known), 500), seed)
    members, have = members_of(model.labels_), weight_in_clusters(model, known)
    order = np.lexsort((rng.random(len(members)), [-len(m) for m in members], have))[:k]
    ranked = []
    for rows in (members[c] for c in order):
        rows = rng.permutation(rows)[:1000]
        apart = np.sort(squared_distances(x[rows], x[rows]), axis=1)[:, 1 : 1 + min(20, max(1, len(rows) // 2))]
        ranked.append(rows[np.sqrt(apart).sum(1).argsort(kind="stable")])
    return filled(round_robin(ranked, k), len(x), k, seed)


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
    x, rng = vectors(embeddings), np.random.default_rng(seed)
    rows = rng.permutation(len(x))[:10_000]
    sample = x[rows].astype(np.float32)
    if radius is None:
        clusters = kmeans(sample, max(2, np.shape(probabilities)[-1]), seed) if len(sample) else rows
        other = [
            np.where(clusters[part][:, None] == clusters, np.inf, squared_distances(sample[part], sample)).min(1)
            for part in chunks(len(sample), 1024)
        ]
        square = np.quantile(np.concatenate([[np.inf], *other]), 0.05, method="lower") * (1 - 1e-6)
    else:
        square = radius**2
    near = np.zeros((len(sample), len(sample)), dtype=bool)
    for part in chunks(len(sample), 1024):
        near[part] = squared_distances(sample[part], sample) <= square
    open_ = np.ones(len(sample), dtype=bool)
    known = labelled_rows(labelled, "labelled", x)
    for part in chunks(len(sample) if len(known) else 0, 1024):
        open_[part] = squared_distances(sample[part], known).min(1) > square
    gain, picks = near[:, open_].sum(1), []
    while len(picks) < k and len(sample) and gain.max() > 0:
        picks.append(int(gain.argmax()))
        newly = near[picks[-1]] & open_
        gain -= near[:, newly].sum(1)
        open_ &= ~newly
    return filled(rows[picks], len(x), k, seed)


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
    x = vectors(embeddings)
    known = labelled_rows(required(labelled, "labelled", "contrastive"), "labelled", x)
    log_p = np.log(np.clip(mean_of_draws(checked_probabilities(probabilities)), 1e-12, 1))
    q = np.asarray(required(labelled_probabilities, "labelled_probabilities", "contrastive", known))
    q = np.clip(mean_of_draws(checked_probabilities(q)), 1e-12, 1)
    own, count = (q * np.log(q)).sum(1), min(neighbours, len(known))
    scores = np.empty(len(x))
    for part in chunks(len(x), 4096):
        nearest = np.argpartition(squared_distances(x[part], known), count - 1, axis=1)[:, :count]
        scores[part] = own[nearest].mean(1) - (q[nearest].mean(1) * log_p[part]).sum(1)
    return largest(scores, k, seed)


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
    x, rng = vectors(embeddings), np.random.default_rng(seed)
    known, picks = (
        labelled_rows(required(labelled, "labelled", "discriminative"), "labelled", x),
        np.empty(0, dtype=int),
    )
    for size in filter(None, np.diff(np.linspace(0, min(k, len(x)), rounds + 1).round().astype(int))):
        free = np.setdiff1d(np.arange(len(x)), picks)
        drawn = rng.permutation(free)[: min(max(10 * len(known), 1000), 20_000)]
        answer = np.repeat([0, 1], [len(known), len(drawn)])
        model = LogisticRegression(class_weight="balanced", max_iter=300)
        seen = np.concatenate([known, x[drawn]])
        model.fit(seen / np.sqrt((seen**2).mean() + 1e-30), answer)
        scores = x @ model.coef_[0].astype(x.dtype)
        new = free[largest(scores[free], size, seed)]
        picks, known = np.concatenate([picks, new]), np.concatenate([known, x[new]])
    return picks


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
    found = largest(hits, min(10 * wanted, int((hits > 0).sum())), seed)
    found = found[representatives(embeddings[found], wanted, seed)] if wanted else found[:0]
    rest = np.setdiff1d(np.flatnonzero(hits <= 0), found)
    others = rest[representatives(embeddings[rest], k - len(found), seed)]
    return filled(np.concatenate([found, others]), len(embeddings), k, seed)
