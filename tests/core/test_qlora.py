"""The 4-bit core on a real (tiny) checkpoint: true NF4, both heads, exact scores, only the adapter saved."""

import itertools
import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.core import cpu, heads, label_words, probe, training
from helpers.core.base import check_nf4, load_base
from helpers.core.batches import ByLength, Targets, holdout, pad, token_batches
from helpers.core.calibration import fit_temperature, negative_log_likelihood, softmax
from helpers.core.qlora import QLoRA
from helpers.core.recipe import EMBEDDED, Recipe
from helpers.core.untuned import few_shot, zero_shot
from helpers.env import UserError
from helpers.parameters import notebook_parameters
from helpers.task import Task
from tests.core.recipes import SETTINGS, recipe
from tests.project import ROOT

FAST = {"epochs": 2, "learning_rate": 3e-3, "batch_size": 8, "lora_dropout": 0.0, "patience": 0}
# Training leaves the weights with which the head starts.
HEAD_ONLY = FAST | {"head_first": True, "learning_rate": 0.0, "epochs": 1}
HEADS = {"classifier": {}, "evidence": {"pooling": "evidence"}, "lm": {"head": "lm"}}


@pytest.fixture(params=HEADS)
def learner(request, task, tiny_llama):
    return QLoRA(task, recipe(tiny_llama, **HEADS[request.param], **FAST))


def texts(rows):
    return [r["text"] for r in rows]


def batch_of(learner, rows) -> dict[str, torch.Tensor]:
    """The rows as one training batch."""
    return learner.encoding.collate(learner.encoding.examples(texts(rows), Targets.of(learner.task, rows)))


def with_head(learner, pooling="mean"):
    """The learner with an untrained classifier."""
    classes = len(learner.task.labels)
    learner.module = heads.Classifier(learner.model, classes, pooling, torch.ones(classes))
    return learner


def test_the_base_is_nf4_with_double_quantisation_and_only_adapters_train(learner):
    facts = learner.facts()
    assert (facts["quantization"], facts["double_quantization"]) == ("nf4", True)
    assert facts["four_bit_layers"] == 14  # seven linear layers in each of two blocks
    assert facts["base_parameters"] == load_base(learner.recipe)[0].num_parameters()  # the adapters are none of them
    trained = {n.split(".")[-3] for n, p in learner.model.named_parameters() if p.requires_grad}
    assert trained == {"lora_A", "lora_B"}
    assert {p.dtype for p in learner.model.parameters() if p.requires_grad} == {torch.float32}


@pytest.mark.parametrize("head", HEADS)
def test_it_learns_saves_only_the_adapter_and_reloads_with_equal_logits(task, tiny_llama, rows, tmp_path, head):
    learner = QLoRA(task, recipe(tiny_llama, **HEADS[head], **FAST | {"epochs": 12}))
    report = learner.fit(rows)
    answers = learner.predict_proba(texts(rows)).argmax(1)
    assert (answers == learner.task.index([r["label"] for r in rows])).mean() > 0.9
    assert report["held_out_rows"] == 18 and report["epochs"] == 12
    learner.save(tmp_path / "adapter")
    size = sum(f.stat().st_size for f in (tmp_path / "adapter").rglob("*"))
    base = learner.model.get_base_model().num_parameters() * 2
    assert size < 3 * base and not (tmp_path / "adapter" / "model.safetensors").exists()
    again = QLoRA.load(tmp_path / "adapter")
    np.testing.assert_array_equal(again.logits(texts(rows)), learner.logits(texts(rows)))
    assert again.temperature == learner.temperature


def test_the_same_labels_and_seed_give_the_same_model_whatever_came_before(learner, rows):
    learner.fit(rows[:40], seed=3)
    first = learner.logits(texts(rows[:10]))
    learner.fit(rows[40:90], seed=4)
    learner.fit(rows[:40], seed=3)
    np.testing.assert_array_equal(learner.logits(texts(rows[:10])), first)


@pytest.mark.parametrize(
    ("patience", "head_first", "epochs", "comparisons", "best"),
    [(3, False, 3, 3, 0), (1, False, 2, 2, 0), (0, False, 3, 1, -1), (0, True, 3, 2, 0)],
)
def test_the_best_epoch_is_kept_or_without_patience_the_last(
    task, tiny_llama, rows, patience, head_first, epochs, comparisons, best
):
    settings = recipe(tiny_llama, head_first=head_first, **FAST | {"epochs": 3, "patience": patience})
    learner, weights = with_head(QLoRA(task, settings)), []

    def worse_every_time() -> float:
        weights.append(learner.module.out.weight.detach().clone())
        return float(len(weights))

    examples = learner.encoding.examples(texts(rows[:16]), Targets.of(task, rows[:16]))
    report = training.train(learner.module, examples, learner.encoding.collate, settings, 0, worse_every_time)
    assert len(weights) == comparisons and report["epochs"] == epochs
    assert torch.equal(learner.module.out.weight, weights[best])
    assert not any(torch.equal(x, y) for x, y in itertools.pairwise(weights))  # it did learn in between


