"""Shared by the tests: a task, labelled rows, and a tiny real checkpoint."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

# What is compared to the last digit is compared on the CPU; `make test-gpu` lets the GPU be seen.
if not os.environ.get("AMBO_TEST_GPU"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

from helpers.task import Task


@pytest.fixture(scope="session")
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
