"""Gender-swapped versions of a text, and how often a detector answers them differently."""

import numpy as np
import pytest

from helpers.fairness.counterfactuals import answer_pairs, changed_pairs, flip_rates, variants


class Gendered:
    """A detector that judges by the pronoun."""

    def predict_proba(self, texts):
        return np.array([[0.0, 1.0] if "she" in t else [1.0, 0.0] for t in texts])


def rates(texts, versions):
    return flip_rates(answer_pairs(Gendered(), texts, versions))


def test_flip_rate_counts_changed_answers():
    found = rates(["he is", "it is"], [["she is"], ["it was"]])
    assert found["pairs"] == 2 and found["flip_rate"] == 0.5 and 0 < found["low"] < 0.5 < found["high"] < 1
    assert rates(["he is"], [["she is"]])["flip_rate"] == 1
    assert np.isnan(rates(["it is"], [[]])["flip_rate"])


def test_every_version_is_compared_with_its_own_text():
    found = rates(["he", "she", "she and he"], [["she", "it"], [], ["he"]])
    assert found["pairs"] == 3 and found["flip_rate"] == pytest.approx(2 / 3)


def test_changed_pairs_are_shown_in_the_names_of_the_classes():
    pairs = answer_pairs(Gendered(), ["he is there", "it", "he is"], [["she is there"], ["its"], ["she is"]])
    changed = changed_pairs(pairs, ["fine", "bad"])
    assert changed.to_dict("list") == {
        "text": ["he is", "he is there"], "swapped": ["she is", "she is there"],
        "answer": ["fine", "fine"], "swapped_answer": ["bad", "bad"],
    }  # fmt: skip
    none = changed_pairs(answer_pairs(Gendered(), ["it"], [[]]), ["fine", "bad"])
    assert none.empty and list(none.columns) == list(changed.columns)


@pytest.mark.parametrize(
    ("text", "swapped"),
    [
        ("He told her that his car is HERS.", ["She told him that her car is HIS."]),
        ("I saw her and him", ["I saw him and her"]),
        ("Women are people.", ["Men are people."]),
        ("The theme of this", []),
    ],
)
def test_english_versions(text, swapped):
    assert variants(text, "en") == swapped


def test_versions_differ_from_their_text():
    assert variants("Cerchiamo un cuoco.", "it") == ["Cerchiamo una cuoca."]
    assert variants("Cerchiamo una cuoca.", "it") == ["Cerchiamo un cuoco."]
    assert variants("Cerchiamo personale.", "it") == variants("He cooks.", "de") == []
