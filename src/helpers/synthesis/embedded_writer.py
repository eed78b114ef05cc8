"""The embedded ad generator and the rewriting rules as a teacher that needs no model."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from helpers.italian import ads, requirements
from helpers.italian.addressees import WORKPLACE
from helpers.synthesis.answers import SCHEMA_LINE, number_draws
from helpers.synthesis.prompts import CONDITIONS


def write(prompts: Sequence[str], seed: int = 0, scope: str = WORKPLACE) -> list[str]:
    """Answer prompts by the JSON object on their last line that opens with `prompts.CONDITIONS`.

    {"text": …} asks for the inclusive rewording of a text, for the people in the scope; any other object for an ad whose
    columns (label, category, gender_form, occupation, sector, register, length) have these values. An answer is a JSON
    object of its columns where the prompt asks for JSON, and '' where the conditions cannot be fulfilled.
    """
    requests = [json.dumps(_conditions(prompt), sort_keys=True) for prompt in prompts]
    texts = []
    for prompt, (request, draw) in zip(prompts, number_draws(requests), strict=True):
        conditions = json.loads(request)
        if isinstance(conditions.get("text"), str):
            row = {"text": requirements.inclusive(conditions["text"], scope)}
        else:
            row = ads.commissioned(conditions, f"{seed} {draw} {request}") if conditions else None
        row = row or {"text": ""}
        as_json = row["text"] and SCHEMA_LINE in prompt
        texts.append(json.dumps(row, ensure_ascii=False) if as_json else row["text"])
    return texts


def _conditions(prompt: str) -> dict:
    """The JSON object that states the conditions; empty without a valid one."""
    objects = re.findall(rf"^{CONDITIONS}(\{{.*\}}) *$", prompt, re.MULTILINE)
    try:
        return json.loads(objects[-1]) if objects else {}
    except ValueError:
        return {}
