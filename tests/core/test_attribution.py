"""Which words moved an answer: every method finds the telling word, long texts by their worst window, odd texts at all."""

import numpy as np
import pytest
import torch

from helpers.core import attribution
from helpers.core.detector import Detector
from helpers.core.qlora import QLoRA
from tests.core.recipes import recipe

TELLING = ["un operaio esperto", "un commesso motivato", "il candidato", "un impiegato"]
NEUTRAL = ["una persona esperta", "personale addetto", "la risorsa", "chi ama il lavoro"]
KINDS = {"good": NEUTRAL, "bad": TELLING}
METHODS = ["evidence", "leave_one_out", "gradient"]


def ad(kinds: list[str], number: int) -> str:
    return f"Per la sede numero {number} di Torino si cerca {kinds[number % 4]} con orario pieno e contratto annuale."


@pytest.fixture(scope="module")
def detector(task) -> Detector:
    settings = recipe(
        pooling="evidence", head_first=True, bidirectional=True, max_length=64, epochs=3, learning_rate=1e-3
    )
    learner = QLoRA(task, settings)
    rows = [{"text": ad(kinds, i), "label": label} for i in range(40) for label, kinds in KINDS.items()]
    learner.fit(rows)
    assert (learner.predict_proba([r["text"] for r in rows]).argmax(1) == [r["label"] == "bad" for r in rows]).all()
    return Detector(learner)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_telling_words(detector, method):
    texts = [ad(TELLING, i) for i in range(100, 120)]
    explained = detector.explain(texts, ["bad"] * 20, method)
    words = [[text[slice(*span[:2])] for span in spans] for text, spans in zip(texts, explained, strict=True)]
    assert detector.methods == tuple(METHODS)
    # Without the word the sentence may lose more by its verb, so that it need not be the first.
    assert np.mean([bool({*own[:2]} & {*TELLING[i % 4].split()}) for i, own in enumerate(words)]) > 0.8, words
    assert sum(map(bool, words)) >= 16 and all(len(own) <= 5 for own in words)
    assert all(0 <= loss <= 1 for spans in explained for _, _, loss in spans)
    assert all(spans == sorted(spans, key=lambda span: -span[2]) for spans in explained)


def test_where_people_mark_evidence_is_where_the_detector_looks(task):
    """Two words always come together; only marked spans can tell which of them counts."""
    texts = [ad(["un operaio esperto e puntuale"] * 4, i) for i in range(40)]
    rows = [{"text": ad(NEUTRAL, i), "label": "good"} for i in range(40)] + [{"text": t, "label": "bad"} for t in texts]
    shares = []
    for word in ("operaio", "puntuale"):
        learner = QLoRA(task, recipe(pooling="evidence", head_first=True, bidirectional=True, max_length=64, epochs=1))
        start = texts[0].index(word)
        learner.fit([r | {"spans": [[start, start + len(word)]] if r["label"] == "bad" else []} for r in rows])
        (own,) = attribution.head_evidence(learner, texts[:1], [1])
        words = texts[0].split()
        shares.append(own[words.index("operaio")] - own[words.index("puntuale")])
    assert shares[0] > 0 > shares[1], shares


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("text", ["a", "!!! …", "🤮", "\u200b", "la la " * 3, "x" * 3000])
def test_odd_texts_have_a_defined_answer(detector, method, text):
    spans = detector.explain([text, "", " "], ["bad", "bad", "good"], method)
    assert all(0 <= start < end <= len(text) for start, end, _ in spans[0]) and spans[1:] == [[], []]


@pytest.mark.parametrize("method", METHODS)
def test_of_a_long_text_the_worst_window_is_explained(detector, method):
    long = "La sede offre un parcheggio, la mensa e orari flessibili. " * 40
    text = long + ad(TELLING, 4) + long
    (place,) = detector.learner.worst_places([text])
    assert "operaio" in text[slice(*place)] and place[1] - place[0] < len(text) / 4
    (spans,) = detector.explain([text], ["bad"], method)
    assert spans and all(place[0] <= start < end <= place[1] for start, end, _ in spans)
    assert detector.learner.worst_places(["short", long + "."])[0] == (0, 5)


def test_a_hundred_thousand_words_cost_what_reading_them_costs(task, tiny_llama, rows):
    learner = QLoRA(task, recipe(tiny_llama, pooling="evidence", max_length=256, epochs=1))
    learner.fit(rows[:32])
    detector, text, read = Detector(learner), "the day was long " * 25_000, {}
    for method in METHODS:
        before = learner.tokens_read
        assert len(detector.explain([text], ["bad"], method)[0]) <= 5
        read[method] = learner.tokens_read - before
    before = learner.tokens_read
    learner.predict_proba([text])
    assert max(read.values()) < 1.2 * (learner.tokens_read - before), read


def test_gradient_times_input_is_what_torch_computes(detector):
    learner, text = detector.learner, ad(TELLING, 1)
    kept = {}

    def keep(module, inputs, output):
        kept["x"] = output.detach().requires_grad_()
        return kept["x"]

    handle = learner.model.get_input_embeddings().register_forward_hook(keep)
    inputs, offsets = attribution._read(learner, text)
    logits = learner.module(**inputs)["logits"]
    (gradient,) = torch.autograd.grad(logits[0, 1] - logits[0, 0], kept["x"])
    handle.remove()
    tokens = (gradient * kept["x"]).sum(-1)[0].detach().numpy()
    expected = attribution._over_words(text, offsets) @ tokens / learner.temperature
    (falls,) = attribution.gradient_times_input(learner, [text], [1])
    np.testing.assert_allclose(falls, expected, rtol=1e-3, atol=1e-4)


def test_the_evidence_of_a_word_is_what_the_head_loses_without_its_tokens(detector):
    learner, text = detector.learner, ad(TELLING, 1)
    inputs, offsets = attribution._read(learner, text)
    (falls,) = attribution.head_evidence(learner, [text], [1])
    with torch.no_grad():
        states = learner.module.states(**inputs)
        whole = learner.module.classify(states, inputs["attention_mask"])
        for word, fall in zip(attribution._over_words(text, offsets), falls, strict=True):
            left = learner.module.classify(states, torch.tensor(1 - word)[None].long())
            lost = attribution._log_odds(whole, 1) - attribution._log_odds(left, 1)
            assert fall == pytest.approx(float(lost) / learner.temperature, abs=1e-3)
    (good,) = attribution.head_evidence(learner, [text], [0])
    assert (good <= 1e-9).all()  # no word speaks for the class without evidence


@pytest.mark.parametrize("head", [{"head": "lm"}, {"pooling": "mean"}])
def test_other_heads_are_explained_too(task, tiny_llama, rows, head):
    learner = QLoRA(task, recipe(tiny_llama, max_length=64, epochs=1, **head))
    assert Detector(learner).methods == ("leave_one_out",)  # before any training
    assert Detector(learner).explain(["cruel and kind"], ["bad"]) is not None
    learner.fit(rows[:32])
    detector = Detector(learner)
    assert detector.methods == (("leave_one_out",) if "head" in head else ("leave_one_out", "gradient"))
    for method in detector.methods:
        detector.explain(["The day was long. " * 60, "a", ""], ["bad", "good", None], method)
