"""Text embeddings without a model."""

import numpy as np
import pytest

from helpers.env import UserError
from helpers.evaluation import baselines


@pytest.mark.parametrize("texts", [["!!!", "???", "..."], ["a a", "a a a", "a b", "b"]])
def test_texts_without_words_are_told_in_a_sentence(texts):
    with pytest.raises(UserError, match="fewer than three different words: check that text_column"):
        baselines.lsa(texts)


def test_a_few_short_texts_have_places_in_a_plane():
    assert baselines.lsa(["a b", "b c", "c a"]).shape == (3, 2)
    assert np.isfinite(baselines.lsa(["a b", "b c", "c a"])).all()
