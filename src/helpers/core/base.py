"""The quantised base of a learner: load it in 4 bits, attach adapters, reset them."""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from helpers import env
from helpers.core.cpu import has_cut_rows, keep_freed_memory, read_dequantized, unpacked
from helpers.core.folder import TOKENIZER, model_digest, refuse_foreign_files, refuse_growing_tokenizer, refuse_no_model
from helpers.core.gguf import converted, is_gguf
from helpers.core.recipe import EMBEDDED, Recipe, refuse_missing_folder
from helpers.env import UserError
from helpers.files import sha256
from helpers.masking import without_secrets

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")  # peft uses the old name
warnings.filterwarnings("ignore", message=".*fan_in_fan_out is set to False.*")  # peft corrects it itself
# transformers 5.0 has no other name
warnings.filterwarnings("ignore", message=".*gradient_checkpointing_enable` is deprecated.*")
# It reports a missing optional CPU kernel at each start.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

# `cached_file` gives None for a file that is not there
OPTIONAL = {"_raise_exceptions_for_missing_entries": False}


def model_path(model: str) -> str:
    """Folder of a local, converted or the embedded model; a hub id is returned as it is."""
    if model == EMBEDDED:
        return str(Path(__file__).parents[1] / "data" / model.removeprefix("embedded:"))
    if is_gguf(model):
        return str(converted(model))
    return str(env.resolve(model)) if env.resolve(model).is_dir() else model


def base_version(model: str) -> str | None:
    """Digest of the embedded base or of the folder of another one; None for a model of the hub, which has a commit."""
    path = Path(model_path(model))
    if model == EMBEDDED:
        return sha256(path / "model.safetensors")
    if not path.is_dir():
        return None
    refuse_no_model(path, model)
    return f"folder {model_digest(path)}"


def load_base(recipe: Recipe, head: str | None = None):
    """Load the base in 4 bits or full precision, frozen; no remote code and no pickles.

    Parameters
    ----------
    recipe : Recipe
    head : str, optional
        `lm` keeps the output layer, `classifier` drops it; by default as in the recipe.

    Returns
    -------
    (model, tokenizer)

    Raises
    ------
    UserError
        When the model is neither a folder with a model nor a hub id that can be reached, or lacks some of its weights.
    """
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import cached_file
    from transformers.utils import logging as transformers_logging

    if env.device() == "cpu":
        keep_freed_memory()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    source = {"revision": recipe.revision or None, "trust_remote_code": False}
    options: dict[str, Any] = {"dtype": env.compute_dtype(), "use_safetensors": True, "device_map": {"": env.device()}}
    if recipe.quantization == "nf4":
        options["quantization_config"] = _nf4()
    model_class = AutoModelForCausalLM if (head or recipe.head) == "lm" else AutoModel
    path = model_path(recipe.model)
    if recipe.model != EMBEDDED:
        if Path(path).is_dir():
            refuse_foreign_files(Path(path))
        else:
            refuse_missing_folder(recipe.model)
    try:
        if file := cached_file(path, TOKENIZER, revision=recipe.revision or None, **OPTIONAL):
            refuse_growing_tokenizer(Path(file))
        tokenizer = AutoTokenizer.from_pretrained(path, **source)
        model, loading = model_class.from_pretrained(path, output_loading_info=True, **source, **options)
    except UserError:
        raise
    except Exception as error:  # the files of a stranger fail in many ways
        reason = without_secrets((str(error).splitlines() or [type(error).__name__])[0])[:160]
        raise UserError(
            f"model {recipe.model!r} could not be loaded: it is neither a folder with config.json, tokenizer and "
            f"safetensors, nor a hub id that can be reached ({reason})."
        ) from error
    # A pooler is new where the model was trained without one, and nothing reads it.
    if missing := sorted(key for key in loading["missing_keys"] if "pooler" not in key.split(".")):
        raise UserError(
            f"model {recipe.model!r} lacks {len(missing)} of its weights (first: {missing[0]}), which would be drawn at "
            "random: fetch the model again, or take one that was saved with this head."
        )
    _complete_special_tokens(tokenizer, model.config.eos_token_id)
    _keep_only_ends(model, tokenizer)
    _correct_on_cpu(model)
    model.requires_grad_(False)
    return model, tokenizer


def _complete_special_tokens(tokenizer, eos: object) -> None:
    """Give a tokenizer what it lacks: an end, by the id in the model's configuration, and something to pad with.

    Padding is masked, so any token will do; one that is special, or else the rarest, is lost from no output.
    """
    for name in ("bos_token", "eos_token", "pad_token"):
        if getattr(tokenizer, name) == "":
            setattr(tokenizer, name, None)
    if tokenizer.eos_token_id is None and type(eos) is int and 0 <= eos < len(tokenizer):
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(eos)
    if tokenizer.pad_token_id is None:
        special = (tokenizer.eos_token, tokenizer.unk_token, tokenizer.bos_token)
        tokenizer.pad_token = next(filter(None, special), tokenizer.convert_ids_to_tokens(len(tokenizer) - 1))


def _keep_only_ends(model, tokenizer) -> None:
    """Of a stranger's way to generate keep the tokens that end a text: beams, stop words and the like are for us to say."""
    from transformers import GenerationConfig

    if getattr(model, "generation_config", None) is None:
        return
    ends = model.generation_config.eos_token_id
    ends = [*(ends if isinstance(ends, list) else [ends]), tokenizer.eos_token_id]
    ends = sorted({token for token in ends if type(token) is int and 0 <= token < len(tokenizer)})
    special = {"bos_token_id": tokenizer.bos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model.generation_config = GenerationConfig(eos_token_id=ends or None, **special)


def _nf4():
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=env.compute_dtype(),
        # A new head has no quantisation state: its first forward would fail in bitsandbytes.
        llm_int8_skip_modules=["lm_head", "score", "classifier", "pooler"],
    )


def _correct_on_cpu(model) -> None:
    """Avoid two errors of bitsandbytes 0.50 in 4-bit layers on a CPU.

    With AVX512-BF16 the first scoring pass would repack the weights for a kernel that has no
    gradient: later training would silently get wrong gradients through it, and it is no faster. For
    the other error see `cpu.unpacked`.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
            if has_cut_rows(module.weight):
                module.forward = partial(read_dequantized, module)


def save_halved_base(recipe: Recipe, folder: Path) -> Path:
    """Save a copy of the base with every other layer to `folder`, and return the folder.

    DistilBERT starts in this way (Sanh et al. 2019); here no pretraining follows, only the adapters
    are trained.
    """
    model, tokenizer = load_base(replace(recipe, quantization="none"), "lm")
    body, config = model.get_decoder(), model.config
    body.layers = nn.ModuleList(body.layers[::2])
    config.num_hidden_layers = len(body.layers)
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[::2]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def attach(model, recipe: Recipe):
    """`model` with fresh float32 LoRA adapters on all linear layers.

    Done by hand rather than with `prepare_model_for_kbit_training`, which copies embeddings and
    output layer to float32 too: 2.5 GB for a vocabulary of 152,000.
    """
    from peft import LoraConfig, get_peft_model

    if recipe.bidirectional:
        model.config.is_causal = False
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # the base is frozen: its masks would only cost a fifth of a step on a CPU
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
    return get_peft_model(model, config, autocast_adapter_dtype=True)


def reset_adapters(model) -> None:
    """Draw the LoRA weights anew: A at random, B zero, as at the start."""
    from peft.tuners.lora import LoraLayer

    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.reset_lora_parameters("default", True)


def check_nf4() -> str:
    """One sentence: whether a 4-bit layer works here, and how much of a weight rounding loses."""
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
