"""Targets: what a teacher proposes, what its checks let through, and what people and logs make of it."""

import numpy as np
import pytest

from helpers import files
from helpers.data.records import refuse_trained_rows
from helpers.env import UserError
from helpers.labels import log
from helpers.synthesis import answers, targets
from helpers.synthesis.embedded_writer import write
from helpers.synthesis.endpoint import Local

PARAMS = {
    "strategy": "hassan", "scorer": "lexicon", "labeller": "teacher", "teacher": "embedded", "language": "it",
    "distil": False, "teacher_model": "", "instruction": "Riscrivi.",
}  # fmt: skip
ROWS = [{"id": f"r{i}", "text": t} for i, t in enumerate(["the rude answer", "the kind answer", "the mean answer"])]


def polite(texts):
    return np.array([0.1 if {"rude", "mean"} & set(t.split()) else 0.9 for t in texts])


def ask(text: str):
    return f"Make this kind: {text}"


def proposals(replies: dict[str, list[str]], floor=0.5, language=""):
    """`replies` maps a source to the replies to its first and its second asking."""

    def reply(prompts):
        out = []
        for prompt in prompts:
            source = next(r["text"] for r in ROWS if r["text"] in prompt)
            out.append(replies[source][min("not accepted" in prompt, len(replies[source]) - 1)])
        return out

    return targets.propose(Local(reply), ROWS, ask, polite, language, floor)


def test_a_good_proposal_passes_and_one_that_copies_must_comply():
    results = proposals(
        {
            "the rude answer": ["the rude answer", "the fair answer"],  # a copy, mended when asked again
            "the kind answer": ["the kind answer"],  # nothing was to change
            "the mean answer": ["the mean answer"],
        }
    )
    assert [p["status"] for p in results] == ["ok", "ok", "invalid"]
    assert [p["proposal"] for p in results] == ["the fair answer", "the kind answer", ""]
    assert results[2]["reason"] == "it repeats the text as it was" and results[2]["answer"] == "the mean answer"
    assert results[0]["compliance"] == 0.9 and "compliance" not in results[2]


def test_refusals_empty_answers_other_languages_and_what_does_not_comply_are_kept_apart():
    results = proposals(
        {
            "the rude answer": ["I'm sorry, but I cannot help with that."],
            "the kind answer": ["  "],
            "the mean answer": ["a mean and long reply"],
        }
    )
    assert [p["status"] for p in results] == ["refused", "invalid", "invalid"]
    assert "empty" in results[1]["reason"] and "its score is 0.10, below the floor 0.5" in results[2]["reason"]
    assert all(p["proposal"] == "" for p in results)
    line = targets.describe_proposals(results)
    assert line.startswith("0 of 3 proposals accepted") and "1 refused" in line and "2 invalid" in line
    same = {r["text"]: ["questa è una risposta cortese e gentile per tutte le persone"] for r in ROWS}
    assert {p["status"] for p in proposals(same, language="en")} == {"invalid"}
    assert {p["status"] for p in proposals(same, language="it")} == {"ok"}


def test_a_text_that_the_scorer_cannot_score_is_not_accepted_unless_there_is_no_floor():
    unknown = lambda texts: np.full(len(texts), np.nan)  # noqa: E731
    writer = Local(lambda prompts: ["the fair answer"] * len(prompts))
    for floor, status in ((0.5, "invalid"), (0.0, "ok")):
        (proposal,) = targets.propose(writer, ROWS[:1], ask, unknown, "", floor)
        assert proposal["status"] == status


def test_the_embedded_generator_rewords_by_rule():
    prompt = targets.make_prompt("", "", [], "it", conditions=True)
    rows = [{"id": "a", "text": "Cercasi impiegato esperto per ufficio."}]
    score = lambda texts: np.ones(len(texts))  # noqa: E731
    (results,) = targets.propose(Local(write), rows, prompt, score, "it", 0.5)
    assert results["status"] == "ok" and "impiegat" in results["proposal"] and results["proposal"] != rows[0]["text"]


def test_the_prompt_holds_instruction_guideline_and_examples():
    shown = [{"text": "uno", "target": "due"}]
    prompt = targets.make_prompt("Riscrivi.", "# Stile", shown, "it")("tre")
    order = [prompt.index(part) for part in ("Riscrivi.", "# Stile", "Testo: uno", "Risposta: due", "Testo:\ntre")]
    assert order == sorted(order)
    assert "Esempi" not in targets.make_prompt("Riscrivi.", "", [], "it")("tre")


def test_only_accepted_proposals_become_targets_and_nothing_is_written_twice(tmp_path):
    results = [
        {"id": "r0", "status": "ok", "proposal": "the fair answer", "reason": ""},
        {"id": "r1", "status": "refused", "proposal": "", "reason": "the model declined to answer"},
        {"id": "r2", "status": "failed", "proposal": "", "reason": "the budget is used up"},
    ]
    for _ in range(2):
        targets.record_proposals(tmp_path, results)
    events = log.events(tmp_path)
    assert [(e["id"], e["event"]) for e in events] == [("r0", "label"), ("r1", "skip")]
    assert events[1]["reason"] == "refused: the model declined to answer"
    (row,) = targets.rows_with_targets(tmp_path, {r["id"]: r for r in ROWS})
    assert row["target"] == "the fair answer" and row["references"] == ["the fair answer"]
    assert row["target_source"] == "teacher"
    with pytest.raises(UserError, match=r"left 1 of 3 texts without an answer \(the budget is used up\)"):
        targets.refuse_failed(results)


