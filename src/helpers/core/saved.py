"""A learner on the disk: read back only where facts and weights fit, before memory is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from helpers import env
from helpers.core.folder import refuse_strange_files
from helpers.core.hints import rules_version
from helpers.core.recipe import EMBEDDED, Recipe
from helpers.env import UserError
from helpers.task import Task

MOST_LABELS, MOST_KINDS = 10_000, 100
TOKENS_PER_GIB = 2048  # of memory, in one batch: what fits a small model, and more than a large one takes at once
KINDS = {"torch.float32", "torch.float16", "torch.bfloat16"}
LARGEST = 1e6  # of a weight
FACTS, ADAPTER, HEAD, KINDS_HEAD = "learner.json", "adapter_model.safetensors", "head.safetensors", "kinds.safetensors"


@dataclass
class Facts:
    """What `learner.json` says.

    Attributes
    ----------
    base : str or None
        Version of the base that the adapter was trained on (see `QLoRA.base`); None where an older version recorded none.
    rules : str
        Version of the rules whose marks its head reads (see `QLoRA.rules`), '' for none.
    kinds : tuple of strings
        Kinds of exclusion that it names beside the label; none in adapters of older versions.
    in_chat : bool
        Whether it was asked in the chat template of its base (see `Encoding`); adapters of older versions never were.
    """

    temperature: float
    seed: int
    recipe: Recipe
    task: Task
    base: str | None = None
    kinds: tuple[str, ...] = ()
    rules: str = ""
    in_chat: bool = False


def read_facts(folder: Path, **changes: Any) -> Facts:
    """The facts of a saved learner, checked; raises UserError where they cannot be those of one.

    Parameters
    ----------
    folder : Path
    **changes
        Fields of the recipe to replace.
    """
    from pydantic import TypeAdapter, ValidationError

    path = folder / FACTS
    if not path.is_file():
        raise UserError(f"{folder} holds no saved learner: run 03_active_learning first.")
    refuse_strange_files(folder)
    if not (folder / ADAPTER).is_file():
        pickles = sorted(f.name for f in folder.glob("*.bin"))
        problem = f"it has {pickles[0]}, and a pickle can run code" if pickles else "it is not there"
        raise UserError(f"{folder} needs its weights in {ADAPTER}: {problem}; ask for an adapter in safetensors.")
    try:
        facts = TypeAdapter(Facts).validate_json(path.read_bytes(), strict=True)
        commit = (facts.base or "").removeprefix("commit ")
        if commit != facts.base and not facts.recipe.revision:  # what the hub has under that name may change
            facts.recipe = replace(facts.recipe, revision=commit)
        facts.recipe = replace(facts.recipe, **changes)
        facts.recipe.check()
        facts.recipe = _within_memory(facts.recipe)
        if len(facts.task.labels) > MOST_LABELS:
            raise UserError(f"{len(facts.task.labels):,} labels are more than {MOST_LABELS:,}")
        facts.task.check()
        if len(facts.kinds) > MOST_KINDS or len(set(facts.kinds)) < len(facts.kinds) or not all(facts.kinds):
            raise UserError(
                f"{len(facts.kinds):,} kinds, where at most {MOST_KINDS} can be, all different and with a name"
            )
        if facts.recipe.head == "classifier" and not facts.task.labels:
            raise UserError("a classifier without labels")
    except (ValidationError, UserError, OSError, TypeError) as error:
        reason = str(error)
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
        raise UserError(
            f"{path} does not describe a learner ({reason[:200]}): train it again, or copy the folder anew."
        ) from error
    if not 0.01 <= facts.temperature <= 100:  # fitted between 0.25 and 10
        raise UserError(f"{path} has temperature {facts.temperature}: train it again, or copy the folder anew.")
    if facts.recipe.model.startswith("embedded:") and facts.recipe.model != EMBEDDED:
        raise other_base(folder, facts.recipe.model)
    return facts


def rules_remark(facts: Facts) -> str:
    """Why a learner answers otherwise than when it was measured: the rules whose marks it reads have changed; '' where not."""
    if facts.rules in ("", rules_version(facts.task)):
        return ""
    return "The cue rules have changed since the detector was trained, and some answers with them: train it again."


def _within_memory(recipe: Recipe) -> Recipe:
    """The recipe with batches that this machine can hold, which changes no answer; raises UserError on longer texts."""
    machine = env.machine()
    most = int(TOKENS_PER_GIB * machine.get("gpu_gib", machine["ram_gib"]))
    if recipe.max_length > most:
        remedy = f"max_length {recipe.max_length:,} is more than the {most:,} tokens for which this machine has memory"
        raise UserError(f"{remedy}; load it with max_length={most} or less")
    return replace(recipe, token_budget=min(recipe.token_budget, most))


def read_weights(path: Path, expected: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file, if their names and shapes are those expected and no value is lost.

    The names and shapes stand in the file's header, so an absurd file is refused before it is read.
    """
    from safetensors import SafetensorError, safe_open

    remedy = "train it again, or copy the folder anew"
    try:
        with safe_open(path, "pt", device=env.device()) as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            for name in sorted(shapes.keys() | expected.keys()):
                here = tuple(expected[name].shape) if name in expected else None
                if shapes.get(name) != here:
                    words = f"{name} has shape {shapes.get(name)} there and {here} in the model it names"
                    raise UserError(f"{path} does not fit its learner.json: {words}; {remedy}.")
            tensors = {name: file.get_tensor(name) for name in shapes}
        kinds = {str(tensor.dtype) for tensor in tensors.values()} - KINDS
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(f"{path} cannot be read ({str(error)[:160]}): {remedy}.") from error
    if kinds:
        raise UserError(f"{path} has weights of type {min(kinds)}: {remedy}.")
    if broken := [name for name, tensor in tensors.items() if not (tensor.abs() <= LARGEST).all()]:
        raise UserError(
            f"{path} has values that no training leaves (NaN, or beyond {LARGEST:,.0f}) in {broken[0]}: {remedy}."
        )
    return tensors


def is_other_base(recorded: str | None, now: str | None) -> bool:
    """Whether two versions of a base differ; a folder and a commit of the hub cannot be compared."""
    return bool(recorded and now) and recorded != now and recorded.split()[:-1] == now.split()[:-1]


def other_base(folder: Path, model: str) -> UserError:
    what = "the embedded base" if model.startswith("embedded:") else f"the base {model}"
    return UserError(
        f"{folder} was trained on another version of {what}, and its adapter does not fit this one: "
        "put that version back, or run 03_active_learning again under a new run_id."
    )
