"""Answers of a generator, judge or teacher: what is checked before one counts, and the store that keeps replies.

A back-end (see `teacher`) takes prompts and returns one `Answer` a prompt. A schema is a pydantic model class; it is used
through its own methods, so nothing is imported here.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from helpers.files import write_json
from helpers.text import clean, normalise

SCHEMA_LINE = "Answer with one JSON object and nothing else. It must satisfy this JSON schema:"
THOUGHTS = re.compile(r"\A\s*<think>.*?(</think>|\Z)", re.DOTALL)
REFUSAL = re.compile(
    r"\A\W*(?:"
    r"(?:i['’]?m|i am) (?:(?:very|really|so) )?sorry,? (?:but )?i (?:can['’]?t|cannot|won['’]?t|am (?:not able|unable))"
    r"|(?:sorry,? (?:but )?)?i (?:can['’]?t|cannot|won['’]?t|am unable to|am not able to) "
    r"(?:help|assist|comply|fulfil|provide|create|generate|write|produce|do that|engage|continue)"
    r"|as an ai(?: language)?(?: model| assistant|,)"
    r"|mi (?:dispiace|spiace|scuso)\b.{0,20}\bnon (?:posso|sono in grado)"
    r"|(?:spiacente|purtroppo),? (?:ma )?non (?:posso|sono in grado)"
    r"|non (?:posso|sono in grado di) (?:aiutart?[ilv]?|assistert?i|soddisfare|fornire|generare|scrivere|creare|produrre"
    r"|rispondere|procedere)"
    r"|(?:come|in quanto|essendo un) modello (?:linguistico|di linguaggio)"
    r"|(?:come|in quanto|essendo un['’]) ?(?:intelligenza artificiale|ia|ai),"
    r")",
    re.IGNORECASE | re.DOTALL,
)

Status = Literal["ok", "refused", "invalid", "failed"]


@dataclass(frozen=True)
class Reply:
    """What a model wrote for one request, unchecked."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    refused: bool = False  # the server says so
    cut: bool = False  # stopped by the length limit


@dataclass(frozen=True)
class Answer:
    """A checked answer. ok; refused: the model declined; invalid: it failed a check twice; failed: there is none."""

    status: Status
    text: str = ""
    value: dict[str, Any] | None = None  # what the schema made of it
    reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


Check = Callable[[str, Answer], str]  # prompt, answer → why the answer will not do; "" where it will


