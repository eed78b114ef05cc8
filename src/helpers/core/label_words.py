"""Label words scored behind a shared prompt: its keys and values are worked out once, all words in one pass."""

from __future__ import annotations

import sys
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import torch
from torch import nn

from helpers.core.heads import pad, pool, positions, replaced


def keep_prefix(cache) -> Any:
    """The key-value cache of one row, made to stand before any number of rows, again and again.

    Each layer joins what is new to what it holds and forgets it at once: a plain cache would keep the joined tensors of
    all layers until the pass ends, which costs more in memory and page faults than the joining itself.
    """
    for layer in cache.layers:
        layer.update = partial(_join, layer.keys, layer.values)
    return cache


def _join(keys: torch.Tensor, values: torch.Tensor, new_keys: torch.Tensor, new_values: torch.Tensor, *_, **__):
    both = ((keys, new_keys), (values, new_values))
    return tuple(torch.cat([old.expand(len(new), -1, -1, -1), new], 2) for old, new in both)


def word_scores(
    model, ids: list[list[int]], words: list[list[int]], prefix, pad_id: int, embedded: bool = False
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """(log-probabilities (texts, words) of every label word, of one or more tokens, after each text, embeddings) in one pass.

    `prefix` is the key-value cache of what stands before every text, made by `keep_prefix`, or None. Behind the text stand the
    words without their last token, side by side: each sees the text and itself, not the other words. The embeddings, where
    `embedded`, are the mean of the text's last hidden states behind the prefix, (texts, hidden); else None.
    """
    shared = prefix.get_seq_length() if prefix is not None else 0
    tails = [word[:-1] for word in words]
    # The padding stands between the prefix and the text, so that the last token of every row is the text's last.
    real = pad([[1] * len(i) for i in ids], 0, left=True).bool()
    last = real.sum(1, keepdim=True) + shared - 1
    where = [positions(real) + shared, *(last + 1 + torch.arange(len(t), device=last.device) for t in tails)]
    tokens = pad(ids, pad_id, left=True)
    flat = torch.tensor([t for tail in tails for t in tail], dtype=torch.long, device=tokens.device)
    with _states(model) if embedded else _last_only(model, len(flat) + 1) as states:
        logits = model(
            input_ids=torch.cat([tokens, flat.expand(len(ids), -1)], 1),
            attention_mask=_branches(real, shared, [len(t) for t in tails], model.dtype),
            position_ids=torch.cat(where, 1),
            past_key_values=prefix,
            use_cache=bool(shared),
            logits_to_keep=len(flat) + 1,
        ).logits
    logits, scores, at = logits.float().log_softmax(-1), [], 1
    for word, tail in zip(words, tails, strict=True):
        score = logits[:, 0, word[0]]
        for step, token in enumerate(word[1:]):
            score = score + logits[:, at + step, token]
        scores.append(score)
        at += len(tail)
    return torch.stack(scores, 1), pool(states[0][:, : real.shape[1]].float(), real, "mean") if embedded else None


@contextmanager
def _states(model):
    """Inside, a list that takes the last hidden states of every pass, (rows, tokens, hidden)."""
    inner, found = model.get_base_model(), []
    body = getattr(inner, inner.base_model_prefix)
    hook = body.register_forward_hook(lambda _module, _inputs, output: found.append(output.last_hidden_state))
    try:
        yield found
    finally:
        hook.remove()


@contextmanager
def _last_only(model, count: int):
    """Inside, the last layer asks and feeds forward at the last `count` positions only: nothing reads the others."""
    inner = model.get_base_model()
    body = getattr(inner, inner.base_model_prefix)
    layer = next((m[-1] for m in body.children() if isinstance(m, nn.ModuleList) and len(m)), None)
    attention, mlp = (getattr(layer, name, None) for name in ("self_attn", "mlp"))
    functions = getattr(sys.modules[type(attention).__module__], "ALL_ATTENTION_FUNCTIONS", None)  # of transformers
    if functions is None or not hasattr(mlp, "down_proj"):  # no decoder of the usual build
        yield
        return
    attend = functions["sdpa"]
    parts = [mlp, *(getattr(attention, name) for name in ("q_proj", "o_proj") if hasattr(attention, name))]

    def at_the_end(whole, states):  # contiguous, or the product would be taken row by row
        return nn.functional.pad(whole(states[:, -count:].contiguous()), (0, 0, states.shape[1] - count, 0))

    def asked_at_the_end(module, query, key, value, attention_mask, *rest, **options):
        if module is not attention:
            return attend(module, query, key, value, attention_mask, *rest, **options)
        asking, mask = query[:, :, -count:], attention_mask[:, :, -count:]
        states, weights = attend(module, asking, key, value, mask, *rest, **options)
        return nn.functional.pad(states, (0, 0, 0, 0, query.shape[2] - count, 0)), weights

    output = model.get_output_embeddings()
    shorter = {part: partial(at_the_end, part.forward) for part in parts}
    with replaced(shorter | {output: partial(lambda whole, states: whole(states.contiguous()), output.forward)}):
        functions["sdpa"] = asked_at_the_end
        try:
            yield
        finally:
            with suppress(KeyError):  # another thread that scores may have taken it out
                del functions["sdpa"]


def _branches(real: torch.Tensor, shared: int, tails: list[int], dtype: torch.dtype) -> torch.Tensor:
    """Additive mask (rows, 1, text + tails, shared + text + tails) for texts that end in several branches."""
    rows, width, behind = *real.shape, sum(tails)
    whole = width + behind
    sees = torch.ones(whole, whole, dtype=torch.bool, device=real.device).tril()
    start = width
    for n in tails:
        sees[start : start + n, width:start] = False  # the branches before this one
        start += n
    keys = torch.cat([real, real.new_ones(rows, behind)], 1)
    own = torch.eye(whole, dtype=torch.bool, device=real.device)  # padding looks at itself: a softmax needs something
    inside = sees & keys.unsqueeze(1) | own
    sees = torch.cat([real.new_ones(rows, whole, shared), inside], 2).unsqueeze(1)
    return torch.zeros(sees.shape, dtype=dtype, device=real.device).masked_fill(~sees, torch.finfo(dtype).min)
