"""The 4-bit core in half precision, as on a GPU: dtypes that do not fit show on a CPU too."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers import env
from helpers.core.qlora import QLoRA
from helpers.core.writer import Writer
from helpers.task import Task
from tests.core.recipes import recipe

FAST = {"epochs": 8, "learning_rate": 3e-3, "batch_size": 8, "lora_dropout": 0.0}
HEADS = {"classifier": {}, "evidence": {"pooling": "evidence", "head_first": True}, "lm": {"head": "lm"}}


def texts(rows):
    return [r["text"] for r in rows]


@pytest.fixture
def half(monkeypatch):
    """From here on models are loaded in bfloat16."""
    return lambda: monkeypatch.setattr(env, "compute_dtype", lambda: torch.bfloat16)


@pytest.mark.parametrize("head", HEADS)
def test_it_learns_saves_and_goes_on_from_the_disk(task, tiny_llama, rows, tmp_path, half, head):
    half()
    learner = QLoRA(task, recipe(tiny_llama, **HEADS[head], **FAST))
    learner.fit(rows)
    probabilities, embeddings = learner.score(texts(rows))
    assert (probabilities.argmax(1) == task.index([r["label"] for r in rows])).mean() > 0.9
    assert probabilities.dtype == np.float64 and embeddings.dtype == np.float32 and np.isfinite(embeddings).all()
    np.testing.assert_allclose(learner.predict_proba(texts(rows)), probabilities, atol=0.02)
    learner.save(tmp_path / "adapter")
    again = QLoRA.load(tmp_path / "adapter")
    np.testing.assert_array_equal(again.predict_proba(texts(rows)), learner.predict_proba(texts(rows)))
    for each in (learner, again):
        each.fit(rows[:60], seed=4, warm=True)
    np.testing.assert_array_equal(again.predict_proba(texts(rows)), learner.predict_proba(texts(rows)))


@pytest.mark.parametrize("head", HEADS)
def test_half_precision_answers_nearly_as_full(task, tiny_llama, rows, tmp_path, half, head):
    learner = QLoRA(task, recipe(tiny_llama, **HEADS[head], **FAST))
    learner.fit(rows)
    learner.save(tmp_path / "adapter")
    half()
    other = QLoRA.load(tmp_path / "adapter")
    dtypes = {p.dtype for n, p in other.model.named_parameters() if "norm" in n or "lora" in n}
    assert dtypes == {torch.float32} and other.model.get_input_embeddings().weight.dtype == torch.bfloat16
    np.testing.assert_allclose(other.predict_proba(texts(rows)), learner.predict_proba(texts(rows)), atol=0.05)
    full, near = learner.embed(texts(rows)), other.embed(texts(rows))
    assert np.linalg.norm(full - near) < 0.1 * np.linalg.norm(full)


def test_label_words_and_writing(task, tiny_llama, rows, half):
    full = QLoRA(task, recipe(tiny_llama, head="lm"))
    likelihoods = full.nll(texts(rows[:5]))
    half()
    learner = QLoRA(task, recipe(tiny_llama, head="lm", epochs=1))
    learner.fit(rows[:24])
    fresh = QLoRA(task, learner.recipe)
    np.testing.assert_allclose(fresh.nll(texts(rows[:5])), likelihoods, rtol=0.02)
    assert len(fresh.generate(texts(rows[:3]), 4)) == 3


@pytest.mark.parametrize("output", ["text", "edits"])
def test_writing_is_learned(output, half):
    half()
    task = Task("w", (), "", (), "Annuncio: {text}\nRiscritto:", output=output)
    records = [
        {"text": f"Cerchiamo un {who} per il turno {i}.", "target": f"Cerchiamo una persona per il turno {i}."}
        for i in range(12)
        for who in ("cameriere", "cuoco", "barista")
    ]
    writer = Writer(task, recipe(epochs=6, learning_rate=3e-3, batch_size=8, lora_dropout=0.0, max_new_tokens=24))
    before = writer.nll(texts(records), [r["target"] for r in records])
    writer.fit(records)
    after = writer.nll(texts(records), [r["target"] for r in records])
    assert after.mean() < 0.5 * before.mean()
    assert len(writer.write(texts(records[:4]))) == 4
    student = Writer(task, replace(writer.recipe, epochs=1))
    student.fit(records[:8], teacher=writer)
    assert np.isfinite(student.nll(texts(records[:4]), [r["target"] for r in records[:4]])).all()
