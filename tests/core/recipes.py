"""The recipe of the tests: `recipe(...)` with what a test changes."""

from __future__ import annotations

from typing import Any

from helpers.core.recipe import EMBEDDED, Recipe

SETTINGS = {
    "model": EMBEDDED,
    "revision": "",
    "quantization": "nf4",
    "head": "classifier",
    "pooling": "mean",
    "head_first": False,
    "bidirectional": False,
    "lora_r": 16,
    "lora_alpha": 32,
    "lora_dropout": 0.05,
    "learning_rate": 2e-4,
    "weight_decay": 0.0,
    "warmup": 0.1,
    "epochs": 4,
    "patience": 3,
    "holdout": 0.15,
    "batch_size": 16,
    "accumulation": 1,
    "max_length": 256,
    "token_budget": 8192,
    "class_weights": True,
    "max_new_tokens": 96,
    "distil_weight": 0.5,
}


def recipe(model: Any = EMBEDDED, **changes: Any) -> Recipe:
    """A recipe over `model`, an id or a folder."""
    return Recipe(**SETTINGS | {"model": str(model)} | changes)
