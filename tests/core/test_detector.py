"""The detector put to work: a table of answers, resumed where it was cut off, explained, from Python and by `ambo predict`."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from helpers import cli
from helpers.core import detector as module
from helpers.core import parts
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
    table = Detector(learner).predict(["bad bad", "", "a b c", " \n ", "bad bad"])
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
    assert learner.read == 25 and counts == [20, 10, 10, 5]
    pd.testing.assert_frame_equal(table, Detector(Counting(task)).predict(texts))


def test_parts_of_other_texts_or_of_another_adapter_are_not_used(task, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 10)
    partial = tmp_path / "a.part.jsonl"
    with pytest.raises(KeyboardInterrupt):
        Detector(Counting(task, fail_at=15)).predict_resumed([f"bad {i}" for i in range(20)], partial, "one")
    learner = Counting(task)
    Detector(learner).predict_resumed([f"bad {i}" for i in range(20)], partial, "other")
    assert learner.read == 20


ANSWERS = [[[0.5, 0.5], []]] * 10


def forged(key: str) -> dict[str, bytes]:
    """Files with the right key and something else than the first ten answers of twenty after it."""
    part = parts._part(key, 0, ANSWERS)
    other_rows = {
        "of one number": [[[0.5], []]] * 10,
        "out of range": [[[5.0, -4.0], []]] * 10,
        "not a number": [[[float("nan"), float("nan")], []]] * 10,
        "of text": [[["0.5", "0.5"], []]] * 10,
        "a span outside": [[[0.5, 0.5], [[0, 99, 0.5]]]] * 10,
        "a span backwards": [[[0.5, 0.5], [[3, 1, 0.5]]]] * 10,
        "spans of text": [[[0.5, 0.5], "ab"]] * 10,
        "as objects": [{"a": 1, "b": 2}] * 10,
        "as a text": "ab",
        "none": [],
        "too many": ANSWERS * 3,
    }
    lines = {f"rows {what}": json.dumps(parts._part(key, 0, rows)) for what, rows in other_rows.items()}
    lines |= {
        "garbage": "xx",
        "an object": '{"a":1}',
        "rows alone": json.dumps(ANSWERS),
        "one number": "[[1]]",
        "deep": "[" * 100_000,
        "deep and closed": '{"rows": ' + "[" * 100_000 + "]" * 100_000 + "}",
        "another start": json.dumps(part | {"start": 10}),
        "one row less": json.dumps(part | {"rows": ANSWERS[:9]}),
        "two writers": json.dumps(part) + "\n" + json.dumps(part),
        "a part missing": json.dumps(parts._part(key, 10, ANSWERS)),
        "another key": json.dumps(parts._part("other", 0, ANSWERS)),
        "zeros": "\0" * 500,
    }
    files = {what: f"{json.dumps(key)}\n{line}\n".encode() for what, line in lines.items()}
    return files | {"no UTF-8": json.dumps(key).encode() + b"\n\xff\xfe\n", "empty": b"", "a line end": b"\n"}


def test_a_file_that_does_not_fit_exactly_is_begun_anew(task, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 10)
    texts, partial = [f"bad {i}" for i in range(20)], tmp_path / "a.part.jsonl"
    key, expected = module.digest(["basis", ("good", "bad"), 20, False]), Detector(Counting(task)).predict(texts)
    partial.write_text(json.dumps(key) + "\n" + json.dumps(parts._part(key, 0, ANSWERS)) + "\n")
    learner = Counting(task)
    assert Detector(learner).predict_resumed(texts, partial, "basis").p_bad[9] == 0.5  # what fits is taken
    assert learner.read == 10
    for what, content in forged(key).items():
        partial.write_bytes(content)
        learner = Counting(task)
        table = Detector(learner).predict_resumed(texts, partial, "basis")
        assert learner.read == 20 and table.equals(expected), what


def test_a_text_without_an_answer_fits_its_row_alone(task, tmp_path):
    texts, partial = ["  ", "bad"], tmp_path / "a.part.jsonl"
    Detector(Counting(task)).predict_resumed(texts, partial, "basis")
    learner = Counting(task)
    assert Detector(learner).predict_resumed(texts, partial, "basis").answer.tolist() == [None, "bad"]
    assert learner.read == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no links and pipes as Unix has")
def test_what_stands_in_the_place_of_the_parts_is_neither_followed_nor_waited_for(task, tmp_path):
    partial, victim = tmp_path / "a.part.jsonl", tmp_path / "victim"
    victim.write_text("mine")
    for put in (lambda: partial.symlink_to(victim), lambda: partial.symlink_to("nowhere"), lambda: os.mkfifo(partial)):
        put()
        Detector(Counting(task)).predict_resumed(["bad"], partial, "basis")
        assert partial.is_file() and not partial.is_symlink() and victim.read_text() == "mine"
        partial.unlink()
    partial.symlink_to(victim)
    with pytest.raises(UserError, match="could not be written"):
        parts.append(partial, "key", 0, ANSWERS)
    partial.unlink()
    partial.mkdir()
    with pytest.raises(UserError, match="is a folder, where the answers so far are to be kept: remove it"):
        Detector(Counting(task)).predict_resumed(["bad"], partial, "basis")


@pytest.fixture
def recorded(task, tmp_path, monkeypatch):
    """Starts the prediction of texts of a source, as a context; the adapter is an empty folder."""
    monkeypatch.setenv("AMBO_ROOT", str(tmp_path))
    detector = Detector(Counting(task), tmp_path)
    return lambda source, texts=("bad",): detector.predict_recorded(texts, tmp_path / "predictions", source)


def test_two_predictions_of_one_file_do_not_run_at_once(recorded, tmp_path):
    with recorded("a/s.csv") as (_, place):
        parts_of_it = parts.parts_file(place).read_bytes()
        with pytest.raises(
            UserError, match=r"^Another prediction of a/../a/s\.csv is running: wait until it has ended"
        ):
            recorded("a/../a/s.csv").__enter__()
        assert parts.parts_file(place).read_bytes() == parts_of_it
    assert [p.name for p in (tmp_path / "predictions").iterdir() if p.suffix == ".jsonl"] == []
    with recorded("a/s.csv"):
        pass


def test_a_prediction_that_was_cut_off_does_not_go_on_over_another_base(task, tmp_path, monkeypatch):
    monkeypatch.setenv("AMBO_ROOT", str(tmp_path))
    monkeypatch.setattr(module, "CHUNK", 10)
    (tmp_path / "adapter").mkdir()
    texts, read = [f"bad {i}" for i in range(20)], []
    for base, fail_at in (("folder a", 15), ("folder b", None), ("folder b", None)):
        learner = Counting(task, **({"fail_at": fail_at} if fail_at else {}))
        learner.base = base
        detector = Detector(learner, tmp_path / "adapter")
        with (
            contextlib.suppress(KeyboardInterrupt),
            detector.predict_recorded(texts, tmp_path / "predictions", "s.csv"),
        ):
            read.append(learner.read)
    assert read == [20, 20]


HOLDER = """
import sys, time
from pathlib import Path
from helpers.core import parts
with parts.hold_place(Path(sys.argv[1]), "s.csv", "") as place:
    print(place.name, flush=True)
    time.sleep(600)
