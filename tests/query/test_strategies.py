"""Query strategies for classification: what all have in common, and what each is for."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.env import UserError
from helpers.query import arrays, coverage, quotas, strategies


def pool(n, seed=0, classes=2):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(classes), n), rng.normal(size=(n, 8)).astype(np.float32)


def context(n, seed=0, width=8):
    """Every input but probabilities and embeddings."""
    rng = np.random.default_rng([seed, 9])
    return {
        "labelled": rng.normal(size=(6, width)).astype(np.float32),
        "labelled_probabilities": rng.dirichlet([1, 1], 6),
        "held_out": rng.normal(size=(9, width)).astype(np.float32),
        "errors": rng.integers(0, 2, 9),
        "groups": rng.integers(0, 2, n),
        "compliance": rng.random(n),
        "nll": rng.random(n),
    }


def pick(name, probabilities, embeddings, k, seed=0, **inputs):
    """`select` from a pool given by both arrays."""
    inputs |= {"probabilities": probabilities, "embeddings": embeddings}
    return strategies.select(name, len(embeddings), k, seed, **inputs)


def blobs(centres, size, spread=0.01, seed=0):
    """`size` rows (or one size a blob) around each centre, in order; and the blob of each."""
    rng, sizes = np.random.default_rng(seed), np.broadcast_to(size, len(centres))
    blob = np.repeat(np.arange(len(centres)), sizes)
    return np.asarray(centres, dtype=float)[blob] + rng.normal(0, spread, (len(blob), len(centres[0]))), blob


# --- what all strategies of both kinds have in common


@pytest.mark.parametrize("name", strategies.STRATEGIES)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(n=st.integers(0, 60), k=st.integers(0, 70), seed=st.integers(0, 3), alike=st.booleans(), cold=st.booleans())
def test_picks_are_distinct_in_range_complete_and_repeatable(name, n, k, seed, alike, cold):
    probabilities, embeddings = pool(n, seed)
    inputs = context(n, seed)
    if alike:  # a learner that predicts a constant, texts of three kinds
        probabilities, embeddings = np.full((n, 2), [0.8, 0.2]), embeddings[np.arange(n) % 3]
    if cold:  # no label yet
        inputs |= dict.fromkeys(("labelled", "labelled_probabilities", "held_out", "errors"))
    picks = pick(name, probabilities, embeddings, k, seed, **inputs)
    assert len(picks) == len(set(picks.tolist())) == min(n, k)
    assert picks.dtype.kind == "i" and set(picks.tolist()) <= set(range(n))
    assert (picks == pick(name, probabilities, embeddings, k, seed, **inputs)).all()


@pytest.mark.parametrize("name", strategies.STRATEGIES)
def test_a_strategy_depends_on_the_inputs_it_declares_and_on_no_other(name):
    probabilities, embeddings = pool(40)
    inputs = context(40) | {"probabilities": probabilities, "embeddings": embeddings}
    declared = {key: inputs[key] for key in strategies.inputs_of(name)}
    alone = strategies.select(name, 40, 10, 1, **declared)
    assert alone.tolist() == strategies.select(name, 40, 10, 1, **inputs).tolist()
    for key in declared.keys() & arrays.PER_TEXT:
        with pytest.raises(UserError, match=f"{name} needs {key}"):
            strategies.select(name, 40, 10, 1, **(declared | {key: None}))


@pytest.mark.parametrize("name", ["margin", "entropy", "least_confidence", "coreset", "top_n", "nll"])
def test_the_order_of_the_pool_does_not_matter(name):
    inputs = context(50) | dict(zip(("probabilities", "embeddings"), pool(50), strict=True))
    order = np.random.default_rng(5).permutation(50)
    moved = {key: value[order] if key in arrays.PER_TEXT else value for key, value in inputs.items()}
    picks, again = (strategies.select(name, 50, 10, **pool_inputs) for pool_inputs in (inputs, moved))
    assert order[again].tolist() == picks.tolist()


@pytest.mark.parametrize("name", ["margin", "entropy", "least_confidence"])
def test_the_seed_breaks_ties(name):
    probabilities = np.full((100, 2), [0.7, 0.3])
    picks = [strategies.select(name, 100, 5, seed, probabilities=probabilities).tolist() for seed in range(3)]
    assert picks[0] != picks[1] != picks[2]


def test_random_is_uniform_and_reads_nothing():
    assert strategies.inputs_of("random") == ()
    counts = np.bincount(np.concatenate([strategies.select("random", 10, 3, seed) for seed in range(2000)]))
    assert counts / 2000 == pytest.approx(0.3, abs=0.05)


def test_both_kinds_of_task_have_their_names():
    classification, generation = strategies.names("classification"), strategies.names("generation")
    assert set(classification) & set(generation) == {"random"}
    assert set(classification) | set(generation) == set(strategies.STRATEGIES)
    strategies.check_strategy("bait", "classification")
    strategies.check_strategy("hassan", "generation")


# --- uncertainty


@pytest.mark.parametrize("name", ["margin", "entropy", "least_confidence"])
def test_the_least_certain_come_first(name):
    probabilities = np.array([[0.9, 0.1], [0.55, 0.45], [0.5, 0.5], [0.99, 0.01]])
    assert strategies.select(name, 4, 2, probabilities=probabilities).tolist() == [2, 1]


def test_measures_differ_with_three_classes():
    p = np.array([[0.46, 0.44, 0.10], [0.42, 0.30, 0.28], [0.45, 0.27, 0.28], [1.0, 0.0, 0.0]])
    assert strategies.select("margin", 4, 4, probabilities=p).tolist() == [0, 1, 2, 3]
    assert strategies.select("least_confidence", 4, 4, probabilities=p).tolist() == [1, 2, 0, 3]
    assert strategies.select("entropy", 4, 4, probabilities=p).tolist() == [1, 2, 0, 3]


def test_power_margin_draws_in_proportion_to_one_minus_the_margin():
    p = np.array([[1.0, 0.0], [0.9, 0.1], [0.75, 0.25], [0.5, 0.5]])
    drawn = [strategies.select("power_margin", 4, 1, seed, probabilities=p)[0] for seed in range(4000)]
    weights = np.array([0, 0.2, 0.5, 1])
    assert np.bincount(drawn, minlength=4) / 4000 == pytest.approx(weights / weights.sum(), abs=0.02)


# --- coverage


def naive_coreset(embeddings, picks, labelled, k):
    """Greedy k-centre as the paper writes it, in float64, all distances computed at every pick."""
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
    labels=st.sampled_from([0, 1, 70]),
    shift=st.sampled_from([0, 100]),
    double=st.booleans(),
    wide=st.booleans(),
)
def test_coreset_is_the_naive_greedy_k_centre(n, k, labels, shift, double, wide):
    rng = np.random.default_rng([n, k, labels])
    embeddings = (rng.normal(size=(n, 6)) + shift).astype(np.float64 if wide else np.float32)
    if double:
        embeddings[n // 2 :] = embeddings[: n - n // 2]
    k = min(k, n // 2)
    labelled = (rng.normal(size=(labels, 6)) + shift).astype(embeddings.dtype)
    picks = strategies.select("coreset", n, k, 1, embeddings=embeddings, labelled=labelled)
    assert picks.tolist() == naive_coreset(embeddings, [] if labels else picks[:1], labelled, k)


def test_coreset_at_20_000_is_naive_too():
    embeddings = np.random.default_rng(0).normal(size=(20_000, 48))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)  # all about equally far
    embeddings = (embeddings + 300).astype(np.float32)  # and distances in float32 would be noise
    picks = strategies.select("coreset", 20_000, 15, embeddings=embeddings).tolist()
    wide = embeddings.astype(np.float64)
    nearest, naive = np.full(len(wide), np.inf), picks[:1]
    while len(naive) < 15:
        nearest = np.minimum(nearest, ((wide - wide[naive[-1]]) ** 2).sum(1))
        naive.append(int(nearest.argmax()))
    assert picks == naive


def test_typiclust_takes_the_middle_of_the_large_clusters_without_a_label():
    embeddings, blob = blobs(np.eye(4) * 10, [50, 40, 30, 20], spread=0.5)
    for seed in range(3):
        picks = strategies.select("typiclust", 140, 3, seed, embeddings=embeddings, labelled=embeddings[:1])
        assert sorted(blob[picks]) == [1, 2, 3]
        two = strategies.select("typiclust", 140, 2, seed, embeddings=embeddings, labelled=embeddings[:2])
        assert sorted(blob[two]) == [1, 2]
        for i in picks:
            own = embeddings[blob == blob[i]]
            distance = np.linalg.norm(own - own.mean(0), axis=1)
            assert np.linalg.norm(embeddings[i] - own.mean(0)) <= np.quantile(distance, 0.25)


def test_probcover_covers_the_largest_cluster_first_and_none_that_is_covered():
    embeddings, blob = blobs([[0.0, 0], [5, 0], [0, 5]], [60, 40, 20], spread=0.1)
    even = np.full((120, 3), 1 / 3)
    assert blob[pick("probcover", even, embeddings, 3)].tolist() == [0, 1, 2]  # a ball holds a whole cluster
    assert blob[pick("probcover", even, embeddings, 2, labelled=embeddings[:1])].tolist() == [1, 2]


def test_probcover_is_greedy_with_the_largest_radius_of_95_percent_pure_balls():
    rng = np.random.default_rng(0)
    embeddings = np.concatenate([rng.uniform(0, 3, 200), rng.uniform(5, 9, 200)])[:, None]  # two clusters on a line
    apart = np.abs(embeddings - embeddings.T)
    other = np.where(np.repeat([0, 1], 200)[:, None] == np.repeat([0, 1], 200), np.inf, apart).min(1)
    radius = max(r for r in np.unique(apart) if (other > r).mean() >= 0.95)
    picks = pick("probcover", np.full((400, 2), 0.5), embeddings, 2)

    def is_greedy(radius):
        near, uncovered = apart <= radius, np.ones(400, dtype=bool)
        for i in picks:
            gains = (near & uncovered).sum(1)
            if gains[i] < gains.max():
                return False
            uncovered &= ~near[i]
        return True

    assert is_greedy(radius * (1 - 1e-6)) and not is_greedy(1.2 * radius) and not is_greedy(radius / 1.2)


def test_kmeans_covers_every_cluster():
    embeddings, blob = blobs(np.eye(5), 20)
    assert sorted(blob[strategies.select("kmeans", 100, 5, embeddings=embeddings)]) == [0, 1, 2, 3, 4]


# --- both


def test_cluster_margin_spreads_the_uncertain_over_clusters():
    embeddings, blob = blobs(np.eye(4), 25)
    probabilities = np.full((100, 2), [0.99, 0.01])
    probabilities[::2] = [0.5, 0.5]
    picks = pick("cluster_margin", probabilities, embeddings, 4)
    assert sorted(blob[picks]) == [0, 1, 2, 3] and (picks % 2 == 0).all()


@pytest.mark.parametrize("classes", [2, 3])
def test_badge_draws_as_k_means_plus_plus_on_the_gradients(classes):
    rng = np.random.default_rng(0)
    p, x = rng.dirichlet(np.ones(classes), 7), rng.normal(size=(7, 4))
    gradient = ((p - np.eye(classes)[p.argmax(1)])[:, :, None] * x[:, None]).reshape(7, -1)
    square = ((gradient[:, None] - gradient) ** 2).sum(2)
    counts = np.zeros((7, 7))
    for seed in range(1500):
        counts[tuple(pick("badge", p, x, 2, seed))] += 1
    chances = square / square.sum(1, keepdims=True) / 7  # the first of all is drawn uniformly
    assert counts / 1500 == pytest.approx(chances, abs=0.03)


def test_badge_prefers_the_uncertain_and_spreads():
    embeddings, blob = blobs(np.eye(4), 50)
    probabilities = np.full((200, 2), [0.999, 0.001])
    probabilities[::5] = [0.5, 0.5]
    for seed in range(5):
        picks = pick("badge", probabilities, embeddings, 5, seed)
        unsure = picks[picks % 5 == 0]  # the many sure texts have one gradient, nil: at most one of them is drawn
        assert len(unsure) >= 4 and set(blob[unsure]) == {0, 1, 2, 3}


def test_bait_lowers_the_expected_variance_most_at_every_pick():
    p, x = pool(30, seed=2)
    inputs = context(30)
    q, labelled = inputs["labelled_probabilities"], inputs["labelled"]
    centred = [part - x.mean(0) for part in (x, labelled)]
    z, z_labelled = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in centred)
    w, w_labelled = p.prod(1), q.prod(1)
    information = np.eye(8) + (z_labelled.T * w_labelled) @ z_labelled
    fisher, picks = (z.T * w) @ z / 30, []
    for _ in range(4):
        variance = [
            np.inf if i in picks else np.trace(np.linalg.inv(information + w[i] * np.outer(z[i], z[i])) @ fisher)
            for i in range(30)
        ]
        picks.append(int(np.argmin(variance)))
        information += w[picks[-1]] * np.outer(z[picks[-1]], z[picks[-1]])
    assert pick("bait", p, x, 4, **inputs).tolist() == picks


def test_bait_keeps_to_the_uncertain_as_labels_grow():
    p, x = pool(1000, seed=1)
    sure = p.max(1)
    many = {"labelled": np.repeat(x[:10], 40, 0), "labelled_probabilities": np.repeat(p[:10], 40, 0)}
    picks = pick("bait", p, x, 5, **many)
    assert sure[picks].max() <= np.sort(sure)[99]  # twenty batches of five
    wide = np.random.default_rng(0).normal(size=(60, 700)).astype(np.float32)  # more columns than BAIT keeps
    assert len(set(pick("bait", p[:60], wide, 20).tolist())) == 20


def test_a_few_labels_chosen_by_bait_or_margin_are_worth_more_than_random_ones():
    """Texts on both sides of a line: those near it show best where it is."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6))
    y = (x @ rng.normal(size=6) > 0.3).astype(int)
    right = dict.fromkeys(("bait", "margin", "random"), 0.0)
    for name in right:
        for seed in range(3):
            labelled = np.random.default_rng(seed).permutation(300)[:20]
            for number in range(4):
                head = LogisticRegression(C=10).fit(x[labelled], y[labelled])
                rest = np.setdiff1d(np.arange(300), labelled)
                inputs = {"labelled": x[labelled], "labelled_probabilities": head.predict_proba(x[labelled])}
                picks = pick(name, head.predict_proba(x[rest]), x[rest], 5, seed + number, **inputs)
                labelled = np.concatenate([labelled, rest[picks]])
            right[name] += LogisticRegression(C=10).fit(x[labelled], y[labelled]).score(x, y) / 3
    assert min(right["bait"], right["margin"]) > right["random"] + 0.01


