"""Cells of labels, groups, splits and ids: cleaned alike, gaps found, spellings merged, suspicions said."""

import pandas as pd
import pytest

from helpers.data import tables
from helpers.data.classes import class_counts
from helpers.data.reading import read_table
from helpers.env import UserError
from helpers.italian.cues import find_cues
from helpers.task import make_task
from tests.data.test_tables import PARAMS, write
from tests.project import SHARED

CASES = SHARED.parent / "cases"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="the folder of small inputs that went wrong is not there")


def records_of(rows: list[tuple], columns: str = "text label", **changes) -> tuple[list[dict], list[str]]:
    """Records of a small table, and the remarks on it."""
    table = pd.DataFrame(rows, columns=columns.split(), dtype=object).pipe(lambda t: t.set_axis(range(2, len(t) + 2)))
    records = tables.to_records(table, PARAMS | changes)
    return records, table.attrs.get("remarks", [])


def test_every_cell_is_cleaned_alike(tmp_path):
    rows = [(f"te\u00adsto {i}", "Ho\u0301me", "north\u200b ", " test\u00a0", f" k\ufeff{i} ") for i in range(2)]
    rows += [(f"altro {i}", "a\ud800  b", "north", "train", f"n{i}") for i in range(2)]
    options = {"group_columns": ["area"], "split_column": "part", "id_column": "key"}
    records, _ = records_of(rows, "text label area part key", **options)
    first, last = records[0], records[-1]
    assert first["text"] == "testo 0" and first["label"] == "H\u00f3me" and first["own_id"] == "k0"
    assert {r["area"] for r in records} == {"north"} and [r["split"] for r in records] == ["test"] * 2 + ["pool"] * 2
    assert last["label"] == "a? b"
    path = write(tmp_path / "a.csv", "\ufeffte\u00adxt , my  label\na b,x\n")
    table = read_table(path, "text")
    assert table.columns.tolist() == ["text", "my label"]


def test_joiners_stay_where_readers_see_them():
    emoji, persian = "👩\u200d🍳 in cucina", "می\u200cخواهم"
    records, _ = records_of([(emoji, "a"), (persian, "b"), ("bad\u200dword a\u0301\u200dc", "a")])
    assert [r["text"] for r in records] == [emoji, persian, "badword \u00e1c"]


@pytest.mark.parametrize(
    "gap", ["nan", "NaN", "null", "NULL", "NaT", "N/A", "#N/A", "<NA>", " nan ", "NAN", "Null", "n/a", "<na>"]
)
def test_missing_values_written_as_text_are_missing_and_said(gap):
    rows = [("a", "x", "north", "test"), ("b", "y", gap, "train"), ("c", gap, "south", gap)]
    options = {"group_columns": ["area"], "split_column": "part"}
    records, remarks = records_of(rows, "text label area part", **options)
    assert [r.get("label") for r in records] == ["x", "y", None]
    assert [r["area"] for r in records] == ["north", "", "south"] and records[2]["split"] == "pool"
    for column in ("label", "area", "part"):
        assert f"Column {column!r} has {gap.strip()!r} (1 row): read as missing." in remarks


@pytest.mark.parametrize("gap", ["None", "NA"])
def test_what_may_be_a_class_is_missing_as_programs_write_it_alone(gap):
    records, remarks = records_of([("a", "x"), ("b", "y"), ("c", gap)])
    assert [r.get("label") for r in records] == ["x", "y", None]
    said = f"Column 'label' has {gap!r} (1 row): read as missing; a class of that name is to be in labels."
    assert said in remarks
    records, _ = records_of([("a", gap.lower()), ("b", "y"), ("c", gap), ("d", gap.lower())])
    assert [r.get("label") for r in records] == [gap.lower(), "y", gap.lower(), gap.lower()]
    records, _ = records_of([("a", gap), ("b", "y")], labels=[gap.lower(), "y"])
    assert [r.get("label") for r in records] == [gap.lower(), "y"]


def test_a_class_that_the_task_calls_nan_is_a_class():
    records, remarks = records_of([("a", "nan"), ("b", "bread")], labels=["nan", "bread"])
    assert [r["label"] for r in records] == ["nan", "bread"] and not any("missing" in remark for remark in remarks)


def test_an_id_that_looks_like_a_gap_is_said():
    records, remarks = records_of([("a", "x", "k1"), ("b", "y", "NA")], "text label key", id_column="key")
    assert [r["own_id"] for r in records] == ["k1", ""]
    assert "Column 'key' has 'NA' (1 row): read as missing." in remarks


