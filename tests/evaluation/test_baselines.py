"""Baselines that tasks of any size can train, and text embeddings without a model."""

import numpy as np
import pytest

from helpers.env import UserError
from helpers.evaluation import baselines
from helpers.task import Task


@pytest.mark.parametrize(("classes", "numbers"), [(3, None), (40, 40 * 2 * baselines.FEATURES)])
def test_many_classes_learn_from_few_numbers(classes, numbers):
    labels = tuple(f"c{i}" for i in range(classes))
    rows = [{"text": f"reparto{c} testo numero {i}", "label": labels[c]} for c in range(classes) for i in range(2)]
    learner = baselines.tfidf(Task("t", labels, "c1", (), "{text}"))
    learner.fit(rows)
    assert (
        learner.predict_proba([r["text"] for r in rows]).argmax(1) == [labels.index(r["label"]) for r in rows]
    ).all()
    assert numbers is None or learner.classifier[-1].coef_.size <= numbers


@pytest.mark.parametrize("texts", [["!!!", "???", "..."], ["a a", "a a a", "a b", "b"]])
def test_texts_without_words_are_told_in_a_sentence(texts):
    with pytest.raises(UserError, match="fewer than three different words: check that text_column"):
        baselines.lsa(texts)


def test_a_few_short_texts_have_places_in_a_plane():
    assert baselines.lsa(["a b", "b c", "c a"]).shape == (3, 2)
    assert np.isfinite(baselines.lsa(["a b", "b c", "c a"])).all()


def test_the_most_similar_records_come_last():
    records = [{"text": text} for text in ("a red car", "a blue car and a red house", "green tea")]
    (first, second) = baselines.most_similar(records, ["the blue car", "tea"], 2)
    assert [r["text"] for r in first] == ["a red car", "a blue car and a red house"]
    assert second[-1]["text"] == "green tea"
    assert len(baselines.most_similar(records, ["x"], 5)[0]) == 3