def test_of_two_gpus_one_is_used(task, tiny_llama, rows, monkeypatch):
    from transformers import TrainingArguments

    def trained():
        learner = QLoRA(task, recipe(tiny_llama, **FAST | {"epochs": 1}))
        learner.fit(rows[:40])
        return learner.logits(texts(rows))

    one, prepared = trained(), TrainingArguments.__post_init__

    def two(arguments):
        prepared(arguments)
        arguments._n_gpu = 2

    monkeypatch.setattr(TrainingArguments, "__post_init__", two)
    np.testing.assert_array_equal(trained(), one)  # with two the Trainer's batches would hold twice as many rows


def test_training_stops_where_gradients_stay_infinite(task, tiny_llama, rows):
    learner = with_head(QLoRA(task, recipe(tiny_llama, **FAST)))
    learner.module.class_weights = torch.full((2,), float("inf"))
    examples = learner.encoding.examples(texts(rows[:80]), Targets.of(task, rows[:80]))
    with pytest.raises(UserError, match="Ten gradients in a row are not finite under float32: lower learning_rate"):
        training.train(learner.module, examples, learner.encoding.collate, learner.recipe, 0)


def test_a_pooled_head_starts_as_the_probe(task, tiny_llama, rows):
    learner = QLoRA(task, recipe(tiny_llama, **HEAD_ONLY, holdout=0.0))
    rare = [r for r in rows if r["label"] == task.positive][:12] + [r for r in rows if r["label"] != task.positive]
    learner.fit(rare)
    x = torch.nn.functional.layer_norm(torch.tensor(learner.embed_base(texts(rare))), (64,)).numpy() / 8
    classes = task.index([r["label"] for r in rare])
    expected = probe.probe_head().fit(x, classes).predict_proba(x)
    np.testing.assert_allclose(learner.predict_proba(texts(rare)), expected, atol=1e-3)


def test_a_class_without_rows_stays_behind_the_others(tiny_llama, rows):
    task = Task("t", ("one", "none", "two"), "two", (" a", " b", " c"), "{text}")
    learner = QLoRA(task, recipe(tiny_llama, **HEAD_ONLY, holdout=0.0))
    learner.fit([r | {"label": ("one", "two")[i % 2]} for i, r in enumerate(rows[:20])])
    assert (learner.logits(texts(rows)).argmin(1) == 1).all()


# --- weights and groups ----------------------------------------------------------------------------------------------


def test_every_class_weighs_the_same(task, tiny_llama, rows):
    learner = QLoRA(task, recipe(tiny_llama, **HEAD_ONLY))
    learner.fit([rows[0], rows[2], rows[4], rows[1]])
    np.testing.assert_allclose(learner.module.class_weights, [2 / 3, 2.0], rtol=1e-6)
    plain = QLoRA(task, recipe(tiny_llama, class_weights=False, **HEAD_ONLY))
    plain.fit([rows[0], rows[2], rows[4], rows[1]])
    np.testing.assert_allclose(plain.module.class_weights, [1.0, 1.0])


def test_a_likelihood_is_weighted_by_row():
    classes = np.array([0, 0, 0, 1])
    logits = np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 0.0], [3.0, 0.0]])
    each = np.array([negative_log_likelihood(logits[i : i + 1], classes[i : i + 1]) for i in range(4)])
    assert negative_log_likelihood(logits, classes) == pytest.approx(each.mean())
    weighted = negative_log_likelihood(logits, classes, np.array([2 / 3, 2 / 3, 2 / 3, 2]))
    assert weighted == pytest.approx((each[:3].mean() + each[3]) / 2)
    doubled = np.array([0, 0, 1, 2, 3])
    assert fit_temperature(logits[doubled], classes[doubled]) == pytest.approx(
        fit_temperature(logits, classes, np.array([2.0, 1, 1, 1])), rel=1e-4
    )


@pytest.mark.parametrize("head", HEADS)
def test_in_a_loss_two_equal_rows_are_one_of_weight_2(task, tiny_llama, rows, head):
    learner = QLoRA(task, recipe(tiny_llama, **HEADS[head], **FAST))
    learner.fit(rows[:8])
    learner.module.class_weights = torch.tensor([0.7, 1.9])
    half = [r | {"weight": 0.5} for r in rows[:3]]

    def loss(batch: list[dict]) -> float:
        with torch.no_grad():
            return learner.module(**batch_of(learner, batch))["loss"].item()

    assert loss([*half, rows[3], rows[3]]) == pytest.approx(loss([*half, rows[3] | {"weight": 2}]), rel=1e-5)
    assert loss([*half, rows[3]]) == pytest.approx(loss([*rows[:3], rows[3] | {"weight": 2}]), rel=1e-5)
    assert loss([*half, rows[3]]) != pytest.approx(loss(rows[:4]), rel=1e-3)


