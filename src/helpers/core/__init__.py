"""The 4-bit core: load, attach, train, score, embed, write, save.

The only room that imports transformers, peft and bitsandbytes.
"""

from __future__ import annotations

from typing import Any

PUBLIC = {
    "QLoRA": "qlora",
    "zero_shot": "untuned",
    "few_shot": "untuned",
    "writes": "untuned",
    "Detector": "detector",
    "load_detector": "detector",
    "Writer": "writer",
    "Recipe": "recipe",
    "Probe": "probe",
    "cached": "cache",
    "Beside": "beside",
}


def __getattr__(name: str) -> Any:
    # Loaded at first use, so that reading a recipe or checking a model's name imports no torch.
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{PUBLIC[name]}"), name)
