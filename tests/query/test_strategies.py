"""Query strategies: distinct, in range, deterministic, and what each is for."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.env import UserError
from helpers.query import arrays, coverage, quotas, strategies, uncertainty


def pool(n, seed=0, classes=2):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(classes), n), rng.normal(size=(n, 8)).astype(np.float32)


def context(n, seed=0, width=8):
    """Whatever a strategy may want to know beside probabilities and embeddings."""
    rng = np.random.default_rng([seed, 9])
    return {
        "base_probabilities": rng.dirichlet([1, 1], n),
        "labelled": rng.normal(size=(6, width)).astype(np.float32),
        "labelled_probabilities": rng.dirichlet([1, 1], 6),
        "labels": np.array([0, 1, 0, 0, 1, 0]),
        "held_out": rng.normal(size=(9, width)).astype(np.float32),
        "errors": rng.integers(0, 2, 9),
        "groups": rng.integers(0, 2, n),
        "trusted": 0.5,
    }


def draws(name, probabilities):
    """bald reads several draws."""
    return np.stack([probabilities, np.roll(probabilities, 1, axis=0)]) if name.endswith("bald") else probabilities


def blobs(centres, size, spread=0.01, seed=0):
    """`size` rows (or one size a blob) around each centre, in order; and the blob of each."""
    rng, sizes = np.random.default_rng(seed), np.broadcast_to(size, len(centres))
    where = np.repeat(np.arange(len(centres)), sizes)
    return np.asarray(centres, dtype=float)[where] + rng.normal(0, spread, (len(where), len(centres[0]))), where


@pytest.mark.parametrize("name", strategies.STRATEGIES)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(n=st.integers(1, 60), k=st.integers(0, 70), seed=st.integers(0, 3), alike=st.booleans())
def test_picks_are_distinct_in_range_and_repeatable(name, n, k, seed, alike):
    probabilities, embeddings = pool(n, seed)
    if alike:  # a learner that predicts a constant, texts of three kinds
        probabilities, embeddings = np.full((n, 2), [0.8, 0.2]), embeddings[np.arange(n) % 3]
    probabilities = draws(name, probabilities)
    picks = strategies.select(name, probabilities, embeddings, k, seed, **context(n, seed))
    assert len(picks) == len(set(picks.tolist())) == min(n, k)
    assert picks.dtype.kind == "i" and (not len(picks) or (picks.min() >= 0 and picks.max() < n))
    assert (picks == strategies.select(name, probabilities, embeddings, k, seed, **context(n, seed))).all()


@pytest.mark.parametrize("name", ["margin", "entropy", "least_confidence", "bald", "star", "contrastive", "coreset"])
def test_the_order_of_the_pool_does_not_matter(name):
    probabilities, embeddings = pool(50)
    known = context(50)
    order = np.random.default_rng(5).permutation(50)
    moved = known | {"base_probabilities": known["base_probabilities"][order]}
    picks = strategies.select(name, draws(name, probabilities), embeddings, 10, **known)
    again = strategies.select(name, draws(name, probabilities)[..., order, :], embeddings[order], 10, **moved)
    assert order[again].tolist() == picks.tolist()


@pytest.mark.parametrize(
    ("name", "picks"),
    [
        ("random", [23, 32, 30, 17, 20, 11]),
        ("margin", [26, 3, 17, 27, 38, 7]),
        ("entropy", [26, 3, 17, 27, 38, 7]),
        ("cluster_margin", [17, 26, 27, 11, 3, 38]),
    ],
)
def test_picks_stay_what_they_were(name, picks):
    assert strategies.select(name, *pool(40), 6, seed=3).tolist() == picks


# --- uncertainty


def test_margin_and_entropy_take_the_least_certain():
    probabilities = np.array([[0.9, 0.1], [0.55, 0.45], [0.5, 0.5], [0.99, 0.01]])
    assert uncertainty.margin(probabilities, np.zeros((4, 1)), 2).tolist() == [2, 1]
    assert uncertainty.entropy(probabilities, np.zeros((4, 1)), 2).tolist() == [2, 1]


def test_measures_differ_where_they_should():
    p = np.array([[0.46, 0.44, 0.10], [0.42, 0.30, 0.28], [0.45, 0.30, 0.25], [1.0, 0.0, 0.0]])
    first = {m: int(uncertainty.uncertainty(p, m).argmax()) for m in ("least_confidence", "margin", "entropy")}
    assert first == {"least_confidence": 1, "margin": 0, "entropy": 1}
    assert uncertainty.uncertainty(p, "least_confidence") == pytest.approx([0.54, 0.58, 0.55, 0])
    assert uncertainty.uncertainty(p, "margin") == pytest.approx([-0.02, -0.12, -0.15, -1])
    assert uncertainty.uncertainty(p, "entropy")[3] == pytest.approx(0, abs=1e-9)
    assert uncertainty.uncertainty(np.stack([p, p[::-1]]), "margin") == pytest.approx(
        uncertainty.uncertainty((p + p[::-1]) / 2, "margin")
    )


def test_bald_is_disagreement_not_uncertainty():
    agree, unsure, quarrel = [[0.9, 0.1]] * 2, [[0.5, 0.5]] * 2, [[1.0, 0.0], [0.0, 1.0]]
    drawn = np.array([agree, unsure, quarrel]).transpose(1, 0, 2)
    assert uncertainty.uncertainty(drawn, "bald") == pytest.approx([0, 0, np.log(2)], abs=1e-9)
    assert strategies.select("bald", drawn, np.zeros((3, 1)), 1).tolist() == [2]


def test_star_mixes_tuned_and_base():
    tuned, base = np.array([[0.5, 0.5], [0.9, 0.1]]), np.array([[1.0, 0.0], [0.6, 0.4]])
    for weight, pick in ((1, 0), (0, 1), (0.9, 0), (0.1, 1)):
        found = strategies.select("star", tuned, np.zeros((2, 1)), 1, base_probabilities=base, tuned_weight=weight)
        assert found.tolist() == [pick]


@pytest.mark.parametrize("how", uncertainty.DRAWS)
def test_a_large_beta_is_greedy_and_a_small_one_is_not(how):
    scores = np.random.default_rng(0).random(200)
    best = np.argsort(-scores)[:10]
    assert uncertainty.stochastic(scores, 10, 0, how, beta=1e6).tolist() == best.tolist()
    assert set(uncertainty.stochastic(scores, 10, 0, how, beta=0.01).tolist()) != set(best.tolist())


@pytest.mark.parametrize("how", uncertainty.DRAWS)
def test_draws_have_the_probabilities_of_the_paper(how):
    scores = np.array([0.0, 1.0, 2.0, 5.0])
    weight = {"power": scores**2, "softmax": np.exp(2 * scores), "softrank": np.array([4.0, 3, 2, 1]) ** -2}[how]
    drawn = [uncertainty.stochastic(scores, 1, seed, how, beta=2.0)[0] for seed in range(4000)]
    assert np.bincount(drawn, minlength=4) / 4000 == pytest.approx(weight / weight.sum(), abs=0.02)


def test_power_sampling_leaves_the_certain_for_last():
    probabilities = np.array([[1.0, 0.0]] * 20 + [[0.6, 0.4]] * 5)
    for name in ("power_margin", "power_entropy", "power_least_confidence"):
        assert set(strategies.select(name, probabilities, np.zeros((25, 1)), 5)) == set(range(20, 25)), name


# --- coverage


def naive_coreset(embeddings, picks, labelled, k):
    """Greedy k-centre as the paper writes it, in float64, all distances worked out at every pick."""
    wide, picks = embeddings.astype(np.float64), list(picks)
    while len(picks) < k:
        centres = np.concatenate([labelled.astype(np.float64), wide[picks]])
        distance = ((wide[:, None] - centres) ** 2).sum(2).min(1)
        distance[picks] = -1
        picks.append(int(distance.argmax()))
    return picks


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    n=st.integers(2, 300),
    k=st.integers(1, 20),
    old=st.sampled_from([0, 1, 70]),
    shift=st.sampled_from([0, 100]),
    double=st.booleans(),
    wide=st.booleans(),
)
def test_coreset_is_the_naive_greedy_k_centre(n, k, old, shift, double, wide):
    rng = np.random.default_rng([n, k, old])
    embeddings = (rng.normal(size=(n, 6)) + shift).astype(np.float64 if wide else np.float32)
    if double:
        embeddings[n // 2 :] = embeddings[: n - n // 2]
    k = min(k, n // 2)
    labelled = (rng.normal(size=(old, 6)) + shift).astype(embeddings.dtype)
    picks = coverage.coreset(np.zeros((n, 2)), embeddings, k, 1, labelled=labelled)
    assert picks.tolist() == naive_coreset(embeddings, [] if old else picks[:1], labelled, k)


def test_coreset_at_20_000_is_naive_too():
    embeddings = np.random.default_rng(0).normal(size=(20_000, 48))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)  # all about equally far: no bound is slack
    embeddings = (embeddings + 300).astype(np.float32)  # and distances in float32 would be noise
    picks = coverage.coreset(np.zeros((20_000, 2)), embeddings, 15, 0).tolist()
    wide = embeddings.astype(np.float64)
    best, naive = np.full(len(wide), np.inf), picks[:1]
    while len(naive) < 15:
        best = np.minimum(best, ((wide - wide[naive[-1]]) ** 2).sum(1))
        naive.append(int(best.argmax()))
    assert picks == naive


def test_typiclust_takes_the_middle_of_the_large_uncovered_clusters():
    embeddings, where = blobs(np.eye(4) * 10, [50, 40, 30, 20], spread=0.5)
    labelled = embeddings[:1]  # the largest cluster has one
    for seed in range(3):
        picks = strategies.select("typiclust", np.zeros((140, 2)), embeddings, 3, seed, labelled=labelled)
        assert sorted(where[picks]) == [1, 2, 3]
        largest = strategies.select("typiclust", np.zeros((140, 2)), embeddings, 2, seed, labelled=embeddings[:2])
        assert sorted(where[largest]) == [1, 2]
        for i in picks:
            own = embeddings[where == where[i]]
            distance = np.linalg.norm(own - own.mean(0), axis=1)
            assert np.linalg.norm(embeddings[i] - own.mean(0)) <= np.quantile(distance, 0.25)


def test_probcover_covers_greedily():
    line = np.array([0.0, 1, 2, 10, 11, 20])[:, None]
    picks = coverage.probcover(np.zeros((6, 2)), line, 3, radius=1.0)
    assert picks[0] == 1 and picks[1] in (3, 4) and picks[2] == 5
    known = coverage.probcover(np.zeros((6, 2)), line, 2, radius=1.0, labelled=np.array([[1.0]]))
    assert known[0] in (3, 4) and known[1] == 5


def test_probcover_finds_its_radius_between_the_clusters():
    embeddings, where = blobs([[0.0, 0], [5, 0], [0, 5]], [60, 40, 20], spread=0.1)
    picks = coverage.probcover(np.full((120, 3), 1 / 3), embeddings, 3)
    assert where[picks].tolist() == [0, 1, 2]  # one ball holds a whole cluster: the largest first


def test_probcover_takes_the_largest_radius_with_95_percent_pure_balls():
    rng = np.random.default_rng(0)
    embeddings = np.concatenate([rng.uniform(0, 3, 200), rng.uniform(5, 9, 200)])[:, None]  # two clusters on a line
    apart = np.abs(embeddings - embeddings.T)
    other = np.where(np.repeat([0, 1], 200)[:, None] == np.repeat([0, 1], 200), np.inf, apart).min(1)
    radius = max(r for r in np.unique(apart) if (other > r).mean() >= 0.95)
    found = [
        coverage.probcover(np.zeros((400, 2)), embeddings, 4, radius=r).tolist() for r in (None, radius, 1.2 * radius)
    ]
    assert found[0] == found[1] != found[2]


def test_kmeans_and_representatives_cover_every_cluster():
    embeddings, where = blobs(np.eye(5), 20)
    assert sorted(where[coverage.representatives(embeddings, 5)]) == [0, 1, 2, 3, 4]
    assert sorted(where[strategies.select("kmeans", np.zeros((100, 2)), embeddings, 5)]) == [0, 1, 2, 3, 4]


def test_contrastive_is_the_divergence_from_labelled_neighbours():
    p, embeddings = pool(40)
    known = context(40)
    q, labelled = known["labelled_probabilities"], known["labelled"]
    scores = []
    for x, row in zip(embeddings, p, strict=True):
        near = np.argsort(((labelled - x) ** 2).sum(1))[:3]
        scores.append(np.mean([(q[j] * np.log(q[j] / row)).sum() for j in near]))
    picks = strategies.select("contrastive", p, embeddings, 40, neighbours=3, **known)
    assert picks.tolist() == np.argsort(-np.array(scores)).tolist()


def test_discriminative_goes_where_no_label_is():
    embeddings, where = blobs([[0.0, 0], [6, 0], [0, 3]], 100, spread=0.3)
    known = {"labelled": embeddings[:30]}
    at_once = strategies.select("discriminative", np.zeros((300, 2)), embeddings, 20, rounds=1, **known)
    assert set(where[at_once]) == {1}  # the farthest
    in_parts = strategies.select("discriminative", np.zeros((300, 2)), embeddings, 20, **known)
    assert set(where[in_parts]) == {1, 2}  # the first part of the batch counts as labelled in the second


# --- both


def test_cluster_margin_spreads_over_clusters():
    embeddings, where = blobs(np.eye(4), 25)
    assert sorted(where[uncertainty.cluster_margin(np.full((100, 2), 0.5), embeddings, 4)]) == [0, 1, 2, 3]


def test_badge_draws_as_k_means_plus_plus_on_the_gradients():
    rng = np.random.default_rng(0)
    p, x = rng.dirichlet([1, 1, 1], 7), rng.normal(size=(7, 4))
    gradient = ((p - np.eye(3)[p.argmax(1)])[:, :, None] * x[:, None]).reshape(7, -1)
    first = (gradient**2).sum(1).argmax()
    square = ((gradient[:, None] - gradient) ** 2).sum(2)
    chances = np.zeros((7, 7))
    for second in range(7):
        left = np.minimum(square[first], square[second])
        chances[second] = square[first, second] / square[first].sum() * left / left.sum()
    counts = np.zeros((7, 7))
    for seed in range(3000):
        a, b, c = uncertainty.badge(p, x, 3, seed)
        assert a == first
        counts[b, c] += 1
    assert counts / 3000 == pytest.approx(chances, abs=0.025)


def test_badge_prefers_the_uncertain_and_spreads():
    embeddings, where = blobs(np.eye(4), 50)
    probabilities = np.full((200, 2), [0.999, 0.001])
    probabilities[::5] = [0.5, 0.5]
    for seed in range(5):
        picks = uncertainty.badge(probabilities, embeddings, 5, seed)
        unsure = picks[picks % 5 == 0]  # the many sure texts have one gradient, nil: k-means++ takes one of them
        assert len(unsure) == 4 and sorted(where[unsure]) == [0, 1, 2, 3]


def test_bait_lowers_the_expected_variance_most_at_every_pick():
    p, x = pool(30, seed=2)
    known = context(30)
    q, labelled = known["labelled_probabilities"], known["labelled"]
    centred = [part - x.mean(0) for part in (x, labelled)]
    z, old = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in centred)
    w, w_old = p.prod(1), q.prod(1)
    information = np.eye(8) + (old.T * w_old) @ old
    fisher, picks = (z.T * w) @ z / 30, []
    for _ in range(4):
        left = [
            np.inf if i in picks else np.trace(np.linalg.inv(information + w[i] * np.outer(z[i], z[i])) @ fisher)
            for i in range(30)
        ]
        picks.append(int(np.argmin(left)))
        information += w[picks[-1]] * np.outer(z[picks[-1]], z[picks[-1]])
    assert strategies.select("bait", p, x, 4, **known).tolist() == picks


def test_bait_keeps_to_the_uncertain_as_labels_grow():
    p, x = pool(1000, seed=1)
    sure = p.max(1)
    many = {"labelled": np.repeat(x[:10], 40, 0), "labelled_probabilities": np.repeat(p[:10], 40, 0)}
    picks = strategies.select("bait", p, x, 5, **many)
    assert sure[picks].max() <= np.sort(sure)[99]  # twenty batches of five
    wide = np.random.default_rng(0).normal(size=(60, 700)).astype(np.float32)  # projected
    assert len(set(strategies.select("bait", p[:60], wide, 20).tolist())) == 20


def test_dcalm_buys_where_the_errors_are():
    embeddings, where = blobs([[0.0, 0], [9, 0], [0, 9]], 60, spread=0.5)
    even = np.full((180, 2), [0.7, 0.3])
    held_out, errors = embeddings[::3], (where[::3] == 1).astype(float)
    errors[where[::3] == 2] = np.arange(20) % 2
    picks = strategies.select("dcalm", even, embeddings, 30, regions=3, held_out=held_out, errors=errors)
    bought = np.bincount(where[picks], minlength=3)
    rate = (np.array([0, 20, 10]) + 2 * 0.3) / 22
    assert bought == pytest.approx(30 * rate / rate.sum(), abs=1)
    unsure = np.where(where[:, None] == 2, [0.55, 0.45], [0.95, 0.05])  # no answers known: what the learner expects
    bought = np.bincount(where[strategies.select("dcalm", unsure, embeddings, 11, regions=3)], minlength=3)
    assert bought.tolist() == [1, 1, 9]


def test_dcalm_takes_the_most_informative_of_every_part():
    embeddings, part = blobs([[0.0, 0], [0, 1], [1, 0], [1, 1]], 10)
    score = np.random.default_rng(0).random(40)
    picks = strategies.select("dcalm", np.full((40, 2), 0.5), embeddings, 4, regions=1, informativeness=score)
    assert set(picks.tolist()) == {int(np.flatnonzero(part == c)[score[part == c].argmax()]) for c in range(4)}


def test_clusters_by_equal_or_proportional_quota():
    embeddings, where = blobs([[0.0, 0], [9, 0], [0, 9]], [60, 30, 10], spread=0.5)
    score = np.random.default_rng(0).random(100)
    for name, quota in (("cluster_equal", [4, 4, 4]), ("cluster_proportional", [7, 4, 1])):
        picks = strategies.select(name, np.full((100, 2), 0.5), embeddings, 12, regions=3, informativeness=score)
        assert np.bincount(where[picks]).tolist() == quota
        for c in range(3):
            best = np.flatnonzero(where == c)[np.argsort(-score[where == c])[: quota[c]]]
            assert set(best) == set(picks[where[picks] == c])


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 20)), min_size=1, max_size=8),
    st.integers(0, 60),
)
def test_shares_fit_and_follow_the_weights(parts, k):
    weights, room = map(np.array, zip(*parts, strict=True))
    given_ = quotas.shares(weights, room, k)
    assert given_.sum() == min(k, room.sum()) and (given_ <= room).all()
    free = given_ < room
    for i in np.flatnonzero(free):
        assert all(given_[i] >= given_[j] - 1 for j in range(len(room)) if weights[i] >= weights[j])


# --- around another strategy


@settings(max_examples=40, deadline=None)
@given(n=st.integers(10, 80), k=st.integers(6, 20), minimum=st.integers(0, 2), seed=st.integers(0, 99))
def test_every_group_keeps_its_minimum(n, k, minimum, seed):
    p, embeddings = pool(n, seed)
    groups = np.random.default_rng(seed).choice(["a", "b", "c"], n, p=[0.9, 0.08, 0.02])
    p[groups == "a"] = [0.5, 0.5]  # uncertainty alone would never leave the first group
    known = {"groups": groups, "minimum": minimum}
    picks = strategies.select("group_minimum", p, embeddings, k, seed, **known)
    assert len(set(picks.tolist())) == len(picks) == min(n, k)
    for g in set(groups):
        assert (groups[picks] == g).sum() >= min(minimum, (groups == g).sum())
    if minimum == 0:
        assert picks.tolist() == uncertainty.margin(p, embeddings, k, seed).tolist()


def test_a_group_gets_its_own_best_and_the_weakest_picks_give_way():
    score = np.array([0.5, 0.51, 0.52, 0.53, 0.9, 0.8, 0.7])
    p, groups = np.stack([score, 1 - score], axis=1), np.array([0, 0, 0, 0, 1, 1, 1])
    picks = strategies.select("group_minimum", p, np.zeros((7, 1)), 3, groups=groups, minimum=1)
    assert picks.tolist() == [0, 1, 6]
    wrapped = strategies.select(
        "group_minimum", p, np.arange(7.0)[:, None], 4, groups=groups, minimum=2, inner="coreset"
    )
    assert np.bincount(groups[wrapped]).tolist() == [2, 2]


def test_neighbourhood_is_that_of_brute_force():
    x = np.random.default_rng(0).normal(size=(9000, 3)).astype(np.float32)  # more than one chunk
    anchors = x[[3, 8999]] + 0.01
    near = {int(i) for a in anchors for i in np.argsort(((x - a) ** 2).sum(1))[:40]}
    assert quotas.neighbourhood(x, anchors, 40).tolist() == sorted(near)


def test_seals_stays_near_the_rare_class_and_anchoral_serves_both():
    embeddings, where = blobs([[0.0, 0], [9, 0], [0, 9]], 40, spread=0.5)
    p = np.full((120, 2), [0.5, 0.5])
    p[where != 2] = [0.6, 0.4]  # the uncertain are far from every label
    known = {"labelled": embeddings[[0, 1, 2, 40]], "labels": np.array([0, 0, 0, 1]), "neighbours": 20}
    assert set(where[uncertainty.margin(p, embeddings, 10)]) == {2}
    assert set(where[strategies.select("seals", p, embeddings, 10, rare=1, **known)]) == {1}
    assert set(where[strategies.select("seals", p, embeddings, 20, **known)]) == {0, 1}
    both = where[strategies.select("anchoral", p, embeddings, 20, per_class=1, **known)]
    assert set(both) == {0, 1} and 5 <= (both == 1).sum() <= 15
    most = strategies.select(
        "seals", p, embeddings, 50, rare=1, **known
    )  # a sub-pool too small: the rest comes from outside
    assert (where[most] == 1).sum() == 20 and (where[most] == 2).sum() == 30


def test_trust_grows_with_labels_skill_and_calibration():
    many, few = np.repeat([0, 1], [80, 20]), np.repeat([0, 1], [95, 5])
    assert quotas.trust(many, 2, accuracy=0.8) == 1
    assert quotas.trust(few, 2, accuracy=0.8) == 0
    assert quotas.trust(many, 2, accuracy=0.5) == 0
    assert quotas.trust(many, 2, accuracy=0.625) == pytest.approx(0.5)
    assert quotas.trust(many, 2, accuracy=0.8, calibration_error=0.125) == pytest.approx(0.5)
    assert quotas.trust(many[many == 0], 2, accuracy=0.9) == 0  # one class so far
    assert quotas.trust(np.array([], dtype=int), 3, accuracy=0.9) == 0


def test_schedule_moves_from_coverage_to_uncertainty():
    p, embeddings = pool(80)
    known = {"labelled": embeddings[:5] + 0.1, "coverage": "coreset", "uncertain": "margin"}
    chosen = {t: strategies.select("scheduled", p, embeddings, 10, trusted=t, **known).tolist() for t in (0, 0.4, 1)}
    assert chosen[0] == strategies.select("coreset", p, embeddings, 10, labelled=known["labelled"]).tolist()
    assert chosen[1] == uncertainty.margin(p, embeddings, 10).tolist()
    assert chosen[0.4][:4] == chosen[1][:4]
    around = np.concatenate([known["labelled"], embeddings[chosen[1][:4]]])
    assert chosen[0.4][4:] == coverage.coreset(p, embeddings, 6, labelled=around).tolist()


# --- cold start


def test_keyword_seeds_find_the_rare_and_cover_the_rest():
    embeddings, where = blobs(np.eye(4), 50)
    hits = (where == 3) & (np.arange(200) % 10 == 0)
    picks = coverage.keyword_seeds(embeddings, hits, 8)
    assert hits[picks].sum() == 4 and set(where[picks]) == {0, 1, 2, 3}
    assert hits[coverage.keyword_seeds(embeddings, hits, 20)].sum() == 5  # all there are
    assert not hits[coverage.keyword_seeds(embeddings, hits, 8, share=0)].any()
    score = np.where(where == 3, np.arange(200), 0)
    assert (coverage.keyword_seeds(embeddings, score, 2)[0]) >= 190  # among the highest tenfold
    assert sorted(coverage.keyword_seeds(embeddings, np.ones(200), 300)) == list(range(200))


# --- bad input


def test_identical_texts_still_give_as_many_picks_as_asked():
    same = np.ones((30, 4))
    assert len(set(coverage.representatives(same, 7).tolist())) == 7
    assert len(set(uncertainty.cluster_margin(np.full((30, 2), 0.5), same, 3).tolist())) == 3


def test_no_more_clusters_than_distinct_rows():
    rows = np.array([[0.0, 1], [-0.0, 1], [2, 3]] * 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(np.unique(arrays.kmeans(rows, 5))) == 2


def test_wrong_name_and_broken_scores():
    with pytest.raises(UserError, match="strategy='best' is unknown: choose one of random, margin"):
        strategies.select("best", *pool(5), 2)
    probabilities, embeddings = pool(5)
    probabilities[3, 0] = np.nan
    with pytest.raises(UserError, match="first: row 3"):
        uncertainty.margin(probabilities, embeddings, 2)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("margin", {"k": -1}, "k=-1 is below zero"),
        ("margin", {"embeddings": np.zeros((4, 8))}, "embeddings has 4 rows, probabilities has 20"),
        ("margin", {"probabilities": np.ones((20, 1))}, "two classes or more"),
        ("margin", {"probabilities": np.ones(20)}, r"shape \(20,\)"),
        ("power_margin", {"how": "best"}, "how='best' is unknown: choose one of top, power"),
        ("power_margin", {"beta": 0}, "beta=0"),
        ("margin", {"lablled": np.zeros((2, 8))}, "lablled is unknown"),
        ("bald", {}, "bald needs"),
        ("star", {"base_probabilities": None}, "star needs base_probabilities"),
        ("star", {"base_probabilities": np.ones((3, 2))}, "base_probabilities has 3 rows"),
        ("coreset", {"embeddings": np.full((20, 8), np.inf)}, "20 rows that are not finite"),
        ("coreset", {"labelled": np.zeros((3, 5))}, r"labelled has shape \(3, 5\)"),
        ("badge", {"embeddings": np.zeros(20)}, r"embeddings has shape \(20,\)"),
        ("bait", {"labelled_probabilities": None}, "bait needs labelled_probabilities"),
        ("contrastive", {"labelled": None}, "contrastive needs labelled"),
        ("contrastive", {"labelled_probabilities": np.full((2, 2), 0.5)}, "labelled_probabilities has 2 values for 6"),
        ("discriminative", {"labelled": np.zeros((0, 8))}, "discriminative needs labelled"),
        ("dcalm", {"errors": None}, "dcalm needs errors"),
        ("dcalm", {"errors": np.zeros(2)}, "errors has 2 values"),
        ("cluster_equal", {"informativeness": np.full(20, np.nan)}, "informativeness has a value that is not finite"),
        ("cluster_equal", {"quota": "fair"}, "quota='fair' is unknown"),
        ("group_minimum", {"groups": None}, "group_minimum needs groups"),
        ("group_minimum", {"minimum": 9}, "minimum=9 needs"),
        ("seals", {"rare": 7}, "rare=7 has no labelled row"),
        ("anchoral", {"labels": np.zeros(2)}, "labels has 2 values"),
        ("seals", {"rare": 0, "labels": np.zeros(2)}, "labels has 2 values"),
        ("scheduled", {"trusted": None}, "scheduled needs trusted"),
        ("scheduled", {"trusted": 2}, "trusted=2 is a share"),
    ],
)
def test_bad_input_is_one_sentence_that_names_the_parameter(name, change, message):
    probabilities, embeddings = pool(20)
    given_ = {"probabilities": probabilities, "embeddings": embeddings, "k": 5} | context(20) | change
    with pytest.raises(UserError, match=message):
        strategies.select(name, **given_)


def test_bad_input_outside_select():
    with pytest.raises(UserError, match="scores has a value of -1"):
        uncertainty.stochastic(np.array([-1.0, 2]), 1)
    with pytest.raises(UserError, match="measure='best' is unknown"):
        uncertainty.uncertainty(pool(5)[0], "best")
    with pytest.raises(UserError, match="one value for each of 5 texts"):
        coverage.keyword_seeds(pool(5)[1], np.ones(4), 2)
    with pytest.raises(UserError, match="share=3"):
        coverage.keyword_seeds(pool(5)[1], np.ones(5), 2, share=3)
    with pytest.raises(UserError, match="class numbers from 0 to 1"):
        quotas.trust(np.array([0, 1, 2]), 2, 0.9)