def test_the_head_of_the_frozen_base_weighs_its_rows(task, tiny_llama, rows):
    def head(records):
        learner = QLoRA(task, recipe(tiny_llama, **HEAD_ONLY, holdout=0.0))
        learner.fit(records)
        return learner.logits(texts(rows))

    doubled = head([*rows[:30], *rows[:5]])
    np.testing.assert_allclose(
        head([r | {"weight": 2.0} if i < 5 else r for i, r in enumerate(rows[:30])]), doubled, atol=1e-3
    )
    assert np.abs(head(rows[:30]) - doubled).max() > 0.01


@pytest.mark.parametrize("head", HEADS)
def test_rows_of_weight_0_change_nothing_and_weight_1_is_the_default(task, tiny_llama, rows, head):
    def trained(records):
        learner = QLoRA(task, recipe(tiny_llama, **HEADS[head], **FAST))
        return learner.fit(records), learner.logits(texts(rows[:10]))

    report, logits = trained(rows[:40])
    wrong = [r | {"label": "bad", "weight": 0} for r in rows[40:60]]
    ones = [r | {"weight": 1.0, "group": i % 3} for i, r in enumerate(rows[:40])]
    for records in ([*rows[:20], *wrong, *rows[20:40]], ones):
        again, same = trained(records)
        assert again == report
        np.testing.assert_array_equal(same, logits)


def test_the_held_out_loss_weighs_its_rows(task, tiny_llama, rows):
    rng = np.random.default_rng(0)
    weighted = [r | {"weight": float(w)} for r, w in zip(rows, rng.integers(1, 9, len(rows)), strict=True)]
    mixed = [r | {"label": rows[i - 1]["label"]} if i % 5 == 0 else r for i, r in enumerate(weighted)]  # not separable
    learner = QLoRA(task, recipe(tiny_llama, **HEAD_ONLY))
    report = learner.fit(mixed)
    log_probabilities = np.log(learner.predict_proba(texts(learner.held_out_rows)))
    targets = Targets.of(task, learner.held_out_rows)
    weights = learner.module.class_weights.numpy()[targets.classes] * targets.weights
    expected = negative_log_likelihood(log_probabilities, targets.classes, weights)
    assert report["held_out_loss"] == pytest.approx(expected, rel=1e-3)
    assert expected != pytest.approx(negative_log_likelihood(log_probabilities, targets.classes), rel=1e-2)


def test_groups_reach_the_batch_as_codes(learner, rows):
    batch = batch_of(learner, rows[:4])  # group a is every third row
    assert batch["groups"].tolist() == [1, 0, 0, 1]
    assert batch_of(learner, [{k: r[k] for k in ("text", "label")} for r in rows[:2]])["groups"].tolist() == [0, 0]


def test_a_weight_below_0_is_refused(learner, rows):
    with pytest.raises(UserError, match="Record 'r3' has weight -1"):
        learner.fit([*rows[:3], rows[3] | {"weight": -1}])


# --- the frozen base -------------------------------------------------------------------------------------------------


def test_the_base_draws_no_dropout_of_its_own(task, tiny_llama, rows, tmp_path):
    learner = with_head(QLoRA(task, recipe(of_family("GPT2LMHeadModel", tiny_llama, tmp_path), **FAST)))
    assert learner.model.config.resid_pdrop > 0
    batch = batch_of(learner, rows[:4])
    with torch.no_grad():
        first, second = (learner.module.train()(**batch)["logits"] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("pooling", ["mean", "evidence"])
def test_the_frozen_base_reads_a_text_once(task, tiny_llama, rows, pooling):
    settings = recipe(tiny_llama, pooling=pooling, head_first=True, **FAST | {"epochs": 1})
    known, new = QLoRA(task, settings), QLoRA(task, settings)
    known.fit(rows[:40], seed=1)
    read = []
    for learner in (known, new):
        before = learner.tokens_read
        learner.fit(rows[:60], seed=2)
        read.append(learner.tokens_read - before)
    assert read[1] - read[0] == sum(map(len, new.encoding.texts(texts(rows[:40]))))
    np.testing.assert_array_equal(known.logits(texts(rows)), new.logits(texts(rows)))
    known.fit(rows[60:90], seed=3)
    assert set(known.frozen_states) == set(texts(rows[60:90]))  # no more than the last labels take


@pytest.mark.parametrize("pooling", ["mean", "evidence"])
def test_the_head_alone_is_compared_before_training(task, tiny_llama, rows, pooling):
    def report(**changes):
        learner = QLoRA(task, recipe(tiny_llama, pooling=pooling, **HEAD_ONLY | changes))
        return learner.fit(rows), learner

    (first, learner), (second, _) = report(), report(learning_rate=0.3)  # so large a step spoils any model
    x, probabilities, y = learner.checked()
    assert len(x) == 18 and (probabilities.argmax(1) == y).mean() > 0.8
    weights = learner.module.class_weights.numpy()[y]
    expected = negative_log_likelihood(np.log(probabilities), y, weights)
    assert first["held_out_loss"] == pytest.approx(expected, rel=1e-3)
    assert second["held_out_loss"] == first["held_out_loss"]


def test_the_base_embeds_as_before_whatever_was_trained(learner, rows):
    before = learner.embed(texts(rows[:10]))
    learner.fit(rows[:40])
    assert not np.allclose(learner.embed(texts(rows[:10])), before)
    np.testing.assert_array_equal(learner.embed_base(texts(rows[:10])), before)


def test_scores_do_not_depend_on_the_batch(learner, rows):
    learner.fit(rows[:40])
    mixed = [rows[0]["text"], "a", rows[1]["text"] * 4, rows[2]["text"]]
    alone = np.concatenate([learner.logits([t]) for t in mixed])
    np.testing.assert_allclose(learner.logits(mixed), alone, atol=1e-4)
    probabilities, embeddings = learner.score(mixed)
    np.testing.assert_allclose(probabilities, learner.predict_proba(mixed), atol=1e-6)
    assert embeddings.shape == (4, 64) and np.isfinite(embeddings).all()


def disturb_adapters(learner) -> None:
    """Give the adapters, which start as nothing, something to say."""
    for name, p in learner.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p, std=0.05)