"""


def test_a_killed_prediction_lets_go_of_its_file(tmp_path, monkeypatch):
    monkeypatch.setenv("AMBO_ROOT", str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "s\n"
    with pytest.raises(UserError, match=r"Another prediction of s\.csv is running"):
        parts.hold_place(tmp_path, "s.csv", "").__enter__()
    process.kill()
    process.communicate()
    with parts.hold_place(tmp_path, "s.csv", "") as place:
        assert place.name == "s"


def test_two_files_of_one_name_have_two_places(recorded, tmp_path):
    with recorded("a/s.csv") as (_, first), recorded("b/s.csv") as (_, second):  # at once, too
        assert first.name == "s" and re.fullmatch("s_[0-9a-f]{8}", second.name)
    for source, place in (("b/s.csv", second), ("a/s.csv", first), (str(tmp_path / "b/s.csv"), second)):
        with recorded(source) as (_, again):
            assert again == place
    assert json.loads(first.with_suffix(".json").read_text())["source"] == "a/s.csv"
    first.with_suffix(".json").write_text("[]")  # nothing says any more whose answers these are
    with recorded("a/s.csv") as (_, third):
        assert third not in (first, second)


def test_standard_input_is_read_in_many_pipes_at_once(recorded):
    with recorded("-", ["bad"]) as (_, first), recorded("-", ["good"]) as (_, second):
        assert first.name == "-" and second != first
    with recorded("-", ["good"]) as (_, place):
        assert place == first


def test_answers_that_cannot_be_written_are_kept(recorded):
    with pytest.raises(UserError), recorded("a/s.csv") as (_, place):
        raise UserError("the disk is full")
    assert parts.parts_file(place).exists()


def test_the_words_that_moved_an_answer(task):
    text = "One bad word in here."
    learner = Counting(task)
    assert Detector(learner).methods == ("leave_one_out",)
    spans, none, long = Detector(learner).explain([text, "", "x " * 500 + "bad"], ["bad", None, "bad"])
    assert text[slice(*spans[0][:2])] == "bad" and spans[0][2] == pytest.approx(0.2) and none == [] and len(spans) == 1
    assert [span[:2] for span in long] == [(1000, 1003)] and learner.read < 60  # groups first, then single words
    with pytest.raises(UserError, match="'gradient' does not fit this model: choose one of leave_one_out"):
        Detector(learner).explain([text], ["bad"], "gradient")


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
    texts = [rows[0]["text"], "=cmd|' /C calc'!A0", 'a\nb, "c"', rows[1]["text"], " "]
    table = pd.DataFrame({"number": range(5), "body": texts, "note": ["x", "<b>", "à", "", "y"]})
    read = {".csv": pd.read_csv, ".tsv": lambda p: pd.read_csv(p, sep="\t"), ".parquet": pd.read_parquet}
    read[".jsonl"] = lambda p: pd.read_json(p, lines=True)
    source, target = project / "in.jsonl", project / f"out{suffix}"
    table.to_json(source, orient="records", lines=True)
    code, out, err = ambo(monkeypatch, capsys, source, "--text-column", "body", "--out", target, "--explain")
    assert code == 0 and "5 rows → " in out and "1 without a text" in out, err
    assert ("1 cells that a spreadsheet would run as a formula" in out) == (suffix in (".csv", ".tsv"))
    result = read[suffix](target)
    assert list(result.columns) == ["number", "body", "note", "answer", "confidence", "p_good", "p_bad", "words"]
    assert result.number.tolist() == [0, 1, 2, 3, 4] and result.body[0] == texts[0] and result.body[2] == texts[2]
    assert (result.body[1][0] == "'") == (suffix in (".csv", ".tsv"))  # no spreadsheet runs it
    assert result.answer[:4].isin(["good", "bad"]).all() and pd.isna(result.answer[4])
    expected = load_detector("outputs/t/r").predict(texts)
    np.testing.assert_allclose(result.p_bad[:4], expected.p_bad[:4], atol=1e-6)


def test_cells_stay_as_they_are_on_request(project, rows, monkeypatch, capsys):
    lines = [json.dumps({"text": rows[0]["text"], "user": "@me", "tags": ["x", "y"], "words": "mine"})]
    (project / "in.jsonl").write_text("\n".join(lines) + "\n")
    code, out, err = ambo(monkeypatch, capsys, project / "in.jsonl", "--out", project / "o.csv", "--raw")
    row = pd.read_csv(project / "o.csv").iloc[0]
    assert code == 0 and "formula" not in out, err
    assert (row.user, row.tags, row.words) == ("@me", '["x", "y"]', "mine")


def test_what_was_guessed_and_what_is_long_is_said(project, rows, monkeypatch, capsys):
    text = rows[0]["text"] + " però" + " mai" * 400
    (project / "in.csv").write_bytes(f"text\n{text}\n{rows[1]['text']}\n".encode("cp1252"))
    code, _, err = ambo(monkeypatch, capsys, project / "in.csv", "--out", project / "o.csv")
    assert code == 0 and "1 of 2 texts are long and are read in several windows" in err and "1252" in err


def test_one_text_or_something_else_is_a_sentence(task):
    detector = Detector(Counting(task))
    with pytest.raises(UserError, match="put it in brackets"):
        detector.predict("bad")
    with pytest.raises(UserError, match="Text 1 of the list is NoneType, not a text"):
        detector.predict(["bad", None])
    answers = detector.predict(["🤮", "!!!", " "]).answer
    assert answers[0] and answers[1] and answers[2] is None


def test_lines_from_standard_input_and_the_runs_folder(project, rows, monkeypatch, capsys):
    lines = [r["text"] for r in rows[:2]] + [f"{rows[2]['text']}\u2028{rows[2]['text']}\x85"]  # no ends of lines
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
        (["in.csv", "--run-id", "x"], "No run with run id 'x' has finished 03_active_learning"),
        (["in.csv", "--out", "a.xlsx"], "choose one of .csv, .tsv, .jsonl, .parquet"),
        (["in.csv", "--out", "in.csv"], "is the file that is read"),
        (["in.csv", "--html", "x/../in.csv"], "is the file that is read"),
        (["in.csv", "--out", "x.csv", "--html", "x.csv"], "x.csv is the table of --out: name another one to write"),
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


def test_a_column_called_words_is_in_the_way_of_explain_alone(project, monkeypatch, capsys):
    (project / "in.csv").write_text("text,words\nshort text,2\n")
    assert ambo(monkeypatch, capsys, "in.csv", "--out", "out.csv")[0] == 0
    assert pd.read_csv(project / "out.csv").words.tolist() == [2]
    code, _, err = ambo(monkeypatch, capsys, "in.csv", "--out", "out.csv", "--explain")
    assert code == 2 and "has a column 'words' already" in err


def test_standard_input_that_is_no_utf8_is_a_sentence(project, monkeypatch, capsys):
    content = io.BytesIO("uno\ncaffè\n".encode("cp1252"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(content, encoding="utf-8"))
    code, out, err = ambo(monkeypatch, capsys, "-")
    assert code == 2 and not out and "Standard input, line 2: not UTF-8; convert it" in err


def test_a_table_that_parquet_cannot_hold_is_a_sentence_and_costs_no_answer(project, monkeypatch, capsys):
    (project / "in.jsonl").write_text('{"text": "short text", "n": 1}\n{"text": "other text", "n": "b"}\n')
    code, out, err = ambo(monkeypatch, capsys, "in.jsonl", "--out", "x.parquet")
    assert code == 2 and not out and "column n" in err and "choose .csv or .jsonl" in err and err.count("\n") == 1
    with monkeypatch.context() as patch:
        patch.setattr(QLoRA, "predict_proba", None)  # it would fail if a text were read again
        code, out, err = ambo(patch, capsys, "in.jsonl", "--out", "x.csv")
    assert code == 0 and "2 rows → " in out, err


def test_the_table_of_another_file_of_that_name_stays(project, rows, monkeypatch, capsys):
    for folder, text in (("a", rows[0]["text"]), ("b", rows[1]["text"])):
        (project / folder).mkdir()
        (project / folder / "s.csv").write_text(f"text\n{text}\n")
        assert ambo(monkeypatch, capsys, f"{folder}/s.csv")[0] == 0
    tables = sorted((project / "outputs/t/r/predictions").glob("*.csv"))
    assert [pd.read_csv(path).text[0] for path in tables] == [rows[0]["text"], rows[1]["text"]]
    assert tables[0].name == "s.csv"
