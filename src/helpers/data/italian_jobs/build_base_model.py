"""Teach the embedded base model the rules as they are now: `make base-model` (minutes on a GPU, an hour and a half on one core).

It does the second stage of training again, from the weights in base_model; `--from-scratch` does both.

The card, base_model/README.md, says what the model learns from, in which two stages, and why. A third of the batches has a
causal mask, the others have masked tokens under a bidirectional mask, and both predict the next position (GPT-BERT,
Charpentier & Samuel 2024). The tokenizer splits the last vowel from the stem (candidat|o, candidat|a): gender is a token of
its own, known from few examples for every stem. Rounding to NF4 in the second stage is quantisation-aware training with the
straight-through estimator (Bengio et al. 2013, arXiv 1308.3432): so small a model would otherwise lose much in 4 bits.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections import deque
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from statistics import mean
from unittest import mock

import torch
from bitsandbytes import functional as bitsandbytes
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch.nn.functional import cross_entropy
from torch.nn.utils import parametrize
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from helpers import env
from helpers.core.cpu import unpacked
from helpers.data import embedded
from helpers.files import sha256, write_text
from helpers.italian import ads, gender
from helpers.italian.addressees import ADDRESSEES, EVERYONE
from helpers.italian.cues import find_cues

HERE = Path(__file__).parent
GENERATED, COPIES = 50_000, 20  # generated ads in the corpus, and how often each written row stands in it
VOCABULARY, HIDDEN, LAYERS = 4096, 192, 6
BATCH, LONGEST = 4096, 288  # tokens in a batch, and in a sequence
RATE = 3.0e-3  # of learning, in the first stage; half of it in the second
SPECIAL = ["<pad>", "<s>", "</s>", "<mask>"]
ENDINGS = "aeioàèéìòùəAEIO"
# stem before a final vowel | the final vowel | other words | digits | marks | blanks
PIECES = (
    rf" ?\p{{L}}{{2,}}(?=[{ENDINGS}](?!\p{{L}}))|[{ENDINGS}](?!\p{{L}})| ?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+|\s+"
)
VARIANTS = [
    (0.12, lambda text: gender.swap(text, "feminine")),
    (0.08, lambda text: gender.swap(text, "masculine")),
    (0.12, gender.neutralise),
    (0.04, str.upper),
    (0.04, str.lower),
]
GENDERED = ("masculine_form", "feminine_title")
# of the grammar lesson: 0 is no cue; a gendered form says whom it is about; the last is any other cue
TAGS = {pair: tag for tag, pair in enumerate(product(GENDERED, ADDRESSEES), start=1)}
OTHER_CUE = len(TAGS) + 1
TEXT_CYCLE = ("causal", "masked", "masked")  # kinds of batch, in turn: a masked one teaches on fewer tokens
GRAMMAR_CYCLE = ("tags", "masked", "tags", "causal")


def build_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        mask_token="<mask>",
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )


def corpus(rng: random.Random) -> list[str]:
    """Pool texts, the written ones `COPIES` times.

    Most stay as they are. Some have their gendered words in the other gender or in double forms, so that the model meets
    every form of a word in a real sentence, and some are in capitals or small letters.
    """

    def vary(text: str) -> str:
        draw = rng.random()
        for share, change in VARIANTS:
            if draw < share:
                return change(text)
            draw -= share
        return text

    texts = [row["text"] for row in ads.generate(GENERATED, seed=0)]
    texts += [vary(row["text"]) for row in embedded.pool_texts() for _ in range(COPIES)]
    rng.shuffle(texts)
    return texts


def tagged(tokenizer, texts: list[str]) -> list[list[tuple[int, int]]]:
    """(token id, tag) pairs of every text between <s> and </s>; tags as in TAGS, -100 where there is none to learn."""
    known: dict[str, list[tuple[int, int]]] = {}
    for text in set(texts):
        found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        marks = [0] * len(text)
        for cue in find_cues(text, EVERYONE):
            tag = TAGS.get((cue.category, cue.addressee), OTHER_CUE)
            marks[cue.start : cue.end] = [tag] * (cue.end - cue.start)
        pairs = zip(found["input_ids"], found["offset_mapping"], strict=True)
        known[text] = [(1, -100), *((i, max(marks[a:b], default=0)) for i, (a, b) in pairs), (2, -100)]
    return [known[text] for text in texts]


def batches(sequences: list[list[tuple[int, int]]], rng: random.Random):
    """Batches of about `BATCH` tokens, of sequences of similar length, a random window of those over `LONGEST`; one epoch.

    Widths are multiples of 32 and every width has its own number of rows, so that few shapes occur: on a CPU each new
    shape costs the compilation of its kernels.
    """
    by_width: dict[int, list[list[tuple[int, int]]]] = {}
    for s in sequences:
        if len(s) > LONGEST:
            start = rng.randrange(len(s) - LONGEST + 1)
            s = s[start : start + LONGEST]
        by_width.setdefault(-(-len(s) // 32) * 32, []).append(s)
    groups = []
    for width, members in by_width.items():
        rng.shuffle(members)
        rows = BATCH // width
        groups += [(width, members[i : i + rows]) for i in range(0, len(members) - rows + 1, rows)]
    rng.shuffle(groups)
    for width, group in groups:
        rows = [s + [(0, -100)] * (width - len(s)) for s in group]
        yield torch.tensor(rows).unbind(-1)  # ids, tags


def masked(ids: torch.Tensor, endings: torch.Tensor, mask_id: int, rate: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs with tokens hidden, and labels at the hidden places only; final vowels are hidden twice as often."""
    chance = torch.where(endings[ids], 2 * rate, rate)
    hide = (torch.rand_like(chance) < chance) & (ids >= len(SPECIAL))
    labels = torch.where(hide, ids, -100)
    noise = torch.rand_like(chance)
    shown = torch.where(noise < 0.85, torch.full_like(ids, mask_id), ids)
    wrong = torch.randint_like(ids, len(SPECIAL), endings.numel())
    shown = torch.where(noise > 0.93, wrong, shown)
    return torch.where(hide, shown, ids), labels


