"""Answers of a teacher or judge: the checks before one counts, and the store that keeps replies.

A back-end (see `endpoint`) takes prompts and returns one `Answer` a prompt. A schema is a pydantic model class.
"""

from __future__ import annotations

import json
import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, get_origin

import yaml

from helpers.data.language import language_identifier
from helpers.env import UserError
from helpers.files import write_json
from helpers.text import bare_words, clean, normalise

SCHEMA_LINE = "Answer with one JSON object and nothing else. It must satisfy this JSON schema:"
MOST_SHOWN = 10_000  # characters of a rejected answer in the prompt that repairs it, which has to be paid
MOST_AROUND, LONGEST_REMARK = (
    5,
    1500,
)  # courtesies taken off at either end, and the characters looked at for the last ones
DECLINED = "the model declined to answer"
# A reply may have two million characters: no pattern may read a row of signs again from each of them.
# What reasoning models write before their answer: <think>, [THINK], <|begin_of_thought|>, ◁think▷, <seed:think>.
_THOUGHT = r"(?:\w+:)?(?:begin_of_|end_of_)?(?:think(?:ing)?|thoughts?|reasoning|reflection|scratchpad|analysis)"
_OPEN, _CLOSE = r"(?:<\|?|\[|◁)\s*", r"(?:\s[^<>\n]{0,60})?\s*/?(?:\|?>|\]|▷)"
THOUGHT_TAG = re.compile(rf"{_OPEN}/?{_THOUGHT}{_CLOSE}", re.IGNORECASE)
THOUGHT_END = re.compile(rf"{_OPEN}(?:/{_THOUGHT}|\|end_of_thought\|){_CLOSE}|<\|end_of_thought\|>", re.IGNORECASE)
FINAL_CHANNEL = re.compile(r"<\|channel\|>final\b[^<]*<\|message\|>|\Aanalysis.*assistantfinal", re.DOTALL)
TURN_END = re.compile(r"(?:<\|(?:return|end|im_end|eot_id|endoftext)\|>|</s>|<end_of_turn>|<eos>)\s*\Z")
ASIDE = re.compile(r"\A\W*(?:thoughts?|reasoning|analysis|think|ragionamento|pensieri?|analisi)\W*[:\n]", re.IGNORECASE)
ANSWER = re.compile(
    r"(?:\A|\n|\*\*)\W{0,20}(?:final )?(?:answer|response|output|risposta(?: finale)?)\W*:\W*", re.IGNORECASE
)
FINAL = re.compile(
    r"\n[*_#> ]{0,9}(?:final answer|risposta finale|(?:endgültige|finale) antwort)\W*:\W*", re.IGNORECASE
)
WRAPPER = re.compile(
    r"\s*<(?!\w*(?:tool|function|call|invoke))(\w+)>(.*)</\1>\s*", re.DOTALL
)  # around the whole answer
FENCE = re.compile(
    r"```(?:text|txt|plain|plaintext|markdown|md|json)?[ \t]*\n((?:(?!```).)*)```", re.DOTALL | re.IGNORECASE
)
SOURCE = re.compile(r"(?:\A|\n)(?:Text|Testo):\n")  # before the text to rewrite, in prompts.yaml
QUOTED, BOLD = re.compile(r'["“«](.*)["”»]', re.DOTALL), re.compile(r"\*\*(.*)\*\*", re.DOTALL)
TAG = re.compile(r"(?<!\w)(?:<|&lt;)\s*+(?:/\s*+)?([a-z][\w:-]*)(?:\s[^<>\n]{0,60})?\s*/?(?:>|&gt;)", re.IGNORECASE)
MARKUP = re.compile(r"<\|[^|<>\n]{1,40}\|?>|<[^|<>\n]{1,40}\|>")  # of chat templates; in an answer it closes nothing


