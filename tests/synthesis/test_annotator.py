"""A teacher as annotator: what it answers, refuses and costs, alone and in notebook 03, over a real connection."""

import json

import pandas as pd
import pytest

from helpers import files
from helpers.env import UserError
from helpers.labels import log
from helpers.synthesis import annotator
from helpers.task import Task
from tests.endpoints import Proxy, completion
from tests.project import ambo_run, finish, new_project

TASK = Task("t", ("good", "bad"), "bad", (" good", " bad"), "{text}")
PARAMS = {"teacher_tokens": 0, "prompt_price": 2.0, "completion_price": 8.0}
PARAMS |= {"brief": "", "guideline": "", "language": "en"}
TEXTS = ("a bad day", "a good day", "say nothing", "bad luck")
RECORDS = [{"id": str(i), "text": text} for i, text in enumerate(TEXTS)]


def reply_to(number, body):
    """The label that stands in the text, for twenty tokens, more where there is luck; nothing on `say nothing`."""
    text = body["messages"][-1]["content"].partition("Text:\n")[2].partition("\n\n")[0]
    if "nothing" in text:
        return completion("I'm sorry, I cannot help with that.")
    dear = {"prompt_tokens": 300, "completion_tokens": 300, "total_tokens": 600} if "luck" in text else None
    is_bad = ("bad" in text) != ("The opposite" in body["messages"][-1]["content"])
    return completion(json.dumps({"label": "bad" if is_bad else "good"}), usage=dear)


@pytest.fixture
def served(monkeypatch, tmp_path):
    with Proxy(reply_to) as server:
        for name, value in (("BASE_URL", server.url), ("MODEL", "m"), ("API_KEY", "sk-of-this-test")):
            monkeypatch.setenv(f"TEACHER_{name}", value)
        monkeypatch.setenv("AMBO_ROOT", str(tmp_path))
        yield server


def test_it_labels_skips_refused_records_and_presents_the_bill(served, tmp_path):
    teacher = annotator.TeacherAnnotator.from_params(PARAMS, TASK, tmp_path / "log")
    teacher.annotate(tmp_path / "log", RECORDS)
    state = log.annotations(tmp_path / "log")[annotator.NAME]
    assert {i: s["label"] for i, s in state.items()} == {"0": "bad", "1": "good", "2": None, "3": "bad"}
    assert state["2"]["skipped"] and all("- good" in prompt for prompt in served.asked)
    assert teacher.bill(tmp_path / "log", ["0", "3"]) == {"teacher_tokens": 620, "money": 0.0031}
    asked = len(served.asked)
    teacher.annotate(tmp_path / "log", RECORDS)
    assert len(served.asked) == asked and len(log.events(tmp_path / "log")) == 4


def test_a_budget_ends_it_keeps_what_is_paid_for_and_is_not_renewed(served, tmp_path):
    small = PARAMS | {"teacher_tokens": 1200}
    unlucky = [r | {"text": f"{r['text']} and luck {r['id']}"} for r in RECORDS]
    sentence = r"The teacher left \d+ of 4 texts without a label \(the budget of 1,200 tokens is used up"
    with pytest.raises(UserError, match=sentence):
        annotator.TeacherAnnotator.from_params(small, TASK, tmp_path / "log").annotate(tmp_path / "log", unlucky)
    paid = annotator.tokens_used(tmp_path / "log")
    assert 0 < sum(paid) <= 1200
    again = annotator.TeacherAnnotator.from_params(small, TASK, tmp_path / "log")
    assert (again.back_end.budget.spent_prompt, again.back_end.budget.spent_completion) == paid
    annotator.TeacherAnnotator.from_params(PARAMS, TASK, tmp_path / "log").annotate(tmp_path / "log", unlucky)
    assert len(log.annotations(tmp_path / "log")[annotator.NAME]) == 4


def test_03_learns_from_a_teacher_and_each_round_has_its_bill(tmp_path, rows, tiny_llama):
    new_project(tmp_path)
    more = [{**r, "text": f"{r['text']} It was {r['label']}, reply {k}."} for k in ("one", "two") for r in rows]
    pd.DataFrame(more)[["text", "label"]].to_csv(tmp_path / "answers.csv", index=False)
    settings = {
        "data_path": "answers.csv", "labeller": "teacher", "learner": "probe", "model": str(tiny_llama), "bidirectional": "false",
        "epochs": "1", "rounds": "2", "batch_labels": "8", "seed_size": "20", "test_size": "60", "validation_size": "30",
        "near_duplicate": "0.95", "language": "en", "brief": "''", "prompt_price": "2.0", "completion_price": "8.0",
        "use_synthetic": "false", "guideline": "guide.md",
    }  # fmt: skip
    words = ambo_run("taught", settings, "csv", "--stages", "01,03")
    files.write_text(tmp_path / "guide.md", "Judge.")
    with Proxy(reply_to) as server:
        endpoint = {"TEACHER_BASE_URL": server.url, "TEACHER_MODEL": "m", "TEACHER_API_KEY": "sk-of-this-test"}
        finish(tmp_path, words, **endpoint)
        check_first(tmp_path, server)
        files.write_text(tmp_path / "guide.md", "The opposite.")
        out, _ = finish(tmp_path, words, **endpoint | {"TEACHER_MODEL": "m2"})
    assert "guide.md changed" in out or "the teacher was m at" in out
    assert "changed since: the teacher, what the teacher is told" in out and "labels of people stay" in out
    folder = tmp_path / "outputs/csv/taught/03_active_learning"
    texts = {r["id"]: r["text"] for r in files.read_jsonl(folder.parent / "01_seed_curation/pool.jsonl")}
    state = log.annotations(folder / "labels/teacher")[annotator.NAME]
    assert all(s["label"] == ("good" if "bad" in texts[i] else "bad") for i, s in state.items())
    assert len(state) == 16 and {body["model"] for body in server.bodies[16:]} == {"m2"}
    assert (folder / "earlier/1/labels/teacher/teacher.jsonl").exists()
    assert files.read_json(folder / "manifest.json")["servers"]["TEACHER"] == "m2"


def check_first(project, server):
    """The first run, before the guideline and the model are others."""
    folder = project / "outputs/csv/taught/03_active_learning"
    rounds = files.read_jsonl(folder / "rounds.jsonl")
    assert [r["strategy"] for r in rounds] == ["bait"] * 3 and [r["labels"] for r in rounds] == [20, 28, 36]
    assert "money" not in rounds[0] and all(r["teacher_tokens"] == 160 and r["money"] == 0.0008 for r in rounds[1:])
    state = log.annotations(folder / "labels/teacher")[annotator.NAME]
    assert set(state) == {i for r in rounds for i in r["picks"]} and len(server.asked) == 16
    assert all(s["label"] in ("good", "bad") for s in state.values())
