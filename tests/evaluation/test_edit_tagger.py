"""Edits of words: derived and applied on every embedded pair, learned from some of them."""

import numpy as np
import pytest

from helpers.data import embedded
from helpers.env import UserError
from helpers.evaluation.edit_tagger import DROP, KEEP, EditTagger, apply, tag, tags, tokens
from helpers.italian import gender

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


def test_it_learns_to_rewrite():
    test = [r for r in ROWS if r["split"] == "test"]
    learner = EditTagger()
    report = learner.fit([r for r in ROWS if r["split"] == "train"])
    assert report["train_rows"] == 729 and report["edits"] > 900
    texts = [r["text"] for r in test]
    written = learner.write(texts)
    clean = [sum(not gender.cues(t) for t in part) for part in (texts, written)]
    assert clean[1] > 1.8 * clean[0] and learner.tokens_read > 2000
    assert learner.write([]) == [] and learner.write(["", "Cuoco"])[0] == ""
    assert learner.write(texts) == written and learner.write(texts[5:7]) == written[5:7]


def test_likely_edits_have_a_low_loss():
    learner = EditTagger()
    learner.fit(ROWS[:200])
    texts = [r["text"] for r in ROWS[:20]]
    loss = learner.nll(texts, [r["target"] for r in ROWS[:20]])
    assert loss.shape == (20,) and (loss < 0.3).all()
    assert (learner.nll(texts, ["altro " * 8] * 20) > loss + 1).all() and learner.nll([], []).shape == (0,)
    assert np.allclose(learner.nll(texts[3:5], [r["target"] for r in ROWS[3:5]]), loss[3:5])


def test_nothing_to_learn_from():
    with pytest.raises(UserError, match="at least one row that is changed"):
        EditTagger().fit([{"text": "uno", "target": "uno"}])
    one = EditTagger()
    one.fit([{"text": "un cuoco", "target": "un cuoco/a"}, {"text": "una sedia", "target": "una sedia"}])
    assert one.write(["un cuoco", "una sedia"]) == ["un cuoco/a", "una sedia"]