@pytest.mark.parametrize("quantization", ["nf4", "none"])
def test_scoring_adds_the_adapters_to_the_weights_without_a_loss(task, tiny_llama, rows, quantization):
    learner = QLoRA(task, recipe(tiny_llama, quantization=quantization, **FAST))
    fresh = with_head(learner).embed(["a cruel answer"])
    disturb_adapters(learner)
    batch = batch_of(learner, rows[:5])
    learner.module.eval()
    with torch.no_grad():
        plain = learner.module(batch["input_ids"], batch["attention_mask"])["logits"].numpy()
    np.testing.assert_allclose(learner.logits(texts(rows[:5])), plain, atol=1e-4)
    assert abs(learner.embed(["a cruel answer"]) - fresh).max() > 0.01  # the adapters were not left out
    with learner.model.disable_adapter():
        np.testing.assert_allclose(learner.embed(["a cruel answer"]), fresh, atol=1e-5)


FAMILIES = {
    "GPT2LMHeadModel": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256},
    "Qwen3ForCausalLM": {"num_key_value_heads": 2, "head_dim": 16},
    "Gemma3ForCausalLM": {"num_key_value_heads": 2, "head_dim": 16},
    "BloomForCausalLM": {"n_head": 4},
    "CohereForCausalLM": {"num_key_value_heads": 2},
    "GPTNeoXForCausalLM": {},
    "ModernBertModel": {"pad_token_id": 0},
}


def of_family(name: str, tokenizer: Path, folder: Path) -> str:
    """Folder with a tiny model of that family, random weights."""
    import transformers

    shape = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    kind = getattr(transformers, name)
    kind(kind.config_class(vocab_size=320, **(shape | FAMILIES[name]))).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("quantization", ["nf4", "none"])
@pytest.mark.parametrize("family", FAMILIES)
def test_models_of_other_families_score_what_they_read(task, tiny_llama, rows, tmp_path, family, quantization):
    folder = of_family(family, tiny_llama, tmp_path)
    learner = QLoRA(task, recipe(folder, quantization=quantization, **FAST | {"epochs": 1}))
    learner.fit(rows[:16])
    disturb_adapters(learner)
    batch = batch_of(learner, rows[:5])
    with torch.no_grad():
        plain = learner.module(batch["input_ids"], batch["attention_mask"])["logits"].numpy()
    np.testing.assert_allclose(learner.logits(texts(rows[:5])), plain, atol=1e-3)


@pytest.mark.parametrize("family", ["GPT2LMHeadModel", "Qwen3ForCausalLM", "Gemma3ForCausalLM", "CohereForCausalLM"])
def test_label_words_of_other_families_are_scored_exactly(task, tiny_llama, rows, tmp_path, family):
    learner = QLoRA(task, recipe(of_family(family, tiny_llama, tmp_path), head="lm", lora_dropout=0.0))
    learner.model.eval()
    disturb_adapters(learner)
    scores = learner.logits(texts(rows[:3]))
    for i, text in enumerate(texts(rows[:3])):
        for k, word in enumerate(learner.encoding.label_words()):
            ids = learner.encoding.prefix() + learner.encoding.texts([text])[0]
            with torch.no_grad():
                logp = learner.model(torch.tensor([ids + word])).logits.float().log_softmax(-1)
            expected = sum(logp[0, len(ids) + j - 1, token].item() for j, token in enumerate(word))
            assert scores[i, k] == pytest.approx(expected, abs=2e-3)
    probabilities, embeddings = learner.score(texts(rows[:3]))
    np.testing.assert_allclose(probabilities, learner.predict_proba(texts(rows[:3])), atol=1e-4)
    assert embeddings.shape == (3, 64) and np.isfinite(embeddings).all() and embeddings.std(0).min() > 0


