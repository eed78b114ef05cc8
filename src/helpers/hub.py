"""Which commit an unpinned hub id stands for, as the cache of the hub on this machine says, without a connection."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from helpers import env

COMMIT = re.compile("[0-9a-f]{40}")
MODELS = ("model", "teacher_model", "secondary")  # parameters that may name a model of the hub
WORDS = ("tagger", "half")  # of `secondary`, which are none


def commits(stage: str, params: dict[str, Any]) -> dict[str, str]:
    """`parameter=id` → the commit in the cache ('' where it has none) of every hub id that a stage's parameters do not pin."""
    return {name: _cached_commit(*place) for name, place in _unpinned(stage, params).items()}


def moved(before: Any, stage: str, params: dict[str, Any]) -> str:
    """The first `parameter=id` that stands for another commit than before; '' where none does or nobody knows."""
    now, before = commits(stage, params), before if isinstance(before, dict) else {}
    return next((name for name, commit in before.items() if commit and now.get(name) not in (None, "", commit)), "")


def unwatched(stage: str, params: dict[str, Any]) -> list[str]:
    """Sentences on the hub ids of which nothing says whether they change."""
    sentences = []
    for name, commit in commits(stage, params).items():
        if not commit:
            remedy = (
                "revision=COMMIT pins it" if name.startswith("model=") else "download it and give its place to pin it"
            )
            sentences.append(
                f"{name}: what the hub has under that name may change, and nothing here watches it; {remedy}."
            )
    return sentences


def _unpinned(stage: str, params: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """`parameter=id` → (folder of the id in the cache, its branch)."""
    found = {}
    for parameter in MODELS:
        value, revision = params.get(parameter, ""), params.get("revision", "") if parameter == "model" else ""
        for name in value if isinstance(value, list) else [value]:
            is_id = re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) and name not in WORDS and not env.resolve(name).exists()
            if is_id and not COMMIT.fullmatch(revision):
                found[f"{parameter}={name}"] = (f"models--{name.replace('/', '--')}", revision or "main")
    data_path = (
        params.get("data_path", "") if stage.startswith("01") else ""
    )  # later it only says which set 01 has read
    if data_path.startswith("hf:"):
        name = data_path.split(":")[1]
        found[f"data_path={data_path}"] = (f"datasets--{name.replace('/', '--')}", "main")
    return found


def _cached_commit(folder: str, branch: str) -> str:
    from huggingface_hub.constants import HF_HUB_CACHE

    try:
        commit = (Path(HF_HUB_CACHE) / folder / "refs" / branch).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
    return commit if COMMIT.fullmatch(commit) else ""