def test_what_people_save_is_theirs_and_what_they_reject_is_no_target(tmp_path):
    log.append(tmp_path, "anna", "label", "r0", label="the fair answer")
    log.append(tmp_path, "anna", "label", "r1", label="")
    log.append(tmp_path, "anna", "label", "r2", label="\u200b")  # nothing that can be seen
    log.append(tmp_path, "bruno", "label", "gone", label="of another pool")
    log.append(tmp_path, "bruno", "skip", "r2")
    (row,) = targets.rows_with_targets(tmp_path, {r["id"]: r for r in ROWS})
    assert (row["id"], row["target_source"]) == ("r0", "human")


def test_the_panel_shows_the_teachers_words_else_the_models_else_the_text(tmp_path):
    files.write_jsonl(
        tmp_path / "hassan_0.jsonl", [{"id": "r1", "output": "the warm answer"}, {"id": "r2", "output": " "}]
    )
    by_teacher = {
        "r0": {"id": "r0", "status": "ok", "proposal": "the fair answer", "reason": ""},
        "r1": {"id": "r1", "status": "refused", "proposal": "", "reason": "the model declined to answer"},
    }
    records, context = targets.panel_records(ROWS, by_teacher, tmp_path)
    assert [records[f"r{i}"]["proposal"] for i in range(3)] == ["the fair answer", "the warm answer", "the mean answer"]
    assert context["r0"] == ["proposed by the teacher"]
    assert "the teacher's answer was refused: the model declined to answer" in context["r1"]
    assert "the text as it is" in context["r2"][0]


def test_the_panel_shows_what_the_latest_round_wrote_and_survives_a_damaged_file(tmp_path):
    for number, output in ((2, "the cold answer"), (10, "the warm answer")):
        rows = [{"id": "r0", "output": output}]
        files.write_jsonl(tmp_path / f"hassan_{number}.jsonl", rows)
    (tmp_path / "hassan_9.jsonl").write_bytes(b"\x00\xff garbage")
    assert targets.panel_records(ROWS, {}, tmp_path)[0]["r0"]["proposal"] == "the warm answer"


@pytest.mark.parametrize(
    "content", [b"\xff\x00", b"garbage\n", b'{"id": "a"}\n', b'{"id": 1, "text": "b"}\n', b"[1]\n"]
)
def test_a_damaged_file_of_ones_own_counts_as_absent(content, tmp_path):
    path = tmp_path / "rows.jsonl"
    assert files.own_rows(path, "id") == []
    files.write_jsonl(path, ROWS)
    assert files.own_rows(path, "id", "text") == ROWS
    path.write_bytes(path.read_bytes() + content)
    assert files.own_rows(path, "id", "text") == []
    path.unlink()
    path.mkdir()
    assert files.own_rows(path, "id") == []


def test_silver_pairs_that_an_evaluation_set_gives_away_are_left_out():
    def pair(text, target):
        return {"text": text, "target": target, "method": "rules", "source": "synthetic"}

    long = "Cerchiamo una persona che si occupi della cassa, degli scaffali e della pulizia del negozio di "
    kept = pair("Un operaio esperto per il turno di notte.", "Un/a operaio/a esperto/a per il turno di notte.")
    known = [
        pair("CERCASI commesso, per negozio di Roma!", "Cercasi commesso/a."),  # a text, in other letters
        pair(f"{long}Torino.", f"{long}Torino."),  # nearly a reference
        pair("Si cerca una cuoca brava in cucina.", "Si cerca un/a cuoco/a bravo/a in cucina."),  # the answer itself
    ]
    sets = {
        "validation": [
            {"id": "v", "text": "Cercasi commesso per negozio di Roma", "references": ["Cercasi personale."]}
        ],
        "test": [{"id": "t0", "text": "Una cassiera.", "references": [f"{long}Parma."]}],
        "test_new": [{"id": "t1", "text": "Un cuoco.", "references": ["Si cerca un/a cuoco/a bravo/a in cucina."]}],
    }
    (row,) = targets.silver_rows([*known, kept], sets, "t")
    assert row == kept | {"id": row["id"], "split": "silver"} and len(row["id"]) == 16
    refuse_trained_rows([row], sets)
    with pytest.raises(UserError, match="1 of the 1 rows of validation were trained on"):
        refuse_trained_rows(targets.silver_rows(known[:1], {}, "t"), sets)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"strategy": "best"}, "strategy='best' is unknown"),
        ({"labeller": "robot"}, "labeller='robot' must be"),
        ({"teacher": "me"}, "teacher='me' must be"),
        ({"teacher": ""}, "labeller: teacher needs a teacher"),
        ({"language": "en", "scorer": "pairs"}, "embedded rewords Italian"),
        ({"teacher": "local"}, "teacher_model is empty"),
        ({"distil": True}, "teacher_model is empty"),
        ({"teacher": "endpoint", "instruction": ""}, "instruction is empty"),
        ({"teacher": "endpoint", "scorer": "judge"}, "may not judge its own targets"),
    ],
)
def test_parameters_that_do_not_fit(changed, sentence, monkeypatch):
    for name in ("TEACHER_MODEL", "JUDGE_MODEL"):
        monkeypatch.setenv(name, "m")
    targets.check_parameters(PARAMS)
    with pytest.raises(UserError, match=sentence):
        targets.check_parameters(PARAMS | changed)


def test_a_row_without_an_answer_has_no_proposal():
    class Exhausted:
        who = "nobody"

        def ask(self, prompts, schema=None, checks=()):
            return [answers.Answer("failed", reason="the budget is used up") for _ in prompts]

    (proposal,) = targets.propose(Exhausted(), ROWS[:1], ask, polite, "", 0.5)
    assert proposal == {
        "id": "r0",
        "status": "failed",
        "proposal": "",
        "reason": "the budget is used up",
        "by": "nobody",
    }
