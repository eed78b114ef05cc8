"""Speed on a CPU, and correct 4-bit weights there: dequantised weights, folded adapters."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from functools import partial
from typing import Any

import torch
from torch import nn

from helpers import env


def keep_freed_memory() -> None:
    """Make glibc keep freed memory: mapping new pages for the same tensors takes a fifth of a step."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(libc, "mallopt"):  # glibc alone has it
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: give nothing back
        libc.mallopt(-3, 2**25)  # M_MMAP_THRESHOLD: 32 MiB, its upper bound


def unpacked(packed: torch.Tensor, state) -> torch.Tensor:
    """The weight that bitsandbytes' `quantize_4bit` packed, in the blocks in which it was cut.

    On a CPU with AVX-512 bitsandbytes' own function (0.50) assumes that every row starts a new
    block, though blocks are cut from the flat weight. Where rows are no multiple of a block (64),
    it loses a quarter to two thirds of the weight.
    """
    from bitsandbytes.functional import dequantize_4bit

    flat, count = copy(state), state.shape.numel()
    flat.shape = torch.Size((1, count) if count % state.blocksize else (count // state.blocksize, state.blocksize))
    return dequantize_4bit(packed, flat).view(state.shape)


def dequantized(layer) -> torch.Tensor:
    """The weight of a linear layer of any kind, (out, in)."""
    from peft.utils.integrations import dequantize_module_weight

    weight = layer.weight
    return unpacked(weight, weight.quant_state) if has_cut_rows(weight) else dequantize_module_weight(layer)


def has_cut_rows(weight) -> bool:
    """Whether a weight is in 4 bits on a CPU, in blocks that go over the ends of its rows."""
    state = getattr(weight, "quant_state", None)
    return state is not None and weight.device.type == "cpu" and state.shape[-1] % state.blocksize != 0


def read_dequantized(layer, states: torch.Tensor) -> torch.Tensor:
    """The forward pass of a 4-bit layer by `dequantized`."""
    weight = dequantized(layer)
    bias = None if layer.bias is None else layer.bias.to(weight.dtype)
    return nn.functional.linear(states.to(weight.dtype), weight, bias).to(states.dtype)


SMALL = 2**27  # parameters; in float32 they take 512 MiB, which can be held for the time of a pass


LIGHT = 10**7  # parameters of a model whose products are too short to share
CORES = torch.get_num_threads()  # as OMP_NUM_THREADS or the machine says, before anything changes it


def is_light(model) -> bool:
    """Whether a model on a CPU is read by one thread, because two would wait for each other.

    On a quiet machine two threads train the embedded base in two thirds of the time; beside one other
    process they need more than twice as long, and one thread as long as ever. One thread also gives
    the same weights on any number of cores.
    """
    weights = list(model.parameters())
    return weights[0].device.type == "cpu" and sum(weight.numel() for weight in weights) <= LIGHT


@contextmanager
def threads_for(model):
    """Inside, a product of a light model has one thread, of any other every core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if is_light(model) else CORES)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def over_batches(model, function: Callable[[Any], Any], batches: Iterable[Any]) -> Iterable[Any]:
    """`function` of every batch, in their order; a light model reads as many at once as there are cores.

    A batch gives the same result whichever thread reads it.
    """
    if CORES == 1 or not is_light(model):
        yield from map(function, batches)
        return

    @torch.no_grad()  # such a mode is a thread's own
    def apart(batch):
        return function(batch)

    with ThreadPoolExecutor(CORES) as pool:
        yield from pool.map(apart, batches)


@contextmanager
def folded(model, keep: bool | None = None):
    """Inside, a LoRA layer adds its adapter to the dequantised weight: one product instead of three.

    Only in float32, that is on a CPU: in half precision the sum would lose part of the adapter. A
    model of at most `SMALL` parameters is dequantised only once. A layer whose dropout is active
    stays as it is, because dropout changes what the adapter reads.

    Parameters
    ----------
    model : module with peft LoRA layers
    keep : bool, optional
        Hold the sums, 4 bytes a parameter: for the many short passes of decoding, never while the
        adapters change. The default is to hold them where the model is small.
    """
    layers = _foldable_layers(model)
    small = sum(m.in_features * m.out_features for m in layers) <= SMALL
    keep = small if keep is None else keep
    weights: dict[nn.Module, torch.Tensor] = {}  # the sums, or what changing adapters are added to

    def adapter(layer):
        return layer.lora_A["default"].weight, layer.lora_B["default"].weight, layer.scaling["default"]

    def plus_adapter(layer, weight):
        if layer.disable_adapters:
            return weight
        down, up, scaling = adapter(layer)
        return torch.addmm(weight, up, down, alpha=scaling)

    def summed(layer):
        weight = weights.get(layer)
        if weight is None:
            weight = dequantized(layer.base_layer)
            weight = plus_adapter(layer, weight) if keep else weight
            if keep or small:
                weights[layer] = weight
        return weight if keep else plus_adapter(layer, weight)

    def forward(layer, states):
        bias = layer.base_layer.bias
        if not torch.is_grad_enabled() or layer.disable_adapters:
            return nn.functional.linear(states, summed(layer), bias)
        return FoldedLoRA.apply(states, *adapter(layer), partial(summed, layer), bias)

    # Blocks nest: training scores its held-out rows in between.
    outer = [vars(layer).get("forward") for layer in layers]
    for layer in layers:
        layer.forward = partial(forward, layer)
    try:
        with threads_for(model):
            yield
    finally:
        for layer, before in zip(layers, outer, strict=True):
            del layer.forward
            if before:
                layer.forward = before


def _foldable_layers(model) -> list[nn.Module]:
    """LoRA layers in float32 without active dropout, but not GPT-2's Conv1D, whose weight is transposed."""
    from peft.tuners.lora import LoraLayer

    if env.compute_dtype() != torch.float32:
        return []
    layers = [m for m in model.modules() if isinstance(m, LoraLayer) and not getattr(m, "fan_in_fan_out", False)]
    return [m for m in layers if not any(d.training and getattr(d, "p", 0) for d in m.lora_dropout.values())]


@contextmanager
def reading(model, keep: bool | None = None):
    """Inside, the model scores, embeds or writes: adapters `folded`, on a GPU in mixed precision.

    Norms, and so the states between the layers, are in float32, and the output layer is in half
    precision: without autocast it could not read them. Training has an autocast of its own; around
    it this one would keep the half-precision copies of the adapters from step to step.
    """
    dtype = env.compute_dtype()
    with folded(model, keep), torch.autocast(model.device.type, dtype, enabled=dtype != torch.float32):
        yield


class FoldedLoRA(torch.autograd.Function):
    """A LoRA layer as one product, with gradients for its input and for the adapter.

    `weight` computes the sum, once for the product and once for the gradient: stored, the sums of
    all layers would be the model in full precision.
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
        for_up = ((rows @ down.T).T @ out).T * ctx.scaling
        for_down = (out @ (up * ctx.scaling)).T @ rows
        for_states = (out @ ctx.weight()).view_as(states) if ctx.needs_input_grad[0] else None
        return for_states, for_down, for_up, None, None, None
