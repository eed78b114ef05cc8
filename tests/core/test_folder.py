"""Models from strangers: nothing in their folder runs, nothing outside it is read, and odd tokenizers work."""

import base64
import json
import os
import shutil
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer, BertConfig, BertForMaskedLM, BertModel

from helpers.core import chat
from helpers.core.encoding import written
from helpers.core.qlora import QLoRA
from helpers.core.recipe import check_model
from helpers.core.writer import Writer
from helpers.env import UserError
from helpers.task import Task
from tests.core.recipes import recipe

PLANTED = "import pathlib\npathlib.Path({path!r}).write_text('ran')\n"
PAIRS = [{"text": f"the kind answer {i}", "target": f"the warm answer {i}"} for i in range(8)]
WRITING = Task("t", (), "", (), "{text}\n")


@pytest.fixture
def base(tiny_llama, tmp_path):
    return shutil.copytree(tiny_llama, tmp_path / "base")


def edit(path, **changes):
    """Set keys of a JSON file; None removes one."""
    facts = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in facts.items() if value is not None}))


def refusal(folder, task) -> str:
    """The sentence with which both the check before a run and the loading refuse a folder."""
    with pytest.raises(UserError) as at_check:
        check_model(str(folder))
    with pytest.raises(UserError) as at_load:
        QLoRA(task, recipe(folder))
    assert str(at_check.value) == str(at_load.value)
    return str(at_load.value)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.CKPT"])
