"""The detector put to work: a table of answers, resumed where it was cut off, explained, from Python and by `ambo predict`."""

import io
import json
import sys

import numpy as np
import pandas as pd
import pytest

from helpers import cli
from helpers.core import detector as module
from helpers.core.detector import Detector, load_detector, spanned_words
from helpers.core.qlora import QLoRA
from helpers.env import UserError
from tests.core.recipes import recipe
from tests.project import new_project, save_manifest


class Counting:
    """A learner that counts the texts that it reads: the probability of bad is the share of words that are bad."""

    def __init__(self, task, fail_at=None):
        self.task, self.read, self.fail_at = task, 0, fail_at

    def predict_proba(self, texts):
        self.read += len(texts)
        if self.fail_at and self.read > self.fail_at:
            raise KeyboardInterrupt
        share = np.array([sum(w.strip(".") == "bad" for w in t.split()) / max(1, len(t.split())) for t in texts])
        return np.stack([1 - share, share], 1)


def test_every_row_is_answered_once_and_an_empty_text_has_no_answer(task):
    learner = Counting(task)
    table = Detector(learner).predict(["bad bad", "", "a b c", " … ", "bad bad"])
    assert list(table.columns) == ["answer", "confidence", "p_good", "p_bad"]
    assert table.answer.tolist() == ["bad", None, "good", None, "bad"] and learner.read == 2
    assert table.confidence.tolist()[0] == 1.0 and np.isnan(table.confidence[1]) and table.p_bad[2] == 0.0
    assert Detector(learner).predict([]).shape == (0, 4)


def test_a_prediction_that_was_cut_off_goes_on(task, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 10)
    texts, partial = [f"bad {i} {'bad' * (i % 2)}" for i in range(45)], tmp_path / "a.part.jsonl"
    with pytest.raises(KeyboardInterrupt):
        Detector(Counting(task, fail_at=25)).predict_resumed(texts, partial, "basis")
    with partial.open("a") as stream:
        stream.write("[[0.5, 0.")  # a part that was being written
    learner, counts = Counting(task), []
    table = Detector(learner).predict_resumed(texts, partial, "basis", counts.append)
    assert learner.read == 25 and counts == [20, 10, 10, 5] and not partial.exists()
    pd.testing.assert_frame_equal(table, Detector(Counting(task)).predict(texts))


def test_parts_of_other_texts_or_of_another_adapter_are_not_used(task, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 10)
    partial = tmp_path / "a.part.jsonl"
    with pytest.raises(KeyboardInterrupt):
        Detector(Counting(task, fail_at=15)).predict_resumed([f"bad {i}" for i in range(20)], partial, "one")
    learner = Counting(task)
    Detector(learner).predict_resumed([f"bad {i}" for i in range(20)], partial, "other")
    assert learner.read == 20


def test_the_words_that_moved_an_answer(task):
    text = "One bad word in here."
    spans, none, long = Detector(Counting(task)).explain([text, "", "bad " + "x " * 500], ["bad", None, "bad"])
    assert text[slice(*spans[0][:2])] == "bad" and spans[0][2] == pytest.approx(0.2) and none == []
    assert all(end - start > 10 for start, end, _ in long)


def test_explanations_are_resumed_too(task, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 10)
    texts, partial = [f"bad bad {i}" for i in range(20)], tmp_path / "a.part.jsonl"
    with pytest.raises(KeyboardInterrupt):
        Detector(Counting(task, fail_at=50)).predict_resumed(texts, partial, "basis", explain=True)
    learner = Counting(task)
    table = Detector(learner).predict_resumed(texts, partial, "basis", explain=True)
    assert learner.read == 41  # ten texts, and once more with what is left of them without a word
    assert spanned_words(texts, table.spans) == ["bad; bad"] * 20


@pytest.fixture
def project(task, tiny_llama, rows, tmp_path, monkeypatch):
    """A project with a run that has finished 03."""
    monkeypatch.setenv("AMBO_ROOT", str(new_project(tmp_path)))
    stage = tmp_path / "outputs/t/r/03_active_learning"
    learner = QLoRA(task, recipe(tiny_llama, epochs=1))
    learner.fit(rows[:16])
    learner.save(stage / "adapter")
    save_manifest(stage)
    return tmp_path


def test_a_detector_is_loaded_from_run_stage_or_adapter(project, rows):
    texts = [r["text"] for r in rows[:6]]
    tables = [
        load_detector(f"outputs/t/r{part}").predict(texts)
        for part in ("", "/03_active_learning", "/03_active_learning/adapter")
    ]
    assert tables[0].equals(tables[1]) and tables[1].equals(tables[2])
    with pytest.raises(UserError, match="holds no detector: give the folder of a run"):
        load_detector("outputs/t")


