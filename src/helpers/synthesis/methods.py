"""Synthetic rows from a seed set: counterfactual variants by rule, and what a teacher writes.

A candidate is a record with `source` `counterfactual` or `synthetic`, its `method`, its `writer` (`rules` or `teacher`), the
`parent_id` of its seed row where it has one, and a proposed `label`, which `filters` puts to a judge that did not write it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field, create_model

from helpers import english
from helpers.data import embedded
from helpers.data.records import record_id
from helpers.env import UserError
from helpers.italian import doubles
from helpers.italian.gender import neutralise, persona, schwa, swap
from helpers.synthesis import answers, prompts
from helpers.synthesis.answers import Answer
from helpers.task import Task
from helpers.text import clean

RULES = ("swap", "double_form", "neutral_form", "schwa", "one_gender")  # counterfactual variants, without a model
METHODS = (*RULES, "few_shot", "paraphrase", "back_translation", "neutral", "hard_negative")


def check_methods(methods: Sequence[str], teacher: str, data_path: str) -> None:
    """Raises UserError on a method that is not on offer, or that the teacher cannot follow."""
    if unknown := [m for m in methods if m not in METHODS]:
        raise UserError(f"Parameter methods: {unknown[0]!r} is none of {', '.join(METHODS)}.")
    if teacher not in ("embedded", "endpoint", "local", ""):
        raise UserError(f"Parameter teacher={teacher!r} must be embedded, endpoint, local, or '' for none.")
    if teacher == "embedded" and data_path != embedded.JOB_ADS:
        raise UserError(
            "Parameter teacher: embedded writes for the embedded data only; set endpoint, local, or '' for none."
        )
    beyond = [m for m in methods if m not in (*RULES, "few_shot")]
    if beyond and teacher in ("embedded", ""):
        raise UserError(f"Parameter methods: {beyond[0]} needs a language model; set teacher to endpoint or local.")


# --- by rule ---------------------------------------------------------------------------------------------------------


def counterfactuals(records: list[dict], task: Task, language: str, methods: Sequence[str] = RULES) -> list[dict]:
    """Counterfactual rows of labelled records by the rules named, with the label that the rule proposes.

    A swap keeps the label. In Italian a positive row in double, neutral or schwa form, and another row put into one gender, take
    the other label: contrast pairs in which only the wording at issue differs (Gardner et al. 2020).
    """
    rows = []
    for record in records:
        seen = {record["text"]}
        for method, form, text in _variants(record["text"], record["label"] == task.positive, language):
            if method in methods and text not in seen:
                seen.add(text)
                label = record["label"] if method == "swap" else other_label(task, record["label"])
                rows.append(child_record(record, text, label, task, method, "rules", form))
    return rows


def _variants(text: str, positive: bool, language: str) -> list[tuple[str, str, str]]:
    """(method, gender form, text); a variant may equal the text."""
    if language != "it":
        return [("swap", "", english.swap(text))] if language == "en" else []
    genders: tuple[Literal["feminine"], Literal["masculine"]] = ("feminine", "masculine")
    made = [("swap", gender, swap(text, gender)) for gender in genders]
    if not positive:
        return made + [("one_gender", gender, doubles.single(text, gender)) for gender in genders]
    double, neutral = neutralise(text), persona(text)
    made += [("double_form", "double", double), ("schwa", "symbol", schwa(text))]
    return made + ([("neutral_form", "neutral", neutral)] if neutral != double else [])


def other_label(task: Task, label: str) -> str:
    """The positive class for another label, the first other class for the positive one."""
    return task.positive if label != task.positive else next(x for x in task.labels if x != task.positive)


def child_record(parent: dict, text: str, label: str, task: Task, method: str, writer: str, form: str = "") -> dict:
    """A candidate made from a seed row; `form` is its gender form, where that is a group column and has changed."""
    kept = {g: parent[g] for g in task.groups if g in parent}
    if form and "gender_form" in kept:
        kept["gender_form"] = form
    source = "counterfactual" if writer == "rules" else "synthetic"
    return _row(text, label, kept, task, source, method, writer) | {"parent_id": parent["id"]}


def _row(text: str, label: str, groups: dict, task: Task, source: str, method: str, writer: str) -> dict:
    made = {"id": record_id(task.name, text), "text": text, "label": label}
    return made | groups | {"source": source, "method": method, "writer": writer, "split": "seed"}


# --- by a teacher ----------------------------------------------------------------------------------------------------
# `back_end` has `ask(prompts, schema, checks) -> list[Answer]` (see teacher). Each method returns (rows, answers): a row for
# every answer that is ok, and all answers, so that the notebook can say what became of the others.


def few_shot(
    back_end: Any, wanted: list[dict], seed_rows: list[dict], task: Task, brief: dict, language: str, seed: int = 0
) -> tuple[list[dict], list[Answer]]:
    """New rows with the columns `wanted`, each asked for with three seed rows of its label, nearest in their groups."""
    rng = np.random.default_rng(seed)
    asked = [prompts.few_shot(w, _examples(w, seed_rows, rng), brief, language) for w in wanted]
    open_groups = {g: (str, "") for g in task.groups if not all(g in w for w in wanted)}
    schema = create_model("Text", text=(str, Field(min_length=1)), **open_groups)
    given = back_end.ask(asked, schema, _checks(language))
    rows = []
    for want, answer in zip(wanted, given, strict=True):
        if answer.status == "ok":
            value = {k: clean(v) for k, v in answer.value.items()}
            groups = {g: want.get(g, value.get(g, "")) for g in task.groups}
            rows.append(_row(value["text"], want["label"], groups, task, "synthetic", "few_shot", "teacher"))
    return rows, given


def _examples(wanted: dict, seed_rows: list[dict], rng: np.random.Generator, shots: int = 3) -> list[str]:
    same = [r for r in seed_rows if r["label"] == wanted["label"]]
    shuffled = [same[i] for i in rng.permutation(len(same))]
    return [r["text"] for r in sorted(shuffled, key=lambda r: -sum(r.get(k) == v for k, v in wanted.items()))[:shots]]


def paraphrases(back_end: Any, records: list[dict], task: Task, language: str) -> tuple[list[dict], list[Answer]]:
    """The records in other words, label kept."""
    asked = [prompts.rewriting("paraphrase", r["text"], language) for r in records]
    given = back_end.ask(asked, None, _checks(language))
    return _children(records, given, [r["label"] for r in records], task, "paraphrase"), given


def back_translations(back_end: Any, records: list[dict], task: Task, language: str) -> tuple[list[dict], list[Answer]]:
    """The records by way of another language (Sennrich et al. 2016), label kept; the answers are those of the way back."""
    out = [prompts.rewriting("out", r["text"], language) for r in records]
    abroad = back_end.ask(out, None, _checks(prompts.pivot(language)))
    there = [(r, a) for r, a in zip(records, abroad, strict=True) if a.status == "ok"]
    asked = [prompts.rewriting("back", answer.text, language) for _, answer in there]
    given = back_end.ask(asked, None, _checks(language)) if asked else []
    parents = [record for record, _ in there]
    lost = [a for a in abroad if a.status != "ok"]
    return _children(parents, given, [r["label"] for r in parents], task, "back_translation"), [*given, *lost]


def neutral_forms(back_end: Any, records: list[dict], task: Task, language: str) -> tuple[list[dict], list[Answer]]:
    """The positive records in wording that names no gender, with the other label."""
    parents = [r for r in records if r["label"] == task.positive]
    asked = [prompts.rewriting("neutral", r["text"], language) for r in parents]
    given = back_end.ask(asked, None, _checks(language)) if asked else []
    return _children(parents, given, [other_label(task, task.positive)] * len(parents), task, "neutral"), given


def hard_negatives(
    back_end: Any, records: list[dict], task: Task, brief: dict, language: str
) -> tuple[list[dict], list[Answer]]:
    """The records with nearly their words and the other label."""
    others = [other_label(task, r["label"]) for r in records]
    asked = [prompts.hard_negative(r, o, brief, language) for r, o in zip(records, others, strict=True)]
    given = back_end.ask(asked, None, _checks(language))
    return _children(records, given, others, task, "hard_negative"), given


def _checks(language: str) -> list[answers.Check]:
    """Of the text alone: the other fields of an answer are names of groups."""

    def of_text(check: answers.Check) -> answers.Check:
        return lambda prompt, answer: check(prompt, Answer("ok", answer.value["text"] if answer.value else answer.text))

    return [of_text(check) for check in (answers.not_copied, *([answers.in_language(language)] if language else []))]


def _children(parents: list[dict], given: list[Answer], labels: list[str], task: Task, method: str) -> list[dict]:
    made = zip(parents, given, labels, strict=True)
    return [child_record(p, a.text, label, task, method, "teacher") for p, a, label in made if a.status == "ok"]
