"""Targets for the inputs that active learning for generation selects: proposed by a teacher, accepted or edited by people.

A proposal is a dict with `id`, `status` (ok, refused, invalid or failed, see `answers.Answer`), `proposal` (the text, ''
without one), `reason`, `by` (whose it is), and `compliance` where the text was scored. Only an ok proposal may become a target.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from helpers import env
from helpers.data import records as data_records
from helpers.env import UserError
from helpers.evaluation.generation import COMPLIES
from helpers.files import digest, own_rows
from helpers.labels import exchange, log
from helpers.manifest import stored_name
from helpers.pipeline import sources
from helpers.query import strategies
from helpers.run import Run
from helpers.synthesis import annotator, answers, endpoint, prompts, scorer
from helpers.synthesis.budget import Budget
from helpers.synthesis.prompts import CONDITIONS
from helpers.synthesis.scorer import Scorer
from helpers.text import bare_words, clean

SOURCES = ("oracle", annotator.NAME)  # annotators that are not people
# Parameters by which a teacher's words are made and accepted, beside its prompt.
ACCEPTANCE = ("scorer", "attribute", "floor", "language", "scope", "max_new_tokens")


def check_parameters(params: dict[str, Any]) -> None:
    """Raise UserError when strategy, scorer, labeller and teacher do not fit each other or the task."""
    labeller, teacher, language = params["labeller"], params["teacher"], params["language"]
    strategies.check_strategy(params["strategy"], "generation")
    scorer.check_scorer(params["scorer"], language)
    endpoint.check_teacher(teacher)
    if labeller not in ("oracle", "teacher", "human"):
        raise UserError(f"Parameter labeller={labeller!r} must be one of human, oracle, teacher.")
    if labeller == "teacher" and not teacher:
        raise UserError("Parameter labeller: teacher needs a teacher: set it to endpoint, local or embedded.")
    if teacher == "embedded" and language != "it":
        raise UserError("Parameter teacher: embedded rewords Italian by rule; set endpoint, local, or '' for none.")
    if (teacher == "local" or params["distil"]) and not params["teacher_model"]:
        raise UserError("Parameter teacher_model is empty: name the folder or hub id of the local teacher.")
    if teacher in ("endpoint", "local") and labeller != "oracle" and not params["instruction"]:
        raise UserError("Parameter instruction is empty: a teacher needs to know what to write.")
    same_model = env.secret("JUDGE_MODEL") == env.secret("TEACHER_MODEL")
    if params["scorer"] == "judge" and teacher == "endpoint" and same_model:
        raise UserError("JUDGE_MODEL is the teacher: a model may not judge its own targets, set another.")


def make_back_end(params: dict[str, Any], generate: Callable, store: Path, budget: Budget) -> Any:
    """The back-end that writes proposals, None where there is no teacher.

    `generate` is the function of a local or embedded teacher; `store` keeps the replies of an endpoint.
    """
    if params["labeller"] == "oracle" or not params["teacher"]:
        return None
    if params["teacher"] == "endpoint":
        return endpoint.Endpoint("TEACHER", store, budget, options={"temperature": 0.0})
    return endpoint.Local(generate, params["teacher_model"] or params["teacher"])


def make_prompt(
    instruction: str, guideline: str, examples: Sequence[dict], language: str, conditions: bool = False
) -> Callable[[str], str]:
    """The function from a source text to the teacher's prompt.

    `examples` are pairs with text and target. With `conditions` the prompt has only what the embedded generator reads.
    """
    if conditions:
        return lambda source: CONDITIONS + json.dumps({"text": source}, ensure_ascii=False)
    return lambda source: prompts.target(source, instruction, guideline, examples, language)


def asked(here: Run, back_end: Any, prompt: Callable[[str], str]) -> dict[str, str]:
    """Who writes targets that nobody sees, what it is told and which of them are accepted, for `Run.resume_rounds`.

    {} where no teacher does. `prompt` is that of `make_prompt`.
    """
    if here.params["labeller"] != annotator.NAME:
        return {}
    who = back_end.who
    if here.params["teacher"] != "endpoint":  # its files, or its commit
        name = here.params["teacher_model"]
        places = map(stored_name, sources(here.stage, {"teacher_model": name}))
        version = [
            *(here.inputs.get(place, "") for place in places),
            here.hub_commits().get(f"teacher_model={name}", ""),
        ]
        who = f"{who} {digest(version)[:16]}"
    checks = [here.params[name] for name in ACCEPTANCE] + [here.servers.get("JUDGE", "")]
    told = {"the teacher": who, "what the teacher is told": digest(prompt(""))}
    return told | {"what is accepted of the teacher": digest(checks)}


def propose(
    back_end: Any, rows: Sequence[dict], prompt: Callable[[str], str], score: Scorer, language: str, floor: float
) -> list[dict]:
    """Have a back-end propose a target for every row; raises UserError where `Endpoint.ask` does.

    `prompt` is that of `make_prompt`. A proposal must be in `language` ('' for any), and its score at least `floor`.
    """
    questions = [prompt(row["text"]) for row in rows]
    source_of = {question: row["text"] for question, row in zip(questions, rows, strict=True)}

    def check_copy(question: str, text: str) -> str:
        source = source_of[question]  # a copy is right where the source keeps the attribute itself
        is_fault = bare_words(text) == bare_words(source) and not score([source])[0] >= COMPLIES
        return "it repeats the text as it was" if is_fault else ""

    def check_compliance(question: str, text: str) -> str:
        compliance = float(score([text])[0]) if floor > 0 else 1.0  # NaN where the scorer has no answer
        return "" if compliance >= floor else f"its score is {compliance:.2f}, below the floor {floor:g}"

    checks = [check_copy, answers.language_check(language), check_compliance]
    proposals = []
    for row, answer in zip(rows, back_end.ask(questions, checks=checks), strict=True):
        text = clean(answer.text) if answer.status == "ok" else ""
        proposal = {"id": row["id"], "status": answer.status, "proposal": text, "reason": answer.reason}
        proposal["by"] = back_end.who
        if text:
            proposal["compliance"] = round(float(score([text])[0]), 4)
        elif answer.status in ("refused", "invalid"):
            proposal["answer"] = answer.text
        proposals.append(proposal)
    return proposals


def record_proposals(folder: Path, proposals: Iterable[dict]) -> None:
    """Write the proposals to the label log of the teacher: ok ones as targets, refused and invalid ones as skipped.

    A failed one stays open and will be requested again. Rows that the log knows already are left as they are.
    """
    known, entries = log.annotations(folder).get(annotator.NAME, {}), []
    for proposal in proposals:
        if proposal["id"] in known:
            continue
        status, entry = proposal["status"], {"id": proposal["id"]}
        if status == "ok":
            entries.append(entry | {"event": "label", "label": proposal["proposal"]})
        elif status != "failed":
            entries.append(entry | {"event": "skip", "reason": f"{status}: {proposal['reason']}"})
    log.append_all(folder, annotator.NAME, entries)


def refuse_failed(proposals: Iterable[dict]) -> None:
    """Raise UserError when texts are without an answer, which a later run may get; call it once the rest is saved."""
    answers.check_complete(((p["status"], p["reason"]) for p in proposals), "The teacher", "an answer")


def describe_proposals(proposals: Sequence[dict]) -> str:
    """One line: the number of proposals of each status, and the commonest reason of those not ok."""
    accepted = sum(p["status"] == "ok" for p in proposals)
    problems = answers.count_problems((p["status"], p["reason"]) for p in proposals)
    return ", ".join([f"{accepted} of {len(proposals)} proposals accepted by the checks", *problems])


def rows_with_targets(folder: Path, rows: dict[str, dict]) -> list[dict]:
    """Those of the rows (by id) that have a target in the logs: not skipped, rejected or refused.

    They get the fields `target`, `references` and `target_source` (oracle, teacher or human).
    """
    states, rows_found = log.annotations(folder), []
    for record_id, text in exchange.settled_labels(folder).items():
        target = clean(text) if isinstance(text, str) else ""
        if record_id in rows and target:
            authors = [name for name, own in states.items() if own.get(record_id, {}).get("label") == text]
            source = authors[0] if authors and authors[0] in SOURCES else "human"
            rows_found.append(rows[record_id] | {"target": target, "references": [target], "target_source": source})
    return rows_found


def silver_rows(pairs: Sequence[dict], evaluation_sets: dict[str, list[dict]], task: str) -> list[dict]:
    """Pairs made by rule as records of the task, without those that an evaluation set gives away.

    A pair is left out where its source or its target is an exact or near duplicate of a text or of a reference of
    `evaluation_sets` (name → rows): the learner must not have read what it is examined on.
    """
    rows = [{"id": data_records.record_id(task, pair["text"]), **pair, "split": "silver"} for pair in pairs]
    evaluation = [r for a_set in evaluation_sets.values() for r in a_set]
    known = [{"id": r["id"], "text": text} for r in evaluation for text in (r["text"], *r.get("references", []))]
    sides = rows, [row | {"text": row["target"]} for row in rows]
    leaked = {row["id"] for side in sides for row in data_records.leaked_records(side, known)}
    return [row for row in rows if row["id"] not in leaked]


def panel_records(rows: Iterable[dict], proposals: dict[str, dict], interim: Path) -> tuple[dict, dict]:
    """Records for a panel of kind edit: each proposes the teacher's words, else the learner's, else the text itself.

    `proposals` are the teacher's by record id, `interim` is the folder with the learner's outputs. Returns, by record
    id, the row with `proposal`, and lines that say whose words these are and what was wrong with the teacher's answer.
    """
    by_round = sorted(interim.glob("*.jsonl"), key=lambda file: (len(file.name), file.name))  # round 10 after round 2
    written = [row for file in by_round for row in own_rows(file, "id", "output")]
    outputs = {row["id"]: answers.final_words(row["output"]) for row in written}  # a base may reason aloud
    records, context = {}, {}
    for row in rows:
        key = row["id"]
        teacher = proposals.get(key)
        failed = teacher and teacher["status"] != "ok"
        if teacher and not failed:
            text, lines = teacher["proposal"], ["proposed by the teacher"]
        elif outputs.get(key):
            text, lines = outputs[key], ["written by the model as it is now"]
        else:
            text, lines = row["text"], ["nothing proposed: the text as it is"]
        if failed:
            lines.append(f"the teacher's answer was {teacher['status']}: {teacher['reason']}")
        records[key], context[key] = row | {"proposal": text}, lines
    return records, context
