"""Prompts for teachers and judges, in the language of the texts (Italian; English for all others)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import yaml

CONDITIONS = "Condizioni: "  # opens the last line of a prompt, which states the conditions in JSON


@cache
def templates(language: str) -> dict[str, str]:
    """The templates of `prompts.yaml` for a language."""
    every = yaml.safe_load(Path(__file__).with_name("prompts.yaml").read_text(encoding="utf-8"))
    return every["it" if language == "it" else "en"]


def _fill(language_code: str, names: Sequence[str], /, **values: str) -> str:
    """The named templates as paragraphs, with the values filled in."""
    return "\n\n".join(templates(language_code)[name] for name in names).format(**values)


def few_shot(request: dict[str, str], examples: Sequence[str], brief: dict, language: str) -> str:
    """The prompt for one new text with the columns of a request (see `brief.plan_requests`).

    Its last line states the request in JSON, for the embedded generator.
    """
    words, wishes = templates(language), []
    for name, value in request.items():
        column = brief["columns"].get(name, {})
        title = column.get("name", name)
        meaning = next((o.get("says", "") for o in column.get("options", []) if o["value"] == value), value)
        if name == "label":
            title, meaning = words["label"], f"{value}{_after(': ', brief['labels'].get(value, ''))}"
        wishes.append(f"- {title}: {meaning}")
    values = {"text": brief["text"] or words["default_text"], "wishes": "\n".join(wishes)}
    values["examples"] = "\n".join(f"{number}. {text}" for number, text in enumerate(examples, 1))
    prompt = _fill(language, ["few_shot", "examples", "new"] if examples else ["few_shot", "new"], **values)
    return f"{prompt}\n\n{CONDITIONS}{json.dumps(request, ensure_ascii=False)}"


def rewriting(kind: str, source: str, language: str) -> str:
    """The prompt of a `paraphrase`, a `neutral` rewording, or one way of a back-translation (`out`, `back`)."""
    return _fill(language, [kind, "source"], source=source)


def hard_negative(record: dict, other: str, brief: dict, language: str) -> str:
    """The prompt for a text with nearly the words of the record and the label `other`."""
    meaning, other_meaning = (_after(", ", brief["labels"].get(label, "")) for label in (record["label"], other))
    labels = {"label": record["label"], "meaning": meaning, "other": other, "other_meaning": other_meaning}
    return _fill(language, ["hard_negative", "source"], source=record["text"], **labels)


def target(source: str, instruction: str, guideline: str, examples: Sequence[dict], language: str) -> str:
    """The prompt for the target of one source text; examples have text and target, and guideline may be empty."""
    words = templates(language)
    parts = [instruction, guideline.strip()]
    if examples:
        parts.append(words["pairs"].format(examples="\n\n".join(words["pair"].format(**row) for row in examples)))
    parts.append(_fill(language, ["target", "source"], language=words["language"], source=source))
    return "\n\n".join(part for part in parts if part)


def mark(text: str, attribute: str, language: str) -> str:
    """The prompt for a mark from 0 to 10 of how well a text keeps an attribute."""
    return _fill(language, ["mark", "scale", "source"], attribute=attribute, source=text)


def judge(text: str, labels: Sequence[str], brief: dict, guideline: str, language: str) -> str:
    """The prompt for the label of a text."""
    options = "\n".join(f"- {label}{_after(': ', brief['labels'].get(label, ''))}" for label in labels)
    return f"{guideline}\n\n{_fill(language, ['judge', 'source'], labels=options, source=text)}".strip()


def _after(sign: str, text: str) -> str:
    """The text on one line after a sign; '' without a text."""
    return f"{sign}{' '.join(text.split())}" if text else ""
