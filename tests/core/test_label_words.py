"""Label words as the answer to a turn in an instruction model's chat template."""

import json
import shutil

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from helpers.core import QLoRA
from helpers.core.encoding import IGNORED
from helpers.env import UserError
from tests.core.recipes import recipe

TEMPLATE = (
    "{% for m in messages %}<s>[{{ m['role'] }}] {{ m['content'] | trim }}</s>{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)
FAST = {"head": "lm", "epochs": 6, "learning_rate": 5e-3, "lora_dropout": 0.0, "holdout": 0.1}
CHAT = "<s>[user] Judge the text.\nText: {}\nAnswer:</s>[assistant] "


@pytest.fixture
def instructed(tiny_llama, tmp_path):
    """The tiny checkpoint, with a chat template."""
    folder = tmp_path / "chat"
    shutil.copytree(tiny_llama, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


def test_the_loss_is_on_the_label_and_on_nothing_of_the_prompt(task, instructed, rows):
    from helpers.core.batches import Targets

    learner = QLoRA(task, recipe(instructed, **FAST))
    encoding, pair = learner.encoding, rows[:2]
    examples = encoding.examples([r["text"] for r in pair], Targets.of(task, pair))
    decode = learner.tokenizer.decode
    for row, word, example in zip(pair, ("good", "very bad"), examples, strict=True):
        assert decode(example["input_ids"]) == CHAT.format(row["text"]) + word
    labels = encoding.collate(examples)["labels"]
    learned = [decode(own[own != IGNORED]) for own in labels]
    assert learned == ["good", "very bad"]


def test_it_learns_is_saved_with_its_template_and_scores_the_words_exactly(task, instructed, rows, tmp_path):
    learner = QLoRA(task, recipe(instructed, **FAST))
    learner.fit(rows[:60])
    texts = [r["text"] for r in rows[60:]]
    scores = learner.predict_proba(texts)
    assert np.mean(scores.argmax(1) == task.index([r["label"] for r in rows[60:]])) > 0.75
    ids = learner.encoding.ids(CHAT.format(texts[0]))
    exact = []
    for word in learner.encoding.label_words():
        whole = torch.tensor([ids + word])
        with torch.inference_mode():
            logits = learner.model(input_ids=whole).logits[0, len(ids) - 1 : -1].float().log_softmax(-1)
        exact.append(float(logits[range(len(word)), word].sum()))
    expected = torch.tensor(exact).div(learner.temperature).softmax(0).numpy()
    np.testing.assert_allclose(scores[0], expected, atol=1e-4)
    folder = learner.save(tmp_path / "adapter")
    assert json.loads((folder / "learner.json").read_text())["in_chat"] is True
    np.testing.assert_allclose(QLoRA.load(folder).predict_proba(texts), scores, atol=1e-5)


def test_an_adapter_of_before_is_read_without_the_template(task, instructed, rows, tmp_path):
    plain = QLoRA(task, recipe(instructed, **FAST), in_chat=False)
    plain.fit(rows[:30])
    folder = plain.save(tmp_path / "adapter")
    facts = json.loads((folder / "learner.json").read_text())
    del facts["in_chat"]
    (folder / "learner.json").write_text(json.dumps(facts))
    texts = [r["text"] for r in rows[60:70]]
    again = QLoRA.load(folder)
    assert not again.encoding.in_chat
    np.testing.assert_allclose(again.predict_proba(texts), plain.predict_proba(texts), atol=1e-5)


def test_a_template_that_changes_the_text_is_refused(task, instructed, rows):
    path = instructed / "chat_template.jinja"
    path.write_text(TEMPLATE.replace("| trim", "| replace('{text}', 'x')"))
    learner = QLoRA(task, recipe(instructed, **FAST))
    with pytest.raises(UserError, match="does not leave the prompt as it is"):
        learner.predict_proba([rows[0]["text"]])