# --- quotas


def test_dcalm_buys_where_the_errors_are(monkeypatch):
    monkeypatch.setattr(quotas, "REGIONS", 3)
    embeddings, blob = blobs([[0.0, 0], [9, 0], [0, 9]], 60, spread=0.5)
    even = np.full((180, 2), [0.7, 0.3])
    errors = (blob[::3] == 1).astype(float)
    errors[blob[::3] == 2] = np.arange(20) % 2
    picks = pick("dcalm", even, embeddings, 30, held_out=embeddings[::3], errors=errors)
    rate = (np.array([0, 20, 10]) + 2 * 0.3) / 22
    assert np.bincount(blob[picks], minlength=3) == pytest.approx(30 * rate / rate.sum(), abs=1)
    unsure = np.where(blob[:, None] == 2, [0.55, 0.45], [0.95, 0.05])  # nothing held out: what the learner expects
    picks = pick("dcalm", unsure, embeddings, 11)
    assert np.bincount(blob[picks], minlength=3).tolist() == [1, 1, 9]


def test_dcalm_takes_the_least_certain_of_every_part(monkeypatch):
    monkeypatch.setattr(quotas, "REGIONS", 1)
    embeddings, part = blobs([[0.0, 0], [0, 1], [1, 0], [1, 1]], 10)
    p = 0.5 + 0.5 * np.random.default_rng(0).random(40)
    picks = pick("dcalm", np.stack([p, 1 - p], axis=1), embeddings, 4)
    assert set(picks.tolist()) == {int(np.flatnonzero(part == c)[p[part == c].argmin()]) for c in range(4)}


