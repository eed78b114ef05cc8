"""Long texts are read to their end, in windows: every token, the worst window, and what training reads."""

import numpy as np
import pytest

from helpers.core.encoding import OVERLAP
from helpers.core.qlora import QLoRA
from tests.core.recipes import recipe

FILLER = "the day was long and the road was quiet. "
HEADS = {"evidence": {"pooling": "evidence"}, "mean": {}, "lm": {"head": "lm"}}


@pytest.fixture(params=HEADS)
def learner(request, task, tiny_llama, rows):
    learner = QLoRA(task, recipe(tiny_llama, max_length=64, epochs=3, learning_rate=3e-3, **HEADS[request.param]))
    learner.fit(rows[:64])
    return learner


def test_every_token_stands_in_a_window_and_seams_overlap(learner, rows):
    long = FILLER * 30
    texts = [rows[0]["text"], long, "", long + rows[1]["text"]]
    windows, owners = learner.encoding.windows(texts)
    assert owners.tolist() == sorted(owners.tolist()) and set(owners) == {0, 1, 2, 3}
    assert (owners == 0).sum() == (owners == 2).sum() == 1 and (owners == 3).sum() > 5
    assert max(map(len, windows)) <= 64
    own, whole = [windows[i] for i in np.flatnonzero(owners == 1)], learner.encoding.ids(long)
    special = set(learner.tokenizer.all_special_ids)
    suffix = len(learner.encoding.ids(learner.task.suffix)) if learner.recipe.head == "lm" else 0
    read = [[t for t in (w[: len(w) - suffix]) if t not in special] for w in own]
    assert sum(map(len, read)) > len(whole) and sum(map(len, read)) <= len(whole) + OVERLAP * len(read)
    position = 0
    for part in read:  # each begins where the one before has not yet ended
        starts = [p for p in range(position + 1) if whole[p : p + len(part)] == part]
        assert starts
        position = starts[-1] + len(part)
    assert position == len(whole)


def test_the_answer_of_a_long_text_is_that_of_its_worst_window(learner, rows):
    positive = learner.task.labels.index(learner.task.positive)
    worst = max((r["text"] for r in rows[64:]), key=lambda text: learner.predict_proba([text])[0, positive])
    long = FILLER * 30
    texts = [long + worst, worst + " " + long, long, worst]
    scores = learner.predict_proba(texts)
    windows, owners = learner.encoding.windows(texts)
    decoded = [learner.tokenizer.decode(w, skip_special_tokens=True) for w in windows]
    if learner.recipe.head == "lm":
        suffix = learner.task.suffix
        decoded = [text.removesuffix(suffix) for text in decoded]
    alone = learner.predict_proba(decoded)[:, positive]
    for text in range(4):
        np.testing.assert_allclose(scores[text, positive], alone[owners == text].max(), atol=0.02)
    assert (
        min(scores[0, positive], scores[1, positive]) >= scores[2, positive] - 1e-6
    )  # more windows, never a lower worst
    probabilities, embeddings = learner.score(texts)
    np.testing.assert_allclose(probabilities, scores, atol=1e-5)
    assert embeddings.shape == (4, 64) and np.isfinite(embeddings).all() and learner.encoding.count_long(texts) == 3
    if learner.recipe.head != "lm":
        np.testing.assert_allclose(learner.embed(texts), embeddings, atol=1e-4)


def test_training_reads_a_long_text_around_its_evidence(learner):
    long = FILLER * 20 + "the bitter end" + FILLER * 20
    start = long.index("bitter")
    part, spans = learner.encoding.around_evidence(long, [[start, start + 6, "applicant"]])
    assert "the bitter end" in part and len(learner.encoding.texts([part])[0]) <= 64
    assert [part[slice(*span)] for span in spans] == ["bitter"]
    assert learner.encoding.around_evidence(long, [[start, start + 6], [0, 4]])[1] == spans  # the rest is not read
    assert learner.encoding.around_evidence(long, []) == (long, [])  # its first window, as `texts` cuts it
    assert learner.encoding.around_evidence("a bitter end", [[2, 8]]) == ("a bitter end", [(2, 8)])


def test_the_tokens_in_a_span_are_marked(learner):
    ids = learner.encoding.texts(["a bitter end"])[0]
    marks = learner.encoding.marks("a bitter end", [(2, 8)], len(ids))
    if learner.recipe.head != "lm":
        assert len(marks) == len(ids)
    pieces = learner.tokenizer("a bitter end", return_offsets_mapping=True)["offset_mapping"]
    assert marks == [int(a < 8 and b > 2) if a < b else -100 for a, b in pieces] and 0 in marks and 1 in marks
    assert learner.encoding.marks("a bitter end", [], len(ids)) == [-100] * len(ids)
