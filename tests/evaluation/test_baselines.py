"""Baselines that tasks of any size can train."""

import pytest

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