def whole(text: str) -> str:
    """The text without lone surrogates, which JSON may carry and no file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


# --- prompts ---------------------------------------------------------------------------------------------------------


def instruct(prompt: str, schema: Any = None) -> str:
    """The prompt, with the JSON schema of the wanted answer: not every server constrains the decoding by it."""
    prompt = whole(prompt)
    if schema is None:
        return prompt
    return f"{prompt}\n\n{SCHEMA_LINE}\n{json.dumps(schema.model_json_schema(), ensure_ascii=False)}"


def repair(prompt: str, answer: Answer) -> str:
    """The prompt of the one repair attempt. A single turn: base models and strict chat templates take it too."""
    return (
        f"{prompt}\n\nThis answer was not accepted ({answer.reason}):\n{answer.text or '(empty)'}\n\n"
        "Answer again, completely, in the language asked for, and with nothing else."
    )


def numbered(prompts: Sequence[str]) -> list[tuple[str, int]]:
    """(prompt, k) where k counts the earlier occurrences of the prompt: asking twice means two draws, not one twice."""
    seen: Counter[str] = Counter()
    out = []
    for prompt in prompts:
        out.append((prompt, seen[prompt]))
        seen[prompt] += 1
    return out


# --- checks ----------------------------------------------------------------------------------------------------------


def refuses(text: str) -> bool:
    """Whether a text opens as models decline in English and Italian."""
    return bool(REFUSAL.search(text[:300]))


def json_part(text: str) -> str:
    """From the first brace to the last: models put JSON between fences and courtesies."""
    start, end = text.find("{"), text.rfind("}")
    return text[start : end + 1] if 0 <= start < end else text


def strings(answer: Answer) -> list[str]:
    """The wording of an answer: its text, or the strings in its value that hold more than one word."""

    def inside(value: Any) -> list[str]:
        if isinstance(value, dict | list):
            return [s for v in (value.values() if isinstance(value, dict) else value) for s in inside(v)]
        return [value] if isinstance(value, str) and len(value.split()) > 1 else []

    return [answer.text] if answer.value is None else inside(answer.value)


def assess(prompt: str, reply: Reply, schema: Any = None, checks: Sequence[Check] = ()) -> Answer:
    """The reply as an Answer: refused, invalid with the reason, or ok. Nothing is ok that was not checked."""
    usage = {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.completion_tokens}
    text = clean(THOUGHTS.sub("", reply.text))
    if reply.refused or refuses(text):
        return Answer("refused", text, reason="the model declined to answer", **usage)
    if not text:
        return Answer("invalid", reason="the answer is empty", **usage)
    value = None
    if schema is not None:
        try:
            value = schema.model_validate_json(json_part(text)).model_dump(mode="json")
        except ValueError as error:  # pydantic.ValidationError is one
            cut = "cut off by the length limit; " if reply.cut else ""
            return Answer("invalid", text, reason=cut + _fault(error), **usage)
    elif reply.cut:
        return Answer("invalid", text, reason="the answer is cut off by the length limit", **usage)
    answer = Answer("ok", text, value, **usage)
    if value is not None and any(map(refuses, strings(answer))):
        return Answer("refused", text, reason="the model declined to answer", **usage)
    reason = next((why for check in checks if (why := check(prompt, answer))), "")
    return Answer("invalid", text, value, reason, **usage) if reason else answer


def _fault(error: ValueError) -> str:
    """The first fault of a validation error in a line; the whole report would fill the repair prompt."""
    if not hasattr(error, "errors"):
        return str(error).splitlines()[0]
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'JSON'}: {first['msg']}"


def with_usage_of(answer: Answer, earlier: Answer) -> Answer:
    """The answer to a repair attempt, charged with the tokens of both."""
    return replace(
        answer,
        prompt_tokens=answer.prompt_tokens + earlier.prompt_tokens,
        completion_tokens=answer.completion_tokens + earlier.completion_tokens,
    )


def in_language(language: str) -> Check:
    """Rejects answers in another language than `language` (ISO 639-1), by py3langid (naive Bayes over byte n-grams).

    An answer passes when its language has at least 1 % probability: most likely would reject a fifth of Italian phrases of four
    words, where this rule rejects 3 %.
    """

    def check(prompt: str, answer: Answer) -> str:
        text = " ".join(strings(answer))
        ranked = _languages(text) if text else []
        if not ranked or dict(ranked).get(language, 0.0) >= 0.01:
            return ""
        return f"it is in the language {ranked[0][0]!r}, not {language!r}"

    return check


def _languages(text: str) -> list[tuple[str, float]]:
    """(language, probability), the most likely first; the scores are divided by the square root of the bytes, as py3langid does."""
    import py3langid

    ranked, temperature = py3langid.rank(text), math.sqrt(len(text.encode()))
    weights = [(name, math.exp((score - ranked[0][1]) / temperature)) for name, score in ranked]
    total = sum(weight for _, weight in weights)
    return [(name, weight / total) for name, weight in weights]


def not_copied(prompt: str, answer: Answer) -> str:
    """Rejects an answer that stands in the prompt word for word: an example, or the text that was to be rewritten."""
    asked = f" {normalise(prompt)} "
    copied = [s for s in strings(answer) if f" {normalise(s)} " in asked]
    return "it repeats a part of the prompt" if copied else ""


def describe(answers: Sequence[Answer]) -> str:
    """One line: how many answers of each status, the commonest reason of those that are not ok, tokens used."""
    counts = Counter(a.status for a in answers)
    parts = [f"{counts['ok']} of {len(answers)} ok"]
    for status in ("refused", "invalid", "failed"):
        if counts[status]:
            reason, often = Counter(a.reason for a in answers if a.status == status).most_common(1)[0]
            parts.append(f"{counts[status]} {status} ({reason}{f', {often} times' if often > 1 else ''})")
    tokens = sum(a.prompt_tokens for a in answers), sum(a.completion_tokens for a in answers)
    return ", ".join(parts) + f"; {tokens[0]:,} prompt and {tokens[1]:,} completion tokens"


# --- the store -------------------------------------------------------------------------------------------------------


class Store:
    """Replies by the hash of their request, one file each, written whole or not at all: processes may share a folder.

    Without a folder nothing is kept. Only the reply is written, neither the request nor anything of the connection.
    """

    def __init__(self, folder: Path | None):
        self.folder = Path(folder) if folder is not None else None

    def path(self, key: str) -> Path | None:
        return self.folder / key[:2] / f"{key}.json" if self.folder is not None else None

    def get(self, key: str) -> Reply | None:
        """The reply kept under this hash; None without one, and where a file is damaged."""
        path = self.path(key)
        try:
            return Reply(**json.loads(path.read_text(encoding="utf-8"))) if path else None
        except (OSError, ValueError, TypeError):
            return None

    def put(self, key: str, reply: Reply) -> None:
        if path := self.path(key):
            write_json(path, asdict(reply))
