"""What each of several annotators answered, as files write it."""

import numpy as np
import pandas as pd
import pytest

from helpers.data import tables
from helpers.data.annotations import read_annotations
from helpers.data.records import drop_exact_duplicates, without_answer
from helpers.env import UserError

LABELS = ["fine", "biased"]
PARAMS = {
    "task": "t",
    "data_path": "f.csv",
    "text_column": "text",
    "label_column": "label",
    "labels": LABELS,
    "group_columns": [],
    "split_column": "",
    "annotations_column": "people",
}


@pytest.mark.parametrize(
    ("cell", "given", "bad"),
    [
        ('{"ann": "fine", "bob": " Biased "}', {"ann": "fine", "bob": "biased"}, 0),
        ({"ann": "fine", "bob": None, "eve": ""}, {"ann": "fine"}, 0),
        ('["fine", "biased"]', {"1": "fine", "2": "biased"}, 0),
        (np.array(["fine", "odd"], dtype=object), {"1": "fine"}, 1),
        ({"ann": "odd", "bob": "fine"}, {"bob": "fine"}, 1),
        ("fine, biased", {}, 1),
        ("[" * 10_000, {}, 1),
        (7, {}, 1),
        ("", {}, 0),
        (None, {}, 0),
        (float("nan"), {}, 0),
        (pd.NA, {}, 0),
    ],
)
def test_cells(cell, given, bad):
    assert read_annotations(cell, LABELS) == (given, bad)


def test_annotations_go_through_records_and_what_is_none_is_said():
    rows = [
        ("one", "fine", '{"a": "fine"}'),
        ("One", "fine", '{"b": "biased"}'),
        ("two", "biased", "?"),
        ("three", "", ""),
    ]
    table = pd.DataFrame(rows, columns=["text", "label", "people"], index=range(2, 6))
    records = tables.to_records(table, PARAMS)
    assert [r.get("annotations") for r in records] == [{"a": "fine"}, {"b": "biased"}, None, None]
    assert table.attrs["remarks"][0].startswith(
        "Column 'people': 1 answer left out (row 4); a cell is an object such as"
    )
    one = drop_exact_duplicates(records)[0]
    assert one["annotations"] == {"a": "fine", "b": "biased"}  # of both copies
    assert "annotations" not in without_answer(one)  # they give the answer away
    with pytest.raises(UserError, match=r"column 'who' is missing \(parameter annotations_column\)"):
        tables.to_records(table, PARAMS | {"annotations_column": "who"})


def test_nobody_is_lost_where_copies_of_a_text_are_joined():
    copies = [
        {"id": "a", "text": "t", "split": "", "annotations": own}
        for own in (
            {"1": "fine", "2": "fine"},
            {"1": "biased", "2": "biased", "3": "biased"},
            {"ann": "fine"},
            {"ann": "biased"},
        )
    ]
    joint = drop_exact_duplicates(copies)[0]["annotations"]
    assert list(joint.values()) == ["fine"] * 2 + ["biased"] * 3 + ["fine"]  # of Ann, what she answered first
    assert read_annotations({"a": 1.0, "b": 0}, ["0", "1"]) == ({"a": "1", "b": "0"}, 0)
