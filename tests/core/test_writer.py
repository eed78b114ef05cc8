"""The writer on the embedded base in 4 bits, and its parts on a tiny checkpoint."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from helpers import edits
from helpers.core.masks import in_completion
from helpers.core.recipe import EMBEDDED
from helpers.core.writer import Writer
from helpers.data import embedded
from helpers.env import UserError
from helpers.task import Task
from tests.core.recipes import recipe

FAST = {"epochs": 30, "learning_rate": 3e-3, "batch_size": 8, "lora_dropout": 0.0, "patience": 0, "holdout": 0.0}
PAIRS = [{"text": f"a {w} answer", "target": f"a {n} answer"} for w, n in (("cruel", "kind"), ("cold", "warm"))] * 8


def task(output="text", name="t"):
    return Task(name, (), "", (), "Text: {text}\nAnswer:", (), output)


@pytest.fixture(params=["text", "edits", "prefix"])
def writer(request, tiny_llama):
    prefix = {"bidirectional": request.param == "prefix"}
    return Writer(task("edits" if request.param == "edits" else "text"), recipe(tiny_llama, **FAST, **prefix))


def test_it_learns_pairs_and_reloads_with_equal_outputs(writer, tmp_path):
    texts = [r["text"] for r in PAIRS[:2]]
    before = writer.nll(texts, [r["target"] for r in PAIRS[:2]])
    report = writer.fit(PAIRS)
    assert report == {"epochs": 30, "held_out_loss": None, "train_rows": 16, "held_out_rows": 0}
    assert writer.write(texts) == ["a kind answer", "a warm answer"]
    after = writer.nll(texts, [r["target"] for r in PAIRS[:2]])
    assert after.dtype == np.float64 and (after < before / 5).all()
    again = Writer.load(writer.save(tmp_path / "adapter"))
    assert again.write(texts) == writer.write(texts) and again.task == writer.task
    np.testing.assert_array_equal(again.nll(texts, texts), writer.nll(texts, texts))


def test_the_embedded_base_learns_to_edit_in_4_bits():
    rows = [r for r in embedded.rewrites() if r["split"] == "train"][:6]
    learner = Writer(task("edits"), recipe(EMBEDDED, bidirectional=True, **FAST))
    assert learner.facts()["quantization"] == "nf4"
    learner.fit(rows)
    assert learner.write([r["text"] for r in rows]) == [r["target"] for r in rows]


@pytest.mark.parametrize("both_ways", [True, False])
def test_a_draft_by_rule_is_what_the_model_corrects(tiny_llama, both_ways):
    """The rule mends one word of two; the model learns the other, and leaves what the rule has mended."""

    def rule(text: str) -> str:
        return text.replace("cruel", "kind")

    asks_for_drafts = replace(task("edits"), draft="rule")
    learner = Writer(asks_for_drafts, recipe(tiny_llama, bidirectional=both_ways, **FAST), drafters={"rule": rule})
    learner.fit(PAIRS)
    drafts = learner.drafts([r["text"] for r in PAIRS[:2]])
    assert drafts == ["a kind answer", "a cold answer"]
    assert learner.write([r["text"] for r in PAIRS[:2]]) == [r["target"] for r in PAIRS[:2]]
    if both_ways:
        assert [len(spans) for spans in learner.proposed(drafts, learner.encode(drafts))] == [0, 1]
    with pytest.raises(UserError, match="drafts by 'rule'"):
        Writer(asks_for_drafts, learner.recipe)


def test_no_pairs_are_refused_and_one_is_enough(tiny_llama):
    learner = Writer(task(), recipe(tiny_llama, **(FAST | {"holdout": 0.5})))
    with pytest.raises(UserError, match="pair"):
        learner.fit([])
    assert learner.fit(PAIRS[:1])["train_rows"] == 1


def test_every_embedded_pair_comes_back_from_its_edits():
    for row in embedded.rewrites():
        assert edits.apply(row["text"], edits.spans(row["text"], row["target"])) == row["target"]
        spans, lost = edits.parse(row["text"], edits.script(row["text"], row["target"]))
        assert edits.apply(row["text"], spans) == row["target"] and not lost


def divergence(teacher: Writer, student: Writer, rows: list[dict]) -> float:
    """Mean KL(teacher, student) over the tokens of the targets."""
    batch = student._collate(student._examples([r["text"] for r in rows], [r["target"] for r in rows]))
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "completion")}
    with torch.inference_mode():
        theirs, ours = (w.head.eval().read(**inputs)[0].log_softmax(-1) for w in (teacher, student))
    inside = in_completion(batch["completion"], theirs.shape[1])
    return float(((theirs.exp() * (theirs - ours)).sum(-1) * inside).sum() / inside.sum())


def test_distillation_moves_the_student_towards_its_teacher():
    """On the embedded base in 4 bits: the more the teacher weighs, the smaller the divergence."""
    rows = [r for r in embedded.counter_narratives() if r["split"] == "train"][:8]
    pairs = [{"text": r["HATE_SPEECH"][:80], "target": r["COUNTER_NARRATIVE"][:60]} for r in rows]
    settings = recipe(EMBEDDED, **(FAST | {"epochs": 6}))
    teacher = Writer(task(), settings)
    teacher.fit([r | {"target": "Grazie."} for r in pairs])
    before, divergences = teacher.nll([pairs[0]["text"]], ["Grazie."]), []
    for weight in (0.0, 0.5, 1.0):
        student = Writer(task(), replace(settings, distil_weight=weight))
        student.fit(pairs, teacher=teacher)
        divergences.append(divergence(teacher, student, pairs))
    assert divergences[0] > divergences[1] > divergences[2]
    np.testing.assert_array_equal(teacher.nll([pairs[0]["text"]], ["Grazie."]), before)


def test_a_teacher_of_another_tokenizer_is_refused(tiny_llama):
    student, teacher = Writer(task(), recipe(tiny_llama, **FAST)), Writer(task(), recipe(EMBEDDED, **FAST))
    with pytest.raises(UserError, match="tokenizer"):
        student.fit(PAIRS, teacher=teacher)


def test_an_instruction_model_is_asked_in_its_chat_template(tiny_llama, tmp_path):
    folder = tmp_path / "chat"
    shutil.copytree(tiny_llama, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = (
        "{% for m in messages %}<s>[{{ m['role'] }}] {{ m['content'] | trim }}</s>{% endfor %}"
        "{% if add_generation_prompt %}[assistant] {% endif %}"
    )
    tokenizer.save_pretrained(folder)
    learner = Writer(task(), recipe(folder, **FAST))
    ((ids, places),) = learner.encode(["a cruel answer"])
    assert tokenizer.decode(ids) == "<s>[user] Text: a cruel answer\nAnswer:</s>[assistant] "
    inside = [place for place in places if place[0] < place[1]]
    assert (inside[0][0], inside[-1][1]) == (0, len("a cruel answer"))
    learner.fit(PAIRS)
    assert learner.write(["a cruel answer"]) == ["a kind answer"]


def test_outputs_do_not_depend_on_the_batch(writer):
    writer.fit(PAIRS)
    texts = ["a cold answer", "a", "a cruel answer was sent by mail, a cruel answer", "a cruel answer"]
    assert writer.write(texts) == [writer.write([text])[0] for text in texts]
    assert writer.write([]) == []


def test_a_long_text_is_cut_with_a_warning_and_its_end_stays_as_it_is(tiny_llama):
    learner = Writer(task("edits"), recipe(tiny_llama, **FAST, max_length=40))
    learner.fit(PAIRS)
    long = "a cruel answer" + " was sent by mail" * 20
    with pytest.warns(UserWarning, match="max_length=40"):
        (written,) = learner.write([long])
    assert written.endswith(" was sent by mail" * 18)


def test_what_a_model_copies_or_leaves_empty_is_seen(tiny_llama):
    learner = Writer(task(), recipe(tiny_llama, **FAST))
    learner.fit([{"text": r["text"], "target": r["text"]} for r in PAIRS])
    assert learner.write([PAIRS[0]["text"]]) == [PAIRS[0]["text"]]
    learner.fit([{"text": r["text"], "target": ""} for r in PAIRS])
    assert learner.write([PAIRS[0]["text"]]) == [""]
    assert np.isfinite(learner.nll(["a"], [""])).all()


def test_the_tags_of_the_embedded_pairs_name_the_edits_again():
    for row in embedded.rewrites():
        text = row["text"]
        places = [m.span() for m in re.finditer(r"\w{1,3}|[^\w\s]", text)]  # as a subword tokenizer cuts
        kinds = [(a, b, edits.tag(text[a:b], new)) for a, b, new in edits.spans(text, row["target"])]
        tags = np.log(np.eye(edits.TAGS)[[edits.token_tag(place, kinds) for place in places]] + 1e-6)
        assert edits.tagged(text, places, tags) == kinds, text
