"""Scores of label words, in one pass for each batch, behind a cached prefix."""

from __future__ import annotations

from contextlib import contextmanager

import torch
from transformers.cache_utils import Cache, DynamicLayer

from helpers.core.batches import pad
from helpers.core.masks import body_of, branch_mask, mean_state, positions

MOST_BEHIND = 64  # tokens of label words behind a text in one pass: its cost is their square


def word_groups(words: list[list[int]]) -> list[list[int]]:
    """Positions of the words that one pass scores, in order: their tokens are at most MOST_BEHIND, or of one word."""
    groups: list[list[int]] = [[]]
    size = 0
    for k, word in enumerate(words):
        size += len(word) - 1
        if groups[-1] and size > MOST_BEHIND:
            groups.append([])
            size = len(word) - 1
        groups[-1].append(k)
    return groups


class PrefixLayer(DynamicLayer):
    """Keys and values of a prefix, put before any number of rows, again and again.

    It does not store what it joins: a plain cache would keep the joined tensors of all layers until
    the pass ends, which costs more in memory and page faults than the joining itself.
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor):
        super().__init__()
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_, **__):
        pairs = ((self.keys, key_states), (self.values, value_states))
        return tuple(torch.cat([prefix.expand(len(new), -1, -1, -1), new], 2) for prefix, new in pairs)


def prefix_cache(model, prefix: list[int]) -> Cache:
    """The cache of a prefix that every text of a batch continues; it can serve many batches."""
    outputs = model(input_ids=pad([prefix], 0), use_cache=True, logits_to_keep=1)
    return Cache(layers=[PrefixLayer(layer.keys, layer.values) for layer in outputs.past_key_values.layers])


def word_scores(
    model, ids: list[list[int]], words: list[list[int]], prefix: Cache | None, pad_id: int, embed: bool = False
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Log-probability of every label word after each text, in one pass.

    The words stand behind the text without their last token, side by side: each sees the text and
    itself, not the other words.

    Parameters
    ----------
    model : peft model
    ids, words : lists of token ids
        One or more tokens for each text and each word.
    prefix : Cache or None
        What stands before every text, from `prefix_cache`.
    pad_id : int
    embed : bool
        Whether to return embeddings too.

    Returns
    -------
    scores : float32 tensor (texts, words)
    embeddings : float32 tensor (texts, hidden) or None
        Mean of the text's last hidden states behind the prefix.
    """
    shared = prefix.get_seq_length() if prefix is not None else 0
    tails = [word[:-1] for word in words]
    # The padding stands between prefix and text: the last token of every row is the text's last.
    real = pad([[1] * len(i) for i in ids], 0, left=True).bool()
    last = real.sum(1, keepdim=True) + shared - 1
    tail_positions = [last + 1 + torch.arange(len(tail), device=last.device) for tail in tails]
    tokens = pad(ids, pad_id, left=True)
    flat = torch.tensor([token for tail in tails for token in tail], dtype=torch.long, device=tokens.device)
    with _last_states(model) as states:
        logits = model(
            input_ids=torch.cat([tokens, flat.expand(len(ids), -1)], 1),
            attention_mask=branch_mask(real, shared, [len(tail) for tail in tails], model.dtype),
            position_ids=torch.cat([positions(real) + shared, *tail_positions], 1),
            past_key_values=prefix,
            use_cache=bool(shared),
            logits_to_keep=len(flat) + 1,
        ).logits
    scores = _branch_scores(logits.float().log_softmax(-1), words)
    return scores, mean_state(states[0][:, : real.shape[1]].float(), real) if embed else None


def _branch_scores(logits: torch.Tensor, words: list[list[int]]) -> torch.Tensor:
    """(texts, words) from the log-probabilities at the text's last token and at the words' tails."""
    scores, start = [], 1
    for word in words:
        score = logits[:, 0, word[0]]
        for step, token in enumerate(word[1:]):
            score = score + logits[:, start + step, token]
        scores.append(score)
        start += len(word) - 1
    return torch.stack(scores, 1)


@contextmanager
def _last_states(model):
    """Inside, a list that receives the last hidden states of every pass, (rows, tokens, hidden)."""
    states: list[torch.Tensor] = []
    hook = body_of(model).register_forward_hook(lambda module, inputs, output: states.append(output.last_hidden_state))
    try:
        yield states
    finally:
        hook.remove()