def is_fast() -> bool:
    """Whether this machine computes in bfloat16, rather than imitating it."""
    return env.device() == "cuda" or torch.cpu._is_avx512_bf16_supported()


def set_direction(model: LlamaForCausalLM, causal: bool) -> None:
    model.config.is_causal = causal
    for layer in model.model.layers:
        layer.self_attn.is_causal = causal


class Nf4(torch.nn.Module):
    """A weight as it will be when loaded in 4 bits; the gradient passes straight through the rounding."""

    def forward(self, weight):
        with torch.no_grad():
            packed, state = bitsandbytes.quantize_4bit(weight, compress_statistics=True, quant_type="nf4")
            rounded = unpacked(packed, state)
        return weight + (rounded - weight).detach()


def loss_of(model, head, ids, tags, kind: str, endings: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy over a batch: of the next token, of the hidden tokens, or of the tags."""
    shown, labels = ids, torch.where(ids != 0, ids, -100)
    if kind == "masked":
        shown, labels = masked(ids, endings, 3, 0.18)
    set_direction(model, kind == "causal")
    with torch.autocast(env.device(), dtype=torch.bfloat16, enabled=is_fast()):
        states = model.model(input_ids=shown, attention_mask=(ids != 0).long()).last_hidden_state
        if kind == "tags":
            there = tags != -100
            weight = torch.tensor([1.0] + [3.0] * OTHER_CUE, device=ids.device)  # cues are rare
            return cross_entropy(head(states[there]).float(), tags[there], weight=weight)
        hidden, target = states[:, :-1], labels[:, 1:]
        keep = target != -100
        return cross_entropy(model.lm_head(hidden[keep]).float(), target[keep])


def train(model, tokenizer, sequences, steps: int, lr: float, cycle: tuple[str, ...], rng) -> dict:
    """Train for so many steps with a cosine decay; returns the mean loss of the last hundred batches of each kind.

    The matrices inside the layers learn by Muon (Jordan et al. 2024), everything else by AdamW: after the same number of
    minutes its losses were lower than those of AdamW alone.
    """
    head = torch.nn.Linear(HIDDEN, OTHER_CUE + 1).to(env.device())
    endings = torch.zeros(len(tokenizer), dtype=torch.bool)
    vowels = [i for t, i in tokenizer.get_vocab().items() if tokenizer.convert_tokens_to_string([t]) in set(ENDINGS)]
    endings[vowels] = True
    endings = endings.to(env.device())
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    inside = {id(p) for p in matrices}
    weights = [*model.parameters(), *head.parameters()]
    optimizers = [
        torch.optim.Muon(matrices, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW([p for p in weights if id(p) not in inside], betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]
    # torch's Muon rounds to bfloat16; a CPU without it took over two thirds of a step to imitate it
    exact = None if is_fast() else torch.Tensor.clone
    started, step, seen = time.time(), 0, 0
    recent = {kind: deque(maxlen=100) for kind in dict.fromkeys(cycle)}
    model.train()
    while True:
        for ids, tags in batches(sequences, rng):
            losses = {kind: round(mean(values or [math.nan]), 4) for kind, values in recent.items()}
            if step == steps:
                return losses | {"steps": steps, "tokens": seen, "minutes": round((time.time() - started) / 60, 1)}
            kind = cycle[step % len(cycle)]
            loss = loss_of(model, head, ids.to(env.device()), tags.to(env.device()), kind, endings)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            rate = lr * min(1.0, (step + 1) / 100) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps)))
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = rate
                with mock.patch.object(torch.Tensor, "bfloat16", exact) if exact else nullcontext():
                    optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            recent[kind].append(loss.item())
            step, seen = step + 1, seen + ids.numel()
            if step % 100 == 0:
                print(f"step {step} of {steps}  {(time.time() - started) / 60:.0f} min  {losses}", flush=True)


def new_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        intermediate_size=512,
        num_hidden_layers=LAYERS,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlamaForCausalLM(config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2600, help="first stage: causal and masked text")
    parser.add_argument("--grammar-steps", type=int, default=2200, help="second stage: the grammar lesson beside them")
    parser.add_argument("--from-scratch", action="store_true", help="also the tokenizer and the first stage")
    parser.add_argument("--out", type=Path, default=HERE / "base_model")
    args = parser.parse_args()
    rng = random.Random(0)
    torch.manual_seed(0)
    texts = corpus(rng)
    if args.from_scratch:
        tokenizer = build_tokenizer(texts)
        model = new_model(tokenizer)
    else:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(HERE / "base_model")
        model = LlamaForCausalLM.from_pretrained(HERE / "base_model", dtype=torch.float32)
    model.to(env.device())
    model.set_attn_implementation("eager")  # on a CPU the fused kernel's backward pass takes twice the time
    print(f"{len(texts)} texts, {model.num_parameters() / 1e6:.2f} M parameters", flush=True)
    sequences = tagged(tokenizer, texts)
    figures = json.loads((HERE / "base_model/training.json").read_text())
    if args.from_scratch:
        figures["text"] = train(model, tokenizer, sequences, args.steps, RATE, TEXT_CYCLE, rng)
    linears = [m for m in model.model.layers.modules() if isinstance(m, torch.nn.Linear)]
    for module in linears:
        parametrize.register_parametrization(module, "weight", Nf4())
    figures["grammar"] = train(model, tokenizer, sequences, args.grammar_steps, RATE / 2, GRAMMAR_CYCLE, rng)
    for module in linears:
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
    set_direction(model, True)
    del model.config.is_causal
    model.set_attn_implementation("sdpa")
    model.to(torch.float16).save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    figures |= {"texts": len(texts), "parameters": model.num_parameters()}
    write_text(args.out / "training.json", json.dumps(figures, indent=1) + "\n")
    digests = [f"{sha256(f)}  {f.name}" for f in sorted(args.out.iterdir()) if f.suffix in (".safetensors", ".json")]
    write_text(args.out / "SHA256", "\n".join(digests) + "\n")


if __name__ == "__main__":
    main()
