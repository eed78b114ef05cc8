"""The detector put to work: a table of answers, resumed where it was cut off, explained, from Python and by `ambo predict`."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers import cli, files
from helpers.cli import predict as command
from helpers.core import detector as module
from helpers.core import parts
from helpers.core.detector import Detector, load_detector, spanned_words
from helpers.core.qlora import QLoRA
from helpers.data import batched, tables
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


def parted(texts, size=10):
    """A function that yields the texts in lists of `size`."""
    return lambda: (texts[i : i + size] for i in range(0, max(1, len(texts)), size))


def recorded_answers(learner, texts, folder, explain=0, base=""):
    """The table of a recorded prediction; it fails as the learner does."""
    (folder / "adapter").mkdir(exist_ok=True, parents=True)
    (folder / "adapter" / "learner.json").write_text(base)
    facts = {"source": "s.csv", "rows": len(texts), "texts": "digest"}
    detector = Detector(learner, folder / "adapter")
    with detector.predict_recorded(parted(texts), facts, folder, explain) as (following, place):
        tables = [following(7) for _ in range(len(texts) // 7)] + [following(len(texts) % 7)]  # in other steps
        table = pd.concat([table for table, _ in tables], ignore_index=True)
    assert json.loads(place.with_suffix(".json").read_text())["rows"] == len(texts)
    return table.assign(spans=[spans for _, part in tables for spans in part])


def test_answers_are_kept_under_the_adapter_that_was_loaded(task, tmp_path):
    (tmp_path / "adapter").mkdir()
    files.write_text(tmp_path / "adapter/learner.json", "old")
    detector, old = Detector(Counting(task), tmp_path / "adapter"), files.sha256(tmp_path / "adapter")
    files.write_text(tmp_path / "adapter/learner.json", "new")  # 03 has trained again
    facts = {"source": "s.csv", "rows": 1, "texts": ""}
    with detector.predict_recorded(parted(["bad"]), facts, tmp_path) as (following, place):
        following(1)
    assert json.loads(place.with_suffix(".json").read_text())["adapter"] == old


def cut_off(task, texts, folder, fail_at=25, **options):
    with pytest.raises(KeyboardInterrupt):
        recorded_answers(Counting(task, fail_at), texts, folder, **options)
    return parts.parts_file(folder / "s")


def test_a_prediction_that_was_cut_off_goes_on(task, tmp_path, monkeypatch):
    texts, counts = [f"bad {i} {'bad' * (i % 2)}" for i in range(45)], []
    with cut_off(task, texts, tmp_path).open("a") as stream:
        stream.write('{"start": 20, "ro')  # a part that was being written
    learner = Counting(task)
    monkeypatch.setattr(module.Bar, "update", lambda self, count: counts.append(count))
    table = recorded_answers(learner, texts, tmp_path)
    assert learner.read == 25 and counts == [10, 10, 5]
    pd.testing.assert_frame_equal(table.drop(columns="spans"), Detector(Counting(task)).predict(texts))
    assert not parts.parts_file(tmp_path / "s").exists()


def test_parts_of_other_texts_or_of_another_adapter_are_not_used(task, tmp_path):
    texts = [f"bad {i}" for i in range(30)]
    for change, read in (({}, 10), ({"base": "other"}, 30), ({"explain": 30}, 93)):
        cut_off(task, texts, tmp_path)
        learner = Counting(task)
        recorded_answers(learner, texts, tmp_path, **change)
        assert learner.read == read, change
    cut_off(task, texts, tmp_path)
    texts[12], learner = "no longer", Counting(task)
    assert recorded_answers(learner, texts, tmp_path).answer[12] == "good" and learner.read == 20


ROWS = [[[0.5, 0.5], []]] * 10


def misfits(key: str, texts: list[str]) -> dict[str, bytes]:
    """Files with something else than the answers to the first ten texts."""
    part = parts._part(key, 0, module.digest(texts[:10]), ROWS)
    lines = {
        "garbage": "xx",
        "an object": '{"a":1}',
        "rows alone": json.dumps(ROWS),
        "one number": "[[1]]",
        "deep": "[" * 100_000,
        "deep and closed": '{"rows": ' + "[" * 100_000 + "]" * 100_000 + "}",
        "another start": json.dumps(part | {"start": 10}),
        "one row less": json.dumps(part | {"rows": ROWS[:9]}),
        "another number": json.dumps(part | {"rows": [[[0.4, 0.6], []], *ROWS[1:]]}),
        "no number of rows": json.dumps(part | {"rows": 10}),
        "other texts": json.dumps(parts._part(key, 0, module.digest(texts[10:]), ROWS)),
        "a part missing": json.dumps(parts._part(key, 10, module.digest(texts[10:]), ROWS)),
        "another key": json.dumps(parts._part("other", 0, module.digest(texts[:10]), ROWS)),
        "zeros": "\0" * 500,
    }
    files = {what: f"{json.dumps(key)}\n{line}\n".encode() for what, line in lines.items()}
    files |= {"no UTF-8": json.dumps(key).encode() + b"\n\xff\xfe\n", "empty": b"", "a line end": b"\n"}
    return files | {"the key of another": json.dumps("other").encode() + b"\n" + json.dumps(part).encode() + b"\n"}


def test_what_does_not_fit_exactly_is_done_anew(tmp_path):
    texts, path = [f"bad {i}" for i in range(20)], tmp_path / "a.parts"
    assert parts.resume(path, "key", parted(texts)()) == 0
    parts.append(path, "key", 0, texts[:10], ROWS)
    sound = path.read_bytes()
    for after in (b"", sound.split(b"\n")[1] + b"\n", b"\0" * 500, b'{"start": 10'):  # twice, as of two writers; torn
        path.write_bytes(sound + after)
        assert parts.resume(path, "key", parted(texts)()) == 10 and path.read_bytes() == sound
        assert list(parts.read(path, "key")) == ROWS
    for what, content in misfits("key", texts).items():
        path.write_bytes(content)
        assert parts.resume(path, "key", parted(texts)()) == 0, what
        assert path.read_bytes() == b'"key"\n' and list(parts.read(path, "key")) == [], what


def test_a_text_without_an_answer_fits_its_row_alone(task, tmp_path):
    texts = ["  ", "bad"] * 15
    cut_off(task, texts, tmp_path, fail_at=2)
    learner = Counting(task)
    assert recorded_answers(learner, texts, tmp_path).answer.tolist() == [None, "bad"] * 15
    assert learner.read == 1  # the last ten, which are one text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no links and pipes as Unix has")
def test_what_stands_in_the_place_of_the_parts_is_neither_followed_nor_waited_for(task, tmp_path):
    partial, victim = tmp_path / "a.parts", tmp_path / "victim"
    victim.write_text("mine")
    for put in (lambda: partial.symlink_to(victim), lambda: partial.symlink_to("nowhere"), lambda: os.mkfifo(partial)):
        put()
        assert parts.resume(partial, "key", [["bad"]]) == 0
        assert partial.is_file() and not partial.is_symlink() and victim.read_text() == "mine"
        partial.unlink()
    partial.symlink_to(victim)
    with pytest.raises(UserError, match="could not be written"):
        parts.append(partial, "key", 0, ["bad"], ROWS[:1])
    partial.unlink()
    partial.mkdir()
    with pytest.raises(UserError, match="is a folder, where the answers so far are to be kept: remove it"):
        parts.resume(partial, "key", [["bad"]])


def test_answers_that_somebody_took_away_are_missed(task, tmp_path):
    facts = {"source": "s.csv", "rows": 1, "texts": ""}
    with Detector(Counting(task), tmp_path).predict_recorded(parted(["bad"]), facts, tmp_path) as (following, place):
        parts.parts_file(place).write_text("")
        with pytest.raises(UserError, match="lacks answers that were in it: give the command again"):
            following(1)


@pytest.fixture
def recorded(task, tmp_path, monkeypatch):
    """Starts the prediction of texts of a source, as a context; the adapter is an empty folder."""
    monkeypatch.setenv("AMBO_ROOT", str(tmp_path))
    detector = Detector(Counting(task), tmp_path)

    def start(source, texts=("bad",)):
        facts = {"source": source, "rows": len(texts), "texts": module.digest(texts)}
        return detector.predict_recorded(lambda: [texts], facts, tmp_path / "predictions")

    return start


def test_two_predictions_of_one_file_do_not_run_at_once(recorded, tmp_path):
    with recorded("a/s.csv") as (_, place):
        parts_of_it = parts.parts_file(place).read_bytes()
        with pytest.raises(
            UserError, match=r"^Another prediction of a/../a/s\.csv is running: wait until it has ended"
        ):
            recorded("a/../a/s.csv").__enter__()
        assert parts.parts_file(place).read_bytes() == parts_of_it
    assert [p.name for p in (tmp_path / "predictions").iterdir() if p.suffix == ".parts"] == []
    with recorded("a/s.csv"):
        pass


def test_a_prediction_that_was_cut_off_does_not_go_on_over_another_base(task, tmp_path):
    texts = [f"bad {i}" for i in range(30)]
    cut_off(task, texts, tmp_path)
    learner = Counting(task)
    learner.base = "folder b"
    recorded_answers(learner, texts, tmp_path)
    assert learner.read == 30


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


def test_explanations_are_resumed_too(task, tmp_path):
    texts = [f"bad bad {i}" for i in range(20)]
    cut_off(task, texts, tmp_path, fail_at=50, explain=20)
    learner = Counting(task)
    table = recorded_answers(learner, texts, tmp_path, explain=20)
    assert learner.read == 41  # ten texts, and once more with what is left of them without a word
    assert spanned_words(texts, table.spans) == ["bad; bad"] * 20


def test_long_texts_are_explained_a_few_at_a_time(task, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "EXPLAINED", 15)
    texts, sizes, append = ["bad word", "bad", "a longer text that is bad", *(["bad"] * 9)], [], parts.append
    monkeypatch.setattr(parts, "append", lambda *given: (sizes.append(len(given[3])), append(*given)))
    for explain, expected in ((12, [3, 5, 2, 2]), (1, [3, 5, 2, 2]), (0, [10, 2])):
        sizes.clear()
        recorded_answers(Counting(task), texts, tmp_path, explain=explain)
        assert sizes == expected, explain


def test_the_first_texts_alone_are_explained_on_request(task, tmp_path):
    table = recorded_answers(Counting(task), [f"bad bad {i}" for i in range(30)], tmp_path, explain=13)
    assert [bool(spans) for spans in table.spans] == [True] * 13 + [False] * 17


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
    assert "How good it is was not measured: 04_bias_evaluation has not finished for this run." in err
    assert ("1 cell that a spreadsheet would run as a formula" in out) == (suffix in (".csv", ".tsv"))
    result = read[suffix](target)
    assert list(result.columns) == ["number", "body", "note", "answer", "confidence", "p_good", "p_bad", "words"]
    assert result.number.tolist() == [0, 1, 2, 3, 4] and result.body[0] == texts[0] and result.body[2] == texts[2]
    assert (result.body[1][0] == "'") == (suffix in (".csv", ".tsv"))  # no spreadsheet runs it
    assert result.answer[:4].isin(["good", "bad"]).all() and pd.isna(result.answer[4])
    expected = load_detector("outputs/t/r").predict(texts)
    np.testing.assert_allclose(result.p_bad[:4], expected.p_bad[:4], atol=5e-5)
    written = result.to_csv() if suffix == ".parquet" else target.read_text()
    assert not re.search(r"\d\.\d{5}", written), written


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
    assert code == 0 and "read in several windows: 1 of 2 texts." in err and "1252" in err


def test_one_text_or_something_else_is_a_sentence(task):
    detector = Detector(Counting(task))
    with pytest.raises(UserError, match="put it in brackets"):
        detector.predict("bad")
    with pytest.raises(UserError, match="Text 1 of the list is NoneType, not a text"):
        detector.predict(["bad", None])
    with pytest.raises(UserError, match="Text 1 of the list holds half a character"):
        detector.predict(["bad", "a \ud83d"])
    with pytest.raises(UserError, match="Text 0 of the list holds half a character"):
        detector.explain(["a \ud83d"], [detector.labels[0]])
    with pytest.raises(UserError, match=r"Answer 'nope' is none of the labels \(good, bad\)"):
        detector.explain(["a"], ["nope"])
    for table in (pd.DataFrame({"text": ["bad"]}), {"text": ["bad"]}):
        with pytest.raises(UserError, match=r"not a table: give a column of it, as in table\[.text.\]"):
            detector.predict(table)
    assert detector.predict(pd.DataFrame({"text": ["bad"]})["text"]).answer[0]
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


def test_lines_that_look_like_formulas_are_guarded_on_standard_output_too(project, rows, monkeypatch, capsys):
    lines = [rows[0]["text"], "=cmd|' /C calc'!A0"]
    for raw, texts in (([], [lines[0], f"'{lines[1]}"]), (["--raw"], lines)):
        monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines) + "\n"))
        code, out, err = ambo(monkeypatch, capsys, "-", *raw)
        assert code == 0 and pd.read_csv(io.StringIO(out)).text.tolist() == texts, err
        assert ("1 cell that a spreadsheet would run as a formula" in err) == (not raw)


def test_a_page_names_rows_by_the_ids_of_the_runs_own_data(project, rows, monkeypatch, capsys):
    save_manifest(project / "outputs/t/r/01_seed_curation", parameters={"id_column": "ad"})
    (project / "in.csv").write_text(f"ad,text\nA-7,{rows[0]['text']}\n<b>,{rows[1]['text']}\n")
    (project / "other.csv").write_text(f"text\n{rows[0]['text']}\n")
    for name, words in (("in", ["ad A-7 ·", "ad &lt;b&gt; ·"]), ("other", ["row "])):
        assert ambo(monkeypatch, capsys, project / f"{name}.csv", "--html", project / "page.html")[0] == 0
        page = (project / "page.html").read_text()
        assert all(f'<p class="note">{word}' in page for word in words) and ", 100%" not in page


def test_a_page_names_the_classes_as_people_read_them_and_the_table_does_not(project, task, rows, monkeypatch, capsys):
    first = project / "outputs/t/r/01_seed_curation"
    save_manifest(first, parameters={"label_names": ["Open <to> all", "Shuts out"]})
    files.write_json(first / "task.json", {"labels": list(task.labels)})
    (project / "in.csv").write_text(f"text\n{rows[0]['text']}\n{rows[1]['text']}\n")
    assert ambo(monkeypatch, capsys, "in.csv", "--out", "out.csv", "--html", "page.html")[0] == 0
    page = (project / "page.html").read_text()
    assert "Open &lt;to&gt; all" in page or "Shuts out" in page
    assert set(pd.read_csv(project / "out.csv").answer) <= set(task.labels)


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


def test_a_detector_without_its_facts_is_not_offered_again(project, monkeypatch, capsys):
    (project / "in.csv").write_text("text\na\n")
    (project / "outputs/t/r/03_active_learning/adapter/learner.json").unlink()
    code, _, err = ambo(monkeypatch, capsys, "in.csv", "--run-id", "r")
    assert code == 2 and "has lost its learner.json: give the `ambo run` command of the run again" in err
    code, _, err = ambo(monkeypatch, capsys, "in.csv")
    assert code == 2 and "has lost its learner.json" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["none.csv"], "is not a file or folder"),
        (["in.csv", "--text-column", "body"], "no column 'body'"),
        (["in.csv", "--run-id", "x"], "No run with run id 'x' has finished 03_active_learning"),
        (["in.csv", "--out", "a.xlsx"], "choose one of .csv, .tsv, .jsonl, .parquet"),
        (["in.csv", "--out", "in.csv"], "is the file that is read"),
        (
            ["in.csv", "--out", "outputs/t/r/03_active_learning/labels/me.jsonl"],
            "lies in the folder of a stage, beside",
        ),
        (["in.csv", "--html", "outputs/t/r/earlier/1/03_active_learning/x.html"], "lies in the folder of a stage"),
        (["in.csv", "--html", "x/../in.csv"], "is the file that is read"),
        (["in.csv", "--html", "outputs/t/r/predictions/in.csv"], "in.csv ends in '.csv': a page ends in .html"),
        (["d\udcff.csv"], r"'d\udcff.csv' is not valid UTF-8: rename it"),
        (["in.csv", "--out", "o\udcff.csv"], r"'o\udcff.csv' is not valid UTF-8: rename it"),
        (["in.csv", "--out", "x.csv", "--html", "x.csv"], "x.csv is the table of --out: name another one to write"),
        (["taken.csv"], "has a column 'answer' already"),
        (["body.csv"], "has no column 'text': set --text-column to one of body"),
        (["in.csv", "--out", "outputs"], "outputs is a folder: name the file to write, as in outputs/answers.csv"),
        (["in.csv", "--html", "outputs"], "outputs is a folder"),
        (["in.csv", "--out", "in.csv/x.csv"], "in.csv/x.csv cannot be written (Not a directory)"),
    ],
)
def test_mistakes_are_a_sentence_and_write_nothing(project, monkeypatch, capsys, words, sentence):
    (project / "in.csv").write_text("text\nshort text\n")
    (project / "taken.csv").write_text("text,answer\nshort text,x\n")
    (project / "body.csv").write_text("body\nshort text\n")
    before = {p: p.read_bytes() for p in project.glob("*.csv")}
    code, out, err = ambo(monkeypatch, capsys, *words)
    assert code == 2 and sentence in err and err.count("\n") == 1 and not out
    assert {p: p.read_bytes() for p in project.glob("*.csv")} == before


@pytest.mark.parametrize(
    ("header", "column", "said"),
    [("body,text", "body", True), ("text,n", "text", True), (" Body ,body", "body", True), ("n,text", "n", False)],
)
def test_the_texts_are_those_of_the_column_of_the_run(project, monkeypatch, capsys, header, column, said):
    save_manifest(project / "outputs/t/r/01_seed_curation", parameters={"text_column": "body"})
    (project / "in.csv").write_text(f"{header}\nshort text,other text\n")
    words = [] if said else ["--text-column", column]
    code, _, err = ambo(monkeypatch, capsys, "in.csv", "--out", "new/o.csv", *words)
    assert code == 0 and (f"read from column '{column}'; --text-column names another" in err) == said, err
    assert "Folder new is new." in err
    table = pd.read_csv(project / "new/o.csv")
    texts = table.rename(columns=str.strip)[column]
    assert table.p_bad[0] == load_detector("outputs/t/r").predict(list(texts)).p_bad[0].round(4)


def test_a_table_without_the_columns_of_texts_names_those_it_has(project, monkeypatch, capsys):
    save_manifest(project / "outputs/t/r/01_seed_curation", parameters={"text_column": "body"})
    (project / "in.csv").write_text("a,b\nshort text,1\n")
    code, _, err = ambo(monkeypatch, capsys, "in.csv")
    assert code == 2 and "has no column 'body' and no column 'text': set --text-column to one of a, b" in err
    (project / "texts").mkdir()
    (project / "texts/a.txt").write_text("short text")
    code, _, err = ambo(monkeypatch, capsys, "texts", "--out", "o.csv")  # whose texts are in no column
    assert code == 0 and "column" not in err and list(pd.read_csv(project / "o.csv").columns[:2]) == ["text", "file"]


def test_four_decimals_hide_no_answer():
    shares = [[0.500004, 0.499996, 0.0], [0.0, 1 / 3, 2 / 3], [np.nan] * 3]
    table = pd.DataFrame(shares, columns=["p_a", "p_b", "p_c"])
    answers = command.rounded(table.assign(answer=["a", "c", None], confidence=[0.500004, 2 / 3, np.nan]))
    assert answers.p_c[1] == answers.confidence[1] == 0.6667 and answers.p_b[1] == 0.3333
    assert answers.p_a[0] == answers.confidence[0] == 0.500004 > answers.p_b[0]
    assert answers.iloc[2][["p_a", "p_b", "p_c", "confidence"]].isna().all()


def test_a_language_that_the_base_does_not_read_is_said_once(task, tiny_llama, rows, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AMBO_ROOT", str(new_project(tmp_path)))
    base = tmp_path / "base"
    shutil.copytree(tiny_llama, base)
    (base / "README.md").write_text("---\nlanguage: it\n---\n")
    learner = QLoRA(task, recipe(base, epochs=1))
    learner.fit(rows[:16])
    learner.save(tmp_path / "outputs/t/r/03_active_learning/adapter")
    save_manifest(tmp_path / "outputs/t/r/03_active_learning")
    english = [f"{r['text']} We hope that you like it." for r in rows[:30]]
    italian = [f"Cerchiamo una persona per la sede della nostra azienda, numero {i}." for i in range(300)]
    for texts, is_said in ((english, True), (english + italian, False)):
        pd.DataFrame({"text": texts}).to_csv(tmp_path / "in.csv", index=False)
        code, _, err = ambo(monkeypatch, capsys, "in.csv", "--out", "o.csv")
        said = "in language 'en', but the card of model"
        assert code == 0 and err.count(said) == is_said and err.count("its answers mean little") == is_said, err


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


def test_a_table_that_parquet_cannot_hold_is_a_sentence_before_a_text_is_read(project, monkeypatch, capsys):
    monkeypatch.setattr(batched, "BATCH", 1)
    (project / "in.jsonl").write_text('{"text": "short text", "n": 1}\n{"text": "other text", "n": "b"}\n')
    with monkeypatch.context() as patch:
        patch.setattr(QLoRA, "predict_proba", None)  # it would fail if a text were read
        code, out, err = ambo(patch, capsys, "in.jsonl", "--out", "x.parquet")
    assert code == 2 and not out and "Field n" in err and "choose .csv or .jsonl" in err and err.count("\n") == 1
    code, out, err = ambo(monkeypatch, capsys, "in.jsonl", "--out", "x.csv")
    assert code == 0 and "2 rows → " in out, err


def test_answers_that_no_disk_takes_are_there_the_next_time(project, monkeypatch, capsys):
    (project / "in.csv").write_text("text\nshort text\nother text\n")
    with monkeypatch.context() as patch:
        patch.setattr(tables, "_delimited", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        code, out, err = ambo(patch, capsys, "in.csv", "--out", "y.csv")
    assert code == 2 and not out and "y.csv could not be written (No space left on device)" in err, err
    with monkeypatch.context() as patch:
        patch.setattr(QLoRA, "predict_proba", None)
        code, out, err = ambo(patch, capsys, "in.csv", "--out", "y.csv")
    assert code == 0 and "2 rows → " in out, err
    assert sorted(p.name for p in project.glob("*.csv*")) == ["in.csv", "y.csv"]


LINES = [f"text number {i}" + " and more" * (i % 3) for i in range(23)]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet", ".txt"])
@pytest.mark.parametrize("written", [".csv", ".parquet"])
def test_a_table_in_many_batches_is_the_table_in_one(project, monkeypatch, capsys, suffix, written):
    source = project / ("in" if suffix == ".txt" else f"in{suffix}")
    if suffix == ".txt":
        source.mkdir()
        for i, text in enumerate(LINES):
            (source / f"{i:02}.txt").write_text(text + "\n")
    else:
        frame = pd.DataFrame({"text": LINES, "n": range(23)})
        tables.write_table(source, frame)
    tables_read = []
    for rows in (1024, 5):
        monkeypatch.setattr(batched, "BATCH", rows)
        code, out, err = ambo(monkeypatch, capsys, source, "--out", f"o{rows}{written}")
        assert code == 0 and out.startswith("23 rows → "), err
        read = pd.read_csv if written == ".csv" else pd.read_parquet
        tables_read.append(read(project / f"o{rows}{written}"))
    pd.testing.assert_frame_equal(*tables_read, atol=1e-6)
    assert tables_read[0].text.tolist() == LINES


def test_parquet_keeps_the_types_of_a_users_columns(project, monkeypatch, capsys):
    monkeypatch.setattr(batched, "BATCH", 2)
    columns = {
        "text": pa.array(["short text", "other text", None]),
        "small": pa.array([1, None, 3], pa.int8()),
        "share": pa.array([0.1, float("nan"), None], pa.float32()),
        "price": pa.array([Decimal("1.50"), None, Decimal("2.25")], pa.decimal128(10, 2)),
        "at": pa.array([1, None, 2**60 + 1], pa.timestamp("ns", "Europe/Rome")),
        "kind": pa.array(["a", None, "a"]).dictionary_encode(),
        "ids": pa.array([[2**60 + 1, None], None, []], pa.list_(pa.int64())),
        "who": pa.array([{"age": 3}, None, {"age": None}]),
        "raw": pa.array([b"\xff", None, b""]),
        "none": pa.nulls(3),
    }
    table = pa.table(columns)
    pq.write_table(table, project / "in.parquet")
    code, _, err = ambo(monkeypatch, capsys, "in.parquet", "--out", "out.parquet")
    assert code == 0, err
    written = pq.read_table(project / "out.parquet")
    kept = written.select(table.column_names)
    assert kept.schema.equals(table.schema) and kept.drop_columns("share").equals(table.drop_columns("share"))
    assert str(kept["share"].to_pylist()) == str(table["share"].to_pylist())
    assert written.schema.field("answer").type == pa.string() and written.schema.field("p_bad").type == pa.float64()


def test_a_column_that_begins_late_has_its_type_in_parquet(project, monkeypatch, capsys):
    monkeypatch.setattr(batched, "BATCH", 2)
    rows = [{"text": f"text {i}"} | ({"n": i / 4, "tag": "x"} if i > 5 else {"n": i}) for i in range(8)]
    (project / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, _, err = ambo(monkeypatch, capsys, "in.jsonl", "--out", "out.parquet")
    written = pq.read_table(project / "out.parquet").to_pylist()
    assert code == 0 and [row["n"] for row in written] == [row["n"] for row in rows], err
    assert [row["tag"] for row in written] == [None] * 6 + ["x"] * 2


def test_every_digit_of_a_users_number_stays_in_json(project, monkeypatch, capsys):
    row = {"text": "short text", "a": 0.12345678901234567, "b": 1e-30, "c": 2**80, "d": True, "e": [1, {"f": 1e-30}]}
    (project / "in.jsonl").write_text(json.dumps(row) + "\n")
    assert ambo(monkeypatch, capsys, "in.jsonl", "--out", "out.jsonl")[0] == 0
    written = json.loads((project / "out.jsonl").read_text())
    assert {name: written[name] for name in row} == row


def test_a_file_that_changes_while_it_is_read_is_a_sentence(project, monkeypatch, capsys):
    source, answer = project / "in.csv", QLoRA.predict_proba
    source.write_text("text\nshort text\nother text\n")

    def change(self, texts):
        source.write_text("text\nshort text\nTHIRD text\n")
        return answer(self, texts)

    monkeypatch.setattr(QLoRA, "predict_proba", change)
    code, out, err = ambo(monkeypatch, capsys, "in.csv", "--out", "out.csv")
    assert code == 2 and not out and "in.csv has changed while it was read: give the command again" in err
    assert not (project / "out.csv").exists()


def replaced(path, content: bytes) -> None:
    """Another file in its place, as an editor saves."""
    path.with_name("new").write_bytes(content)
    os.replace(path.with_name("new"), path)


CHANGES = {
    "columns swapped": lambda path: replaced(path, b"note,text\nx,short text\ny,other text\n"),
    "a header alone": lambda path: replaced(path, b"text,mark\nshort text,x\nother text,y\n"),
    "a cell": lambda path: replaced(path, b"text,note\nshort text,x\nother text,Y\n"),
    "a cell in place": lambda path: path.write_text("text,note\nshort text,x\nother text,Y\n"),
    "another encoding": lambda path: replaced(path, "text,note\nshort text,x\n".encode("utf-16")),
    "gone": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes as Unix has")
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("late", [False, True], ids=["while answering", "before writing"])
def test_whatever_takes_the_place_of_a_file_that_is_read_is_a_sentence(project, monkeypatch, capsys, change, late):
    source, answer, read = project / "in.csv", QLoRA.predict_proba, parts.read
    source.write_text("text,note\nshort text,x\nother text,y\n")

    def during(self, texts):
        if not late:
            CHANGES[change](source)
        return answer(self, texts)

    def after(*given):
        if late:
            CHANGES[change](source)
        return read(*given)

    monkeypatch.setattr(QLoRA, "predict_proba", during)
    monkeypatch.setattr(parts, "read", after)
    code, out, err = ambo(monkeypatch, capsys, "in.csv", "--out", "out.csv")
    assert code == 2 and not out and "in.csv" in err.splitlines()[-1] and "Traceback" not in err, err
    assert "has changed while it was read" in err or "could not be read" in err
    assert not (project / "out.csv").exists()


@pytest.mark.parametrize("record", [None, '{"source": "outputs/t/r/predictions/mine.csv"}'])
def test_a_table_at_the_default_place_is_not_written_over(project, monkeypatch, capsys, record):
    folder = project / "outputs/t/r/predictions"
    folder.mkdir()
    (folder / "mine.csv").write_text("text\nshort text\n")
    if record:
        (folder / "mine.json").write_text(record)
    (project / "mine.csv").write_text("text\nother text\n")
    for source in ("outputs/t/r/predictions/mine.csv", "mine.csv"):
        for _ in range(2):
            code, out, err = ambo(monkeypatch, capsys, source)
            assert code == 0 and re.search(r"mine_[0-9a-f]{8}\.csv", out), err
    assert (folder / "mine.csv").read_text() == "text\nshort text\n"
    assert len(list(folder.glob("mine_*.csv"))) == 2


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="this system has no links as Unix has")
def test_what_a_killed_prediction_was_writing_is_removed(project, monkeypatch, capsys):
    (project / "in.csv").write_text("text\nshort text\n")
    (project / "b").mkdir()
    (project / "b/in.csv").write_text("text\nshort text\n")
    seen, write = [], tables._delimited

    def during(*given):
        seen.extend(project.glob(".o.csv.*"))
        return write(*given)

    with monkeypatch.context() as patch:
        patch.setattr(tables, "_delimited", during)
        assert ambo(patch, capsys, "in.csv", "--out", "o.csv")[0] == 0
    (left,) = seen
    left.write_text("what kill -9 would have left")
    other = left.with_name(f".o.csv.{'0' * 20}.part")  # of another prediction, which may be running
    other.write_text("held")
    assert ambo(monkeypatch, capsys, "b/in.csv", "--out", "o.csv")[0] == 0 and left.exists()
    left.unlink()
    left.symlink_to(project / "in.csv")
    assert ambo(monkeypatch, capsys, "in.csv", "--out", "o.csv")[0] == 0
    assert not left.is_symlink() and other.exists() and (project / "in.csv").read_text() == "text\nshort text\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no full device")
def test_an_output_that_takes_nothing_is_a_sentence(project):
    (project / "in.csv").write_text("text\nshort text\n")
    for source in ("-", "in.csv"):
        with open("/dev/full", "w") as full:
            command = [sys.executable, "-m", "helpers.cli", "predict", source]
            ended = subprocess.run(
                command, input="short\n", stdout=full, stderr=subprocess.PIPE, text=True, cwd=project
            )
        assert (
            ended.returncode == 2 and "Standard output could not be written (No space left on device)" in ended.stderr
        )
        assert "Traceback" not in ended.stderr and "ignored" not in ended.stderr


@pytest.mark.parametrize(("size", "count"), [(1, 1), (1024, 3)])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1.5, True),
        ({"a": 1}, {"b": 2}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({}, {"a": 1}),
        ([{"a": 1}], [{}]),
        (2**53 + 1, 1.5),
    ],
)
def test_parquet_changes_no_value(project, monkeypatch, capsys, first, second, size, count):
    monkeypatch.setattr(batched, "BATCH", size)
    monkeypatch.setattr(QLoRA, "predict_proba", None)  # it would fail if a text were read
    for values in ([first] * count + [second], [second] + [first] * count):
        lines = [json.dumps({"text": f"text {i}", "x": value}) for i, value in enumerate(values)]
        (project / "in.jsonl").write_text("\n".join(lines) + "\n")
        code, out, err = ambo(monkeypatch, capsys, "in.jsonl", "--out", "x.parquet")
        assert code == 2 and not out and "x.parquet cannot hold this table (" in err, err
        assert "choose .csv or .jsonl" in err and err.count("x.parquet") == 1


@pytest.mark.parametrize("source", ["in.csv", "-"])
def test_a_command_that_was_cut_off_goes_on(project, monkeypatch, capsys, source):
    monkeypatch.setattr(batched, "BATCH", 5)
    texts, answer, read = [f"text {i}" for i in range(12)], QLoRA.predict_proba, []
    (project / "in.csv").write_text("\n".join(["text", *texts]) + "\n")

    def interrupted(self, texts):
        read.extend(texts)
        if len(read) == 10:
            raise KeyboardInterrupt
        return answer(self, texts)

    monkeypatch.setattr(QLoRA, "predict_proba", interrupted)
    for code_wanted, count in ((130, 10), (0, 17)):
        monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(texts) + "\n"))
        code, _, err = ambo(monkeypatch, capsys, source, "--out", "out.csv")
        assert code == code_wanted and len(read) == count, err
        assert ("interrupted; what is answered is kept, and the same command goes on" in err) == (code == 130)
    assert pd.read_csv(project / "out.csv").text.tolist() == texts and read[10:] == texts[5:]


def test_no_lines_at_all_are_a_header(project, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert ambo(monkeypatch, capsys, "-")[:2] == (0, "text,answer,confidence,p_good,p_bad\n")


def test_a_page_of_many_texts_has_the_first_and_says_so(project, monkeypatch, capsys):
    monkeypatch.setattr(batched, "BATCH", 4)
    monkeypatch.setattr(command, "MOST_ANSWERS", 6)
    (project / "in.csv").write_text("text\n" + "".join(f"text {i}\n" for i in range(10)))
    code, _, err = ambo(monkeypatch, capsys, "in.csv", "--out", "out.csv", "--html", "page.html")
    page = (project / "page.html").read_text()
    assert code == 0 and page.count("<article") == 6 and len(pd.read_csv(project / "out.csv")) == 10, err
    assert "10 texts, answered by" in page and "This page has the first 6 of them, the table has all." in page


def test_the_table_of_another_file_of_that_name_stays(project, rows, monkeypatch, capsys):
    for folder, text in (("a", rows[0]["text"]), ("b", rows[1]["text"])):
        (project / folder).mkdir()
        (project / folder / "s.csv").write_text(f"text\n{text}\n")
        assert ambo(monkeypatch, capsys, f"{folder}/s.csv")[0] == 0
    tables = sorted((project / "outputs/t/r/predictions").glob("*.csv"))
    assert [pd.read_csv(path).text[0] for path in tables] == [rows[0]["text"], rows[1]["text"]]
    assert tables[0].name == "s.csv"
