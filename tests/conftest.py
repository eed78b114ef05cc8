"""Shared by the tests: a task, a tiny real checkpoint, and where real data may lie."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

# What is compared to the last digit is compared on the CPU; `make test-gpu` lets the GPU be seen.
if not os.environ.get("AMBO_TEST_GPU"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

from helpers.task import Task

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"  # optional; tests that use it skip where it is absent


@pytest.fixture
def task() -> Task:
    return Task("t", ("good", "bad"), "bad", (" good", " very bad"), "Judge the text.\nText: {text}\nAnswer:")


@pytest.fixture(scope="session")
def rows() -> list[dict]:
    """120 labelled records that any learner can tell apart."""
    rng = random.Random(0)
    words = {"good": ["kind", "warm", "gentle", "fair"], "bad": ["cruel", "cold", "rude", "mean"]}
    out = []
    for i in range(120):
        label = ("good", "bad")[i % 2]
        text = f"The {rng.choice(words[label])} and {rng.choice(words[label])} answer number {i} was sent by mail."
        out.append({"id": f"r{i}", "text": text, "label": label, "group": "ab"[i % 3 == 0], "split": "pool"})
    return out


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory) -> Path:
    """A Llama checkpoint with random weights and a tokenizer trained on a few words: real files, loaded for real."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny_llama")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    texts = [
        "The kind warm gentle fair cruel cold rude mean answer was sent by mail. good very bad",
        "Judge the text. Answer:",
    ]
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<pad>", "<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(texts * 20, trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer.get_vocab()),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.2,  # with smaller embeddings no adapter could move the frozen output layer
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def new_project(folder: Path) -> Path:
    """`folder` as a project root of its own over the real notebooks and parameters, so that outputs/ is the test's."""
    for name in ("notebooks", "params"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def start(project: Path, words: list[str], **environment: str) -> subprocess.Popen:
    """A command in `project`, in a process group of its own, so that a test can kill it with its kernel."""
    return subprocess.Popen(
        words,
        env=os.environ | {"AMBO_ROOT": str(project)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(project: Path, words: list[str], code: int = 0, **environment: str) -> tuple[str, str]:
    """(stdout, stderr) of a command in `project` that ends with this exit code, a mistake told without a traceback."""
    process = start(project, words, **environment)
    out, err = process.communicate(timeout=900)
    assert process.returncode == code, (process.returncode, out, err)
    # Where all went well it may be a kernel's heartbeat: two that start at once can draw the same port.
    assert code == 0 or "Traceback" not in err, err
    return out, err


def ambo_run(run_id: str, settings: dict, task: str = "csv", *more: str, profile: str = "demo") -> list[str]:
    """The words of an `ambo run` command."""
    words = [sys.executable, "-m", "helpers.cli", "run", "--task", task, "--profile", profile, "--run-id", run_id]
    return [*words, *(word for key, value in settings.items() for word in ("-p", key, str(value))), *more]


def notebook(path: Path, *cells: tuple[str, list[str]]) -> Path:
    """Write a notebook of (source, tags) code cells."""
    body = [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": f"c{i}",
            "metadata": {"tags": t},
            "outputs": [],
            "source": s,
        }
        for i, (s, t) in enumerate(cells)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.write_text(json.dumps({"cells": body, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
    return path


def assert_quiet(folder: Path) -> None:
    """No notebook that was executed for the run in `folder` shows a warning or an error."""
    for path in folder.glob("*/*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            for output in cell.get("outputs", []):
                assert output.get("name") != "stderr", (path.name, output)
                assert output["output_type"] != "error"
