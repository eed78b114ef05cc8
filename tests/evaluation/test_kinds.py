"""Kinds of exclusion of rows: from the data, weakly from marked evidence; and F1 by kind, counted by hand."""

import numpy as np
import pytest

from helpers.data import embedded, tables
from helpers.data.records import without_answer
from helpers.evaluation.kinds import rule_kinds, score_kinds, with_kinds
from helpers.italian.addressees import WORKPLACE

TEXT = "Cercasi commesso di bella presenza, massimo 30 anni."


def test_kinds_come_from_the_data_else_from_what_people_marked():
    marked = {"ada": {"c": {"spans": [[35, 50]]}}, "bea": {"c": {"spans": [[8, 16]]}}}
    rows = [{"id": i, "text": TEXT} for i in "abcd"] + [{"id": "e", "text": TEXT, "spans": [[20, 25]]}]
    rows[0]["kinds"] = ["origin"]
    found = [row.get("kinds") for row in with_kinds(rows, {"b": ["age"]}, marked, "it")]
    assert found == [["origin"], ["age"], ["age", "masculine_form"], None, ["appearance_gendered"]]
    assert [r.get("kinds") for r in with_kinds(rows, {}, marked, "en")] == [["origin"], None, None, None, None]
    assert rule_kinds([TEXT, ""], WORKPLACE) == [["age", "appearance_gendered", "masculine_form"], []]


def test_the_embedded_rows_say_their_kind_and_the_pool_does_not_give_it_away():
    table = embedded.job_ads_table(10)
    settings = {
        "task": "t",
        "data_path": embedded.JOB_ADS,
        "text_column": "text",
        "label_column": "label",
        "labels": [],
    }
    settings |= {"target_columns": [], "group_columns": [], "id_column": "", "split_column": "split"}
    settings |= {"label_threshold": "", "test_split": "test", "validation_split": "validation"}
    records = tables.to_records(table, settings)
    assert all(("kinds" in r) == (r["label"] == "not_inclusive") for r in records)
    assert {name for r in records for name in r.get("kinds", [])} >= {"age", "origin", "masculine_form"}
    assert not any("kinds" in without_answer(r) for r in records)


def test_f1_by_kind_is_that_of_hand():
    truth = [["age"], ["age", "origin"], [], ["sex"]]
    table = score_kinds(truth, {"x": [["age"], ["origin"], ["age"], ["sex"]], "y": [[""], [], [], []]})
    assert table.kind.tolist() == ["age", "origin", "sex", "mean of the kinds"] and table["count"].tolist() == [
        2,
        1,
        1,
        3,
    ]
    assert table.x.tolist() == pytest.approx([0.5, 1, 1, 5 / 6]) and table.y.tolist() == [0] * 4
    assert (table["x low"][:3] <= table.x[:3]).all() and np.isnan(table["x low"][3])


def test_without_kinds_the_table_has_no_row():
    assert score_kinds([[], []], {"x": [["age"], []]}).empty and list(score_kinds([], {}).columns) == ["kind", "count"]
