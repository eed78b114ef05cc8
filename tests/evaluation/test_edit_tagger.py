"""Edits of words: derived and applied on every embedded pair, learned from some of them."""

import numpy as np
import pytest

from helpers.data import embedded
from helpers.env import UserError
from helpers.evaluation.edit_tagger import DROP, KEEP, EditTagger, apply, tag, tags
from helpers.evaluation.textstats import tokens
from helpers.italian.cues import find_cues

ROWS = embedded.rewrites()


def test_an_edit_is_letters_cut_and_put():
    assert tag(" impiegato", " impiegato/a") == "0+/a" and tag(" il", "") == DROP
    assert tag(" inserito", " inserita") == "1+a" and tag(" a", " a") == KEEP and tag(" laureato", " con") == "*+ con"
    assert apply(" operaio", "1+a") == " operaia" and apply(" a", "5+e") == " a" and apply(" x", "*+ y") == " y"


def test_the_edits_of_every_pair_lead_to_its_target():
    for row in [
        *ROWS,
        *({"text": r["HATE_SPEECH"], "target": r["COUNTER_NARRATIVE"]} for r in embedded.counter_narratives()),
    ]:
        words, edits = tags(row["text"], row["target"])
        assert "".join(map(apply, words, edits)).strip() == row["target"].strip()
        assert "".join(tokens(row["text"])) == row["text"]


@pytest.fixture(scope="module")
def tagger():
    learner = EditTagger()
    learner.fit([r for r in ROWS if r["split"] == "train"][:300])
    return learner


def test_it_learns_to_rewrite(tagger):
    texts = [r["text"] for r in ROWS if r["split"] == "test"]
    outputs = tagger.write(texts)
    inclusive = [sum(not find_cues(text) for text in part) for part in (texts, outputs)]
    assert inclusive[1] > 1.5 * inclusive[0]
    assert tagger.write(texts) == outputs and tagger.write(texts[5:7]) == outputs[5:7]
    assert tagger.write([]) == [] and tagger.write(["", "Cuoco"])[0] == ""


def test_likely_edits_have_a_low_loss(tagger):
    known = [r for r in ROWS if r["split"] == "train"][:20]
    texts, targets = [r["text"] for r in known], [r["target"] for r in known]
    loss = tagger.nll(texts, targets)
    assert loss.shape == (20,) and loss.mean() < 0.1
    assert (tagger.nll(texts, ["altro " * 8] * 20) > loss + 1).all() and tagger.nll([], []).shape == (0,)
    assert np.allclose(tagger.nll(texts[3:5], targets[3:5]), loss[3:5])


def test_nothing_to_learn_from():
    with pytest.raises(UserError, match="at least one row that is changed"):
        EditTagger().fit([{"text": "uno", "target": "uno"}])
    one = EditTagger()
    one.fit([{"text": "un cuoco", "target": "un cuoco/a"}, {"text": "una sedia", "target": "una sedia"}])
    assert one.write(["un cuoco", "una sedia"]) == ["un cuoco/a", "una sedia"]
