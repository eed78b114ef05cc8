"""The inputs of a strategy in a round, the stopping rules by name, and the projection of the curve."""

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


def texts_of(rows):
    return [row["text"] for row in rows]


class Counting(Probe):
    """A probe that remembers which texts it scored."""

    def __init__(self, task=TASK):
        super().__init__(task, embed)
        self.scored = []

    def score(self, texts):
        self.scored += texts
        return super().score(texts)


@pytest.fixture
def learner():
    probe = Counting()
    probe.fit(records(0, 60))
    return probe


# --- inputs of a strategy


@pytest.mark.parametrize("strategy", strategies.names("classification"))
def test_every_strategy_gets_what_it_declares(learner, strategy):
    open_rows = records(100, 90)
    inputs = rounds.strategy_inputs(strategy, learner, records(0, 60), open_rows)
    assert set(strategies.inputs_of(strategy)) <= inputs.keys()
    assert len(set(strategies.select(strategy, 90, 12, 3, **inputs).tolist())) == 12


def test_only_what_is_declared_is_read(learner):
    labelled, open_rows = records(0, 60), records(100, 9)
    expected = {"random": [], "margin": texts_of(open_rows), "bait": texts_of(open_rows + labelled)}
    for strategy, texts in expected.items():
        learner.scored.clear()
        inputs = rounds.strategy_inputs(strategy, learner, labelled, open_rows)
        assert learner.scored == texts and bool(inputs) == bool(texts)


def test_the_inputs_are_what_their_names_say(learner):
    labelled, open_rows = records(0, 60), records(100, 9)
    inputs = rounds.strategy_inputs("group_minimum", learner, labelled, open_rows)
    assert inputs["groups"].tolist() == [row["site"] for row in open_rows]
    for names, rows in (
        (("probabilities", "embeddings"), open_rows),
        (("labelled_probabilities", "labelled"), labelled),
    ):
        for name, value in zip(names, learner.score(texts_of(rows)), strict=True):
            assert np.array_equal(inputs[name], value)


def test_errors_are_those_of_the_learner_on_rows_that_it_did_not_train_on(learner):
    inputs = rounds.strategy_inputs("dcalm", learner, records(0, 60), records(100, 9))
    embeddings, probabilities, classes = learner.checked()
    assert np.array_equal(inputs["held_out"], embeddings)
    assert inputs["errors"].tolist() == (probabilities.argmax(1) != classes).tolist()
    few = Counting()
    few.fit([*records(0, 20, bad=0), *records(0, 2, bad=1)])  # two rows of a class: none can be left out
    assert not rounds.strategy_inputs("dcalm", few, records(0, 20), records(100, 9)).keys() & {"held_out", "errors"}


def test_what_cannot_be_provided_is_one_sentence(learner):
    without = Counting(Task("t", ("good", "bad"), "bad", (" good", " bad"), "{text}"))
    with pytest.raises(UserError, match="group_minimum needs groups: name a column in group_columns"):
        rounds.strategy_inputs("group_minimum", without, records(0, 60), records(100, 9))
    with pytest.raises(UserError, match="strategy='best' is unknown"):
        rounds.strategy_inputs("best", learner, records(0, 60), records(100, 9))


def test_the_stop_set_stays_the_same():
    pool = records(0, 50)
    assert rounds.stop_set(pool, 20, 1) == rounds.stop_set(pool, 20, 1) != rounds.stop_set(pool, 20, 2)
    assert len(set(rounds.stop_set(pool, 20, 1))) == 20 and len(rounds.stop_set(pool, 200, 1)) == 50


# --- when to stop


def finished(scores, answers=None):
    """Rounds with ten picks each, but for the last; an interval of ±0.05 unless answers are compared."""
    rows = [{"picks": ["x"] * 10, "macro_f1": s, "low": s - 0.05, "high": s + 0.05} for s in scores]
    rows[-1].pop("picks")
    return [row | {"answers": answers[i]} for i, row in enumerate(rows)] if answers else rows


