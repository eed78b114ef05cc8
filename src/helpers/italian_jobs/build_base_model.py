"""Rebuild the embedded base model: `make base-model` (about an hour on two cores).

A small Llama is trained on the unlabelled text of the written and the generated pool, never on gold rows, as causal and
masked language model at once (GPT-BERT, Charpentier & Samuel 2024: the same weights, half of the batches with a causal
mask, half with masked tokens under a bidirectional mask, both predicting the next position). So one checkpoint writes ads
and reads a text in both directions, which is where Italian agreement lies. The tokenizer splits the last vowel from the
stem (candidat|o, candidat|a), so that gender is a token of its own, known from few examples for every stem.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from helpers import embedded, italian, job_ads
from helpers.run import sha256, write_text

HERE = Path(__file__).parent
SPECIAL = ["<pad>", "<s>", "</s>", "<mask>"]
ENDINGS = "aeioàèéìòùəAEIO"
# stem before a final vowel | the final vowel | other words | digits | marks | blanks
PIECES = (
    rf" ?\p{{L}}{{2,}}(?=[{ENDINGS}](?!\p{{L}}))|[{ENDINGS}](?!\p{{L}})| ?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+|\s+"
)
VARIANTS = [
    (0.12, lambda text: italian.swap(text, "feminine")),
    (0.08, lambda text: italian.swap(text, "masculine")),
    (0.12, italian.neutralise),
    (0.04, str.upper),
    (0.04, str.lower),
]


def build_tokenizer(texts: list[str], vocabulary: int) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
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


def corpus(generated: int, copies: int, rng: random.Random) -> list[str]:
    """Pool texts, the written ones `copies` times: most as they are, some with their gendered words in the other gender
    or in double forms (so that the model meets every form of a word in a true sentence), some in capitals."""

    def vary(text: str) -> str:
        draw = rng.random()
        for share, change in VARIANTS:
            if draw < share:
                return change(text)
            draw -= share
        return text

    texts = [row["text"] for row in job_ads.generate(generated, seed=0)]
    texts += [vary(row["text"]) for row in embedded.written() for _ in range(copies)]
    rng.shuffle(texts)
    return texts


def batches(sequences: list[list[int]], tokens: int, limit: int, rng: random.Random):
    """Batches of about `tokens` tokens, of sequences of similar length, a random window of those over `limit`; one epoch.

    Widths are multiples of 32 and every width has its own number of rows, so that few shapes occur: on a CPU each new
    shape costs the compilation of its kernels.
    """
    by_width: dict[int, list[list[int]]] = {}
    for s in sequences:
        if len(s) > limit:
            start = rng.randrange(len(s) - limit + 1)
            s = s[start : start + limit]
        by_width.setdefault(-(-len(s) // 32) * 32, []).append(s)
    groups = []
    for width, members in by_width.items():
        rng.shuffle(members)
        rows = tokens // width
        groups += [(width, members[i : i + rows]) for i in range(0, len(members) - rows + 1, rows)]
    rng.shuffle(groups)
    for width, group in groups:
        yield torch.tensor([s + [0] * (width - len(s)) for s in group])


def masked(ids: torch.Tensor, endings: torch.Tensor, mask_id: int, rate: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs with tokens hidden, and labels at the hidden places only; final vowels are hidden twice as often."""
    chance = torch.where(endings[ids], 2 * rate, rate)
    hide = (torch.rand(ids.shape) < chance) & (ids >= len(SPECIAL))
    labels = torch.where(hide, ids, -100)
    noise = torch.rand(ids.shape)
    shown = torch.where(noise < 0.85, torch.full_like(ids, mask_id), ids)
    wrong = torch.randint(len(SPECIAL), endings.numel(), ids.shape)
    shown = torch.where(noise > 0.93, wrong, shown)
    return torch.where(hide, shown, ids), labels


def set_direction(model: LlamaForCausalLM, causal: bool) -> None:
    model.config.is_causal = causal
    for layer in model.model.layers:
        layer.self_attn.is_causal = causal