def test_positions_by_alibi_are_refused_for_label_words(task, tiny_llama, tmp_path):
    bloom = recipe(of_family("BloomForCausalLM", tiny_llama, tmp_path), head="lm")
    with pytest.raises(UserError, match=r"ALiBi.*set head: classifier"):
        QLoRA(task, bloom).predict_proba(["one"])
    assert zero_shot(task, replace(bloom, head="classifier"), ["one", "two"]).shape == (2, 2)


@pytest.mark.parametrize("small", [True, False])
def test_training_with_folded_adapters_has_the_gradients_of_three_products(task, tiny_llama, rows, small, monkeypatch):
    learner = with_head(QLoRA(task, recipe(tiny_llama, **FAST)))
    disturb_adapters(learner)
    batch = batch_of(learner, rows[:5])
    monkeypatch.setattr(cpu, "SMALL", 2**27 if small else 0)

    def gradients():
        learner.module.zero_grad()
        learner.module(**batch)["loss"].backward()
        return {n: p.grad.clone() for n, p in learner.module.named_parameters() if p.requires_grad}

    plain = gradients()
    with cpu.folded(learner.module, keep=False):
        inside = gradients()
        learner.logits(texts(rows[:3]))  # scoring in the middle of training
        again = gradients()
    assert sum("lora_" in n for n in plain) == 28 and all(g.abs().max() > 0 for g in plain.values())
    for name, gradient in plain.items():
        scale = gradient.abs().max()
        torch.testing.assert_close(inside[name], gradient, atol=1e-4 * scale, rtol=1e-3)
        assert torch.equal(inside[name], again[name])


def test_batches_of_like_length_pad_little_and_leave_no_row_out():
    lengths = np.random.default_rng(0).integers(20, 330, 170).tolist()
    order = list(ByLength(lengths, 16))
    batches = [order[k : k + 16] for k in range(0, 170, 16)]
    assert sorted(order) == list(range(170)) and order != list(ByLength(lengths, 16))
    assert sum(max(lengths[i] for i in b) * len(b) for b in batches) < 1.25 * sum(lengths)
    assert sorted(ByLength(lengths[:5], 16)) == list(range(5))


def test_label_words_are_scored_exactly_with_the_prefix_computed_once(task, tiny_llama):
    learner = QLoRA(task, recipe(tiny_llama, head="lm", token_budget=64))  # the prefix serves many batches
    learner.model.eval()
    disturb_adapters(learner)
    words = learner.encoding.label_words()
    assert max(map(len, words)) > 1  # several tokens a label word
    for text in ("kind", "a much longer and rather cruel answer was sent by mail"):
        for k, word in enumerate(words):
            ids = learner.encoding.prefix() + learner.encoding.texts([text])[0]
            with torch.no_grad():
                logp = learner.model(torch.tensor([ids + word])).logits.float().log_softmax(-1)
            expected = sum(logp[0, len(ids) + j - 1, token].item() for j, token in enumerate(word))
            assert learner.logits([text, "other"])[0, k] == pytest.approx(expected, abs=1e-3)


def test_many_label_words_take_several_passes_with_the_same_scores(tiny_llama, monkeypatch):
    """All of them behind one text would take memory by the square of their tokens."""
    labels = tuple(f"class number {i}" for i in range(40))
    task = Task("t", labels, labels[0], tuple(f" {label}" for label in labels), "{text}\n")
    learner = QLoRA(task, recipe(tiny_llama, head="lm", token_budget=256))
    disturb_adapters(learner)
    words, sample = learner.encoding.label_words(), ["kind", "a much longer and rather cruel answer", "other"]
    groups = label_words.word_groups(words)
    assert len(groups) > 5 and [k for group in groups for k in group] == list(range(40))
    assert max(sum(len(words[k]) - 1 for k in group) for group in groups) <= label_words.MOST_BEHIND
    scores, embeddings = learner.score(sample)
    monkeypatch.setattr(label_words, "MOST_BEHIND", 10**6)
    assert len(label_words.word_groups(words)) == 1
    at_once, same_embeddings = learner.score(sample)
    np.testing.assert_allclose(scores, at_once, atol=1e-5)
    np.testing.assert_allclose(embeddings, same_embeddings, atol=1e-4)
    monkeypatch.setattr(label_words, "MOST_BEHIND", 1)
    np.testing.assert_allclose(learner.score(sample)[0], at_once, atol=1e-5)


def test_training_after_scoring_has_true_gradients(task, tiny_llama, rows):
    """On CPUs with AVX512-BF16, bitsandbytes repacks weights at the first scoring pass and then loses gradients."""
    learner = QLoRA(task, recipe(tiny_llama, **FAST))
    learner.embed(texts(rows[:4]))
    batch = batch_of(with_head(learner), rows[:4])
    disturb_adapters(learner)
    learner.module.eval()
    learner.module(**batch)["loss"].backward()
    weight = next(p for n, p in learner.model.named_parameters() if "layers.0" in n and "lora_A" in n)
    at, step = np.unravel_index(weight.grad.abs().argmax().item(), weight.shape), 1e-2
    losses = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[at] += sign * step
            losses.append(learner.module(**batch)["loss"].item())
            weight[at] -= sign * step
    assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(weight.grad[at].item(), rel=0.05)


