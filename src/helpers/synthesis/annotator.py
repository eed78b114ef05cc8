"""A teacher as annotator: a model names the label of each text, into a log of its own, within its budget."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from helpers import env
from helpers.data import embedded
from helpers.env import UserError
from helpers.labels.log import annotations, append_all, events
from helpers.synthesis import prompts
from helpers.synthesis.answers import Answer
from helpers.synthesis.brief import read_brief
from helpers.synthesis.budget import Budget
from helpers.synthesis.endpoint import Endpoint
from helpers.task import Task

NAME = "teacher"  # of its log


def name_labels(
    back_end: Any, texts: Sequence[str], task: Task, brief: dict, guideline: str, language: str
) -> list[Answer]:
    """One Answer a text; the `value` of one that is ok has the `label`."""
    from pydantic import create_model

    schema = create_model("Verdict", label=(Literal[task.labels], ...))
    return back_end.ask([prompts.judge(t, task.labels, brief, guideline, language) for t in texts], schema)


@dataclass
class TeacherAnnotator:
    """A back-end that labels, with what it is told of the task."""

    back_end: Any
    task: Task
    brief: dict
    guideline: str
    language: str
    budget: Budget

    @classmethod
    def from_params(cls, params: dict[str, Any], task: Task, log: Path) -> TeacherAnnotator:
        """The endpoint TEACHER_BASE_URL under the budget in a notebook's parameters, less what the log has used of it."""
        prices = params["prompt_price"], params["completion_price"]
        budget = Budget(params["teacher_tokens"], 0.0, *prices, *tokens_used(log))
        kept = env.root() / "outputs/.replies"
        back_end = Endpoint("TEACHER", kept, budget, options={"temperature": 0.0})
        told = read_brief(params["brief"], task), embedded.read_guideline(params["guideline"]), params["language"]
        return cls(back_end, task, *told, budget)

    def annotate(self, log: Path, records: list[dict]) -> None:
        """Have the records labelled that the log does not know; one the model refuses, or answers badly twice, is skipped there.

        Raises UserError where an answer is missing, as when the budget is used up: what there is is logged, and asking again goes
        on from there.
        """
        known = annotations(log).get(NAME, {})
        records = [r for r in records if r["id"] not in known]
        told = self.task, self.brief, self.guideline, self.language
        found = name_labels(self.back_end, [r["text"] for r in records], *told) if records else []
        rows = [
            {"id": r["id"], "tokens": [a.prompt_tokens, a.completion_tokens]}
            | ({"event": "label", "label": a.value["label"]} if a.status == "ok" else {"event": "skip"})
            for r, a in zip(records, found, strict=True)
            if a.status != "failed"
        ]
        append_all(log, NAME, rows)
        if lost := [a for a in found if a.status == "failed"]:
            raise UserError(f"The teacher left {len(lost)} of {len(records)} texts without a label: {lost[0].reason}.")

    def bill(self, log: Path, ids: Collection[str]) -> dict[str, float]:
        """What the labels of the records `ids` have cost: `teacher_tokens` and, by the budget's prices, `money`."""
        tokens = tokens_used(log, ids)
        return {"teacher_tokens": sum(tokens), "money": round(self.budget.cost(*tokens), 6)}


def tokens_used(log: Path, ids: Collection[str] | None = None) -> tuple[int, int]:
    """(prompt, completion) tokens that a teacher's log says its labels took: all of them, or those of the records `ids`."""
    own = [e["tokens"] for e in events(log) if e["annotator"] == NAME and (ids is None or e["id"] in ids)]
    return tuple(sum(column) for column in zip((0, 0), *own, strict=True))