@pytest.mark.parametrize(("name", "quota"), [("cluster_equal", [4, 4, 4]), ("cluster_proportional", [7, 4, 1])])
def test_regions_by_equal_or_proportional_quota(name, quota, monkeypatch):
    monkeypatch.setattr(quotas, "REGIONS", 3)
    embeddings, blob = blobs([[0.0, 0], [9, 0], [0, 9]], [60, 30, 10], spread=0.5)
    p = 0.5 + 0.5 * np.random.default_rng(0).random(100)
    picks = pick(name, np.stack([p, 1 - p], axis=1), embeddings, 12)
    assert np.bincount(blob[picks]).tolist() == quota
    for c in range(3):
        assert set(picks[blob[picks] == c]) == set(np.flatnonzero(blob == c)[np.argsort(p[blob == c])[: quota[c]]])


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 20)), min_size=1, max_size=8),
    st.integers(0, 60),
)
def test_quotas_fit_and_follow_the_weights(parts, k):
    weights, sizes = map(np.array, zip(*parts, strict=True))
    quota = quotas.apportion(weights, sizes, k)
    assert quota.sum() == min(k, sizes.sum()) and (quota <= sizes).all()
    for i in np.flatnonzero(quota < sizes):
        assert all(quota[i] >= quota[j] - 1 for j in range(len(sizes)) if weights[i] >= weights[j])