def test_held_out_rows_are_checked(learner, rows):
    learner.fit(rows[:40])
    embeddings, probabilities, classes = learner.checked()
    assert learner.task.index([r["label"] for r in learner.held_out_rows]) == classes.tolist()
    assert embeddings.shape == (6, 64) and probabilities.shape == (6, 2) and set(classes) == {0, 1}
    np.testing.assert_allclose(probabilities, learner.predict_proba(texts(learner.held_out_rows)), atol=1e-6)


@pytest.mark.parametrize("head", ["classifier", "lm"])
def test_one_pass_gives_scores_and_embeddings(task, tiny_llama, rows, head):
    learner = QLoRA(task, recipe(tiny_llama, head=head, **FAST))
    if head == "classifier":
        with_head(learner)
    disturb_adapters(learner)
    before = learner.tokens_read
    expected = learner.predict_proba(texts(rows[:6]))
    alone = learner.tokens_read - before
    probabilities, embeddings = learner.score(texts(rows[:6]))
    assert learner.tokens_read == before + 2 * alone
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    if head == "classifier":
        np.testing.assert_allclose(embeddings, learner.embed(texts(rows[:6])), atol=1e-5)
        return
    with torch.no_grad():  # behind the prompt, as the words are scored: the whole row at once, without padding
        for row, text in zip(embeddings, texts(rows[:6]), strict=True):
            prefix, own = learner.encoding.prefix(), learner.encoding.texts([text])[0]
            body = learner.model.get_base_model().model
            states = body(input_ids=torch.tensor([prefix + own])).last_hidden_state[0, len(prefix) :]
            np.testing.assert_allclose(row, states.mean(0), atol=1e-4)


def test_tokens_are_counted_and_a_model_is_known_by_its_files(task, tiny_llama, rows, tmp_path):
    learner = QLoRA(task, recipe(tiny_llama))
    learner.embed(texts(rows[:1]))
    once = learner.tokens_read
    learner.embed(texts(rows[:1]))
    assert learner.tokens_read == 2 * once > 10
    facts = learner.embedding_facts()
    assert facts == QLoRA(task, recipe(shutil.copytree(tiny_llama, tmp_path / "moved"))).embedding_facts()
    assert facts != QLoRA(task, recipe(tiny_llama, max_length=99)).embedding_facts()


def test_a_light_model_is_read_by_as_many_threads_as_there_are_cores_and_gives_the_same(
    task, tiny_llama, rows, monkeypatch
):
    texts, results, threads = [r["text"] for r in rows] * 3, [], []
    for cores, light in ((1, 10**7), (4, 10**7), (4, 0)):
        monkeypatch.setattr(cpu, "CORES", cores)
        monkeypatch.setattr(cpu, "LIGHT", light)
        learner = QLoRA(task, recipe(tiny_llama, head_first=True, epochs=1, token_budget=64))
        seen: list[tuple[int, int]] = []
        note = lambda *_, seen=seen: seen.append((threading.get_ident(), torch.get_num_threads()))  # noqa: E731
        learner.model.get_input_embeddings().register_forward_hook(note)
        learner.fit(rows)
        trained = {count for _, count in seen}
        seen.clear()
        results.append((learner.logits(texts), learner.tokens_read))
        threads.append((trained, len({thread for thread, _ in seen}) > 1))
    assert threads == [({1}, False), ({1}, True), ({4}, False)]
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1] == results[2][1]


def test_long_odd_and_empty_texts(learner, rows):
    learner.fit(rows[:40])
    odd = ["x" * 100_000, "", "שלום 🧑🏽‍🍳", "a\u0000b"]
    assert np.isfinite(learner.predict_proba(odd)).all() and learner.predict_proba([]).shape == (0, 2)


def test_generation_continues_every_prompt_alike_alone_and_in_a_batch(task, tiny_llama):
    learner = QLoRA(task, recipe(tiny_llama, head="lm"))
    prompts = ["The kind", "A rather long prompt about a mean answer", "x"]
    assert learner.generate(prompts, 6) == [learner.generate([p], 6)[0] for p in prompts]
    with pytest.raises(UserError, match="classifier head cannot write"):
        QLoRA(task, recipe(tiny_llama)).generate(prompts)


def test_solved_examples_stand_before_the_text(task, tiny_llama, rows):
    asked, shown = texts(rows[10:13]), [rows[:2]] * 3
    solved = "".join(
        f"{task.prompt.replace('{text}', r['text'])}{w}\n\n" for r, w in zip(rows, task.label_words, strict=False)
    )
    assert [r["label"] for r in rows[:2]] == list(task.labels)
    longer = recipe(tiny_llama, max_length=3 * 256)
    expected = zero_shot(replace(task, prompt=solved + task.prompt), longer, asked)
    found = few_shot(task, recipe(tiny_llama), asked, shown)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not np.allclose(found, zero_shot(task, recipe(tiny_llama), asked), rtol=0.01, atol=0)


