"""Writing with a causal model, and the likelihood of texts under it, in length-sorted batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from helpers.core.batches import padded, token_batches
from helpers.core.encoding import written
from helpers.core.masks import positions

# Logits cover the whole vocabulary: those of 2,048 tokens and 152,000 words take 1.2 GB.
LOGIT_BUDGET = 2048


def generate(
    model, tokenizer, prompts: list[list[int]], budget: int, max_new_tokens: int, **sampling: Any
) -> list[str]:
    """What the model writes after every prompt; greedily unless `sampling` says otherwise."""
    texts = [""] * len(prompts)
    for batch in token_batches([len(ids) for ids in prompts], budget, max_new_tokens):
        inputs = padded([prompts[i] for i in batch], tokenizer.pad_token_id, left=True)
        options = {"do_sample": False, "max_new_tokens": max_new_tokens, "pad_token_id": tokenizer.pad_token_id}
        outputs = model.generate(**inputs, **(options | sampling))
        for i, row in zip(batch, outputs[:, inputs["input_ids"].shape[1] :], strict=True):
            texts[i] = written(tokenizer, row)
    return texts


def token_loss(model, ids: list[list[int]], budget: int, pad_id: int) -> np.ndarray:
    """Mean negative log-likelihood of the tokens after the first, nats, float64 (texts,); NaN without any."""
    means = np.full(len(ids), np.nan)
    for batch in token_batches([len(i) for i in ids], min(LOGIT_BUDGET, budget)):
        inputs = padded([ids[i] for i in batch], pad_id)
        tokens, mask = inputs["input_ids"][:, 1:], inputs["attention_mask"][:, 1:]
        logits = model(**inputs).logits[:, :-1].float()
        losses = nn.functional.cross_entropy(logits.transpose(1, 2), tokens, reduction="none")
        means[batch] = ((losses * mask).sum(1) / mask.sum(1)).double().cpu().numpy()
    return means


def continue_lines(
    model, tokenizer, prompts: list[list[int]], forced: list[list[list[int]]], newline: int, max_new_tokens: int
) -> list[list[int]]:
    """Greedy continuations with a key-value cache; a row leaves the batch when it is finished.

    Parameters
    ----------
    model : causal model
    tokenizer : its tokenizer
    prompts : lists of token ids
    forced : for every prompt, a list of lists of token ids
        How each line of the row starts. The row ends with the last of these lines; without any,
        with the closing token.
    newline : int
        The token that ends a line.
    max_new_tokens : int
        Upper bound of a row, beside its forced tokens.
    """
    inputs = padded(prompts, tokenizer.pad_token_id, left=True)
    tokens, mask = inputs["input_ids"], inputs["attention_mask"]
    rows: list[list[int]] = [[] for _ in prompts]
    lines = [[*parts] for parts in forced]  # still to come
    queues = [parts.pop(0) if parts else [] for parts in lines]  # forced tokens of the present line
    alive, cache, place = list(range(len(rows))), None, positions(mask)
    for _ in range(max_new_tokens + max(sum(map(len, parts)) for parts in forced)):
        outputs = model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=place,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache, best, going = outputs.past_key_values, outputs.logits[:, -1].argmax(-1).tolist(), []
        for k, row in enumerate(alive):
            best[k] = queues[row].pop(0) if queues[row] else best[k]
            ended = best[k] == newline and bool(forced[row]) and not queues[row]
            if ended and lines[row]:
                queues[row] = lines[row].pop(0)
                ended = False
            if best[k] != tokenizer.eos_token_id:
                rows[row].append(best[k])
                if not ended:
                    going.append(k)
        if not going:
            break
        if len(going) < len(alive):
            keep = torch.tensor(going, device=mask.device)
            cache.batch_select_indices(keep)
            alive, best, mask, place = [alive[k] for k in going], [best[k] for k in going], mask[keep], place[keep]
        tokens, place = torch.tensor(best, device=mask.device).unsqueeze(1), place[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
    return rows