@settings(max_examples=40, deadline=None)
@given(n=st.integers(10, 80), k=st.integers(6, 20), seed=st.integers(0, 99))
def test_every_group_keeps_half_an_equal_share(n, k, seed):
    p, embeddings = pool(n, seed)
    groups = np.random.default_rng(seed).choice(["a", "b", "c"], n, p=[0.9, 0.08, 0.02])
    p[groups == "a"] = [0.5, 0.5]  # BAIT alone would seldom leave the first group
    picks = pick("group_minimum", p, embeddings, k, seed, groups=groups)
    present = set(groups)
    for g in present:
        assert (groups[picks] == g).sum() >= min(k // (2 * len(present)), (groups == g).sum())


def test_group_minimum_is_bait_where_no_group_falls_short():
    p, embeddings = pool(60)
    inputs = context(60) | {"groups": np.zeros(60)}
    by_group, alone = (pick(name, p, embeddings, 10, **inputs).tolist() for name in ("group_minimum", "bait"))
    assert by_group == alone


def test_a_group_gets_its_own_best_and_the_last_picks_give_way():
    p, embeddings = pool(60)
    groups = np.array(["common"] * 55 + ["rare"] * 5)
    p[groups == "rare"] = [0.999, 0.001]
    alone = pick("bait", p, embeddings, 8)
    assert set(groups[alone]) == {"common"}
    picks = pick("group_minimum", p, embeddings, 8, groups=groups)
    assert picks[:6].tolist() == alone[:6].tolist() and set(groups[picks[6:]]) == {"rare"}


# --- cold start


def test_keyword_seeds_find_the_rare_and_cover_the_rest():
    embeddings, blob = blobs(np.eye(4), 50)
    hits = (blob == 3) & (np.arange(200) % 10 == 0)
    picks = coverage.keyword_seeds(embeddings, hits, 8)
    assert hits[picks].sum() == 4 and set(blob[picks]) == {0, 1, 2, 3}
    assert hits[coverage.keyword_seeds(embeddings, hits, 20)].sum() == 5  # all there are
    score = np.where(blob == 3, np.arange(200), 0)
    assert (coverage.keyword_seeds(embeddings, score, 2)[0]) >= 190  # among the ten highest
    assert sorted(coverage.keyword_seeds(embeddings, np.ones(200), 300)) == list(range(200))


def test_identical_texts_still_give_as_many_picks_as_asked():
    assert len(set(strategies.select("kmeans", 30, 7, embeddings=np.ones((30, 4))).tolist())) == 7


def test_no_more_clusters_than_distinct_rows():
    rows = np.array([[0.0, 1], [-0.0, 1], [2, 3]] * 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(np.unique(arrays.kmeans(rows, 5))) == 2


# --- bad input


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("best", {}, "strategy='best' is unknown: choose one of badge, bait, cluster_equal"),
        ("margin", {"k": -1}, "k=-1 is below zero"),
        ("kmeans", {"embeddings": np.zeros((4, 8))}, r"embeddings has shape \(4, 8\).* each of 20 rows"),
        ("margin", {"probabilities": np.full((20, 2), np.nan)}, r"20 texts are not finite \(first: row 0\)"),
        ("margin", {"lablled": np.zeros((2, 8))}, "lablled is unknown"),
        ("coreset", {"embeddings": np.full((20, 8), np.inf)}, "20 rows that are not finite"),
        ("bait", {"labelled_probabilities": None}, "bait needs labelled_probabilities"),
        ("bait", {"labelled_probabilities": np.full((2, 2), 0.5)}, "labelled_probabilities .* each of 6 rows"),
        ("dcalm", {"errors": None}, "dcalm needs errors"),
        ("dcalm", {"errors": np.zeros(2)}, r"errors has shape \(2,\)"),
        ("group_minimum", {"groups": None}, "group_minimum needs groups"),
        ("group_minimum", {"groups": np.zeros(3)}, r"groups has shape \(3,\)"),
    ],
)
def test_bad_input_is_one_sentence_that_names_the_parameter(name, change, message):
    probabilities, embeddings = pool(20)
    arguments = {"probabilities": probabilities, "embeddings": embeddings, "k": 5} | context(20) | change
    with pytest.raises(UserError, match=message):
        strategies.select(name, 20, **arguments)


def test_a_wrong_name_or_kind_is_one_sentence():
    with pytest.raises(UserError, match="strategy='best' is unknown: choose one of badge, bait"):
        strategies.inputs_of("best")
    with pytest.raises(UserError, match="strategy='best' is unknown"):
        strategies.check_strategy("best", "classification")
    with pytest.raises(UserError, match="'hassan' is not for tasks of kind classification: choose one of badge"):
        strategies.check_strategy("hassan", "classification")
