"""How a model is loaded and trained: the keys of `params/profiles/*.yaml`."""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from typing import Any

from helpers import env
from helpers.env import UserError

EMBEDDED = "embedded:italian_jobs/base_model"  # the small model that comes with the package


@dataclass(frozen=True)
class Recipe:
    """How a model is loaded and trained; every field is a key of `params/profiles/*.yaml`."""

    model: str = EMBEDDED  # folder, hub id, or the embedded base
    revision: str = ""  # commit of a hub model; '' for a folder
    quantization: str = "nf4"  # nf4 or none
    head: str = "classifier"  # classifier, or lm: label words scored at the last position
    pooling: str = "mean"  # mean, max, last or evidence, for the classifier
    head_first: bool = False  # the head is trained on the frozen base first, and kept so where the rest does no better
    bidirectional: bool = False  # a decoder reads both ways; only for a base trained so
    lora_r: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.05
    learning_rate: float = 2.0e-4
    weight_decay: float = 0.0
    warmup: float = 0.1  # share of the steps
    epochs: int = 4
    patience: int = 3  # epochs without improvement on held-out labels, the best is kept; 0 trains to the end
    holdout: float = 0.15  # share of the labels kept for early stopping and calibration
    batch_size: int = 16
    accumulation: int = 1  # gradient accumulation steps
    max_length: int = 256  # tokens of a prompt
    token_budget: int = 8192  # tokens in a scoring batch, padding included
    class_weights: bool = True
    max_new_tokens: int = 96  # tokens written for one text
    distil_weight: float = 0.5  # share of the teacher's distribution in the loss, where `fit` has a teacher
    distil_temperature: float = 1.0

    @classmethod
    def from_params(cls, params: dict[str, Any]) -> Recipe:
        """The recipe among a notebook's parameters; raises UserError on a value that is not on offer."""
        recipe = cls(**{f.name: params[f.name] for f in fields(cls) if f.name in params})
        offered = {
            "quantization": ("nf4", "none"),
            "head": ("classifier", "lm"),
            "pooling": ("mean", "max", "last", "evidence"),
        }
        for name, values in offered.items():
            if getattr(recipe, name) not in values:
                raise UserError(f"Parameter {name}={getattr(recipe, name)!r} must be one of {', '.join(values)}.")
        return recipe


def check_model(model: str, revision: str = "") -> None:
    """Raise UserError when a model is neither the embedded one, nor a folder with a model, nor a hub id that can be reached."""
    from huggingface_hub import hf_hub_download

    folder = env.resolve(model)
    if model == EMBEDDED or (folder / "config.json").is_file():
        return
    if folder.is_dir():
        raise UserError(f"model {model!r} is a folder without config.json: give that of a saved model.")
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it tells of every attempt
    try:
        hf_hub_download(model, "config.json", revision=revision or None)
    except (OSError, ValueError) as error:
        raise UserError(
            f"model {model!r} is neither a folder nor a hub id that can be reached ({str(error).splitlines()[0][:160]}): "
            f"check the name and the connection, or give the folder of a downloaded model."
        ) from error
