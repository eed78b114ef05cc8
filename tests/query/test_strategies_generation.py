"""Query strategies for generation: properties over random arrays, and each against what its paper says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.env import UserError
from helpers.query import strategies_generation as acquire


def told(n, seed):
    rng = np.random.default_rng(seed)
    known = {"compliance": rng.random(n), "nll": rng.random(n), "labelled": rng.normal(size=(5, 4))}
    return rng.normal(size=(n, 4)), known


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(acquire.STRATEGIES)), st.integers(0, 60), st.integers(0, 70), st.integers(0, 99))
def test_picks_are_distinct_in_range_complete_and_repeatable(name, n, k, seed):
    x, known = told(n, seed)
    picks = acquire.select(name, x, k, seed, **known)
    assert len(picks) == len(set(picks)) == min(n, k)
    assert set(picks) <= set(range(n))
    assert (picks == acquire.select(name, x, k, seed, **known)).all()


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["top_n", "nll"]), st.integers(0, 99))
def test_the_order_of_the_pool_does_not_matter_to_what_ranks_by_a_score(name, seed):
    x, known = told(60, seed)
    del known["labelled"]
    order = np.random.default_rng(seed + 1).permutation(60)
    again = order[acquire.select(name, x[order], 20, seed, **{k: v[order] for k, v in known.items()})]
    assert acquire.select(name, x, 20, seed, **known).tolist() == again.tolist()


def test_top_n_takes_what_complies_least_and_hassan_does_so_in_every_cluster():
    rng = np.random.default_rng(0)
    x = np.repeat([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]], 20, 0) + rng.normal(size=(60, 2)) * 0.1
    compliance = np.concatenate([rng.uniform(0, 0.3, 20), rng.uniform(0.4, 0.6, 20), rng.uniform(0.7, 1, 20)])
    assert set(acquire.top_n(x, 15, compliance=compliance)) == set(compliance.argsort()[:15])
    picks = acquire.hassan(x, 15, compliance=compliance, regions=3)
    for start in (0, 20, 40):
        own = picks[(picks >= start) & (picks < start + 20)]
        assert set(own) == set(start + compliance[start : start + 20].argsort()[:5])


def test_hassan_by_size_gives_a_cluster_its_share():
    x = (
        np.concatenate([np.zeros((60, 2)), np.full((20, 2), 50.0)])
        + np.random.default_rng(0).normal(size=(80, 2)) * 0.1
    )
    compliance = np.random.default_rng(1).random(80)
    picks = acquire.hassan(x, 20, compliance=compliance, quota="proportional", regions=2)
    assert (picks < 60).sum() == 15
    assert (acquire.hassan(x, 20, compliance=compliance, regions=2) < 60).sum() == 10


def test_an_output_without_a_score_is_not_chosen_for_that():
    compliance = np.array([np.nan, 0.2, 0.9, np.nan])
    assert acquire.top_n(np.zeros((4, 2)), 2, compliance=compliance).tolist() == [1, 2]


def test_nll_takes_the_unlikely_and_an_empty_output_first():
    loss = np.array([0.5, 3.0, np.nan, 1.0])
    assert acquire.nll(np.zeros((4, 2)), 3, nll=loss).tolist() == [2, 1, 3]


def test_idds_follows_its_formula_one_pick_at_a_time():
    rng = np.random.default_rng(3)
    x, labelled = rng.normal(size=(30, 6)), rng.normal(size=(7, 6))
    unit = lambda a: a / np.linalg.norm(a, axis=1, keepdims=True)  # noqa: E731
    u, known, free, expected = unit(x), list(unit(labelled)), list(range(30)), []
    for _ in range(8):
        score = {
            i: 0.67 * np.mean([u[i] @ u[j] for j in free]) - 0.33 * np.mean([u[i] @ v for v in known]) for i in free
        }
        best = max(score, key=score.get)
        expected.append(best)
        free.remove(best)
        known.append(u[best])
    assert acquire.idds(x, 8, labelled=labelled).tolist() == expected


def test_idds_without_any_target_starts_in_the_middle_of_the_pool():
    x = np.array([[1.0, 0.0], [0.9, 0.1], [0.95, 0.05], [-1.0, 0.0]])
    assert acquire.idds(x, 1)[0] != 3


def test_core_set_goes_where_no_target_is():
    x = np.array([[0.0, 0.0], [10.0, 0.0], [0.1, 0.0], [0.0, 7.0]])
    assert acquire.core_set(x, 2, labelled=np.zeros((1, 2))).tolist() == [1, 3]


def test_needs_names_what_must_be_told():
    assert acquire.needs("hassan_proportional") == {"compliance"} and acquire.needs("random") == set()
    assert acquire.needs("idds") == acquire.needs("core_set") == {"labelled"} and acquire.needs("nll") == {"nll"}


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda x: acquire.select("best", x, 2), "strategy='best' is unknown: choose one of"),
        (lambda x: acquire.select("random", x, -1), "k=-1 is below zero"),
        (lambda x: acquire.select("hassan", x, 2), "Strategy hassan needs compliance"),
        (lambda x: acquire.select("nll", x, 2, nll=np.ones(2)), "nll has 2 values for 3 rows"),
        (lambda x: acquire.select("random", x, 2, groups=1), "Parameter groups is unknown"),
        (lambda x: acquire.select("idds", x, 2, labelled=np.ones((2, 9))), "its rows need the 2 numbers"),
    ],
)
def test_mistakes(call, sentence):
    with pytest.raises(UserError, match=sentence):
        call(np.arange(6.0).reshape(3, 2))
