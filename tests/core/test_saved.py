"""Adapters from strangers: whatever is damaged, absurd or a pickle is refused in a sentence, before memory is asked for."""

import json
import os
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.core import saved
from helpers.core.qlora import QLoRA
from helpers.core.recipe import check_model
from helpers.core.writer import Writer
from helpers.env import UserError
from helpers.task import Task
from tests.core.recipes import recipe


@pytest.fixture(scope="module")
def adapter(task, tiny_llama, rows, tmp_path_factory):
    learner = QLoRA(task, recipe(tiny_llama, epochs=1))
    learner.fit(rows[:16])
    return learner.save(tmp_path_factory.mktemp("saved") / "adapter")


@pytest.fixture
def copy(adapter, tmp_path):
    return shutil.copytree(adapter, tmp_path / "adapter")


def edit_facts(folder, **changes):
    """Set values of learner.json; a key such as `recipe.lora_r` names one of a part."""
    path = folder / "learner.json"
    facts = json.loads(path.read_text())
    for key, value in changes.items():
        part, _, name = key.rpartition("__")
        (facts[part] if part else facts)[name] = value
    path.write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"recipe__lora_r": 1_000_000}, "lora_r=1000000 must lie between 1 and 1,024"),
        ({"recipe__lora_r": 0}, "lora_r=0 must lie"),
        ({"recipe__lora_r": "8"}, "recipe.lora_r: Input should be a valid integer"),
        ({"recipe__lora_dropout": float("nan")}, "lora_dropout=nan must lie"),
        ({"recipe__max_length": 10**12}, "max_length=1000000000000 must lie"),
        ({"recipe__pooling": "last"}, "pooling='last' must be one of evidence, mean"),
        ({"recipe__head": ["lm"]}, "recipe.head: Input should be a valid string"),
        ({"recipe": {}}, "recipe.model: Field required"),
        ({"recipe": []}, "recipe"),
        ({"task__labels": ["good"]}, "needs at least two labels"),
        ({"task__labels": "good"}, "task.labels"),
        ({"task__positive": "ugly"}, "positive_label='ugly' is not one of the labels"),
        ({"task__prompt": "no place"}, "prompt must contain"),
        ({"task": None}, "task"),
        ({"temperature": 0}, "has temperature 0"),
        ({"temperature": 1e-300}, "has temperature 1e-300"),
        ({"task__labels": [f"c{i}" for i in range(20_000)]}, "20,000 labels are more than 10,000"),
        ({"task__labels": [], "task__label_words": []}, "a classifier without labels"),
        ({"temperature": float("inf")}, "has temperature inf"),
        ({"temperature": "1"}, "temperature: Input should be a valid number"),
        ({"seed": None}, "seed: Input should be a valid integer"),
    ],
    ids=str,
)
def test_absurd_facts_are_a_sentence(copy, changes, words):
    edit_facts(copy, **changes)
    with pytest.raises(UserError, match=r"learner\.json") as error:
        QLoRA.load(copy)
    assert words in str(error.value)


def test_batches_and_texts_of_a_stranger_fit_this_machine(copy, monkeypatch):
    monkeypatch.setattr(saved.env, "machine", lambda: {"ram_gib": 4.0})
    edit_facts(copy, recipe__token_budget=16_777_216, recipe__max_length=8192)
    assert saved.read_facts(copy).recipe.token_budget == 8192
    edit_facts(copy, recipe__max_length=1_048_576)
    with pytest.raises(UserError, match=r"max_length 1,048,576 is more than the 8,192 tokens for which this machine"):
        saved.read_facts(copy)
    assert saved.read_facts(copy, max_length=512).recipe.max_length == 512


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "[" * 100_000, "\x00"], ids=range(6))
def test_damaged_facts_are_a_sentence(copy, content):
    (copy / "learner.json").write_text(content)
    with pytest.raises(UserError, match="does not describe a learner"):
        QLoRA.load(copy)


