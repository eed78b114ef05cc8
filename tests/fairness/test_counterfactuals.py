"""Gender-swapped versions of a text, and how often a detector answers them differently."""

import numpy as np
import pytest

from helpers.fairness.counterfactuals import flip_rates, variants


class Gendered:
    """A detector that judges by the pronoun."""

    def predict_proba(self, texts):
        return np.array([[0.0, 1.0] if "she" in t else [1.0, 0.0] for t in texts])


def test_flip_rate_counts_changed_answers():
    rates = flip_rates(Gendered(), ["he is", "it is"], [["she is"], ["it was"]])
    assert rates["pairs"] == 2 and rates["flip_rate"] == 0.5 and rates["low"] == 0 and rates["high"] == 1
    assert flip_rates(Gendered(), ["he is"], [["she is"]]) == {"pairs": 1, "flip_rate": 1, "low": 1, "high": 1}
    assert np.isnan(flip_rates(Gendered(), ["it is"], [[]])["flip_rate"])


def test_every_version_is_compared_with_its_own_text():
    rates = flip_rates(Gendered(), ["he", "she", "she and he"], [["she", "it"], [], ["he"]])
    assert rates["pairs"] == 3 and rates["flip_rate"] == pytest.approx(2 / 3)


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
