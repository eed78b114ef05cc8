"""Do the words that moved a detector agree with those that people mark: counted by hand, against draws, and without any."""

import numpy as np
import pytest

from helpers.evaluation.evidence import COLUMNS, marked_words, side_by_side, token_f1

TEXTS = ["il candidato è motivato", "una cuoca, anche serale", "!!!"]
MARKED = [[[0, 12]], [[4, 9, "applicant"]], []]


def test_a_span_marks_every_word_it_touches():
    assert marked_words(TEXTS[0], [[1, 4], [22, 23]]).tolist() == [True, True, False, True]
    assert marked_words(TEXTS[0], []).tolist() == [False] * 4 and marked_words("", [[0, 1]]).tolist() == []
    assert not marked_words("a b", [[1, 2]]).any()


def test_token_f1_is_that_of_hand():
    found = {"right": MARKED, "half": [[[3, 12, 0.5]], [[0, 9, 0.1]], []], "none": [[], [], []]}
    table = token_f1(TEXTS[:2], MARKED[:2], {name: spans[:2] for name, spans in found.items()})
    assert table.token_f1.tolist() == pytest.approx([1, 2 / 3, 0]) and list(table.columns) == COLUMNS
    assert table.words.tolist() == [1.5, 1.5, 0] and set(table.texts) == {2}
    assert (table.token_f1_low <= table.token_f1).all() and (table.by_chance <= table.by_chance_high).all()
    assert len(token_f1(TEXTS, MARKED, found)) == 3  # a text without a word is no evidence against anybody


def test_chance_is_the_mean_over_all_draws():
    texts, marked, rng = ["a b c d e f g h"], [[[0, 3]]], np.random.default_rng(0)
    scores = []
    for _ in range(4000):
        words = rng.permutation(8)[:3]
        spans = [[[2 * int(word), 2 * int(word) + 1] for word in words]]
        scores.append(token_f1(texts, marked, {"drawn": spans}, draws=2).token_f1[0]) if len(scores) < 400 else None
    table = token_f1(texts, marked, {"three": [[[0, 5]]]})
    assert table.by_chance[0] == pytest.approx(np.mean(scores), abs=0.05) and table.by_chance[0] == pytest.approx(0.3)


def test_without_texts_the_table_has_no_row_and_what_is_shown_is_escaped():
    assert token_f1([], [], {"any": []}).empty and list(token_f1([], [], {"any": []}).columns) == COLUMNS
    shown = side_by_side(["<b>ok</b>"], [[[3, 5]]], [[[3, 5, 0.2]]])
    assert shown.people[0] == "&lt;b&gt;<mark>ok</mark>&lt;/b&gt;" and "<b>" not in shown.detector[0]
