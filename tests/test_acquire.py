"""Query strategies: distinct, in range, deterministic, and what each is for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import acquire
from helpers.env import UserError


def pool(n, seed=0, classes=2):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(classes), n), rng.normal(size=(n, 8)).astype(np.float32)


@pytest.mark.parametrize("name", acquire.STRATEGIES)
@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 60), k=st.integers(1, 70), seed=st.integers(0, 3))
def test_picks_are_distinct_in_range_and_repeatable(name, n, k, seed):
    probabilities, embeddings = pool(n, seed)
    picks = acquire.select(name, probabilities, embeddings, k, seed)
    assert len(picks) == len(set(picks.tolist())) == min(n, k)
    assert picks.min() >= 0 and picks.max() < n
    assert (picks == acquire.select(name, probabilities, embeddings, k, seed)).all()


def test_margin_and_entropy_take_the_least_certain():
    probabilities = np.array([[0.9, 0.1], [0.55, 0.45], [0.5, 0.5], [0.99, 0.01]])
    assert acquire.margin(probabilities, np.zeros((4, 1)), 2).tolist() == [2, 1]
    assert acquire.entropy(probabilities, np.zeros((4, 1)), 2).tolist() == [2, 1]


def test_cluster_margin_spreads_over_clusters():
    embeddings = np.repeat(np.eye(4), 25, axis=0) + np.random.default_rng(0).normal(0, 0.01, (100, 4))
    probabilities = np.full((100, 2), 0.5)
    picks = acquire.cluster_margin(probabilities, embeddings, 4)
    assert sorted(picks // 25) == [0, 1, 2, 3]


def test_representatives_cover_every_cluster():
    embeddings = np.repeat(np.eye(5), 20, axis=0) + np.random.default_rng(0).normal(0, 0.01, (100, 5))
    assert sorted(acquire.representatives(embeddings, 5) // 20) == [0, 1, 2, 3, 4]


def test_identical_texts_still_give_as_many_picks_as_asked():
    same = np.ones((30, 4))
    assert len(set(acquire.representatives(same, 7).tolist())) == 7
    assert len(set(acquire.cluster_margin(np.full((30, 2), 0.5), same, 3).tolist())) == 3


def test_wrong_name_and_broken_scores():
    with pytest.raises(UserError, match="strategy='best' is unknown: choose one of random, margin"):
        acquire.select("best", *pool(5), 2)
    probabilities, embeddings = pool(5)
    probabilities[3, 0] = np.nan
    with pytest.raises(UserError, match="first: row 3"):
        acquire.margin(probabilities, embeddings, 2)
