"""The untuned base, asked for label words as it is: what training has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from helpers.core.base import model_path
from helpers.core.calibration import softmax
from helpers.core.qlora import QLoRA, has_alibi, unit_length
from helpers.core.recipe import Recipe
from helpers.task import TEXT, Task


def zero_shot(task: Task, recipe: Recipe, texts: Sequence[str]) -> np.ndarray:
    """Probabilities of the untuned base: of a decoder's label words, or of an encoder's nearest label.

    Parameters
    ----------
    task : Task
    recipe : Recipe
        Its head is ignored.
    texts : strings

    Returns
    -------
    float64 array (texts, labels)
    """
    if writes(recipe):
        return QLoRA(task, replace(recipe, head="lm", bidirectional=False)).predict_proba(texts)
    learner = QLoRA(task, replace(recipe, head="classifier"))
    rows, names = (unit_length(learner.embed(t)) for t in (texts, [w.strip() for w in task.label_words]))
    return softmax(20.0 * rows @ names.T)


def writes(recipe: Recipe) -> bool:
    """Whether the base of a recipe is a decoder that can be asked for label words."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model_path(recipe.model), revision=recipe.revision or None)
    return "CausalLM" in (config.architectures or [""])[0] and not has_alibi(config)


def few_shot(task: Task, recipe: Recipe, texts: Sequence[str], examples: Sequence[Sequence[dict]]) -> np.ndarray:
    """Probabilities of the untuned base's label words behind solved examples (Brown et al. 2020, arXiv 2005.14165).

    Parameters
    ----------
    task : Task
    recipe : Recipe
        Of a decoder; its head is ignored.
    texts : strings
    examples : for each text records with `text` and `label`, the most telling one last

    Returns
    -------
    float64 array (texts, labels)
    """
    words = dict(zip(task.labels, task.label_words, strict=True))
    prompts = []
    for text, shown in zip(texts, examples, strict=True):
        solved = [task.prompt.replace(TEXT, row["text"]) + words[row["label"]] for row in shown]
        prompts.append("\n\n".join([*solved, task.prompt.replace(TEXT, text)]))
    length = recipe.max_length * (1 + max((len(shown) for shown in examples), default=0))
    asked = replace(task, prompt=TEXT)
    return QLoRA(asked, replace(recipe, head="lm", bidirectional=False, max_length=length)).predict_proba(prompts)