def test_untuned_base_answers_with_probabilities(task, tiny_llama, rows):
    answers = zero_shot(task, recipe(tiny_llama), texts(rows[:5]))
    np.testing.assert_allclose(answers.sum(1), 1)


def test_a_mistake_gets_a_sentence(task, tiny_llama, rows, tmp_path):
    with pytest.raises(UserError, match=r"is a folder that does not exist"):
        load_base(recipe(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="head='both' must be one of"):
        Recipe.from_params(SETTINGS | {"head": "both"})
    with pytest.raises(UserError, match="Parameter epochs is missing"):
        Recipe.from_params({name: value for name, value in SETTINGS.items() if name != "epochs"})
    learner = QLoRA(task, recipe(tiny_llama))
    with pytest.raises(UserError, match="all of one class"):
        learner.fit([r for r in rows if r["label"] == "bad"])
    with pytest.raises(UserError, match="not been trained"):
        learner.save(tmp_path)
    with pytest.raises(UserError, match="run 03_active_learning first"):
        QLoRA.load(tmp_path)


@pytest.mark.parametrize("name", ["03_active_learning", "03_active_generation"])
def test_the_parameters_of_a_notebook_are_a_recipe(name):
    parameters = notebook_parameters(ROOT / "notebooks" / f"{name}.ipynb")
    settings = Recipe.from_params(parameters)
    assert settings.model == EMBEDDED and (settings.epochs, settings.learning_rate) == (
        parameters["epochs"],
        parameters["learning_rate"],
    )


def test_a_base_that_is_only_read_needs_no_settings_of_training(task, tiny_llama, rows):
    reader = QLoRA(task, Recipe.for_reading(str(tiny_llama)))
    trainer = QLoRA(task, recipe(tiny_llama))
    np.testing.assert_array_equal(reader.embed(texts(rows[:4])), trainer.embed(texts(rows[:4])))
    assert reader.embedding_facts() == trainer.embedding_facts()
    with pytest.raises(UserError, match="quantization='int8' must be one of"):
        Recipe.for_reading(str(tiny_llama), quantization="int8")
    with pytest.raises(TypeError, match="no field 'max_lenght'"):
        Recipe.for_reading(str(tiny_llama), max_lenght=64)


def test_bidirectional_reading_sees_what_follows(task, tiny_llama):
    first_token = {}
    for both_ways in (False, True):
        learner = QLoRA(task, recipe(tiny_llama, bidirectional=both_ways))
        ids = pad(learner.encoding.texts(["kind warm", "kind cold"]), 0)
        with torch.no_grad():
            states = learner.model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        first_token[both_ways] = torch.allclose(states[0, 0], states[1, 0], atol=1e-5)
    assert first_token == {False: True, True: False}


def test_token_batches_hold_the_budget_and_every_text_once():
    lengths = [5, 900, 3, 40, 41, 7]
    batches = list(token_batches(lengths, 100))
    assert sorted(i for b in batches for i in b) == list(range(6))
    assert all(len(b) == 1 or max(lengths[i] for i in b) * len(b) <= 100 for b in batches)
    assert [len(b) for b in token_batches([10] * 30 + [40] * 20, 2000)] == [
        30,
        20,
    ]  # the long would pad the short
    assert [len(b) for b in token_batches([10] * 5 + [40] * 5, 2000)] == [10]  # too few to be a batch of their own


def test_temperature_mends_overconfidence():
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 2, 400)
    logits = np.eye(2)[np.where(rng.random(400) < 0.75, classes, 1 - classes)] * 8  # 75 % right, 99.97 % sure
    temperature = fit_temperature(logits, classes)
    assert softmax(logits / temperature).max(1).mean() == pytest.approx(0.75, abs=0.02)
    few = np.array([[2.0, 0.0]] * 12)  # answered rightly, all of them: no reason for certainty
    assert 0.5 < fit_temperature(few, np.zeros(12, dtype=int)) < 1


def test_holdout_is_stratified_steady_and_spares_small_classes():
    classes, keys = np.array([0] * 40 + [1] * 20), np.random.default_rng(0).permutation(90)
    train, held_out = holdout(classes, 0.2, keys[:60])
    assert len(held_out) == 12 and sorted([*train, *held_out]) == list(range(60))
    assert len(holdout(np.array([0] * 40 + [1] * 3), 0.2, keys[:43])[1]) == 0
    more = holdout(np.append(classes, [0] * 20 + [1] * 10), 0.2, keys)[1]
    assert len(more) == 18 and len(set(more) & set(train)) <= 3  # what was trained on is hardly ever held out later