@dataclass(frozen=True)
class Reply:
    """What a model wrote for one request, unchecked."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    refused: bool = False  # the server reports a refusal
    cut: bool = False  # stopped by the length limit
    host: str = ""  # of the server that wrote it, '' where nothing says


@dataclass(frozen=True)
class Answer:
    """A checked answer, with the tokens that it took.

    Its status is `ok`, `refused` (the model declined), `invalid` (two replies failed a check) or `failed` (no reply).
    """

    status: Literal["ok", "refused", "invalid", "failed"]
    text: str = ""
    value: dict[str, Any] | None = None  # the fields of the schema
    reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


Check = Callable[[str, str], str]  # (prompt, text of the answer) → the reason for rejecting it, or ""


def add_schema(prompt: str, schema: Any) -> str:
    """Append the JSON schema of the answer to the prompt: not every server constrains the decoding by it."""
    if schema is None:
        return prompt
    return f"{prompt}\n\n{SCHEMA_LINE}\n{json.dumps(schema.model_json_schema(), ensure_ascii=False)}"


def repair_prompt(prompt: str, answer: Answer) -> str:
    """The prompt of the one repair attempt, in a single turn, which base models and strict chat templates take too."""
    shown = answer.text[:MOST_SHOWN] or "(empty)"
    fault = f"This answer was not accepted ({answer.reason}):\n{shown}"
    again = "Answer again, completely, in the language asked for, and with nothing else."
    return f"{prompt}\n\n{fault}\n\n{again}"


def number_draws(prompts: Sequence[str]) -> list[tuple[str, int]]:
    """Pair each prompt with the number of its earlier occurrences: a prompt listed twice means two different draws."""
    counts, draws = Counter(), []
    for prompt in prompts:
        draws.append((prompt, counts[prompt]))
        counts[prompt] += 1
    return draws


@cache
def _refusal() -> re.Pattern:
    wordings = yaml.safe_load(Path(__file__).with_name("refusals.yaml").read_text(encoding="utf-8"))
    return re.compile(rf"\A\W*(?:{'|'.join(wordings)})", re.IGNORECASE | re.DOTALL)


def refuses(text: str) -> bool:
    """Whether a text opens as models decline in English and Italian."""
    return bool(_refusal().search(text[:300]))


def final_words(text: str, prompt: str = "") -> str:
    """What a reply says after its reasoning and without its courtesies; '' where the reasoning has no end.

    Parameters
    ----------
    text : str
    prompt : str, optional
        A courtesy that stands in it, as in the text to rewrite, is kept.
    """
    if channels := list(FINAL_CHANNEL.finditer(text)):
        text = text[channels[-1].end() :]
    if ends := list(THOUGHT_END.finditer(text)):
        text = text[ends[-1].end() :]
    text = clean(TURN_END.sub("", text))
    if (aside := ASIDE.match(text)) and normalise(aside[0]) not in normalise(prompt):
        answers = list(ANSWER.finditer(text))
        text = text[answers[-1].end() :] if answers else ""
    if (finals := list(FINAL.finditer(text))) and normalise(finals[-1][0]) not in normalise(prompt):
        text = text[finals[-1].end() :]
    if (wrapped := WRAPPER.fullmatch(text)) and wrapped[1] not in prompt:
        text = wrapped[2].strip()
    plain = unicodedata.normalize("NFKC", text)  # a tag may be written in full width
    foreign = [tag for tag in TAG.finditer(plain) if tag[1] not in prompt]
    if THOUGHT_TAG.search(plain) or MARKUP.search(plain) or foreign:
        return ""
    return without_courtesies(text, prompt)


def without_courtesies(text: str, prompt: str = "") -> str:
    """The text without what models put around it.

    That is "Sure! Here is the rewritten ad:" or "Paraphrase:" in front, a fence or quotation marks after that, and "Let me
    know …" or a remark on the wording at its end. What the text to rewrite has itself stays.
    """
    forms = _forms()
    source = SOURCE.split(prompt)[-1]
    if fenced := FENCE.fullmatch(text):
        text = fenced[1].strip()
    for _ in range(MOST_AROUND):
        match = forms["opening"].match(text)
        if not match or _stands_in(match[0], source):
            break
        text = text[match.end() :].strip()
        for around in (FENCE, QUOTED, BOLD):
            if (inner := around.fullmatch(text)) and not re.search(r'["“”«»]|\*\*|```', inner[1]):
                text = inner[1].strip()
    for _ in range(MOST_AROUND):
        match = forms["closing"].search(text, max(1, len(text) - LONGEST_REMARK))
        if not match or _stands_in(match[0], source):
            break
        text = text[: match.start()].strip()
    return text


def fault_of_form(text: str, prompt: str = "") -> str:
    """Why a text cannot be told from what a model says about it, or ''; what the text to rewrite has itself is no reason."""
    forms, source = _forms(), SOURCE.split(prompt)[-1].strip()

    def has(form: str) -> bool:
        match = forms[form].search(text)
        return bool(match) and not _stands_in(match[0], source)

    if has("thinking"):
        return "it is reasoning without an answer"
    if "```" in text and "```" not in prompt:
        return "it has a code block beside the text"
    if _is_json(text):
        return "it is JSON, not a text"
    if has("between") or has("unclear") or (_is_list(text) and not _is_list(source)):
        return "it is several versions, or opens with a label, where one text was asked for"
    return "it opens with an announcement" if has("announced") else ""


def _stands_in(words: str, source: str) -> bool:
    """Whether the words stand in the text to rewrite, from the beginning of a word on."""
    return f" {normalise(words)}" in f" {normalise(source)}"


def _is_list(text: str) -> bool:
    """Whether a text is a list of items from its first line on: `1.` and `2.`, or a bullet on every line."""
    lines = [line for line in text.splitlines() if line.strip()]
    numbers = [int(match[1]) for line in lines if (match := re.match(r"\W*(\d{1,2})[.):]\W*\s", line))]
    starts = bool(lines) and re.match(r"\W*1[.):]\W*\s", lines[0])
    is_bulleted = len(lines) > 1 and all(re.match(r"\s*[-*•–]\s", line) for line in lines)
    return is_bulleted or bool(starts and 2 in numbers)


@cache
def _forms() -> dict[str, re.Pattern]:
    """Patterns of what stands around a text that was asked for, and of what cannot be told from it."""
    parts = yaml.safe_load(Path(__file__).with_name("courtesies.yaml").read_text(encoding="utf-8"))
    is_ = {name: f"(?:{'|'.join(wordings)})" for name, wordings in parts.items()}
    yes, here, work = is_["assent"], is_["announcement"], is_["work"]
    mark, colon = r"[*#>_\s]*", r"(?:\*\*|__|[*_])?\s?:(?:\*\*|__|[*_])?\s*"
    opening = [
        rf"(?:{yes}\b[^\n:]{{0,60}}?[!.,;:–—-]?\s+)?{here}\b[^\n:]{{0,60}}?\b{work}\b[^\n:]{{0,80}}:\W*?\s+",
        rf"[*#\s]*(?:\w+ )?{work}\b[^\n:]{{0,20}}:[*\s]*\n\s*",
        rf"{yes}[!.:]\s*\n\s*|{yes}!\s+|{yes}[!.,]?\s[^\n:]{{0,20}}\b{is_['offer']}\b[^\n:]{{0,60}}[!.:]\s*\n\s*",
        rf"{mark}(?:(?:the|my|la|il|die|der|das) )?{is_['label']}(?: \d| \([^()\n]{{1,30}}\))?{colon}",
        rf"(?:#+\s*|\*\*){is_['label']}\**\s*\n\s*",
        rf"{mark}{is_['role']}{colon}",
        r"(?-i:A:\s+(?=[\"“«]?[A-ZÀ-Þ]))",
    ]
    below = r"\n[*_(\[# ]{0,9}"
    closing = [
        rf"\n[ \t]{{0,9}}{is_['closing']}\b[^\n]*",
        rf"{below}{is_['remark']}[*_]*\s?:(?s:.*)",
        rf"{below}{is_['note']}[*_]*\s?:(?s:.*?)\b(?:{is_['wording']}|{is_['about']})\b(?s:.*)",
        rf"{below}{is_['about']}\b[^\n]*\b{is_['wording']}\b[^\n]*",
        rf"\s\((?:{is_['note']}\s?:)?[^()\n]*\b{is_['wording']}\b[^()\n]*\)",
    ]
    patterns = {
        "opening": rf"\A(?:{'|'.join(opening)})",
        "closing": rf"(?:{'|'.join(closing)})\s*\Z",
        "thinking": rf"\A\W*{is_['thinking']}",
        "between": rf"\n[*_ ]{{0,9}}{is_['between']}[*_:,. ]{{0,9}}\n",
        "unclear": rf"\A{mark}{is_['unclear']}(?: \d+| [a-c])?{colon}",
        "field": rf"(?:\w+[_ ])?(?:{is_['role']}|{work}|{is_['label']})",
        "announced": rf"\A(?:{yes}|{here})\b[^\n]{{0,80}}:[*\s]*\n",
    }
    return {name: re.compile(pattern, re.IGNORECASE) for name, pattern in patterns.items()}


def assess(prompt: str, reply: Reply, schema: Any = None, checks: Sequence[Check] = ()) -> Answer:
    """Check a reply to a prompt: first its form, then its text, which is the field `text` of a schema that has one."""
    # Fields may hold reasoning of their own: an answer that is JSON from end to end is taken apart first.
    is_json = schema is not None and _is_json(reply.text)
    text = clean(reply.text) if is_json else final_words(reply.text, prompt)
    answer = partial(Answer, text=text, prompt_tokens=reply.prompt_tokens, completion_tokens=reply.completion_tokens)
    if reply.refused or refuses(text):
        return answer("refused", reason=DECLINED)
    if not text:
        reason = "it is reasoning without an answer" if reply.text.strip() else "the answer is empty"
        return answer("invalid", reason=reason)
    value = None
    if schema is not None:
        start, end = text.find("{"), text.rfind("}") + 1  # models put JSON between fences and courtesies
        try:
            value = schema.model_validate_json(text[start:end] if 0 <= start < end else text).model_dump(mode="json")
            free = [name for name, field in schema.model_fields.items() if get_origin(field.annotation) is not Literal]
            value |= {name: final_words(value[name], prompt) for name in free if isinstance(value[name], str)}
        except ValueError as error:  # pydantic.ValidationError is one; its whole report would fill the repair prompt
            fault = error.errors()[0]
            limit = "cut off by the length limit; " if reply.cut else ""
            place = ".".join(map(str, fault["loc"])) or "JSON"
            return answer("invalid", reason=f"{limit}{place}: {fault['msg']}"[:300])
    elif reply.cut:
        return answer("invalid", reason="the answer is cut off by the length limit")
    else:
        text = _text_of_json(text)
        answer = partial(answer, text=text)
    written = (value or {}).get("text", text)
    if not written:
        return answer("invalid", reason="it is reasoning without an answer")
    if refuses(written):
        return answer("refused", reason=DECLINED)
    faults = fault_of_form if schema is None or "text" in value else lambda *_: ""
    reason = faults(written, prompt) or next(filter(None, (check(prompt, written) for check in checks)), "")
    return answer("invalid" if reason else "ok", value=value, reason=reason)


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _text_of_json(text: str) -> str:
    """The text in an object such as {"text": "…"}; another answer as it is."""
    if not _is_json(text):
        return text
    (name, value), *others = json.loads(text).items() or [("", "")]
    is_text = not others and isinstance(value, str) and _forms()["field"].fullmatch(name)
    return clean(value) if is_text else text


def add_usage(answer: Answer, earlier: Answer) -> Answer:
    """The answer to a repair attempt, charged with the tokens of both attempts."""
    prompt_tokens = answer.prompt_tokens + earlier.prompt_tokens
    completion_tokens = answer.completion_tokens + earlier.completion_tokens
    return replace(answer, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)


def language_check(language: str) -> Check:
    """A check that a text is in `language` (ISO 639-1; '' for any), by py3langid (naive Bayes over byte n-grams).

    A text passes when its language has at least 1 % probability. Requiring the likeliest language would reject a fifth
    of Italian phrases of four words; this rule rejects 3 %.
    """

    def check(prompt: str, text: str) -> str:
        if not language:
            return ""
        ranking = language_identifier().rank(text)
        is_likely = dict(ranking).get(language, 0.0) >= 0.01
        return "" if is_likely else f"it is in the language {ranking[0][0]!r}, not {language!r}"

    return check


def not_copied(prompt: str, text: str) -> str:
    """A check that the prompt does not contain the text: an example, or the text to rewrite."""
    is_copy = f" {bare_words(text)} " in f" {bare_words(prompt)} "
    return "it repeats a part of the prompt" if is_copy else ""


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
        if reasons := Counter(reason for outcome, reason in outcomes if outcome == status):
            reason, count = reasons.most_common(1)[0]
            times = f", {count} times" if count > 1 else ""
            parts.append(f"{reasons.total()} {status} ({reason}{times})")
    return parts


def check_complete(outcomes: Iterable[tuple[str, str]], who: str, what: str) -> None:
    """Raise UserError when texts have no answer, which a later run may get; call it once the others are saved.

    `outcomes` are pairs (status, reason); `who` is the subject of the sentence, `what` the missing thing ("a label").
    """
    outcomes = list(outcomes)
    if reasons := [reason for status, reason in outcomes if status == "failed"]:
        count = f"{len(reasons)} of {len(outcomes)} texts"
        raise UserError(f"{who} left {count} without {what} ({reasons[0]}); the others are kept.")


@dataclass
class Store:
    """Replies by the hash of their request, one file each, written whole or not at all: processes may share a folder.

    Without a folder nothing is kept. Only the reply is written, neither the request nor anything of the connection.
    """

    folder: Path | None

    def get(self, key: str) -> Reply | None:
        """The reply to the request with this hash; None if there is none, or its file is no reply, with a warning."""
        if self.folder is None:
            return None
        path, reply = self._path(key), None
        try:
            reply = Reply(**json.loads(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, TypeError, RecursionError):
            pass  # whatever is there, it is told below
        if reply is None or not _is_sound(reply):
            warnings.warn(f"{path}: not a readable reply, left out; the request is made again.", stacklevel=2)
            return None
        return reply

    def put(self, key: str, reply: Reply) -> None:
        if self.folder is not None:
            write_json(self._path(key), asdict(reply))

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"


def _is_sound(reply: Reply) -> bool:
    """Whether the fields of a reply are what they should be: negative tokens would lift the budget."""
    counts, flags = (reply.prompt_tokens, reply.completion_tokens), (reply.refused, reply.cut)
    are_counts = all(type(n) is int and n >= 0 for n in counts)
    are_texts = isinstance(reply.text, str) and isinstance(reply.host, str)
    return are_texts and are_counts and all(isinstance(f, bool) for f in flags)
