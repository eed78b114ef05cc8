"""Masks, positions and pooling: which tokens see which, and what one vector says of many tokens."""

from __future__ import annotations

import torch
from torch import nn


def body_of(model) -> nn.Module:
    """The part of a peft model that returns hidden states, without its output layer."""
    inner = model.get_base_model()
    return getattr(inner, inner.base_model_prefix, inner)


def in_completion(completion: torch.Tensor, width: int) -> torch.Tensor:
    """Which of the last `width` positions belong to a row's completion, bool (batch, width)."""
    return torch.arange(width, 0, -1, device=completion.device) <= completion.unsqueeze(1)


def prefix_mask(real: torch.Tensor, completion: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Additive mask (batch, 1, tokens, tokens), left padding: all see the prompt, completions are causal."""
    width = real.shape[1]
    prompt = real & ~in_completion(completion, width)
    causal = torch.ones(width, width, dtype=torch.bool, device=real.device).tril()
    return _additive((causal | prompt.unsqueeze(1)) & real.unsqueeze(1) | _diagonal(real), dtype)


def branch_mask(real: torch.Tensor, shared: int, tails: list[int], dtype: torch.dtype) -> torch.Tensor:
    """Additive mask (rows, 1, text + tails, shared + text + tails): texts that end in branches."""
    rows, width, behind = *real.shape, sum(tails)
    real = torch.cat([real, real.new_ones(rows, behind)], 1)
    sees = torch.ones(width + behind, width + behind, dtype=torch.bool, device=real.device).tril()
    start = width
    for tail in tails:
        sees[start : start + tail, width:start] = False  # the branches before this one
        start += tail
    inside = sees & real.unsqueeze(1) | _diagonal(real)
    return _additive(torch.cat([real.new_ones(rows, width + behind, shared), inside], 2), dtype)


def _diagonal(real: torch.Tensor) -> torch.Tensor:
    """Every token sees itself, padding too: a softmax over nothing would be NaN."""
    return torch.eye(real.shape[1], dtype=torch.bool, device=real.device)


def _additive(sees: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    sees = sees.unsqueeze(1)
    return torch.zeros(sees.shape, dtype=dtype, device=sees.device).masked_fill(~sees, torch.finfo(dtype).min)


def positions(mask: torch.Tensor) -> torch.Tensor:
    """Position ids under left padding."""
    return (mask.cumsum(1) - 1).clamp(min=0)


def mean_state(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over the tokens without padding, (batch, hidden) from (batch, tokens, hidden)."""
    inside = mask.unsqueeze(-1).bool()
    return states.masked_fill(~inside, 0).sum(1) / inside.sum(1).clamp(min=1)
