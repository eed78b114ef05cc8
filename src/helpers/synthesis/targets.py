"""Targets for the inputs that active learning for generation chose: proposed by a teacher, accepted or edited by people.

A proposal is a dict with id, status as in `answers.Answer` (ok, refused, invalid, failed), proposal (the text, '' without one),
reason, and compliance where it was scored. Only an `ok` one may become a target; the others are kept apart.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from helpers import env
from helpers.env import UserError
from helpers.evaluation.generation import COMPLIES
from helpers.files import read_jsonl
from helpers.labels import exchange, log
from helpers.query import strategies_generation
from helpers.synthesis import answers, endpoint, prompts, scorer
from helpers.synthesis.budget import Budget
from helpers.synthesis.prompts import CONDITIONS
from helpers.synthesis.scorer import Scorer
from helpers.text import clean, normalise

ANNOTATORS = {
    "oracle": "oracle",
    "teacher": "teacher",
}  # whose log says where a target comes from; all others are people


def check_parameters(params: dict[str, Any]) -> None:
    """Raises UserError when strategy, scorer, who labels and who proposes do not fit each other or the task."""
    labeller, teacher, language = params["labeller"], params["teacher"], params["language"]
    strategies_generation.needs(params["strategy"])
    scorer.check_scorer(params["scorer"], language)
    if labeller not in ("oracle", "teacher", "human"):
        raise UserError(f"Parameter labeller={labeller!r} must be oracle, teacher or human.")
    if teacher not in ("", "embedded", "endpoint", "local"):
        raise UserError(f"Parameter teacher={teacher!r} must be embedded, endpoint, local, or '' for none.")
    if labeller == "teacher" and not teacher:
        raise UserError("Parameter labeller: teacher needs a teacher: set it to endpoint, local or embedded.")
    if teacher == "embedded" and language != "it":
        raise UserError("Parameter teacher: embedded rewords Italian by rule; set endpoint, local, or '' for none.")
    if (teacher == "local" or params["distil"]) and not params["teacher_model"]:
        raise UserError("Parameter teacher_model is empty: name the folder or hub id of the local teacher.")
    if teacher in ("endpoint", "local") and labeller != "oracle" and not params["instruction"]:
        raise UserError("Parameter instruction is empty: a teacher must be told what to write.")
    if (
        params["scorer"] == "judge"
        and teacher == "endpoint"
        and env.secret("JUDGE_MODEL") == env.secret("TEACHER_MODEL")
    ):
        raise UserError("JUDGE_MODEL is the teacher: a model may not judge its own targets, set another.")


# --- what the teacher proposes ---------------------------------------------------------------------------------------


def make_back_end(
    params: dict[str, Any], generate: Callable[[Sequence[str]], list[str]], store: Path, budget: Budget
) -> Any:
    """The back-end of `teacher` that writes proposals, None where nobody is asked; `generate` is the one in this process."""
    if params["labeller"] == "oracle" or not params["teacher"]:
        return None
    if params["teacher"] == "endpoint":
        return endpoint.Endpoint("TEACHER", store, budget, options={"temperature": 0.0})
    return endpoint.Local(generate)


def make_prompt(
    instruction: str, guideline: str, examples: Sequence[dict], language: str, conditions: bool = False
) -> Callable[[str], str]:
    """A function from a source text to the teacher's prompt; with `conditions` only what the embedded generator reads."""

    def prompt(source: str) -> str:
        if conditions:
            return CONDITIONS + json.dumps({"text": source}, ensure_ascii=False)
        return prompts.target(source, instruction, guideline, examples, language)

    return prompt


def propose(
    back_end: Any, rows: Sequence[dict], prompt: Callable[[str], str], score: Scorer, language: str, floor: float
) -> list[dict]:
    """A proposal for every row by a back-end of `teacher`, checked: language, copying, and compliance of at least `floor`.

    Refusals, answers that fail a check twice, and what a used-up budget left out are kept with their reasons. Raises UserError
    where the endpoint does.
    """
    sources = {prompt(r["text"]): r["text"] for r in rows}
    checks = [lambda asked, answer: copied(sources[asked], answer.text, score)]
    checks += [answers.in_language(language)] * bool(language)
    checks += [lambda asked, answer: falls_short(answer.text, score, floor)]
    given = back_end.ask([prompt(r["text"]) for r in rows], checks=checks)
    return [_proposal(row, answer, score) for row, answer in zip(rows, given, strict=True)]