def answered(*answers):
    return finished([0.7] * len(answers), [list(classes) for classes in answers])


def test_the_budget_ends_it_under_every_rule():
    rising = finished([0.5, 0.55, 0.6, 0.65, 0.7])
    for rule in rounds.RULES:
        assert rounds.verdict(rule, rising, 40) == (True, "The budget of 40 labels is spent (40).")
        assert rounds.verdict(rule, rising[:1], 0)[1].startswith("No label is bought: those of before fill the budget")
    assert rounds.verdict("budget", rising, 1050) == (False, "1,010 of 1,050 labels are left.")


def test_kappa_stops_on_agreement_only():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 2000)
    wobble = [np.where(rng.random(2000) < 0.1, 1 - truth, truth) for _ in range(4)]
    stop, reason = rounds.verdict("kappa", answered(*[truth] * 4), 99)
    assert stop and "mean kappa of 1.000 over 3 rounds, at least 0.99" in reason
    stop, reason = rounds.verdict("kappa", answered(*wobble), 99)
    assert not stop and "below 0.99" in reason
    assert rounds.verdict("kappa", answered(*wobble, *[truth] * 4), 99)[0]  # only the last rounds count
    assert not rounds.verdict("kappa", answered(*[truth] * 3, wobble[0]), 99)[0]
    assert rounds.verdict("kappa", answered(*[truth] * 3), 99) == (False, "Kappa needs 4 rounds, there are 3.")


def test_kappa_counts_agreement_beyond_chance():
    rare = [(np.arange(1000) == i).astype(int) for i in range(4)]  # 99.8 % equal answers, none on the positive
    stop, reason = rounds.verdict("kappa", answered(*rare), 99)
    assert not stop and "-0.001" in reason


@pytest.mark.parametrize("rule", ["kappa", "change"])
def test_a_constant_learner_never_stops_by_agreement(rule):
    stop, reason = rounds.verdict(rule, answered(*[np.zeros(50, dtype=int)] * 5), 99)
    assert not stop and "the same class" in reason


@pytest.mark.parametrize("rule", ["kappa", "change"])
def test_answers_to_other_texts_cannot_be_compared(rule):
    with pytest.raises(UserError, match="different numbers of texts"):
        rounds.verdict(rule, answered([0, 1, 0], [0, 1, 0], [0, 1, 0], [0, 1]), 99)


def test_change_stops_when_no_answer_changed():
    before = np.arange(200) % 2
    after = before.copy()
    assert rounds.verdict("change", answered(before, after), 99) == (
        True,
        "None of 200 answers changed since the last round.",
    )
    after[:3] = 1 - after[:3]
    assert rounds.verdict("change", answered(before, after), 99) == (
        False,
        "3 of 200 answers changed since the last round (1.50%).",
    )
    assert rounds.verdict("change", answered(before), 99) == (False, "A change needs two rounds, there is one.")


def test_uncertainty_is_a_share_of_the_largest():
    even = np.full((10, 4), 0.25)
    stop, reason = rounds.verdict("uncertainty", finished([0.7]), 99, even)
    assert not stop and "1.000 of the largest possible" in reason
    assert rounds.verdict("uncertainty", finished([0.7]), 99, np.eye(4))[0]


def test_uncertainty_stops_nothing_where_nothing_was_scored():
    stop, reason = rounds.verdict("uncertainty", finished([0.7]), 99, None)
    assert not stop and "No open text was scored" in reason