@pytest.mark.parametrize("name", ["head.safetensors", "learner.json", "adapter_model.safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_files_that_are_none_and_links_that_lead_out_are_refused(copy, tmp_path, name, kind):
    (copy / name).rename(tmp_path / "elsewhere")
    os.mkfifo(copy / name) if kind == "pipe" else (copy / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"no file that can be read|leads out|needs its weights|no saved learner"):
        QLoRA.load(copy)


class Payload:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code of the adapter ran')",))


def test_pickled_weights_are_refused_by_name(copy):
    (copy / "adapter_model.safetensors").unlink()
    (copy / "adapter_model.bin").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(UserError, match=r"it has adapter_model\.bin, and a pickle can run code"):
        QLoRA.load(copy)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "head.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "empty", "header", "shape", "more", "fewer", "nan", "huge", "double"])
def test_weights_that_do_not_fit_are_a_sentence(copy, name, damage):
    path = copy / name
    content, tensors = path.read_bytes(), load_file(path)
    first = sorted(tensors)[0]
    if damage == "cut":
        path.write_bytes(content[:-20])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "header":
        path.write_bytes(b"\xff" * 8 + content[8:])
    elif damage == "shape":
        save_file(tensors | {first: torch.zeros(3, 5)}, path)
    elif damage == "more":
        save_file(tensors | {"base.weight": torch.zeros(2)}, path)
    elif damage == "fewer":
        save_file({k: v for k, v in tensors.items() if k != first}, path)
    elif damage == "nan":
        save_file(tensors | {first: torch.full_like(tensors[first], float("nan"))}, path)
    elif damage == "huge":
        save_file(tensors | {first: torch.full_like(tensors[first], 3e38)}, path)
    elif damage == "double":
        save_file({k: v.double() for k, v in tensors.items()}, path)
    with pytest.raises(UserError, match="train it again, or copy the folder anew"):
        QLoRA.load(copy)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_base_that_changed_since_the_training_is_refused(tiny_llama, rows, task, tmp_path, name):
    base = shutil.copytree(tiny_llama, tmp_path / "base")
    learner = QLoRA(task, recipe(base, epochs=1))
    learner.fit(rows[:16])
    folder = learner.save(tmp_path / "adapter")
    (base / "README.md").write_text("a page")
    expected = QLoRA.load(folder).logits(["kind"])
    content = (base / name).read_bytes()
    if name == "model.safetensors":
        save_file({k: v + 0.1 for k, v in load_file(base / name).items()}, base / name, metadata={"format": "pt"})
    else:
        (base / name).write_bytes(content + b" ")
    with pytest.raises(UserError, match=r"was trained on another version of the base .*put that version back"):
        QLoRA.load(folder)
    (base / name).write_bytes(content)
    moved = base.rename(tmp_path / "moved")
    assert (QLoRA.load(folder, model=str(moved)).logits(["kind"]) == expected).all()


def test_an_adapter_that_recorded_no_base_loads(copy):
    edit_facts(copy, base=None)
    assert QLoRA.load(copy).base.startswith("folder ")


def test_a_base_of_the_hub_is_loaded_as_it_was_at_the_training(copy):
    edit_facts(copy, base="commit 1f2e", recipe__model="owner/name", recipe__revision="")
    assert saved.read_facts(copy).recipe.revision == "1f2e"
    assert saved.read_facts(copy, revision="main").recipe.revision == "main"
    assert saved.is_other_base("commit 1", "commit 2") and not saved.is_other_base("commit 1", "folder 1")


@pytest.mark.parametrize("name", ["../outside.bin", "pytorch_model.bin", "../model.safetensors", 3, None])
def test_weights_outside_the_folder_of_a_model_are_refused(tiny_llama, tmp_path, task, name):
    folder = shutil.copytree(tiny_llama, tmp_path / "base")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, tmp_path / "outside.bin")
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, name)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"only weights in \.safetensors beside it are loaded"):
        QLoRA(task, recipe(folder))


@pytest.mark.parametrize(
    "changes", [{"hidden_size": -1}, {"pad_token_id": 10**9}, {"num_hidden_layers": "x"}, []], ids=str
)
def test_a_strangers_config_is_a_sentence(tiny_llama, tmp_path, task, changes):
    folder = shutil.copytree(tiny_llama, tmp_path / "base")
    facts = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(changes if changes == [] else facts | changes))
    with pytest.raises(UserError, match="could not be loaded"):
        QLoRA(task, recipe(folder))


@pytest.mark.parametrize("model", ["./base", "../base", "/no/such/base", "here/base", "a/b/c", "C:\\models\\base"])
def test_a_path_is_never_taken_for_a_hub_id(copy, tmp_path, monkeypatch, model):
    monkeypatch.setenv("AMBO_ROOT", str(tmp_path))
    (tmp_path / "here").mkdir()
    asked = []
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *a, **k: asked.append(a))
    with pytest.raises(UserError, match="is a folder that does not exist"):
        check_model(model)
    edit_facts(copy, recipe__model=model)
    with pytest.raises(UserError, match="is a folder that does not exist"):
        QLoRA.load(copy)
    assert not asked
    check_model("owner/name")
    assert asked


def test_a_folder_without_weights_is_not_looked_for_on_a_hub(copy, monkeypatch):
    monkeypatch.chdir(copy.parent)
    (copy / "adapter_model.safetensors").unlink()
    with pytest.raises(UserError, match="it is not there"):
        QLoRA.load(copy.relative_to(copy.parent))


def test_a_tagger_that_does_not_fit_is_a_sentence(tiny_llama, tmp_path):
    task = Task("t", (), "", (), "{text}\n", output="edits")
    writer = Writer(task, recipe(tiny_llama, head="lm", bidirectional=True, epochs=1))
    writer.fit([{"text": "a b", "target": "a c"}, {"text": "b b", "target": "b c"}])
    folder = writer.save(tmp_path / "writer")
    save_file({"other": torch.zeros(1)}, folder / "head.safetensors")
    with pytest.raises(UserError, match=r"does not fit its learner\.json"):
        Writer.load(folder)
