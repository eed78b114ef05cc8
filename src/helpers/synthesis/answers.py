"""Answers of a teacher or judge: the checks before one counts, and the store that keeps replies.

A back-end (see `endpoint`) takes prompts and returns one `Answer` a prompt. A schema is a pydantic model class, used
through its own methods: this module need not import pydantic.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from helpers.env import UserError
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
    refused: bool = False  # the server reports a refusal
    cut: bool = False  # stopped by the length limit


@dataclass(frozen=True)
class Answer:
    """A checked answer, with the tokens that it took.

    Its status is `ok`, `refused` (the model declined), `invalid` (two replies failed a check) or `failed` (no reply).
    """

    status: Status
    text: str = ""
    value: dict[str, Any] | None = None  # the fields of the schema
    reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


Check = Callable[[str, Answer], str]  # (prompt, answer) → the reason for rejecting the answer, or ""


# --- prompts ---------------------------------------------------------------------------------------------------------


def add_schema(prompt: str, schema: Any = None) -> str:
    """Append the JSON schema of the answer to the prompt: not every server constrains the decoding by it."""
    if schema is None:
        return prompt
    return f"{prompt}\n\n{SCHEMA_LINE}\n{json.dumps(schema.model_json_schema(), ensure_ascii=False)}"


def repair_prompt(prompt: str, answer: Answer) -> str:
    """The prompt of the one repair attempt, in a single turn, which base models and strict chat templates take too."""
    return (
        f"{prompt}\n\nThis answer was not accepted ({answer.reason}):\n{answer.text or '(empty)'}\n\n"
        "Answer again, completely, in the language asked for, and with nothing else."
    )


def number_draws(prompts: Sequence[str]) -> list[tuple[str, int]]:
    """Pair each prompt with the number of its earlier occurrences: a prompt listed twice means two different draws."""
    counts: Counter[str] = Counter()
    draws = []
    for prompt in prompts:
        draws.append((prompt, counts[prompt]))
        counts[prompt] += 1
    return draws


# --- checks ----------------------------------------------------------------------------------------------------------


def refuses(text: str) -> bool:
    """Whether a text opens as models decline in English and Italian."""
    return bool(REFUSAL.search(text[:300]))


def extract_json(text: str) -> str:
    """The text from its first brace to its last: models put JSON between fences and courtesies."""
    start, end = text.find("{"), text.rfind("}")
    return text[start : end + 1] if 0 <= start < end else text


def phrases(answer: Answer) -> list[str]:
    """The text of an answer, or the strings in its value that have more than one word."""

    def collect(value: Any) -> list[str]:
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            return [phrase for part in value for phrase in collect(part)]
        return [value] if isinstance(value, str) and len(value.split()) > 1 else []

    return [answer.text] if answer.value is None else collect(answer.value)


def assess(prompt: str, reply: Reply, schema: Any = None, checks: Sequence[Check] = ()) -> Answer:
    """Check a reply to a prompt: its form, which is free text without a schema, and then the checks in order.

    Returns
    -------
    Answer
        `refused`, `invalid` with the first reason, or `ok`.
    """
    usage = {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.completion_tokens}
    text = clean(THOUGHTS.sub("", reply.text))
    if reply.refused or refuses(text):
        return Answer("refused", text, reason="the model declined to answer", **usage)
    if not text:
        return Answer("invalid", reason="the answer is empty", **usage)
    value = None
    if schema is not None:
        try:
            value = schema.model_validate_json(extract_json(text)).model_dump(mode="json")
        except ValueError as error:  # pydantic.ValidationError is one
            limit = "cut off by the length limit; " if reply.cut else ""
            return Answer("invalid", text, reason=limit + _first_fault(error), **usage)
    elif reply.cut:
        return Answer("invalid", text, reason="the answer is cut off by the length limit", **usage)
    answer = Answer("ok", text, value, **usage)
    if value is not None and any(map(refuses, phrases(answer))):
        return Answer("refused", text, reason="the model declined to answer", **usage)
    for check in checks:
        if reason := check(prompt, answer):
            return replace(answer, status="invalid", reason=reason)
    return answer


def _first_fault(error: ValueError) -> str:
    """The first fault of a validation error in one line; the whole report would fill the repair prompt."""
    if not hasattr(error, "errors"):
        return str(error).splitlines()[0]
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'JSON'}: {first['msg']}"


def add_usage(answer: Answer, earlier: Answer) -> Answer:
    """The answer to a repair attempt, charged with the tokens of both attempts."""
    return replace(
        answer,
        prompt_tokens=answer.prompt_tokens + earlier.prompt_tokens,
        completion_tokens=answer.completion_tokens + earlier.completion_tokens,
    )


def in_language(language: str) -> Check:
    """A check that an answer is in `language` (ISO 639-1), by py3langid (naive Bayes over byte n-grams).

    An answer passes when its language has at least 1 % probability. Requiring the likeliest language would reject a
    fifth of Italian phrases of four words; this rule rejects 3 %.
    """

    def check(prompt: str, answer: Answer) -> str:
        text = " ".join(phrases(answer))
        probabilities = _language_probabilities(text) if text else {}
        if not probabilities or probabilities.get(language, 0.0) >= 0.01:
            return ""
        return f"it is in the language {max(probabilities, key=probabilities.get)!r}, not {language!r}"

    return check


def _language_probabilities(text: str) -> dict[str, float]:
    """Probability of each language; the scores are divided by the square root of the bytes, as py3langid does."""
    import py3langid

    ranking, temperature = py3langid.rank(text), math.sqrt(len(text.encode()))
    weights = {name: math.exp((score - ranking[0][1]) / temperature) for name, score in ranking}
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def not_copied(prompt: str, answer: Answer) -> str:
    """A check that no part of the answer repeats the prompt word for word: an example, or the text to rewrite."""
    words = f" {normalise(prompt)} "
    copies = [phrase for phrase in phrases(answer) if f" {normalise(phrase)} " in words]
    return "it repeats a part of the prompt" if copies else ""


# --- summaries -------------------------------------------------------------------------------------------------------


def describe(answers: Sequence[Answer]) -> str:
    """One line: the number of answers of each status, the commonest reason of those not ok, and the tokens used."""
    ok = sum(answer.status == "ok" for answer in answers)
    parts = [f"{ok} of {len(answers)} ok", *count_problems((a.status, a.reason) for a in answers)]
    tokens = sum(a.prompt_tokens for a in answers), sum(a.completion_tokens for a in answers)
    return ", ".join(parts) + f"; {tokens[0]:,} prompt and {tokens[1]:,} completion tokens"


def count_problems(outcomes: Iterable[tuple[str, str]]) -> list[str]:
    """For each status but ok its count and commonest reason; `outcomes` are pairs (status, reason)."""
    outcomes, parts = list(outcomes), []
    for status in ("refused", "invalid", "failed"):
        reasons = Counter(reason for outcome, reason in outcomes if outcome == status)
        if reasons:
            reason, count = reasons.most_common(1)[0]
            times = f", {count} times" if count > 1 else ""
            parts.append(f"{reasons.total()} {status} ({reason}{times})")
    return parts


def check_complete(outcomes: Iterable[tuple[str, str]], who: str, what: str) -> None:
    """Raise UserError when texts have no answer, which a later run may get; call it once the others are saved.

    `outcomes` are pairs (status, reason); `who` is the subject of the sentence, `what` the missing thing ("a label").
    """
    outcomes = list(outcomes)
    reasons = [reason for status, reason in outcomes if status == "failed"]
    if reasons:
        raise UserError(
            f"{who} left {len(reasons)} of {len(outcomes)} texts without {what} ({reasons[0]}); the others are kept."
        )


# --- the store -------------------------------------------------------------------------------------------------------


class Store:
    """Replies by the hash of their request, one file each, written whole or not at all: processes may share a folder.

    Without a folder nothing is kept. Only the reply is written, neither the request nor anything of the connection.
    """

    def __init__(self, folder: Path | None):
        self.folder = Path(folder) if folder is not None else None

    def get(self, key: str) -> Reply | None:
        """The reply to the request with this hash; None if there is none or its file is damaged."""
        if self.folder is None:
            return None
        try:
            return Reply(**json.loads(self._path(key).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def put(self, key: str, reply: Reply) -> None:
        """Keep a reply; raises UserError when the disk refuses."""
        if self.folder is not None:
            write_json(self._path(key), asdict(reply))

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"