def test_a_warm_start_goes_on_from_the_weights_on_the_disk(task, tiny_llama, rows, tmp_path):
    learner = QLoRA(task, recipe(tiny_llama, **FAST | {"epochs": 6}))
    learner.fit(rows[:40], seed=3)
    before = learner.logits(texts(rows[:10]))
    learner.save(tmp_path / "first")
    report = learner.fit(rows[:60], seed=4, warm=True)
    after = learner.logits(texts(rows[:10]))
    assert report["epochs"] == 2 and not np.allclose(after, before)
    again = QLoRA.load(tmp_path / "first")
    again.fit(rows[40:90], seed=5)
    again.restore(tmp_path / "first")
    np.testing.assert_array_equal(again.logits(texts(rows[:10])), before)
    again.fit(rows[:60], seed=4, warm=True)
    np.testing.assert_array_equal(again.logits(texts(rows[:10])), after)
    assert again.temperature == learner.temperature


def test_nf4_works_on_this_machine():
    assert check_nf4().startswith("works")


def test_nll_is_the_mean_token_loss_of_each_text(task, tiny_llama):
    learner = QLoRA(task, recipe(tiny_llama, head="lm", bidirectional=False, token_budget=40))
    texts = ["The kind warm answer was sent by mail.", "good", "", "Judge the text. very bad " * 5]
    alone = []
    for text in texts:
        start = learner.tokenizer.bos_token
        ids = torch.tensor([learner.tokenizer(start + text, add_special_tokens=False)["input_ids"]])
        with torch.no_grad():
            alone.append(learner.model(input_ids=ids, labels=ids).loss.item() if ids.shape[1] > 1 else np.nan)
    np.testing.assert_allclose(learner.nll(texts), alone, rtol=1e-4)


@pytest.mark.parametrize("settings", [{"head": "classifier"}, {"head": "lm", "bidirectional": True}])
def test_a_model_that_reads_both_ways_has_no_perplexity(task, tiny_llama, settings):
    with pytest.raises(UserError, match="has no perplexity"):
        QLoRA(task, recipe(tiny_llama, **settings)).nll(["text"])


@pytest.mark.parametrize("shape", [(64, 224), (6, 172), (5, 48), (3, 10), (128, 64)])
def test_a_weight_is_unpacked_in_the_blocks_it_was_packed_in(shape):
    from bitsandbytes.functional import get_4bit_type, quantize_4bit

    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    packed, state = quantize_4bit(weight, blocksize=64, quant_type="nf4")
    steps, flat = get_4bit_type("nf4", device="cpu"), weight.flatten()
    scaled = torch.cat([block / block.abs().max() for block in flat.split(64)])
    nearest = steps[(scaled.unsqueeze(1) - steps).abs().argmin(1)]
    largest = torch.cat([block.abs().max().expand(len(block)) for block in flat.split(64)])
    torch.testing.assert_close(cpu.unpacked(packed, state), (nearest * largest).view(shape))


def test_rows_of_any_length_are_read_in_4_bits(task, tiny_llama, rows, tmp_path):
    """A block that goes over the end of a row: the 4-bit model answers like the one in full precision."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 4}
    LlamaForCausalLM(LlamaConfig(vocab_size=320, initializer_range=0.1, **sizes)).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_llama).save_pretrained(tmp_path)
    whole, packed = (load_base(recipe(tmp_path, quantization=q))[0] for q in ("none", "nf4"))
    for name, layer in packed.named_modules():
        if "bitsandbytes" in type(layer).__module__:
            before = whole.get_submodule(name).weight
            assert (cpu.dequantized(layer) - before).norm() < 0.12 * before.norm()
            states = torch.randn(3, layer.in_features, requires_grad=True)
            torch.testing.assert_close(layer(states), states @ cpu.dequantized(layer).T)
            (gradient,) = torch.autograd.grad(layer(states).sum(), states)
            torch.testing.assert_close(gradient[0], cpu.dequantized(layer).sum(0))
    learner = QLoRA(task, recipe(tmp_path, lora_dropout=0.1))
    plain = QLoRA(task, recipe(tmp_path, quantization="none", lora_dropout=0.1))
    ours, theirs = (each.embed(texts(rows[:20])) for each in (learner, plain))
    assert np.linalg.norm(ours - theirs) < 0.4 * np.linalg.norm(theirs)


def test_an_adapter_of_another_embedded_base_is_refused(task, rows, tmp_path):
    learner = QLoRA(task, recipe(**FAST | {"epochs": 1}))
    learner.fit(rows[:16])
    learner.save(tmp_path / "adapter")
    np.testing.assert_array_equal(
        QLoRA.load(tmp_path / "adapter").logits(texts(rows[:4])), learner.logits(texts(rows[:4]))
    )
    facts = json.loads((tmp_path / "adapter" / "learner.json").read_text())
    renamed = facts | {"recipe": facts["recipe"] | {"model": "embedded:italian_jobs", "distil_temperature": 1.0}}
    for other in (facts | {"base": "0" * 64}, {k: v for k, v in facts.items() if k != "base"}, renamed):
        (tmp_path / "adapter" / "learner.json").write_text(json.dumps(other))
        with pytest.raises(UserError, match="another version of the embedded base"):
            QLoRA.load(tmp_path / "adapter")
