"""The embedded ad generator and the rewriting rules as a teacher that needs no model."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from helpers.italian import ads, requirements
from helpers.synthesis.answers import SCHEMA_LINE, number_draws
from helpers.synthesis.prompts import CONDITIONS


def conditions(prompt: str) -> dict:
    """The JSON object on the last line of a prompt that opens with CONDITIONS; empty without a valid one."""
    found = re.findall(rf"^{CONDITIONS}(\{{.*\}}) *$", prompt, re.MULTILINE)
    try:
        return json.loads(found[-1]) if found else {}
    except ValueError:
        return {}


def write(prompts: Sequence[str], seed: int = 0) -> list[str]:
    """What the embedded generator answers, for `teacher.Local`; an empty text where it has no answer.

    It reads only the CONDITIONS of a prompt: {"text": …} asks for the inclusive rewording of a text, anything else for an ad whose
    columns (label, category, gender_form, occupation, sector, register, length) have these values. A prompt that asks for JSON gets
    the columns as an object.
    """
    asked = [json.dumps(conditions(prompt), sort_keys=True) for prompt in prompts]
    rows = [_made(json.loads(wanted), f"{seed} {draw} {wanted}") for wanted, draw in number_draws(asked)]
    return [_as_asked(prompt, row) for prompt, row in zip(prompts, rows, strict=True)]


def _made(wanted: dict, seed: str) -> dict | None:
    if isinstance(wanted.get("text"), str):
        return {"text": requirements.inclusive(wanted["text"])}
    return ads.commissioned(wanted, seed) if wanted else None


def _as_asked(prompt: str, row: dict | None) -> str:
    if row is None:
        return ""
    return json.dumps(row, ensure_ascii=False) if SCHEMA_LINE in prompt else row["text"]
