"""How a model is loaded and trained: the keys of `params/profiles/*.yaml`."""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from typing import Any

from helpers import env
from helpers.core.folder import refuse_foreign_files, refuse_no_model
from helpers.core.gguf import converted, gguf_parts, is_gguf
from helpers.env import UserError
from helpers.masking import without_secrets
from helpers.parameters import check_value

EMBEDDED = "embedded:italian_jobs/base_model"  # the small model that comes with the package
# What the notebooks of one kind of task have no parameter for, because nothing there reads it.
UNREAD = {
    "classification": {"max_new_tokens": 0, "distil_weight": 0.0},
    "generation": {"head": "lm", "pooling": "mean", "head_first": False, "class_weights": False},
}
# For a base that is never trained; what is not read there has a value that does nothing.
READING = {
    "revision": "",
    "quantization": "nf4",
    "head": "classifier",
    "pooling": "mean",
    "head_first": False,
    "bidirectional": False,
    "lora_r": 16,
    "lora_alpha": 32,
    "lora_dropout": 0.0,
    "learning_rate": 0.0,
    "weight_decay": 0.0,
    "warmup": 0.0,
    "epochs": 0,
    "patience": 0,
    "holdout": 0.0,
    "batch_size": 1,
    "accumulation": 1,
    "max_length": 256,
    "token_budget": 8192,
    "class_weights": False,
}


@dataclass(frozen=True)
class Recipe:
    """How a model is loaded and trained.

    No field has a default: the defaults stand in the parameter cells of the notebooks, and profiles
    replace them.
    """

    model: str  # folder, hub id, or the embedded base
    revision: str  # commit of a hub model; '' for a folder
    quantization: str  # nf4 or none
    head: str  # classifier, or lm: label words scored at the last position
    pooling: str  # mean or evidence, for the classifier
    head_first: bool  # train the head on the frozen base first; keep it if training the rest is no better
    bidirectional: bool  # a decoder reads both ways; only for a base trained so
    lora_r: int
    lora_alpha: int
    lora_dropout: float
    learning_rate: float
    weight_decay: float
    warmup: float  # share of the steps
    epochs: int
    patience: int  # epochs without improvement on held-out labels; 0 trains to the end
    holdout: float  # share of the labels held out for early stopping and calibration
    batch_size: int
    accumulation: int  # gradient accumulation steps
    max_length: int  # tokens of a prompt
    token_budget: int  # tokens in a scoring batch, padding included
    class_weights: bool
    max_new_tokens: int  # tokens a Writer writes for one text
    distil_weight: float  # share of the teacher's distribution in a Writer's loss

    @classmethod
    def from_params(cls, params: dict[str, Any]) -> Recipe:
        """The recipe among a notebook's parameters; raises UserError on a missing or unknown value."""
        kind = "generation" if params.get("kind") == "generation" else "classification"
        params = UNREAD[kind] | params
        names = [f.name for f in fields(cls)]
        if missing := [name for name in names if name not in params]:
            raise UserError(f"Parameter {missing[0]} is missing: give it in the profile or the notebook.")
        recipe = cls(**{name: params[name] for name in names})
        recipe.check()
        return recipe

    def check(self) -> None:
        """Raise UserError where a value is none of its choices or out of its bounds."""
        for field in fields(self):
            check_value(field.name, getattr(self, field.name))

    @classmethod
    def for_reading(cls, model: str, **changes: Any) -> Recipe:
        """The recipe of a base that is never trained.

        Parameters
        ----------
        model : str
        **changes
            Of `revision`, `quantization`, `head`, `bidirectional`, `max_length` and `token_budget`;
            the other fields do nothing.
        """
        if unknown := changes.keys() - READING.keys():
            raise TypeError(f"Recipe.for_reading has no field {min(unknown)!r}.")
        return cls.from_params(READING | {"model": model} | changes)


def refuse_missing_folder(model: str) -> None:
    """Raise UserError where a model reads as a path to a folder that is not there: no hub is asked for it."""
    first, *rest = model.replace("\\", "/").split("/")
    is_path = first in ("", ".", "..", "~") or len(rest) != 1 or "\\" in model or env.resolve(first).is_dir()
    if is_path and (rest or first in ("", ".", "..", "~")) and not env.resolve(model).is_dir():
        raise UserError(f"model {model!r} is a folder that does not exist ({env.resolve(model)}): check the path.")


def refuse_wrong_path(model: str) -> bool:
    """Raise UserError where a model is a path or package without a model; return whether it is a path that has one.

    It asks no hub and converts nothing, so it serves stages that do not load the model yet.
    """
    if is_gguf(model):
        return bool(gguf_parts(model))
    folder = env.resolve(model)
    if folder.is_dir():
        refuse_no_model(folder, model)
        refuse_foreign_files(folder)
        return True
    if model != EMBEDDED:
        refuse_missing_folder(model)
    return model == EMBEDDED


def check_model(model: str, revision: str = "") -> None:
    """Raise UserError unless a model is embedded, a folder with a model, a .gguf that can be read, or a reachable hub id."""
    from huggingface_hub import hf_hub_download

    if refuse_wrong_path(model):
        if is_gguf(model):
            converted(model)
        return
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it reports every attempt
    try:
        hf_hub_download(model, "config.json", revision=revision or None)
    except (OSError, ValueError) as error:
        raise UserError(
            f"model {model!r} is neither a folder nor a hub id that can be reached "
            f"({without_secrets(str(error).splitlines()[0])[:160]}): check the name and the connection, or give the folder of a "
            "downloaded model."
        ) from error