def test_a_plateau_is_no_gain_inside_the_interval():
    scores = [0.5, 0.6, 0.7, 0.7, 0.702, 0.699]
    stop, reason = rounds.verdict("plateau", finished(scores), 99)
    assert stop and "0.702, +0.002 on the best before, 0.700 [0.650, 0.750]" in reason and "±0.050 hides" in reason
    narrow = [row | {"low": row["macro_f1"] - 0.005, "high": row["macro_f1"] + 0.005} for row in finished(scores)]
    assert "hides" not in rounds.verdict("plateau", narrow, 99)[1]
    wide = [row | {"low": row["macro_f1"] - 0.3, "high": row["macro_f1"] + 0.3} for row in finished(scores)]
    stop, reason = rounds.verdict("plateau", wide, 99)
    assert not stop and "±0.300 on so few validation rows says nothing" in reason
    stop, reason = rounds.verdict("plateau", finished([*scores[:-1], 0.72]), 99)
    assert not stop and "still rises" in reason
    stop, reason = rounds.verdict("plateau", finished([*scores[:-1], 0.6]), 99)
    assert not stop and "fell to 0.600" in reason
    assert rounds.verdict("plateau", finished(scores[:3]), 99) == (False, "A plateau needs 4 rounds, there are 3.")


def test_an_unknown_rule_or_a_negative_budget_is_one_sentence():
    with pytest.raises(UserError, match="stop='never' is unknown: choose one of budget, change"):
        rounds.verdict("never", finished([0.7]), 99)
    with pytest.raises(UserError, match="limit=-150 is not a budget"):
        rounds.verdict("budget", finished([0.7]), -150)


# --- what more labels would bring


def test_projection_of_a_clean_curve_is_the_curve():
    n = np.arange(50, 501, 50)
    for curve in (lambda v: 0.85 - 2.0 * v**-0.8, lambda v: 0.8 - 0.4 * np.exp(-v / 150)):
        gain = rounds.gain_with_interval(n, curve(n), 100)[0]
        assert gain == pytest.approx(curve(600) - curve(500), abs=0.003)


def test_projection_says_worth_it_not_worth_it_or_inconclusive():
    n = np.arange(50, 501, 50)
    assert rounds.projection(n, 0.4 + 0.0006 * n).endswith("at 500: 0.01 or more.")
    assert rounds.projection(n, 0.7 + 0.001 * np.sin(n)).endswith("at 500: less than 0.01.")
    assert "inconclusive" in rounds.projection(n[:6], [0.55, 0.68, 0.56, 0.7, 0.6, 0.72])
    few = rounds.projection(n[:4], [0.5, 0.6, 0.65, 0.66])
    assert few == "No projection yet: a curve needs 5 rounds, there are 4."


@pytest.mark.parametrize(
    ("done", "possible", "words"), [(2, 2, "this run has 2."), (1, 4, "this run has 4."), (4, 5, "yet")]
)
def test_a_projection_that_cannot_come_is_not_promised(done, possible, words):
    sentence = rounds.projection([40 + 10 * i for i in range(done)], [0.5] * done, possible)
    assert words in sentence and ("yet" in sentence) == (words == "yet")


def test_projection_never_promises_more_than_perfection_nor_a_loss():
    n = np.arange(50, 501, 50)
    *_, high = rounds.gain_with_interval(n, np.minimum(0.9 + 0.0002 * n, 1.0), 100_000)
    assert high <= 0.1 + 1e-9
    gain, _, low, _ = rounds.gain_with_interval(n, 0.8 - 0.0003 * n, 100)
    assert gain == pytest.approx(0, abs=1e-9) and low >= 0


def test_projection_interval_covers_the_truth():
    n, rng, hits = np.arange(50, 551, 50), np.random.default_rng(1), 0
    for trial in range(40):
        noisy = 0.8 - 1.5 * n**-0.6 + rng.normal(0, 0.01, len(n))
        _, _, low, high = rounds.gain_with_interval(n, noisy, 100, seed=trial)
        hits += low <= 1.5 * (550**-0.6 - 650**-0.6) <= high
    assert hits >= 34  # 85 % at least, of a nominal 95 %


def test_projection_repeats():
    n, s = np.arange(50, 501, 50), np.random.default_rng(0).uniform(0.5, 0.7, 10)
    assert rounds.projection(n, s) == rounds.projection(n, s)
