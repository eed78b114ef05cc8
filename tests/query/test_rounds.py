"""What a strategy is told in a round, and the stopping rules by name."""

import numpy as np
import pytest

from helpers.core.probe import Probe
from helpers.env import UserError
from helpers.query import rounds, strategies
from helpers.task import Task

TASK = Task("t", ("good", "bad"), "bad", (" good", " bad"), "{text}", ("site",))
VIEW = np.random.default_rng(0).normal(size=(2, 8))


def embed(texts):
    """Two blobs by label, in 8 dimensions: the text is 'label number'."""
    rng = [np.random.default_rng(int(t.split()[1])) for t in texts]
    return np.array([VIEW[int(t.startswith("bad"))] + 0.8 * g.normal(size=8) for t, g in zip(texts, rng, strict=True)])


def records(start, n, bad=0.4):
    labels = ["bad" if i % 10 < 10 * bad else "good" for i in range(start, start + n)]
    return [
        {"id": str(i), "text": f"{y} {i}", "label": y, "site": "ab"[i % 3 == 0]} for i, y in enumerate(labels, start)
    ]


@pytest.fixture(scope="module")
def learner():
    probe = Probe(TASK, embed)
    probe.fit(records(0, 60))
    return probe


@pytest.mark.parametrize("strategy", strategies.STRATEGIES)
def test_every_strategy_is_told_what_it_needs(learner, strategy):
    free, base = records(100, 90), Probe(TASK, embed)
    tuned = Probe(TASK, embed)
    tuned.fit(records(0, 60))
    known = rounds.strategy_inputs(strategy, tuned, base, records(0, 60), free, seed=3)
    probabilities, embeddings = tuned.score([r["text"] for r in free])
    picks = strategies.select(strategy, known.pop("draws", probabilities), embeddings, 12, 3, **known)
    assert len(set(picks.tolist())) == 12
    again = rounds.strategy_inputs(strategy, tuned, base, records(0, 60), free, seed=3)
    again.pop("draws", None)
    assert all(np.array_equal(known[name], again[name]) for name in known)


def test_needs_are_no_more_than_the_strategy_uses():
    keys = {"labelled", "labels", "base_probabilities", "draws", "errors", "groups", "trusted"}
    found = {name: rounds.needs(name) & keys for name in strategies.STRATEGIES}
    assert found["margin"] == found["power_margin"] == found["kmeans"] == set()
    assert found["star"] == found["power_star"] == {"base_probabilities"} and found["softmax_bald"] == {"draws"}
    assert found["scheduled"] == {"trusted", "labelled"} and found["group_minimum"] == {"groups"}
    assert found["dcalm"] == {"errors"} and found["anchoral"] == {"labelled", "labels"}


def test_what_cannot_be_told_is_one_sentence(learner):
    free = records(100, 9)
    with pytest.raises(UserError, match="star compares the tuned model with its base: set learner: qlora"):
        rounds.strategy_inputs("star", learner, learner, records(0, 60), free)
    without = Probe(Task("t", ("good", "bad"), "bad", (" good", " bad"), "{text}"), embed)
    with pytest.raises(UserError, match="group_minimum needs groups: name a column in group_columns"):
        rounds.strategy_inputs("group_minimum", without, without, records(0, 60), free)
    with pytest.raises(UserError, match="all of one class"):
        learner.__class__(TASK, embed).fit(records(0, 60, bad=0))


def test_the_probe_is_checked_on_rows_it_did_not_train_on(learner):
    x, p, y = learner.checked()
    assert len(x) == len(p) == len(y) == 60
    own = learner.predict_proba([r["text"] for r in records(0, 60)])
    assert (p[np.arange(60), y]).mean() < (own[np.arange(60), y]).mean()
    few = Probe(TASK, embed)
    few.fit([*records(0, 20, bad=0), *records(0, 2, bad=1)])
    assert rounds.skill(*few.checked(), few.y, 2) == {"held_out": None, "errors": None, "trusted": 0.0}
    told = rounds.skill(x, np.eye(2)[y] * 0.98 + 0.01, y, y, 2)
    assert told["trusted"] == 1.0 and not told["errors"].any()
    assert rounds.skill(x, np.eye(2)[1 - y], y, y, 2)["trusted"] == 0.0 and told["held_out"] is x


def test_draws_differ_and_centre_on_the_learner(learner):
    texts = [r["text"] for r in records(100, 40)]
    drawn = learner.draws(texts, 20, seed=1)
    assert drawn.shape == (20, 40, 2) and np.allclose(drawn.sum(-1), 1) and drawn.std(0).max() > 0
    assert (drawn == learner.draws(texts, 20, seed=1)).all()
    assert np.abs(drawn.mean(0) - learner.predict_proba(texts)).mean() < 0.05


def done(scores, answers=None):
    out = [{"picks": ["x"] * 10, "macro_f1": s, "low": s - 0.05, "high": s + 0.05} for s in scores]
    out[-1].pop("picks")
    return [r | {"answers": answers[i]} for i, r in enumerate(out)] if answers else out


def test_verdicts_by_name():
    flat, rising = [0.7] * 5, [0.5, 0.55, 0.6, 0.65, 0.7]
    assert rounds.verdict("budget", done(flat), 50)[0] is False
    assert rounds.verdict("plateau", done(rising), 40) == (True, "The budget of 40 labels is spent (40).")
    assert rounds.verdict("plateau", done(flat), 99)[0] and not rounds.verdict("plateau", done(rising), 99)[0]
    sure = np.array([[0.999, 0.001]] * 5)
    assert rounds.verdict("uncertainty", done(flat), 99, sure)[0]
    assert not rounds.verdict("uncertainty", done(flat), 99, 1 - np.full((5, 2), 0.5))[0]
    same, other = [0, 1] * 20, [1, 0] * 20
    assert rounds.verdict("kappa", done(flat, [same] * 5), 99)[0]
    assert not rounds.verdict("kappa", done(flat, [same, other] * 2 + [same]), 99)[0]
    assert rounds.verdict("change", done(flat[:2], [same, same]), 99)[0]
    assert not rounds.verdict("change", done(flat[:2], [same, other]), 99)[0]
    assert not rounds.verdict("change", done(flat[:1], [same]), 99)[0]
    with pytest.raises(UserError, match="stop='never' is unknown: choose one of budget, kappa"):
        rounds.verdict("never", done(flat), 99)


def test_the_stop_set_stays_the_same():
    pool = records(0, 50)
    assert rounds.stop_set(pool, 20, 1) == rounds.stop_set(pool, 20, 1) != rounds.stop_set(pool, 20, 2)
    assert len(set(rounds.stop_set(pool, 20, 1))) == 20 and len(rounds.stop_set(pool, 200, 1)) == 50
