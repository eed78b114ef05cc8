"""The quantised base under the learner: load it in 4 bits, attach adapters, add them up for scoring.

With `qlora` the only helper module that imports transformers, peft and bitsandbytes.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from helpers import env
from helpers.env import UserError
from helpers.heads import replaced
from helpers.recipe import EMBEDDED, Recipe

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")  # peft asks the old name
warnings.filterwarnings("ignore", message=".*fan_in_fan_out is set to False.*")  # and sets it right by itself
warnings.filterwarnings("ignore", message=".*gradient_checkpointing_enable` is deprecated.*")  # 5.0 has no other name
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it reports a missing optional CPU kernel at each start


def model_path(model: str) -> str:
    """Folder of a local or the embedded model; a hub id is returned as it is."""
    if model == EMBEDDED:
        return str(Path(__file__).parent / "italian_jobs" / "base_model")
    return str(env.resolve(model)) if env.resolve(model).is_dir() else model


def load_base(recipe: Recipe, head: str | None = None):
    """(model, tokenizer) in 4 bits or full precision, frozen; `head` `lm` keeps the output layer.

    No remote code and no pickles are loaded. Raises UserError when the model is neither a folder nor reachable.
    """
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
    from transformers.utils import logging as transformers_logging

    if env.device() == "cpu":
        env.keep_freed_memory()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    where = {"revision": recipe.revision or None, "trust_remote_code": False}
    options: dict[str, Any] = {"dtype": env.compute_dtype(), "use_safetensors": True, "device_map": {"": env.device()}}
    if recipe.quantization == "nf4":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=env.compute_dtype(),
            # A new head has no quantisation state: its first forward would fail in bitsandbytes.
            llm_int8_skip_modules=["lm_head", "score", "classifier", "pooler"],
        )
    kind = AutoModelForCausalLM if (head or recipe.head) == "lm" else AutoModel
    path = model_path(recipe.model)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, **where)
        model = kind.from_pretrained(path, **where, **options)
    except (OSError, ValueError) as error:
        raise UserError(
            f"model {recipe.model!r} could not be loaded: it is neither a folder with config.json, tokenizer and "
            f"safetensors, nor a hub id that can be reached ({str(error).splitlines()[0][:160]})."
        ) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    for module in model.modules():
        # On a CPU with AVX512-BF16 the first scoring pass would repack the weights for a kernel that has no gradient:
        # later training would silently get wrong gradients through it (bitsandbytes 0.50), and it is no faster.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
            if _has_cut_rows(module.weight):
                module.forward = partial(_read_dequantized, module)
    model.requires_grad_(False)
    return model, tokenizer


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


def halved(recipe: Recipe, folder: Path) -> Path:
    """Save a copy of the base with every other layer to `folder`: a smaller model with the weights of the larger one.

    How DistilBERT starts (Sanh et al. 2019), here without further pretraining: what it lost, the adapters must make good.
    """
    from torch.nn import ModuleList

    model, tokenizer = load_base(replace(recipe, quantization="none"), "lm")
    body, config = model.get_decoder(), model.config
    body.layers = ModuleList(body.layers[::2])
    config.num_hidden_layers = len(body.layers)
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[::2]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def attach(model, recipe: Recipe):
    """`model` with fresh float32 LoRA adapters on all linear layers.

    Done by hand rather than with `prepare_model_for_kbit_training`, which copies embeddings and output layer to
    float32 too: 2.5 GB for a vocabulary of 152,000.
    """
    from peft import LoraConfig, get_peft_model

    if recipe.bidirectional:
        model.config.is_causal = False
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # the base learns nothing; its masks cost a fifth of a step on a CPU and bring nothing
        if recipe.bidirectional and hasattr(module, "is_causal"):
            module.is_causal = False
        if "norm" in name.lower().rpartition(".")[2]:
            module.float()
    if env.device() == "cuda":
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    config = LoraConfig(
        r=recipe.lora_r,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules="all-linear",
        exclude_modules=[n for n, _ in model.named_modules() if "pooler" in n] or None,
        task_type="CAUSAL_LM" if recipe.head == "lm" else "FEATURE_EXTRACTION",
    )
    model = get_peft_model(model, config, autocast_adapter_dtype=True)
    return model


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


def reset_adapters(model) -> None:
    """Draw the LoRA weights anew: A at random, B zero, as at the start."""
    from peft.tuners.lora import LoraLayer

    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.reset_lora_parameters("default", True)


def check_nf4() -> str:
    """Whether a 4-bit layer runs forward and backward here, and how much of a weight it loses, in one sentence."""
    try:
        from bitsandbytes.nn import Linear4bit

        layer = Linear4bit(96, 64, bias=False, compute_dtype=env.compute_dtype(), quant_type="nf4")
        before = layer.weight.data.clone()
        layer = layer.to(env.device())
        rows = torch.ones(2, 96, device=env.device(), dtype=env.compute_dtype(), requires_grad=True)
        layer(rows).sum().backward()
        lost = float((unpacked(layer.weight, layer.weight.quant_state).cpu() - before).norm() / before.norm())
        finite = "finite" if rows.grad.isfinite().all() else "NOT finite"
        return f"works ({type(layer.weight).__name__}, gradient {finite}, {lost:.0%} of a weight lost in rounding)"
    except Exception as error:  # any failure is the answer
        return f"does not work here: {error}"