def ambo(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["ambo", "predict", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    captured = capsys.readouterr()
    return ended.value.code or 0, captured.out, captured.err


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_row_in_is_a_row_out(project, rows, monkeypatch, capsys, suffix):
    texts = [rows[0]["text"], "=cmd|' /C calc'!A0", 'a\nb, "c"', rows[1]["text"], "…"]
    table = pd.DataFrame({"number": range(5), "body": texts, "note": ["x", "<b>", "à", "", "y"]})
    read = {".csv": pd.read_csv, ".tsv": lambda p: pd.read_csv(p, sep="\t"), ".parquet": pd.read_parquet}
    read[".jsonl"] = lambda p: pd.read_json(p, lines=True)
    source, target = project / "in.jsonl", project / f"out{suffix}"
    table.to_json(source, orient="records", lines=True)
    code, out, err = ambo(monkeypatch, capsys, source, "--text-column", "body", "--out", target, "--explain")
    assert code == 0 and "5 rows → " in out and "1 without a text" in out, err
    result = read[suffix](target)
    assert list(result.columns) == ["number", "body", "note", "answer", "confidence", "p_good", "p_bad", "words"]
    assert result.number.tolist() == [0, 1, 2, 3, 4] and result.body[0] == texts[0] and result.body[2] == texts[2]
    assert (result.body[1][0] == "'") == (suffix in (".csv", ".tsv"))  # no spreadsheet runs it
    assert result.answer[:4].isin(["good", "bad"]).all() and pd.isna(result.answer[4])
    expected = load_detector("outputs/t/r").predict(texts)
    np.testing.assert_allclose(result.p_bad[:4], expected.p_bad[:4], atol=1e-6)


def test_lines_from_standard_input_and_the_runs_folder(project, rows, monkeypatch, capsys):
    lines = [r["text"] for r in rows[:3]]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines) + "\n"))
    code, out, err = ambo(monkeypatch, capsys, "-", "--html", project / "page.html")
    table = pd.read_csv(io.StringIO(out))
    assert (project / "page.html").exists() and "page.html" in err  # what reads the table is not told
    assert code == 0 and table.text.tolist() == lines and table.answer.notna().all()
    (project / "mine.csv").write_text("text\n" + "\n".join(lines) + "\n")
    code, out, _ = ambo(monkeypatch, capsys, project / "mine.csv", "--task", "t", "--run-id", "r")
    place = project / "outputs/t/r/predictions/mine.csv"
    assert code == 0 and pd.read_csv(place).answer.tolist() == table.answer.tolist()
    facts = json.loads(place.with_suffix(".json").read_text())
    assert facts["rows"] == 3 and len(facts["adapter"]) == 64


def test_the_page_escapes_what_it_shows(project, rows, monkeypatch, capsys):
    (project / "in.csv").write_text(f"text\n{rows[0]['text']}\n<img src=x onerror=alert(1)> is bad\n")
    code, out, _ = ambo(monkeypatch, capsys, project / "in.csv", "--html", project / "page.html")
    page = (project / "page.html").read_text()
    assert code == 0 and "page.html" in out and page.count("<article") == 2
    assert (
        "<img" not in page
        and "&lt;img" in page
        and "words" not in pd.read_csv(project / "outputs/t/r/predictions/in.csv")
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["none.csv"], "is not a file or folder"),
        (["in.csv", "--text-column", "body"], "no column 'body'"),
        (["in.csv", "--run-id", "x"], "No run in run 'x' has finished 03_active_learning"),
        (["in.csv", "--out", "a.xlsx"], "choose one of .csv, .tsv, .jsonl, .parquet"),
        (["in.csv", "--out", "in.csv"], "is the file that is read"),
        (["taken.csv"], "has a column 'answer' already"),
    ],
)
def test_mistakes_are_a_sentence_and_write_nothing(project, monkeypatch, capsys, words, sentence):
    (project / "in.csv").write_text("text\nshort text\n")
    (project / "taken.csv").write_text("text,answer\nshort text,x\n")
    before = {p: p.read_bytes() for p in project.glob("*.csv")}
    code, out, err = ambo(monkeypatch, capsys, *words)
    assert code == 2 and sentence in err and err.count("\n") == 1 and not out
    assert {p: p.read_bytes() for p in project.glob("*.csv")} == before
