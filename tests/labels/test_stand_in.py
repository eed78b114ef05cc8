"""A model beside annotators, on figures worked by hand and against other implementations."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from helpers.labels import agreement, stand_in

LABELS = ["no", "yes"]


def annotated(rng, texts, right=0.85, people=3, classes=2):
    """Annotations of texts by people who are each right with the same chance; and the truth."""
    truth = rng.integers(0, classes, texts)
    other = (truth[:, None] + rng.integers(1, classes, (texts, people))) % classes
    given = np.where(rng.random((texts, people)) < right, truth[:, None], other)
    names = [chr(ord("a") + i) for i in range(classes)]
    return [{f"w{i}": names[label] for i, label in enumerate(row)} for row in given], truth, names


def test_one_against_the_rest_by_hand():
    annotations = [
        {"a": "yes", "b": "yes", "c": "no"},  # a and b have an even rest; c is wrong by the others
        {"a": "no", "b": "no"},  # each is right by the other
        {"a": "yes", "b": "no", "d": "yes", "e": "yes"},  # b is wrong, the others are right
        {"a": "yes"},  # nobody to be held against
    ]
    counts = stand_in.opinion_counts(annotations, LABELS)
    assert counts.tolist() == [[1, 2], [2, 0], [1, 3], [0, 1]]
    found = stand_in.compare(counts, np.array([1, 1, 0, 1]))  # yes, yes, no
    assert (found.texts, found.judged) == (3, 3)
    people, model = found.values[0]
    assert people == pytest.approx((0 + 2 + 3) / 7) and model == pytest.approx((1 + 0 + 0) / 7)


def test_alpha_and_kappa_are_those_of_other_implementations():
    rng = np.random.default_rng(0)
    annotations, truth, names = annotated(rng, 300, classes=3)
    answers = np.where(rng.random(300) < 0.7, truth, (truth + 1) % 3)
    found = stand_in.compare(stand_in.opinion_counts(annotations, names), answers)
    people = agreement.alpha(pd.DataFrame(annotations, dtype=object), draws=1000)
    assert found.values[2, 0] == pytest.approx(people["value"])
    row = found.table().iloc[2]
    assert row.people_low == pytest.approx(people["low"], abs=0.01)
    pairs = [
        (names[answer], label) for answer, given in zip(answers, annotations, strict=True) for label in given.values()
    ]
    ours, theirs = zip(*pairs, strict=True)
    units = pd.DataFrame(pairs, columns=["model", "person"], dtype=object)
    assert found.values[2, 1] == pytest.approx(agreement.alpha(units)["value"])
    assert found.values[3, 1] == pytest.approx(cohen_kappa_score(ours, theirs))
    both = [(a, b) for given in annotations for i, a in given.items() for j, b in given.items() if i != j]
    assert found.values[3, 0] == pytest.approx(cohen_kappa_score(*zip(*both, strict=True)))


def test_verdicts_of_the_equivalence_test():
    rng = np.random.default_rng(0)
    annotations, truth, names = annotated(rng, 1500)
    counts = stand_in.opinion_counts(annotations, names)
    expected = {1.0: "better", 0.85: "equivalent", 0.6: "worse"}
    for right, verdict in expected.items():
        answers = np.where(rng.random(1500) < right, truth, 1 - truth)
        found = stand_in.compare(counts, answers).equivalence(0.05)
        assert found["verdict"] == verdict, right
        assert found["p"] < 0.05, right  # of the test that decides
    assert ("one-sided test, p" in stand_in.compare(counts, truth).sentence(0.05)) and 0 < found["p"] < 0.05
    few = stand_in.compare(counts[:40], np.where(rng.random(40) < 0.85, truth[:40], 1 - truth[:40]))
    assert few.equivalence(0.05)["verdict"] == "not shown"


def test_an_annotator_like_the_others_is_rarely_called_equivalent_at_the_margin():
    """A model that lies just at the margin passes in at most 5 % of the draws, within chance."""
    rng = np.random.default_rng(1)
    passed = 0
    for _ in range(60):
        annotations, truth, names = annotated(rng, 500, right=0.9)
        answers = np.where(rng.random(500) < 0.9 - 0.05 / 0.8, truth, 1 - truth)  # by a majority that is right in ~.9
        passed += stand_in.compare(stand_in.opinion_counts(annotations, names), answers, draws=200).equivalence(0.05)[
            "verdict"
        ] in ("equivalent", "at least as good")
    assert passed <= 8


def test_texts_of_one_source_count_as_one_and_nobody_to_compare_is_none():
    rng = np.random.default_rng(2)
    annotations, truth, names = annotated(rng, 100)
    counts = stand_in.opinion_counts(annotations, names)
    alone = stand_in.compare(counts, truth)
    twice = stand_in.compare(np.tile(counts, (4, 1)), np.tile(truth, 4), clusters=np.tile(np.arange(100), 4))
    wide, narrow = (found.table().loc[0] for found in (alone, twice))
    assert narrow.model_high - narrow.model_low == pytest.approx(wide.model_high - wide.model_low, rel=0.25)
    assert stand_in.compare(counts[:0], truth[:0]) is None
    single = [{"w": "a"}, {}]
    assert stand_in.compare(stand_in.opinion_counts(single, names), np.array([0, 1])) is None
    even = [{"v": "a", "w": "a"}, {"v": "a", "w": "a"}]  # one class alone: α and κ have no meaning
    found = stand_in.compare(stand_in.opinion_counts(even, names), np.array([0, 0]))
    assert np.isnan(found.values[2:]).all() and found.table().people_low.isna().tolist() == [False, False, True, True]


@pytest.mark.parametrize("texts", [1, 2, 10, 50])
def test_few_texts_prove_nothing_however_alike_the_answers(texts):
    found = stand_in.compare(np.tile([3, 0], (texts, 1)), np.zeros(texts, int)).equivalence(0.05)
    assert found["verdict"] == "not shown" and found["p"] > 0.05
    many = stand_in.compare(np.tile([3, 0], (80, 1)), np.zeros(80, int)).equivalence(0.05)
    assert many["verdict"] == "equivalent" and many["p"] < 0.05


def test_draws_in_which_nobody_is_judged_and_too_many_classes():
    split = stand_in.compare(np.array([[1, 1, 1]] * 6 + [[3, 0, 0]]), np.zeros(7, int))
    found = split.equivalence(0.05)
    assert found["verdict"] == "not shown" and "nan" not in split.sentence(0.05)
    assert stand_in.compare(np.ones((1000, 100), int), np.zeros(1000, int)) is None
