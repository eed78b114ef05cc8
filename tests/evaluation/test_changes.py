"""Two runs on the same rows: which answers changed, whether it is chance, and when the rows are not the same."""

import numpy as np
import pandas as pd
import pytest

from helpers import files
from helpers.env import UserError
from helpers.evaluation import changes
from tests.project import save_manifest


def evaluated(folder, answers, label="=good", groups=("a", "b")):
    """A run as 01 and 04 leave it: rows of this label, with these answers, the groups in turn."""
    rows = [{"id": f"r{i}", "text": f"text {i}", "label": label, "who": groups[i % 2]} for i in range(len(answers))]
    files.write_jsonl(folder / "01_seed_curation" / "test.jsonl", rows)
    stage = folder / "04_bias_evaluation"
    guarded = ["'=good" if a == "=good" else a for a in answers]
    table = pd.DataFrame({"id": [r["id"] for r in rows], "text": "x", "label": "'=good", "answer": guarded})
    files.write_csv(stage / "predictions.csv", table)
    save_manifest(stage, parameters={"group_columns": ["who"]})
    return folder


@pytest.fixture
def two(tmp_path):
    """The second run loses twelve rows of group a and wins two of b."""
    first = ["=good"] * 40
    second = list(first)
    first[1] = first[3] = "bad"
    for i in range(0, 24, 2):
        second[i] = "bad"
    return evaluated(tmp_path / "one", first), evaluated(tmp_path / "two", second)


def test_changed_answers_are_counted_and_tested(two):
    assert changes.why_not_comparable(*two) == ""
    first, second, _ = changes.read_pair(*two)
    facts = changes.compare_answers(first, second, 50)
    assert [facts[name] for name in ("rows", "changed_answers", "right_in_first_only", "right_in_second_only")] == [
        40,
        14,
        12,
        2,
    ]
    assert facts["p"] == pytest.approx(2 * sum(np.array([1, 14, 91])) / 2**14)  # both tails of a fair coin
    assert facts["low"] <= facts["macro_f1_difference"] <= facts["high"] and facts["macro_f1_difference"] < 0
    sentence = changes.describe_change(facts, "one", "two")
    assert "14 of 40 answers differ; 2 rows are right in two alone, 12 in one alone" in sentence
    assert sentence.endswith("one is better by more than chance.")
    assert changes.compare_answers(first, first, 20)["p"] == 1
    assert "may be chance" in changes.describe_change(changes.compare_answers(first, first, 20), "one", "one")


def test_groups_and_rows_that_changed(two):
    first, second = map(changes.read_answers, two)
    table = changes.compare_by_group(first, second, smallest=20, draws=100)
    assert table.group.tolist() == ["a", "b"] and table.difference.tolist() == pytest.approx([-0.6, 0.1])
    assert table.high[0] < 0 <= table.low[1] and changes.compare_by_group(first, second, smallest=21).empty
    rows = changes.changed_rows(first, second)
    assert rows.change.tolist() == ["worse"] * 12 + ["better"] * 2 and rows.text[0] == "text 0"
    assert rows.loc[0, ["first_answer", "second_answer"]].tolist() == ["=good", "bad"]


def test_exact_duplicates_with_ids_of_their_own_are_one_row(two):
    for folder in two:
        path = folder / "04_bias_evaluation" / "predictions.csv"
        table = pd.read_csv(path).assign(own_id=range(40))
        files.write_csv(path, pd.concat([table, table[:2].assign(own_id=[40, 41])]).sort_values("id", kind="stable"))
        files.write_jsonl(
            folder / "01_seed_curation" / "test.jsonl",
            sorted(files.read_jsonl(folder / "01_seed_curation" / "test.jsonl"), key=lambda row: row["id"]),
        )
    assert (
        changes.why_not_comparable(*two) == ""
        and changes.compare_answers(*changes.read_pair(*two)[:2], 20)["rows"] == 40
    )


def test_other_test_rows_are_not_compared(two, tmp_path):
    other = evaluated(tmp_path / "other", ["=good"] * 39)
    reason = changes.why_not_comparable(two[0], other)
    assert reason.startswith("one and other have other test rows (sha256 ") and reason.endswith(
        "not compared row by row."
    )
    moved = evaluated(tmp_path / "moved", ["=good"] * 40)
    path = moved / "01_seed_curation" / "test.jsonl"
    files.write_jsonl(path, files.read_jsonl(path)[::-1])  # the order depends on the seed
    predictions = moved / "04_bias_evaluation" / "predictions.csv"
    files.write_csv(predictions, pd.read_csv(predictions)[::-1])
    assert changes.why_not_comparable(two[0], moved) == ""
    first, second, _ = changes.read_pair(two[0], moved)
    assert first["id"].tolist() == second["id"].tolist() and second["id"][0] == "r0"
    files.write_jsonl(
        other / "01_seed_curation" / "test.jsonl", [{"id": "new", "text": "t", "label": "=good", "who": "a"}]
    )
    with pytest.raises(UserError, match="run 04 of other again"):
        changes.read_answers(other)
    assert "run 04 of other again" in changes.why_not_comparable(other, other)


def test_rows_that_people_have_labelled_otherwise_are_left_out_and_counted(two):
    path = two[1] / "01_seed_curation" / "test.jsonl"
    rows = files.read_jsonl(path)
    files.write_jsonl(path, [r | {"label": "bad"} if i == 5 else r for i, r in enumerate(rows)])
    assert changes.why_not_comparable(*two) == ""
    first, second, left_out = changes.read_pair(*two)
    assert left_out == 1 and len(first) == len(second) == 39 and list(first["id"]) == list(second["id"])
    assert changes.compare_answers(first, second, 20)["rows"] == 39
    files.write_jsonl(path, [r | {"label": "bad"} for r in rows])
    assert "have no test row with the same label" in changes.why_not_comparable(*two)


def test_written_texts_are_compared_by_whether_they_are_strict(two):
    for folder, strict in zip(two, (True, False), strict=True):
        stage = folder / "04_bias_evaluation"
        test = files.read_jsonl(folder / "01_seed_curation" / "test.jsonl")
        outputs = [
            {"id": r["id"], "output": f"{strict}", "checks": {"strict": strict, "compliance": True}} for r in test
        ]
        files.write_jsonl(stage / "outputs.jsonl", outputs)
    first, second, _ = changes.read_pair(*two)
    facts = changes.compare_answers(first, second)
    assert facts["right_in_first_only"] == 40 and "macro_f1_difference" not in facts
    assert changes.changed_rows(first, second).columns.tolist() == [
        "id",
        "text",
        "first_answer",
        "second_answer",
        "change",
    ]
