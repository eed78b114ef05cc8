"""A teacher as annotator: a model names the label of each text, into a log of its own, within its budget."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import create_model

from helpers import env
from helpers.data import embedded
from helpers.env import UserError
from helpers.files import digest
from helpers.labels.log import annotations, append_all, events
from helpers.synthesis import prompts
from helpers.synthesis.answers import Answer, check_complete
from helpers.synthesis.brief import read_brief
from helpers.synthesis.budget import Budget
from helpers.synthesis.endpoint import Endpoint
from helpers.task import Task

NAME = "teacher"  # the annotator in whose log a teacher's labels and targets stand


def name_labels(
    back_end: Any, texts: Sequence[str], task: Task, brief: dict, guideline: str, language: str
) -> list[Answer]:
    """Have a back-end name the label of each text; the `value` of an answer that is ok has the key `label`."""
    schema = create_model("Verdict", label=(Literal[task.labels], ...))
    return back_end.ask([prompts.judge(t, task.labels, brief, guideline, language) for t in texts], schema)


@dataclass
class TeacherAnnotator:
    """A back-end that labels records by the brief (see `read_brief`) and the guideline of a task."""

    back_end: Any
    task: Task
    brief: dict
    guideline: str  # '' for none
    language: str
    prices: tuple[float, float]  # of a million prompt tokens and of a million completion tokens, for the bill

    @classmethod
    def from_params(cls, params: dict[str, Any], task: Task, log_folder: Path) -> TeacherAnnotator:
        """The endpoint TEACHER_BASE_URL; its budget is `teacher_tokens` less what it has cost so far.

        That is the ledger's count, or that of the labels in the log where it is higher: its file may have been deleted.
        """
        prices = params["prompt_price"], params["completion_price"]
        if min(prices) < 0:
            raise UserError("Parameters prompt_price and completion_price must not be negative: give 0 for no bill.")
        store, used = env.root() / "outputs/.replies", tokens_used(log_folder)
        budget = Budget.of_stage(params["teacher_tokens"], store, log_folder, "TEACHER", used)
        back_end = Endpoint("TEACHER", store, budget, options={"temperature": 0.0})
        brief, guideline = read_brief(params["brief"], task), embedded.read_guideline(params["guideline"])
        return cls(back_end, task, brief, guideline, params["language"], prices)

    @property
    def asked(self) -> dict[str, str]:
        """Who labels, and what it is told, for `Run.resume_rounds`."""
        told = prompts.judge("", self.task.labels, self.brief, self.guideline, self.language)
        return {"the teacher": self.back_end.who, "what the teacher is told": digest(told)}

    def annotate(self, log_folder: Path, records: list[dict]) -> None:
        """Label the records that the log does not know yet.

        A record that the model refuses, or answers badly twice, is skipped in the log. Raises UserError where an
        answer is missing, as when the budget is used up: the log has the others, and asking again resumes there.
        """
        known = annotations(log_folder).get(NAME, {})
        open_records = [r for r in records if r["id"] not in known]
        if not open_records:
            return
        texts = [r["text"] for r in open_records]
        answers = name_labels(self.back_end, texts, self.task, self.brief, self.guideline, self.language)
        entries = []
        for record, answer in zip(open_records, answers, strict=True):
            entry = {"id": record["id"], "tokens": [answer.prompt_tokens, answer.completion_tokens]}
            if answer.status == "ok":
                entries.append(entry | {"event": "label", "label": answer.value["label"]})
            elif answer.status != "failed":
                entries.append(entry | {"event": "skip"})
        append_all(log_folder, NAME, entries)
        check_complete(((a.status, a.reason) for a in answers), "The teacher", "a label")

    def bill(self, log_folder: Path, ids: Collection[str]) -> dict[str, float]:
        """The cost of the labels of the records `ids`: `teacher_tokens`, and `money` by the prices."""
        prompt, completion = tokens_used(log_folder, ids)
        money = (prompt * self.prices[0] + completion * self.prices[1]) / 1e6
        return {"teacher_tokens": prompt + completion, "money": round(money, 6)}


def tokens_used(log_folder: Path, ids: Collection[str] | None = None) -> tuple[int, int]:
    """(prompt, completion) tokens that a teacher's labels took by its log: of all records, or of the records `ids`."""
    own = [e for e in events(log_folder) if e["annotator"] == NAME and (ids is None or e["id"] in ids)]
    used = [e["tokens"] for e in own if _are_tokens(e.get("tokens"))]
    return sum(prompt for prompt, _ in used), sum(completion for _, completion in used)


def _are_tokens(tokens: Any) -> bool:
    """Whether an event has the pair of counts that a teacher's own have; one from elsewhere took
    none of its tokens.
    """
    return isinstance(tokens, list) and len(tokens) == 2 and all(type(n) is int and n >= 0 for n in tokens)
