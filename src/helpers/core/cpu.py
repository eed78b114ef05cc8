"""What makes a small model fast on a CPU, and its 4-bit weights right there: dequantised weights, folded adapters."""

from __future__ import annotations

import ctypes
import sys
from contextlib import contextmanager
from copy import copy
from functools import partial

import torch
from torch import nn

from helpers import env
from helpers.core.heads import replaced


def keep_freed_memory() -> None:
    """Let glibc keep what is freed: every step asks for large tensors again, and new pages for them cost a fifth of its time."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(libc, "mallopt"):  # glibc alone has it
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: give nothing back
        libc.mallopt(-3, 2**25)  # M_MMAP_THRESHOLD: 32 MiB, the most it takes


def unpacked(packed: torch.Tensor, state) -> torch.Tensor:
    """The weight that bitsandbytes' `quantize_4bit` packed, with the blocks where it cut them.

    On a CPU with AVX-512 its own function (0.50) takes every row to start a new block, though blocks are cut from the weight laid
    flat: of rows that are no multiple of a block (64) a quarter to two thirds of the weight was lost, and on another machine the
    same model was another one.
    """
    from bitsandbytes.functional import dequantize_4bit

    flat, count = copy(state), state.shape.numel()
    flat.shape = torch.Size((1, count) if count % state.blocksize else (count // state.blocksize, state.blocksize))
    return dequantize_4bit(packed, flat).view(state.shape)


def dequantized(layer) -> torch.Tensor:
    """The weight of a linear layer of any kind, (out, in)."""
    from peft.utils.integrations import dequantize_module_weight

    weight = layer.weight
    return unpacked(weight, weight.quant_state) if _has_cut_rows(weight) else dequantize_module_weight(layer)


def _has_cut_rows(weight) -> bool:
    """Whether a weight is in 4 bits on a CPU, in blocks that go over the ends of its rows."""
    state = getattr(weight, "quant_state", None)
    return state is not None and weight.device.type == "cpu" and state.shape[-1] % state.blocksize != 0


def _read_dequantized(layer, states: torch.Tensor) -> torch.Tensor:
    """The forward pass of a 4-bit layer by `dequantized`."""
    weight = dequantized(layer)
    bias = None if layer.bias is None else layer.bias.to(weight.dtype)
    return nn.functional.linear(states.to(weight.dtype), weight, bias).to(states.dtype)


SMALL = 2**27  # parameters: what they take in float32, 512 MiB, can be held for the time of a pass


@contextmanager
def folded(model, keep: bool | None = None):
    """Inside, an adapter is added to the weight under it as that is dequantised: one product of matrices, not three.

    For training, scoring and writing on a CPU: in float32 the sum loses nothing, in half precision it would lose part of the
    adapter. A model of at most `SMALL` parameters is dequantised once. `keep` holds the sums, 4 bytes a parameter: for the many
    short passes of decoding, never while the adapters change; unless told, where the model is small. A layer with dropout is left
    as it is while that draws, for it changes what the adapter reads.
    """
    from peft.tuners.lora import LoraLayer

    # Conv1D of GPT-2 and its kin, which keeps its weight the other way round, stays as it is.
    layers = [m for m in model.modules() if isinstance(m, LoraLayer) and not getattr(m, "fan_in_fan_out", False)]
    layers = layers if env.compute_dtype() == torch.float32 else []
    layers = [m for m in layers if not any(d.training and getattr(d, "p", 0) for d in m.lora_dropout.values())]
    small = sum(m.in_features * m.out_features for m in layers) <= SMALL
    keep = small if keep is None else keep
    held: dict[nn.Module, torch.Tensor] = {}  # the sums, or while the adapters change what they are added to

    def adapter(layer):
        return layer.lora_A["default"].weight, layer.lora_B["default"].weight, layer.scaling["default"]

    def plus_adapter(layer, weight):
        if layer.disable_adapters:
            return weight
        down, up, scaling = adapter(layer)
        return torch.addmm(weight, up, down, alpha=scaling)

    def added(layer):
        weight = held.get(layer)
        if weight is None:
            weight = dequantized(layer.base_layer)
            weight = plus_adapter(layer, weight) if keep else weight
            if keep or small:
                held[layer] = weight
        return weight if keep else plus_adapter(layer, weight)

    def one_product(layer, states):
        bias = layer.base_layer.bias
        if not torch.is_grad_enabled() or layer.disable_adapters:
            return nn.functional.linear(states, added(layer), bias)
        return FoldedLoRA.apply(states, *adapter(layer), partial(added, layer), bias)

    with replaced({layer: partial(one_product, layer) for layer in layers}), _rotated_in_place(model):
        yield


@contextmanager
def reading(model, keep: bool | None = None):
    """Inside, the model is read from: adapters `folded`, on a GPU in the mixed precision it is trained in.

    Norms, and so the states between the layers, are in float32, the output layer is in half precision: without autocast the one
    could not read the other. Not for training, which has autocast of its own: around it this one would keep the half-precision
    copies of the adapters from step to step.
    """
    dtype = env.compute_dtype()
    with folded(model, keep), torch.autocast(model.device.type, dtype, enabled=dtype != torch.float32):
        yield


@contextmanager
def _rotated_in_place(model):
    """Inside, on a CPU without gradients, rotary embeddings pass over queries and keys three times, not six.

    The functions of transformers are replaced where `_rotated` gives the same: most models have that one, each its own copy.
    """
    name = "apply_rotary_pos_emb"
    homes = {sys.modules[type(m).__module__] for m in model.modules()} if env.device() == "cpu" else ()
    before = {home: own for home in homes if (own := getattr(home, name, None)) and _is_rotated(own)}

    def either(own, query, key, cos, sin, *rest, **options):
        if torch.is_grad_enabled() or rest or options or cos.shape[-1] != query.shape[-1]:
            return own(query, key, cos, sin, *rest, **options)
        return _rotated(query, cos, sin), _rotated(key, cos, sin)

    for home, own in before.items():
        setattr(home, name, partial(either, own))
    try:
        yield
    finally:
        for home, own in before.items():
            setattr(home, name, own)


def _rotated(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """`states` (rows, heads, tokens, size) turned by the angles (rows, tokens, size); Su et al. 2021, arXiv 2104.09864."""
    cos, sin, half = cos.unsqueeze(1), sin.unsqueeze(1), states.shape[-1] // 2
    out = states * cos
    out[..., :half].addcmul_(states[..., half:], sin[..., :half], value=-1)
    out[..., half:].addcmul_(states[..., :half], sin[..., half:])
    return out


def _is_rotated(function) -> bool:
    """Whether a function turns queries and keys as `_rotated` does."""
    query, key, cos, sin = torch.linspace(-1, 1, 64).view(4, 1, 2, 2, 4)
    try:
        own = function(query, key, cos[:, 0], sin[:, 0])
        return all(torch.allclose(a, _rotated(b, cos[:, 0], sin[:, 0])) for a, b in zip(own, (query, key), strict=True))
    except (TypeError, ValueError, RuntimeError):  # it is asked in another way
        return False


class FoldedLoRA(torch.autograd.Function):
    """A LoRA layer as one product, with gradients for what it reads and for the adapter.

    `weight` makes the sum, for the product and once more for the gradient: kept, the sums would be the model in full precision.
    """

    @staticmethod
    def forward(ctx, states, down, up, scaling, weight, bias):
        ctx.save_for_backward(states, down, up)
        ctx.scaling, ctx.weight = scaling, weight
        return nn.functional.linear(states, weight(), bias)

    @staticmethod
    def backward(ctx, gradient):
        states, down, up = ctx.saved_tensors
        rows, out = states.flatten(0, -2), gradient.flatten(0, -2)
        inner = out @ (up * ctx.scaling)
        above = ((rows @ down.T).T @ out).T * ctx.scaling
        below = (out @ ctx.weight()).view_as(states) if ctx.needs_input_grad[0] else None
        return below, inner.T @ rows, above, None, None, None