def test_a_base_in_pickles_is_refused_by_name(base, task, name):
    torch.save(load_file(base / "model.safetensors"), base / name)
    QLoRA(task, recipe(base))  # beside safetensors it is not read
    (base / "model.safetensors").unlink()
    assert f"has its weights in {name}, and a pickle can run code" in refusal(base, task)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_a_head_that_is_made_anew_is_none_that_is_missing(task, tiny_llama, tmp_path, quantization):
    """An encoder without a pooler, and a decoder's body without its output layer, which the classifier does not read."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    bert = BertConfig(**sizes, num_attention_heads=2, max_position_embeddings=512)
    BertModel(bert, add_pooling_layer=False).save_pretrained(tmp_path / "encoder")
    AutoModel.from_pretrained(tiny_llama).save_pretrained(tmp_path / "body")
    for name in ("encoder", "body"):
        tokenizer.save_pretrained(tmp_path / name)
        QLoRA(task, recipe(tmp_path / name, quantization=quantization))


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json", "additional_chat_templates"])
def test_a_link_out_of_the_folder_is_refused(base, task, tmp_path, name):
    if (base / name).exists():
        (base / name).rename(tmp_path / name)
    else:
        (tmp_path / name).mkdir()
    (base / name).symlink_to(tmp_path / name)
    if name == "config.json":  # to check_model a folder whose config is elsewhere is a model all the same
        assert (base / name).is_file()
    assert "is a link that leads out of its folder" in refusal(base, task)


def test_a_snapshot_in_the_cache_of_the_hub_may_link_to_its_blobs(tiny_llama, task, tmp_path):
    blobs, snapshot = tmp_path / "models--o--n" / "blobs", tmp_path / "models--o--n" / "snapshots" / "abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for file in tiny_llama.iterdir():
        shutil.copy(file, blobs / f"sha-{file.name}")
        (snapshot / file.name).symlink_to(f"../../blobs/sha-{file.name}")
    check_model(str(snapshot))
    QLoRA(task, recipe(snapshot))


def test_what_is_no_file_is_not_opened(base, task):
    os.mkfifo(base / "generation.json")
    assert "generation.json is no file that can be read" in refusal(base, task)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "vocab.txt", "chat_template.jinja"])
def test_a_file_of_gigabytes_is_not_read(base, task, name):
    (base / name).touch()
    os.truncate(base / name, 20 * 2**30)  # of zeros, which take no place
    assert f"{name} has more than 256 MiB" in refusal(base, task)


def test_an_adapter_leads_to_no_other_base(base, tiny_llama, task):
    (base / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(tiny_llama)}))
    assert "holds an adapter (adapter_config.json), not a model" in refusal(base, task)


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "transformers_weights"])
def test_no_kernel_and_no_weights_from_elsewhere(base, task, key):
    edit(base / "config.json", **{key: "someone/kernel"})
    assert f"has {key}='someone/kernel', which leads elsewhere" in refusal(base, task)


COUNTED = ["num_hidden_layers", "num_hidden_groups", "inner_group_num", "num_feedforward_networks", "n_decoder_blocks"]


@pytest.mark.parametrize("key", COUNTED)
def test_no_layers_beyond_the_weights(base, task, key):
    """A billion layers would fill the memory before the first weight is compared."""
    edit(base / "config.json", **{key: 10**9})
    assert f"has {key}=1000000000, more than its" in refusal(base, task)
    (base / "model.safetensors").write_bytes(b"cut off")
    assert "model.safetensors is damaged" in refusal(base, task)


def test_no_special_tokens_without_end(base, task):
    edit(base / "tokenizer_config.json", additional_special_tokens=[f"<{i}>" for i in range(20_001)])
    assert "has more than 20,000 special tokens: it is damaged" in refusal(base, task)


@pytest.mark.parametrize("model", ["/", "/proc", "~"])
def test_no_folder_is_read_from_end_to_end_that_is_no_model(task, model):
    started = time.perf_counter()
    with pytest.raises(UserError, match=r"is a folder without config\.json: give that of a saved model"):
        QLoRA(task, recipe(model))
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    "facts",
    [
        {"num_labels": 10**9},
        {"text_config": {"num_labels": 10**9}},
        {"id2label": {str(i): "a" for i in range(100_001)}},
        {"label2id": {f"a{i}": i for i in range(100_001)}},
    ],
    ids=["num_labels", "nested", "id2label", "label2id"],
)
def test_no_labels_beyond_sense(base, task, facts):
    edit(base / "config.json", **facts)
    assert "config.json has more than 100,000 labels (" in refusal(base, task)
    edit(base / "config.json", text_config=None, num_labels=1000, id2label=None, label2id=None)
    QLoRA(task, recipe(base))


def without(folder, *words) -> int:
    """Leave out the weights with one of the words in their names; returns their number."""
    tensors = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in tensors.items() if not any(word in name for word in words)}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    return len(tensors) - len(kept)


@pytest.mark.parametrize("quantization", ["nf4", "none"])
@pytest.mark.parametrize("head", ["classifier", "lm"])
@pytest.mark.parametrize("fault", ["mlp", "layers.1.", "embed_tokens", "a layer more"])
def test_no_weights_drawn_at_random(base, task, head, fault, quantization):
    if fault == "a layer more":
        edit(base / "config.json", num_hidden_layers=3)
    else:
        assert without(base, fault)
    with pytest.raises(UserError, match=r"lacks \d+ of its weights \(first: .*which would be drawn at random"):
        QLoRA(task, recipe(base, head=head, quantization=quantization))


def test_an_encoder_without_a_pooler_is_whole(task, tmp_path, tiny_llama):
    config = BertConfig(
        vocab_size=320, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    BertForMaskedLM(config).save_pretrained(tmp_path)
    for file in tiny_llama.glob("tokenizer*"):
        shutil.copy(file, tmp_path)
    QLoRA(task, recipe(tmp_path, lora_r=2))


def replace(one, many):
    return {"type": "Replace", "pattern": {"String": one}, "content": many}


GROWING = {
    "eleven": {"type": "Sequence", "normalizers": [replace("e", "e" * 10)] * 11},
    "nested": {"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": [replace("e", "e" * 9)] * 2}]},
    "long": replace("ab", "a" * 1000),
    "regex": {"type": "Replace", "pattern": {"Regex": ""}, "content": "a" * 65},
    "prepended": {"type": "Prepend", "prepend": "a" * 10**6},
    "map": {
        "type": "Precompiled",
        "precompiled_charsmap": base64.b64encode(b"\4\0\0\0" + b"trie" + b"a\0" + b"a" * 99 + b"\0").decode(),
    },
}


@pytest.mark.parametrize("kind", GROWING)
@pytest.mark.parametrize("part", ["normalizer", "decoder"])
def test_a_tokenizer_that_multiplies_a_text_is_refused(base, task, kind, part):
    edit(base / "tokenizer.json", **{part: GROWING[kind]})
    assert f"tokenizer.json has a {part} that makes more than 64 characters of one" in refusal(base, task)


def test_replacements_of_real_tokenizers_are_none_that_multiply(base, task):
    steps = [
        {"type": "NFKC"},
        {"type": "Prepend", "prepend": "▁"},
        replace(" ", "▁"),
        replace("``", '"'),
        replace("\n", "<newline>"),
    ]
    edit(base / "tokenizer.json", normalizer={"type": "Sequence", "normalizers": steps})
    QLoRA(task, recipe(base))


def template(pieces, ids):
    """A post-processor that puts a special token `pieces` times before a text, each time as `ids` tokens."""
    special = {"<s>": {"id": "<s>", "ids": [1] * ids, "tokens": ["<s>"] * ids}}
    single = [{"SpecialToken": {"id": "<s>", "type_id": 0}}] * pieces + [{"Sequence": {"id": "A", "type_id": 0}}]
    pair = [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"]
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special}


REPEATED = template(0, 1) | {"single": [{"Sequence": {"id": "A", "type_id": 0}}] * 9}


@pytest.mark.parametrize(
    "post_processor",
    [template(200_000, 1), template(1, 1000), {"type": "Sequence", "processors": [REPEATED] * 2}],
    ids=["many", "long", "repeated"],
)
def test_a_tokenizer_that_puts_much_around_a_text_is_refused(base, task, post_processor):
    edit(base / "tokenizer.json", post_processor=post_processor)
    assert "tokenizer.json has a post_processor that puts more than 64 tokens around a text" in refusal(base, task)
    edit(base / "tokenizer.json", post_processor=template(2, 3))
    learner = QLoRA(task, recipe(base))
    assert learner.encoding.texts(["a"])[0][:6] == [1] * 6


ENDLESS_SPLIT = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
ENDLESS_REPLACE = {"type": "Replace", "pattern": {"Regex": "(a*)*$"}, "content": "b"}


@pytest.mark.parametrize(
    "part",
    [
        {"pre_tokenizer": ENDLESS_SPLIT},
        {"normalizer": ENDLESS_REPLACE},
        {"decoder": {"type": "Sequence", "decoders": [{"type": "Fuse"}, ENDLESS_REPLACE]}},
    ],
    ids=["pre_tokenizer", "normalizer", "decoder"],
)
def test_a_tokenizer_that_gives_up_is_named(base, task, part):
    edit(base / "tokenizer.json", **part)
    learner = QLoRA(task, recipe(base, head="lm"))
    text = "a" * 50 + "!"
    with pytest.raises(UserError, match=f"The tokenizer in {base} cannot read or write a text"):
        if "decoder" in part:
            written(learner.tokenizer, AutoTokenizer.from_pretrained(base)(text)["input_ids"])
        else:
            learner.predict_proba([text])


def test_a_model_generates_as_it_is_asked_to(base, task):
    learner = QLoRA(task, recipe(base, head="lm"))
    expected = learner.generate(["The kind answer"], max_new_tokens=5)
    own = {"num_return_sequences": 3, "num_beams": 4, "return_dict_in_generate": True, "stop_strings": ["a"]}
    own |= {"bad_words_ids": [[5]], "min_new_tokens": 5, "repetition_penalty": 2.0, "suppress_tokens": [9]}
    edit(base / "generation_config.json", **own, eos_token_id=[7, -1, 10**9])
    learner = QLoRA(task, recipe(base, head="lm"))
    assert learner.generate(["The kind answer"], max_new_tokens=5) == expected
    assert learner.model.generation_config.eos_token_id == [2, 7]  # an answer still ends where its maker says


ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}x"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (ENDLESS, "has not ended after 8 seconds"),
        ("{{ ('x' * 3000000000)[:1] }}", "MemoryError"),
        ("{{ '%9000000000d' % 1 }}", "MemoryError"),
        ("{% set n = namespace(s='xx') %}{% for a in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}", "MemoryError"),
        ("{{ 'x' * 2000000 }}", "makes 2,000,000 characters of 5"),
        ("{{ raise_exception('no such role') }}", "no such role"),
        ("{% for", "TemplateSyntaxError"),
    ],
)
def test_a_chat_template_ends_and_stays_small(base, task, template, words, monkeypatch):
    monkeypatch.setattr(chat, "SECONDS", 8 if template == ENDLESS else 60)
    edit(base / "tokenizer_config.json", chat_template=template)
    learner = QLoRA(task, recipe(base, head="lm"))
    with pytest.raises(UserError, match="has a chat template that cannot be used") as error:
        learner.generate(["cerca"], max_new_tokens=2)
    assert words in str(error.value) or (words == "MemoryError" and sys.platform != "linux")


def test_the_time_that_a_chat_template_may_take_grows_with_the_prompts(base, monkeypatch):
    monkeypatch.setattr(chat, "SECONDS", 4)  # the process takes one or two of them to start
    monkeypatch.setattr(chat, "SECONDS_EACH", 1)
    slow = "{% for a in range(90000) %}{% endfor %}" * 5
    edit(base / "tokenizer_config.json", chat_template=slow + "{{ messages[0].content }}")
    prompts = [f"prompt {i}" for i in range(250)]
    began = time.time()
    assert chat.in_template(AutoTokenizer.from_pretrained(base), prompts, "m") == prompts
    assert time.time() - began > chat.SECONDS  # else the test proves nothing


def test_a_chat_template_says_what_transformers_says(base, task):
    template = "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content | trim }}\n{% endfor %}"
    template += "{% if add_generation_prompt %}→ {% endif %}"
    edit(base / "tokenizer_config.json", chat_template=template)
    tokenizer = AutoTokenizer.from_pretrained(base)
    prompts = [" è vero?\u2028 ", "a\r\n😀", ""]
    turns = [[{"role": "user", "content": prompt}] for prompt in prompts]
    expected = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert chat.in_template(tokenizer, prompts, "m") == expected


def test_no_tokenizer_file_from_elsewhere(base, task, tmp_path):
    edit(base / "tokenizer_config.json", special_tokens_map_file="/root/.cache/of-the-maker", vocab_file="../maker.txt")
    QLoRA(task, recipe(base))  # what is not on this machine leads nowhere
    (base / "tokenizer.json").rename(tmp_path / "outside.json")
    edit(base / "tokenizer_config.json", tokenizer_file="../outside.json")
    assert "has tokenizer_file='../outside.json', a file elsewhere" in refusal(base, task)


def test_code_beside_a_model_never_runs(base, task, tmp_path):
    ran = tmp_path / "ran"
    for name in ("modeling_evil", "configuration_evil", "tokenization_evil", "__init__"):
        (base / f"{name}.py").write_text(PLANTED.format(path=str(ran)) + "class Evil: pass\n")
    code = {"AutoConfig": "configuration_evil.Evil", "AutoModel": "modeling_evil.Evil"}
    code |= {"AutoModelForCausalLM": "modeling_evil.Evil"}
    edit(base / "config.json", auto_map=code, _name_or_path="/elsewhere/model")
    edit(base / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_evil.Evil", None]})
    QLoRA(task, recipe(base))  # a known kind of model is read by the library's own code
    edit(base / "config.json", model_type="evil", architectures=["Evil"])
    with pytest.raises(UserError, match="could not be loaded"):
        QLoRA(task, recipe(base))
    assert not ran.exists()


# --- tokenizers -------------------------------------------------------------------------------------------------------


def without_special_tokens(base, value):
    """Pad, opening and closing token removed (None) or set to `value`, in tokenizer and configuration."""
    for name in ("pad", "bos", "eos"):
        edit(base / "tokenizer_config.json", **{f"{name}_token": value})
        edit(base / "config.json", **{f"{name}_token_id": None})
        if (base / "generation_config.json").exists():
            edit(base / "generation_config.json", **{f"{name}_token_id": None})
    facts = json.loads((base / "config.json").read_text())
    facts |= {f"{name}_token_id": None for name in ("pad", "bos", "eos")}  # a Llama has defaults of its own
    (base / "config.json").write_text(json.dumps(facts))


@pytest.mark.parametrize("value", [None, ""])
@pytest.mark.parametrize("head", ["classifier", "lm"])
def test_a_tokenizer_without_special_tokens_trains_and_scores(base, task, rows, value, head):
    without_special_tokens(base, value)
    learner = QLoRA(task, recipe(base, head=head, epochs=1))
    learner.fit(rows[:16])
    probabilities = learner.predict_proba([rows[0]["text"], "", "a longer text than the others, by a few words"])
    assert probabilities.shape == (3, 2) and np.isfinite(probabilities).all()
    alone = learner.predict_proba([rows[0]["text"]])
    assert np.allclose(alone[0], probabilities[0], atol=1e-4)  # padding changes nothing
    assert learner.embed([rows[0]["text"], "a"]).shape[0] == 2


@pytest.mark.parametrize("value", [None, ""])
def test_a_writer_without_a_closing_token_takes_that_of_the_model_or_says_so(base, value):
    without_special_tokens(base, value)
    with pytest.raises(UserError, match="has no eos_token, so a writer could not learn where to end"):
        Writer(WRITING, recipe(base, head="lm"))
    edit(base / "config.json", eos_token_id=2)
    writer = Writer(WRITING, recipe(base, head="lm", epochs=1, max_new_tokens=8))
    assert writer.tokenizer.eos_token_id == 2
    writer.fit(PAIRS)
    assert len(writer.write([p["text"] for p in PAIRS])) == len(PAIRS)
    assert np.isfinite(writer.nll(["the kind answer"], ["the warm answer"])).all()
