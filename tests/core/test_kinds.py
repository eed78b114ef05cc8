"""The kinds of exclusion beside the label: learned, saved, read back, shown by `predict`, and absent in older adapters."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.core.detector import Detector, load_detector
from helpers.core.kinds import FEWEST, Kinds
from helpers.core.qlora import QLoRA
from helpers.env import UserError
from tests.core.recipes import recipe

KINDS = {"age": "young", "origin": "local"}


def labelled(rows: list[dict]) -> list[dict]:
    """Every bad row is about age, origin or both, and says so in words."""
    kept = []
    for i, row in enumerate(rows):
        own = [["age"], ["origin"], ["age", "origin"]][i // 2 % 3] if row["label"] == "bad" else []
        words = " ".join(KINDS[kind] for kind in own)
        kept.append(row | {"text": f"{row['text']} {words}".strip()} | ({"kinds": own} if own else {}))
    return kept


@pytest.fixture(scope="module", params=["evidence", "mean", "lm"])
def learner(request, task, tiny_llama, rows) -> QLoRA:
    head = {"head": "lm"} if request.param == "lm" else {"pooling": request.param}
    learner = QLoRA(task, recipe(tiny_llama, max_length=64, epochs=2, learning_rate=3e-3, **head))
    learner.fit(labelled(rows)[:80])
    learner.fit_kinds(labelled(rows)[:80])
    return learner


def test_several_kinds_are_learned_beside_the_label(learner, rows):
    test = labelled(rows)[80:]
    assert learner.kinds.names == ("age", "origin")
    scores = learner.predict_kinds([r["text"] for r in test])
    np.testing.assert_allclose(scores[:, :2], learner.predict_proba([r["text"] for r in test]), atol=1e-6)
    bad = [i for i, r in enumerate(test) if r["label"] == "bad"]
    has = np.array([["age" in test[i]["kinds"], "origin" in test[i]["kinds"]] for i in bad])
    if learner.recipe.pooling == "mean" and learner.recipe.head != "lm":
        assert ((scores[bad, 2:] >= 0.5) == has).mean() > 0.7
    assert ((scores[:, 2:] >= 0) & (scores[:, 2:] <= 1)).all()


def test_the_table_has_kinds_for_the_class_looked_for_alone(learner, rows, tmp_path):
    texts = [r["text"] for r in labelled(rows)[:20]] + ["", "a", "long " * 400]
    table = Detector(learner).predict(texts)
    assert list(table.columns) == ["answer", "confidence", "p_good", "p_bad", "kinds"] == [*Detector(learner).columns]
    assert table.kinds[20] is None and (table.kinds[table.answer == "good"] == "").all()
    assert set("; ".join(table.kinds[table.answer == "bad"]).split("; ")) <= {"age", "origin", ""}
    facts = {"source": "t.csv", "texts": "digest", "rows": len(texts)}
    (tmp_path / "adapter").write_text("")
    detector = Detector(learner, tmp_path / "adapter")
    with detector.predict_recorded(lambda: [texts[:9], texts[9:]], facts, tmp_path / "p") as (following, _):
        recorded, _ = following(len(texts))
    assert recorded.kinds.tolist() == table.kinds.tolist() and list(recorded.columns) == list(table.columns)


def test_saved_kinds_are_read_back_and_an_older_adapter_has_none(learner, rows, tmp_path):
    learner.save(tmp_path / "adapter")
    texts = [r["text"] for r in labelled(rows)[:10]]
    detector = load_detector(tmp_path / "adapter")
    np.testing.assert_allclose(detector.learner.predict_kinds(texts), learner.predict_kinds(texts), atol=1e-5)
    older = shutil.copytree(tmp_path / "adapter", tmp_path / "older")
    (older / "kinds.safetensors").unlink()
    with pytest.raises(UserError, match=r"kinds\.safetensors cannot be read"):
        load_detector(older)
    facts = json.loads((older / "learner.json").read_text())
    del facts["kinds"]
    (older / "learner.json").write_text(json.dumps(facts))
    assert list(load_detector(older).predict(texts).columns) == ["answer", "confidence", "p_good", "p_bad"]


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        (["age", "age"], "2 kinds, where at most 100 can be, all different"),
        ([""], "1 kinds"),
        ([f"k{i}" for i in range(200)], "200 kinds"),
        ("age", "kinds"),
        (["age"], r"bias has shape \(2,\) there and \(1,\)"),
    ],
    ids=str,
)
def test_kinds_of_a_stranger_that_do_not_fit_are_a_sentence(learner, tmp_path, kinds, words):
    folder = learner.save(tmp_path / "adapter")
    facts = json.loads((folder / "learner.json").read_text())
    (folder / "learner.json").write_text(json.dumps(facts | {"kinds": kinds}))
    with pytest.raises(UserError, match=words):
        QLoRA.load(folder)


def test_weights_that_no_training_leaves_are_refused(learner, tmp_path):
    folder = learner.save(tmp_path / "adapter")
    tensors = load_file(folder / "kinds.safetensors")
    save_file(tensors | {"bias": torch.full_like(tensors["bias"], torch.nan)}, folder / "kinds.safetensors")
    with pytest.raises(UserError, match="values that no training leaves"):
        QLoRA.load(folder)


def test_rare_kinds_are_not_learned_and_a_new_training_forgets(task, tiny_llama, rows):
    states, few = np.random.default_rng(0).normal(size=(12, 4)), FEWEST - 1
    assert Kinds.fit(states, [["age"]] * few + [["origin"]] * (12 - few)) is None
    assert Kinds.fit(states, [["age"]] * 12) is None  # nothing to tell it from
    assert Kinds.fit(states, [["age"]] * FEWEST + [["origin"]] * (12 - FEWEST)).names == ("age", "origin")
    learner = QLoRA(task, recipe(tiny_llama, epochs=1, max_length=64))
    learner.fit(rows[:32])
    learner.fit_kinds(rows[:32])
    assert learner.kinds is None and learner.predict_kinds(["a"]).shape == (1, 2)
    learner.fit_kinds(labelled(rows)[:32])
    assert learner.kinds
    learner.fit(rows[:32])
    assert learner.kinds is None