def test_no_number_is_a_gap_of_another_width():
    table = pd.DataFrame({"text": ["a", "b", "c"], "label": pd.Series([1, None, 2.5], dtype="float32")})
    assert [r.get("label") for r in tables.to_records(table, PARAMS)] == ["1", None, "2.5"]
    dates = pd.DataFrame({"text": ["a", "b"], "label": ["x", "y"], "day": [pd.NaT, pd.Timestamp("2026-01-02")]})
    assert tables.to_records(dates, PARAMS | {"group_columns": ["day"]})[0]["day"] == ""


ALIKE = ["hate", "ok", "Hate", "ok\u200b", "hate\u00a0", " OK ", "\ufeffok"]


def test_look_alike_groups_are_merged_to_the_commonest_and_said():
    table = pd.DataFrame({"text": list("abcde"), "label": list("xyxyx"), "where": ["Nord", "nord", "Nord ", "Sud", ""]})
    columns = {"label_column": "label", "labels": [], "group_columns": ["where"], "split_column": "", "id_column": ""}
    records = tables.to_records(table, {"task": "t", "data_path": "my.csv", "text_column": "text"} | columns)
    assert [r["where"] for r in records] == ["Nord", "Nord", "Nord", "Sud", ""]
    assert "Column 'where': 'nord' (1 row): read as 'Nord'." in table.attrs["remarks"]


def test_look_alike_classes_are_merged_to_the_commonest_and_said():
    records, remarks = records_of([(f"text {i}", label) for i, label in enumerate(ALIKE)])
    assert [r["label"] for r in records] == ["hate", "ok", "hate", "ok", "hate", "ok", "ok"]
    assert any("'Hate' (1 row), 'hate\\xa0' (1 row): read as 'hate'" in remark for remark in remarks)
    assert any("'ok\\u200b' (1 row)" in remark and "read as 'ok'" in remark for remark in remarks)


@pytest.mark.parametrize("unseen", list("\u200e\u200f\u2063\u034f\u180e\ufe0f\0\x7f\u200d"))
def test_what_no_reader_sees_hides_no_class_no_duplicate_and_no_cue(unseen):
    ad = "cercasi infermiere di bella presenza"
    rows = [(ad, "hate"), ("a day", "hate"), ("one more", "ok"), (ad.replace("ll", f"l{unseen}l"), f"hate{unseen}")]
    records, remarks = records_of(rows)
    assert records[3] == records[0] and {r["label"] for r in records} == {"hate", "ok"}
    assert any("read as 'hate'" in remark for remark in remarks)
    assert "appearance_gendered" in {cue.category for cue in find_cues(records[3]["text"])}


def test_the_tasks_own_spelling_counts_and_two_of_its_classes_stay_two():
    records, remarks = records_of([("a", "HATE"), ("b", "HATE"), ("c", "Ok")], labels=["Hate", "ok"])
    assert [r["label"] for r in records] == ["Hate", "Hate", "ok"]
    assert "Column 'label': 'HATE' (2 rows): read as 'Hate'." in remarks
    records, remarks = records_of([("a", "us"), ("b", "US"), ("c", "us")], labels=["us", "US"])
    assert [r["label"] for r in records] == ["us", "US", "us"] and not remarks[1:]
    with pytest.raises(UserError, match="row 3: label 'Us' is not one of us, US"):
        records_of([("a", "us"), ("b", "Us")], labels=["us", "US"])


def test_numbers_written_in_two_ways_and_forms_of_unicode_are_one_class():
    records, _ = records_of([("a", "1.0"), ("b", "1"), ("c", "0"), ("d", "1"), ("e", "0.0"), ("f", "0")])
    assert [r["label"] for r in records] == ["1", "1", "0", "1", "0", "0"]
    records, _ = records_of([("a", "perche\u0301"), ("b", "perch\u00e9"), ("c", "no"), ("d", "ｎｏ"), ("e", "no")])
    assert {r["label"] for r in records} == {"perch\u00e9", "no"}


