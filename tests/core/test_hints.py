"""Hints: what the rules mark reaches the head, token by token, is saved by name, and is left out where no head reads it."""

import time
from dataclasses import replace

import numpy as np
import pytest

from helpers import files
from helpers.core.detector import Detector, load_detector
from helpers.core.qlora import QLoRA
from helpers.data import embedded
from helpers.env import UserError
from helpers.evaluation.detection import macro_f1
from helpers.italian.cues import find_cues
from helpers.task import Task
from tests.core.recipes import recipe

AD = "Cerchiamo un infermiere per il nostro ambulatorio."
FILLER = "Offriamo formazione continua e orari flessibili in sede. "
JOBS = Task(
    "jobs",
    ("inclusive", "not_inclusive"),
    "not_inclusive",
    (" sì", " no"),
    "{text}\n",
    hints="italian",
    scope="workplace",
)


def marked(learner: QLoRA, text: str) -> list[str]:
    """The text of every window's marked tokens."""
    windows, _ = learner.encoding.windows([text])
    found = [
        [i for i, hint in zip(*pair, strict=True) if hint]
        for pair in zip(windows, learner.encoding.hints([text]), strict=True)
    ]
    return [learner.tokenizer.decode(ids).strip() for ids in found]


@pytest.fixture(scope="module")
def learner() -> QLoRA:
    settings = {"pooling": "evidence", "head_first": True, "bidirectional": True, "lora_dropout": 0.0}
    return QLoRA(JOBS, recipe(max_length=64, epochs=1, learning_rate=1.5e-3, **settings))


@pytest.fixture(scope="module")
def rows() -> dict[str, list[dict]]:
    pool = [embedded.in_scope(r, "workplace") for r in embedded.labelled_pool()]
    order = np.random.default_rng(0).permutation(len(pool))
    return {"train": [pool[i] for i in order[:40]], "unseen": [pool[i] for i in order[-300:]]}


def test_the_tokens_of_a_cue_are_marked_in_short_and_long_texts(learner):
    (cue,) = find_cues(AD)
    assert marked(learner, AD) == [cue.text]
    long = marked(learner, FILLER * 20 + AD + FILLER * 20)
    assert len(long) > 3 and {cue.text} <= set(long) <= {"", cue.text, *cue.text.split()}
    assert set(marked(learner, FILLER * 20)) == {""} and marked(learner, "") == [""]
    assert learner.encoding.hints([FILLER * 20 + AD], cut=True) == [
        [0] * len(ids) for ids in learner.encoding.texts([FILLER * 20 + AD])
    ]


def test_few_labels_and_the_rules_beat_few_labels(learner, rows):
    def score(model: QLoRA) -> float:
        truth = np.array(JOBS.index([r["label"] for r in rows["unseen"]]))
        return macro_f1(truth, model.predict_proba([r["text"] for r in rows["unseen"]]).argmax(1))

    alone = QLoRA(replace(JOBS, hints="", scope=""), learner.recipe)
    alone.fit(rows["train"])
    learner.fit(rows["train"])
    assert score(learner) > score(alone) + 0.02
    assert learner.module.hint[1] > 0.2 and alone.module.hint is None  # it trusts the rules
    texts = [r["text"] for r in rows["unseen"][:5]]
    np.testing.assert_array_equal(learner.embed_base(texts), alone.embed_base(texts))  # selection reads no hints


def test_a_saved_detector_finds_its_rules_again(learner, rows, tmp_path):
    learner.fit(rows["train"])
    detector = load_detector(learner.save(tmp_path / "adapter"))
    texts = [AD, FILLER, FILLER * 20 + AD, ""]
    np.testing.assert_allclose(detector.learner.predict_proba(texts), learner.predict_proba(texts), atol=1e-6)
    np.testing.assert_allclose(learner.score(texts)[0], learner.predict_proba(texts), atol=1e-5)
    assert detector.learner.facts()["hints"] == "italian" and detector.learner.task.scope == "workplace"
    assert len(learner.rules) == 64 and detector.learner.rules == learner.rules
    facts = files.read_json(tmp_path / "adapter/learner.json")
    files.write_json(tmp_path / "adapter/learner.json", facts | {"rules": "of before"})
    with pytest.warns(UserWarning, match="The cue rules have changed since the detector was trained"):
        load_detector(tmp_path / "adapter")
    for method in detector.methods:
        (words,) = detector.explain([AD], ["not_inclusive"], method)
        if method != "gradient":  # to first order a mark of the rules is no part of the input
            assert "infermiere" in AD[slice(*words[0][:2])] or "un" in AD[slice(*words[0][:2])]


def test_another_pooling_reads_no_hints(rows):
    plain = QLoRA(JOBS, recipe(max_length=64, epochs=1))
    assert not plain.encoding.is_hinted and plain.facts()["hints"] == "none" and plain.encoding.hints([AD]) is None
    plain.fit(rows["train"])
    assert len(Detector(plain).predict([AD])) == 1


def test_rules_that_do_not_exist_are_a_sentence():
    with pytest.raises(UserError, match="hints='latin' must be italian"):
        replace(JOBS, hints="latin").check()
    for scope in ("", "nobody"):
        with pytest.raises(UserError, match=f"Parameter scope='?{scope}"):
            replace(JOBS, scope=scope).check()


def test_hints_of_a_long_text_take_no_square_of_its_length(learner):
    text = "Cerchiamo un infermiere e un cuoco. " * 4000
    started = time.perf_counter()
    marked_tokens = sum(map(sum, learner.encoding.hints([text])))
    assert marked_tokens > 8000 and time.perf_counter() - started < 25
