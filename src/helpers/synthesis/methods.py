"""Synthetic rows from a seed set: counterfactual variants by rule, and texts that a teacher writes.

A candidate is a record with `source` (counterfactual or synthetic), `method`, `writer` (rules or teacher), the `parent_id`
of its seed row where it has one, and a proposed `label`. `filters` puts that label to a judge that did not write the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field, create_model

from helpers import english
from helpers.data import embedded
from helpers.data.records import record_id
from helpers.env import UserError
from helpers.italian.addressees import WORKPLACE
from helpers.italian.cues import find_cues
from helpers.italian.gender import neutralise, persona, schwa, single, swap
from helpers.synthesis import prompts
from helpers.synthesis.answers import Answer, language_check, not_copied
from helpers.synthesis.endpoint import check_teacher
from helpers.task import Task
from helpers.text import clean

RULES = ("swap", "double_form", "neutral_form", "schwa", "one_gender")  # counterfactual variants, without a model
METHODS = (*RULES, "few_shot", "paraphrase", "back_translation", "neutral", "hard_negative")


def check_names(methods: Sequence[str]) -> None:
    """Raise UserError on an unknown method."""
    if unknown := [m for m in methods if m not in METHODS]:
        raise UserError(f"Parameter methods: {unknown[0]!r} is none of {', '.join(sorted(METHODS))}.")


def check_methods(methods: Sequence[str], teacher: str, data_path: str) -> None:
    """Raise UserError on an unknown method or teacher, or on methods that the teacher cannot follow."""
    check_names(methods)
    check_teacher(teacher)
    if teacher == "embedded" and data_path != embedded.JOB_ADS:
        raise UserError("Parameter teacher: embedded is for embedded data only; set endpoint, local, or '' for none.")
    need_model = [m for m in methods if m not in (*RULES, "few_shot")]
    if need_model and teacher in ("embedded", ""):
        raise UserError(f"Parameter methods: {need_model[0]} needs a language model; set teacher to endpoint or local.")


# --- by rule ---------------------------------------------------------------------------------------------------------


def counterfactuals(
    records: list[dict], task: Task, language: str, methods: Sequence[str] = RULES, scope: str = WORKPLACE
) -> list[dict]:
    """Make counterfactual rows of labelled records by rule, with the label that the rule proposes.

    A swap keeps the label. In Italian, a positive row in double, neutral or schwa form and another row put into one
    gender take the other label: contrast pairs that differ in the wording at issue alone (Gardner et al. 2020).
    Only forms for people in the scope (`addressees.SCOPES`) change a label. English has the swap alone, other languages have
    no rules.
    """
    rows = []
    for record in records:
        seen = {record["text"]}
        for method, form, text in _variants(record["text"], record["label"] == task.positive, language, scope):
            if method in methods and text not in seen:
                seen.add(text)
                label = record["label"] if method == "swap" else other_label(task, record["label"])
                groups = record | {"gender_form": form} if form and "gender_form" in record else record
                row = _candidate(text, label, groups, task, method, "rules")
                rows.append(row | {"parent_id": record["id"]})
    return rows


def _variants(text: str, positive: bool, language: str, scope: str) -> list[tuple[str, str, str]]:
    """(method, gender form, variant) of a text; a variant may equal the text."""
    if language == "en":
        return [("swap", "", english.swap(text))]
    if language != "it":
        return []
    genders = ("feminine", "masculine")
    variants = [("swap", gender, swap(text, gender)) for gender in genders]
    if not positive:
        singles = [("one_gender", gender, single(text, gender)) for gender in genders]
        return variants + [variant for variant in singles if find_cues(variant[2], scope)]
    double, neutral = neutralise(text, scope), persona(text, scope)
    variants += [("double_form", "double", double), ("schwa", "symbol", schwa(text, scope))]
    if neutral != double:
        variants.append(("neutral_form", "neutral", neutral))
    return variants


def other_label(task: Task, label: str) -> str:
    """The positive class for another label, the first other class for the positive one."""
    return task.positive if label != task.positive else next(x for x in task.labels if x != task.positive)


def _candidate(text: str, label: str, groups: dict, task: Task, method: str, writer: str = "teacher") -> dict:
    """A row with the group columns of the task that `groups` has."""
    row = {"id": record_id(task.name, text), "text": text, "label": label}
    row |= {g: groups[g] for g in task.groups if g in groups}
    source = "counterfactual" if writer == "rules" else "synthetic"
    return row | {"source": source, "method": method, "writer": writer, "split": "seed"}


# --- by a teacher ----------------------------------------------------------------------------------------------------

# A row for every answer that is ok; all answers, for the report on the others.
Written = tuple[list[dict], list[Answer]]


def few_shot(
    back_end: Any, requests: list[dict], seed_rows: list[dict], task: Task, brief: dict, language: str, seed: int = 0
) -> Written:
    """New texts for the requests of `plan_requests`, each with three examples: seed rows of its label, nearest in groups."""
    rng = np.random.default_rng(seed)
    questions = [prompts.few_shot(r, _examples(r, seed_rows, rng), brief, language) for r in requests]
    open_groups = {g: (str, "") for g in task.groups if not all(g in request for request in requests)}
    schema = create_model("Text", text=(str, Field(min_length=1)), **open_groups)
    replies = back_end.ask(questions, schema, [not_copied, language_check(language)])
    rows = []
    for request, answer in zip(requests, replies, strict=True):
        if answer.status == "ok":
            fields = {name: clean(value) for name, value in answer.value.items()}
            groups = {g: request.get(g, fields.get(g, "")) for g in task.groups}
            rows.append(_candidate(fields["text"], request["label"], groups, task, "few_shot"))
    return rows, replies


def _examples(request: dict, seed_rows: list[dict], rng: np.random.Generator, shots: int = 3) -> list[str]:
    """Texts of seed rows with the label of the request that share most of its columns, ties at random."""
    same_label = [r for r in seed_rows if r["label"] == request["label"]]
    shuffled = [same_label[i] for i in rng.permutation(len(same_label))]
    nearest = sorted(shuffled, key=lambda row: -sum(row.get(k) == v for k, v in request.items()))
    return [row["text"] for row in nearest[:shots]]


def rewrites(back_end: Any, method: str, records: list[dict], task: Task, brief: dict, language: str) -> Written:
    """The records in other words, by the method of that name.

    A `paraphrase` keeps the label. A `neutral` form, which names no gender, is asked of the positive records alone; it
    and a `hard_negative`, which has nearly the words of its record, take the other label.
    """
    if method == "neutral":
        records = [r for r in records if r["label"] == task.positive]
    if method == "hard_negative":
        questions = [prompts.hard_negative(r, other_label(task, r["label"]), brief, language) for r in records]
    else:
        questions = [prompts.rewriting(method, r["text"], language) for r in records]
    return _rewrite(back_end, questions, records, task, language, method)


def back_translations(back_end: Any, records: list[dict], task: Task, language: str) -> Written:
    """The records translated into English (French if not Italian) and back (Sennrich et al. 2016), label kept.

    The answers are those of the way back, and those of the way out that failed.
    """
    outward_prompts = [prompts.rewriting("out", r["text"], language) for r in records]
    outward = back_end.ask(outward_prompts, None, [not_copied, language_check("en" if language == "it" else "fr")])
    parents = [r for r, answer in zip(records, outward, strict=True) if answer.status == "ok"]
    questions = [prompts.rewriting("back", answer.text, language) for answer in outward if answer.status == "ok"]
    rows, replies = _rewrite(back_end, questions, parents, task, language, "back_translation")
    return rows, [*replies, *(answer for answer in outward if answer.status != "ok")]


def _rewrite(
    back_end: Any, questions: list[str], parents: list[dict], task: Task, language: str, method: str
) -> Written:
    """Ask for a new text from each parent; the rows keep its label, or take the other one."""
    replies, rows = back_end.ask(questions, None, [not_copied, language_check(language)]), []
    keep_label = method in ("paraphrase", "back_translation")
    for parent, answer in zip(parents, replies, strict=True):
        if answer.status == "ok":
            label = parent["label"] if keep_label else other_label(task, parent["label"])
            rows.append(_candidate(answer.text, label, parent, task, method) | {"parent_id": parent["id"]})
    return rows, replies