def _proposal(row: dict, answer: answers.Answer, score: Scorer) -> dict:
    text = clean(answer.text) if answer.status == "ok" else ""
    facts = {"id": row["id"], "status": answer.status, "proposal": text, "reason": answer.reason}
    said = {"answer": answer.text} if answer.status not in ("ok", "failed") else {}
    return facts | said | ({"compliance": round(float(score([text])[0]), 4)} if text else {})


def copied(source: str, text: str, score: Scorer) -> str:
    """Why a copy of the source will not do: it is right only where the source keeps the attribute itself."""
    if normalise(text) == normalise(source) and not score([source])[0] >= COMPLIES:
        return "it repeats the text as it was"
    return ""


def falls_short(text: str, score: Scorer, floor: float) -> str:
    """Why a text that complies too little will not do; nor does one that the scorer has no answer for."""
    got = float(score([text])[0]) if floor > 0 else 1.0
    return "" if got >= floor else f"the scorer gives it {got:.2f}, and {floor:g} is asked for"


def record_proposals(folder: Path, proposals: Iterable[dict]) -> None:
    """Write the proposals to the label log of the annotator `teacher`: accepted ones as targets, the others as skipped.

    What failed is left open: it is asked for again. What the log has already is not written again.
    """
    known, events = log.annotations(folder).get("teacher", {}), []
    for one in proposals:
        if one["id"] in known:
            continue
        if one["status"] == "ok":
            events.append({"event": "label", "id": one["id"], "label": one["proposal"]})
        elif one["status"] in ("refused", "invalid"):
            events.append({"event": "skip", "id": one["id"], "reason": f"{one['status']}: {one['reason']}"})
    log.append_all(folder, "teacher", events)


def refuse_failed(proposals: Iterable[dict]) -> None:
    """Raise UserError when texts are left without an answer, which a later run may get; to be called when the rest is saved."""
    told = list(proposals)
    lost = [p["reason"] for p in told if p["status"] == "failed"]
    if lost:
        raise UserError(
            f"The teacher left {len(lost)} of {len(told)} texts without an answer ({lost[0]}); the others are kept."
        )


def describe_proposals(proposals: Sequence[dict]) -> str:
    """One line: how many proposals of each status, and the commonest reason of those that are not ok."""
    counts = Counter(p["status"] for p in proposals)
    parts = [f"{counts['ok']} of {len(proposals)} proposals accepted by the checks"]
    for status in ("refused", "invalid", "failed"):
        if counts[status]:
            reason = Counter(p["reason"] for p in proposals if p["status"] == status).most_common(1)[0][0]
            parts.append(f"{counts[status]} {status} ({reason})")
    return ", ".join(parts)


# --- what became of them ---------------------------------------------------------------------------------------------


def rows_with_targets(folder: Path, rows: dict[str, dict]) -> list[dict]:
    """Rows with the `target` that the logs in `folder` give them, and its `target_source`: oracle, teacher or human.

    A row that was skipped, rejected or refused is not among them.
    """
    said = log.annotations(folder)
    found = []
    for key, text in exchange.settled_labels(folder).items():
        if key in rows and isinstance(text, str) and text.strip():
            people = [name for name, own in said.items() if key in own and own[key]["label"] == text]
            source = ANNOTATORS.get(people[0], "human") if people else "human"
            target = clean(text)
            found.append(rows[key] | {"target": target, "references": [target], "target_source": source})
    return found


def panel_records(
    rows: Iterable[dict], proposals: dict[str, dict], interim: Path
) -> tuple[dict[str, dict], dict[str, list[str]]]:
    """(records, context) for a panel of kind edit: the teacher's proposal, else the learner's interim output, else the text itself.

    `interim` is the folder with the rounds' interim outputs. The context says whose words they are, and what the teacher did not
    want to say or said badly.
    """
    outputs = {row["id"]: row["output"] for file in sorted(interim.glob("*.jsonl")) for row in read_jsonl(file)}
    records, context = {}, {}
    for row in rows:
        one = proposals.get(row["id"], {})
        if one.get("status") == "ok":
            text, told = one["proposal"], "proposed by the teacher"
        elif outputs.get(row["id"], "").strip():
            text, told = outputs[row["id"]], "written by the model as it is now"
        else:
            text, told = row["text"], "nothing proposed: the text as it is"
        lost = [f"the teacher's answer was {one['status']}: {one['reason']}"] if one and one["status"] != "ok" else []
        records[row["id"]] = row | {"proposal": text}
        context[row["id"]] = [told, *lost]
    return records, context