def test_blanks_around_every_label_are_no_news():
    assert records_of([("a", " x"), ("b", " y"), ("c", " x"), ("d", " y")])[1] == []


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ("x x y y z", "Class 'z' with one row only"),
        ("x x y y -1 -1", "Class '-1', which looks like a gap"),
        ("x x y y label label", "Class 'label', which looks like a gap or a header"),
        (" ".join(f"c{i} c{i}" for i in range(21)), "There are 21 classes ('c0', 'c1'"),
        ("0.1 0.25 1 0.7", "3 of the 4 classes ('0.1', '0.25', '0.7') are numbers, not classes"),
        ("1.1e-05 2E-3 1 0", "2 of the 4 classes ('1.1e-05', '2E-3') are numbers, not classes: set label_threshold"),
        (" ".join(map(str, range(101))), "101 of the 101 classes ('0', '1', '2'"),
    ],
)
def test_suspicions_are_said(labels, sentence):
    _, remarks = records_of([(f"text {i}", label) for i, label in enumerate(labels.split())])
    assert any(sentence in remark for remark in remarks), remarks


SCORES = [("a", "0.1"), ("b", "0.5"), ("c", "0,75"), ("d", "nan"), ("e", "-1e-3"), ("f", "")]


@pytest.mark.parametrize(
    ("change", "yes", "no"),
    [
        ({}, "yes", "no"),
        ({"positive_label": "toxic"}, "toxic", "no"),
        ({"labels": ["fine", "toxic"]}, "toxic", "fine"),
        ({"labels": ["fine", "toxic"], "positive_label": "fine"}, "fine", "toxic"),
    ],
)
def test_a_threshold_makes_two_classes_of_numbers_and_says_how(change, yes, no):
    records, remarks = records_of(SCORES, label_threshold="0.5", **change)
    assert [r.get("label") for r in records] == [no, yes, yes, None, no, None]
    assert f"by label_threshold: 2 rows from 0.5 on are {yes!r}, 2 rows below are {no!r}." in remarks[-1]
    params = PARAMS | {"positive_label": "", "label_threshold": "0.5"} | change
    assert make_task(params, [no, no, yes, yes]).positive == yes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label_threshold": "half"}, "label_threshold='half' is no number"),
        ({"label_threshold": "nan"}, "label_threshold='nan' is no number"),
        ({"labels": ["a", "b", "c"]}, "makes two classes, but labels names 3"),
        ({"positive_label": "no"}, "needs two different classes"),
        ({"labels": ["a", "b"], "positive_label": "c"}, "set positive_label to one of the labels"),
    ],
)
def test_a_threshold_that_cannot_be_meant_is_refused(change, words):
    with pytest.raises(UserError, match=words):
        records_of(SCORES, **{"label_threshold": "0.5"} | change)
    with pytest.raises(UserError, match=r"a.csv, row 2: label 'high' is no number; correct the row, or set"):
        records_of([("a", "high"), ("b", "1")], label_threshold="0.5")


def test_a_class_in_the_test_rows_only_is_said():
    rows = [("a", "x", "train"), ("b", "x", "test"), ("c", "y", "train"), ("d", "y", "test")]
    rows += [("e", "z", "test"), ("f", "z", "test")]
    _, remarks = records_of(rows, "text label part", split_column="part")
    assert remarks[-1] == "Class 'z' in the test rows only: nothing can be learned about it."
    rows += [("g", "z", "dev"), ("h", "v", "dev"), ("i", "v", "dev")]
    _, remarks = records_of(rows, "text label part", split_column="part", validation_split="dev")
    assert remarks[-2:] == [
        "Class 'z' in the test and validation rows only: nothing can be learned about it.",
        "Class 'v' in the validation rows only: nothing can be learned about it.",
    ]


def test_a_few_whole_numbers_are_classes():
    _, remarks = records_of([(f"text {i}", str(i % 5)) for i in range(10)])
    assert not remarks


def test_one_line_counts_the_classes_of_every_split():
    rows = [{"label": "a", "split": "pool"}] * 2 + [{"label": "b", "split": "test"}, {"split": "pool"}]
    assert class_counts(rows, {}) == "pool: a 2, b 0 · test: a 0, b 1"
    assert class_counts(rows, {"a": "open to all"}) == "pool: open to all 2, b 0 · test: open to all 0, b 1"


@needs_cases
@pytest.mark.parametrize("name", ["look_alike_labels", "blanks_in_split_and_group", "nan_as_text"])
def test_the_cases_give_what_is_right(name):
    table = read_table(str(CASES / f"{name}.csv"), "text")
    more = {"group_columns": ["region"] if "region" in table else []}
    more["split_column"] = "split" if "split" in table else ""
    records = tables.to_records(table, PARAMS | more)
    assert len({r["label"] for r in records if "label" in r}) == 2
    if name == "blanks_in_split_and_group":
        assert sum(r["split"] == "test" for r in records) == 20 and len({r["region"] for r in records}) == 3
    else:
        assert table.attrs["remarks"]
