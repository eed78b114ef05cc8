"""Query strategies for generation, each against what its paper says; test_strategies has what all strategies share."""

import numpy as np
import pytest

from helpers.env import UserError
from helpers.query import quotas
from helpers.query.strategies import inputs_of, select


def test_top_n_takes_what_complies_least_and_hassan_does_so_in_every_region(monkeypatch):
    monkeypatch.setattr(quotas, "REGIONS", 3)
    rng = np.random.default_rng(0)
    x = np.repeat([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]], 20, 0) + rng.normal(size=(60, 2)) * 0.1
    compliance = np.concatenate([rng.uniform(0, 0.3, 20), rng.uniform(0.4, 0.6, 20), rng.uniform(0.7, 1, 20)])
    assert set(select("top_n", 60, 15, compliance=compliance)) == set(compliance.argsort()[:15])
    picks = select("hassan", 60, 15, embeddings=x, compliance=compliance)
    for start in (0, 20, 40):
        own = picks[(picks >= start) & (picks < start + 20)]
        assert set(own) == set(start + compliance[start : start + 20].argsort()[:5])


def test_hassan_by_size_gives_a_region_its_share_and_chance_an_equal_one(monkeypatch):
    monkeypatch.setattr(quotas, "REGIONS", 2)
    x = np.concatenate([np.zeros((60, 2)), np.full((20, 2), 50.0)])
    x += np.random.default_rng(0).normal(size=(80, 2)) * 0.1
    inputs = {"embeddings": x, "compliance": np.random.default_rng(1).random(80)}
    assert (select("hassan_proportional", 80, 20, **inputs) < 60).sum() == 15
    assert (select("hassan", 80, 20, **inputs) < 60).sum() == 10
    by_chance = [select("cluster_random", 80, 20, seed, **inputs) for seed in (0, 1)]
    assert [(picks < 60).sum() for picks in by_chance] == [10, 10] and set(by_chance[0]) != set(by_chance[1])


def test_an_output_without_a_score_is_not_chosen_for_that():
    compliance = np.array([np.nan, 0.2, 0.9, np.nan])
    assert select("top_n", 4, 2, compliance=compliance).tolist() == [1, 2]


def test_nll_takes_the_unlikely_and_an_empty_output_first():
    assert select("nll", 4, 3, nll=np.array([0.5, 3.0, np.nan, 1.0])).tolist() == [2, 1, 3]


def test_idds_follows_its_formula_one_pick_at_a_time():
    rng = np.random.default_rng(3)
    x, labelled = rng.normal(size=(30, 6)), rng.normal(size=(7, 6))
    unit = lambda a: a / np.linalg.norm(a, axis=1, keepdims=True)  # noqa: E731
    u, targets, rest, expected = unit(x), list(unit(labelled)), list(range(30)), []
    for _ in range(8):
        score = {
            i: 0.67 * np.mean([u[i] @ u[j] for j in rest]) - 0.33 * np.mean([u[i] @ v for v in targets]) for i in rest
        }
        best = max(score, key=score.get)
        expected.append(best)
        rest.remove(best)
        targets.append(u[best])
    assert select("idds", 30, 8, embeddings=x, labelled=labelled).tolist() == expected


def test_idds_without_any_target_starts_in_the_middle_of_the_pool():
    x = np.array([[1.0, 0.0], [0.9, 0.1], [0.95, 0.05], [-1.0, 0.0]])
    assert select("idds", 4, 1, embeddings=x)[0] != 3


def test_core_set_goes_where_no_target_is():
    x = np.array([[0.0, 0.0], [10.0, 0.0], [0.1, 0.0], [0.0, 7.0]])
    assert select("core_set", 4, 2, embeddings=x, labelled=np.zeros((1, 2))).tolist() == [1, 3]


def test_the_declared_inputs_say_which_interim_outputs_must_be_written():
    assert inputs_of("hassan_proportional") == ("embeddings", "compliance")
    assert inputs_of("idds") == inputs_of("core_set") == ("embeddings", "labelled")
    assert inputs_of("nll") == ("nll",) and inputs_of("top_n") == ("compliance",)


@pytest.mark.parametrize(
    ("name", "inputs", "sentence"),
    [
        ("hassan", {}, "Strategy hassan needs compliance"),
        ("nll", {"nll": np.ones(2)}, r"nll has shape \(2,\): it needs one entry for each of 3 rows"),
    ],
)
def test_mistakes(name, inputs, sentence):
    with pytest.raises(UserError, match=sentence):
        select(name, 3, 2, embeddings=np.arange(6.0).reshape(3, 2), **inputs)
