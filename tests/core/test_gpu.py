"""The 4-bit core on a real GPU: `make test-gpu`. The other tests run on the CPU."""

import numpy as np
import pytest
import torch

from helpers import env
from helpers.core.base import check_nf4
from helpers.core.qlora import QLoRA
from helpers.data import embedded
from tests.core.recipes import recipe

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no GPU is visible (`make test-gpu` lets it be seen)"
)


@pytest.fixture
def on_cpu(monkeypatch):
    """Inside, models are loaded and trained as where there is no GPU."""

    def during(function):
        with monkeypatch.context() as patch:
            patch.setattr(env, "device", lambda: "cpu")
            patch.setattr(env, "compute_dtype", lambda: torch.float32)
            return function()

    return during


@pytest.mark.parametrize("capability", [(7, 5), (8, 0)], ids=["float16", "bfloat16"])
@pytest.mark.parametrize(
    "head", [{"head": "lm"}, {"pooling": "evidence", "head_first": True}], ids=["words", "classifier"]
)
def test_it_learns_on_a_gpu_and_answers_the_same_when_loaded(
    task, tiny_llama, rows, tmp_path, monkeypatch, capability, head
):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    texts = [r["text"] for r in rows]
    learner = QLoRA(task, recipe(tiny_llama, epochs=12, learning_rate=3e-3, batch_size=8, lora_dropout=0.0, **head))
    learner.fit(rows)
    answers = learner.predict_proba(texts)
    assert (answers.argmax(1) == task.index([r["label"] for r in rows])).mean() > 0.9
    learner.save(tmp_path / "adapter")
    np.testing.assert_array_equal(QLoRA.load(tmp_path / "adapter").predict_proba(texts), answers)
    assert np.isfinite(learner.score(texts)[1]).all()


def test_what_was_trained_on_a_cpu_answers_alike_on_a_gpu(task, tmp_path, on_cpu):
    texts, kinds = [r["text"] for r in embedded.gold()[:100]], ("good", "bad")
    rows = [{"text": r["text"], "label": kinds[r["label"] == "not_inclusive"]} for r in embedded.labelled_pool()[:100]]

    def trained():
        learner = QLoRA(
            task, recipe(pooling="evidence", head_first=True, bidirectional=True, learning_rate=1.5e-3, epochs=2)
        )
        learner.fit(rows)
        learner.save(tmp_path / "adapter")
        return learner.predict_proba(texts)

    there = on_cpu(trained)
    here = QLoRA.load(tmp_path / "adapter").predict_proba(texts)
    assert (there.argmax(1) == here.argmax(1)).mean() >= 0.95 and np.abs(there - here).mean() < 0.05


def test_4_bits_lose_as_little_as_on_a_cpu():
    assert "10%" in check_nf4() or "9%" in check_nf4()