def loss_of(model, ids, labels, causal: bool) -> torch.Tensor:
    """Mean cross-entropy of the next position; only labelled positions go through the output layer."""
    set_direction(model, causal)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=torch.cpu._is_avx512_bf16_supported()):
        hidden = model.model(input_ids=ids, attention_mask=(ids != 0).long()).last_hidden_state[:, :-1]
        target = labels[:, 1:]
        keep = target != -100
        return cross_entropy(model.lm_head(hidden[keep]).float(), target[keep])


def train(model, tokenizer, texts: list[str], args, rng: random.Random) -> dict[str, float]:
    """Train for `args.minutes`; the learning rate follows the clock, so that every machine ends with a full decay."""
    sequences = [[1, *ids, 2] for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
    vocabulary = tokenizer.get_vocab()
    endings = torch.zeros(len(tokenizer), dtype=torch.bool)
    endings[[i for token, i in vocabulary.items() if tokenizer.convert_tokens_to_string([token]) in set(ENDINGS)]] = (
        True
    )
    decay = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}],
        lr=args.lr,
        betas=(0.9, 0.98),
        fused=True,
    )
    started, step, seen, mean = time.time(), 0, 0, {True: math.log(len(tokenizer)), False: math.log(len(tokenizer))}
    model.train()
    while True:
        for ids in batches(sequences, args.tokens, args.limit, rng):
            done = (time.time() - started) / (60 * args.minutes)
            if done >= 1:
                return {"causal": mean[True], "masked": mean[False], "steps": step, "tokens": seen}
            causal = step % 3 == 0  # two masked batches for one causal: each masked batch teaches on fewer tokens
            shown, labels = (ids, torch.where(ids != 0, ids, -100)) if causal else masked(ids, endings, 3, 0.18)
            loss = loss_of(model, shown, labels, causal)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            warm = min(1.0, (step + 1) / 200)
            for group in optimizer.param_groups:
                group["lr"] = args.lr * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step, seen = step + 1, seen + ids.numel()
            mean[causal] += 0.02 * (loss.item() - mean[causal])
            if step % 200 == 0:
                print(
                    f"{done:6.1%}  step {step}  {seen / 1e6:.1f} M tokens  causal {mean[True]:.3f}  masked {mean[False]:.3f}",
                    flush=True,
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=50.0)
    parser.add_argument("--generated", type=int, default=50_000)
    parser.add_argument("--copies", type=int, default=20, help="how often each written row stands in the corpus")
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--hidden", type=int, default=224)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=4096, help="tokens in a batch")
    parser.add_argument("--limit", type=int, default=320, help="longest sequence in tokens")
    parser.add_argument("--lr", type=float, default=2.0e-3)
    parser.add_argument("--out", type=Path, default=HERE / "base_model")
    args = parser.parse_args()
    rng = random.Random(0)
    torch.manual_seed(0)
    texts = corpus(args.generated, args.copies, rng)
    tokenizer = build_tokenizer(texts, args.vocabulary)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=args.hidden,
        intermediate_size=args.hidden * 8 // 3 // 32 * 32,
        num_hidden_layers=args.layers,
        num_attention_heads=args.hidden // 32,
        num_key_value_heads=args.hidden // 32,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlamaForCausalLM(config)
    model.set_attn_implementation("eager")  # on a CPU the fused kernel's backward pass takes twice the time
    print(f"{len(texts)} texts, {model.num_parameters() / 1e6:.2f} M parameters", flush=True)
    figures = train(model, tokenizer, texts, args, rng)
    set_direction(model, True)
    del model.config.is_causal
    model.set_attn_implementation("sdpa")
    model.to(torch.float16).save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    figures |= {"texts": len(texts), "parameters": model.num_parameters(), "minutes": args.minutes}
    write_text(args.out / "training.json", json.dumps(figures, indent=1) + "\n")
    digests = [f"{sha256(f)}  {f.name}" for f in sorted(args.out.iterdir()) if f.suffix in (".safetensors", ".json")]
    write_text(args.out / "SHA256", "\n".join(digests) + "\n")


if __name__ == "__main__":
    main()
