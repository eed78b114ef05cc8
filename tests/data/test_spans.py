"""Evidence that other tools wrote: read on request, in its common forms, and moved along with the text."""

import json

import numpy as np
import pandas as pd
import pytest

from helpers.data import tables
from helpers.data.reading import read_table
from helpers.data.records import drop_exact_duplicates
from helpers.data.spans import carried, read_spans
from helpers.env import UserError
from tests.data.test_tables import PARAMS
from tests.project import SHARED

CASES = SHARED.parent / "cases"
TEXT = "a😀 bad word here"
FORMS = {
    "pairs": [[3, 6]],
    "one pair": [3, 6],
    "tuples": [(3, 6)],
    "triples": [[3, 6, "HATE"]],
    "dicts": [{"start": 3, "end": 6, "label": "HATE"}],
    "one dict": {"start": 3, "end": 6},
    "our export": {"ann": [[3, 6]], "bob": [[3, 6]]},
    "arrays": np.array([np.array([3, 6])]),
    "decimals": [[3.0, 6.0]],
    "text": "[[3, 6]]",
    "text of triples": '[[3, 6, "HATE"]]',
    "text of dicts": '[{"start": 3, "end": 6}]',
    "text of pandas' dicts": "[{'start': 3, 'end': 6}]",
    "text of pandas' tuples": " [(3, 6)]",
    "text of one tuple": "(3, 6)",
    "text of our export": '{"ann": [[3, 6]]}',
}


@pytest.mark.parametrize("form", FORMS)
def test_every_common_form_marks_the_words(form):
    spans, bad = read_spans(FORMS[form], TEXT)
    assert [TEXT[start:end] for start, end in spans] == ["bad"] and not bad


@pytest.mark.parametrize("value", [None, float("nan"), "", " ", [], "[]", {}])
def test_no_evidence_is_none(value):
    assert read_spans(value, TEXT) == ([], 0)


@pytest.mark.parametrize(
    "value",
    [
        [[3, 99]],
        [[-1, 2]],
        [[6, 3]],
        [["3", "6"]],
        [[3.5, 6]],
        [[True, 3]],
        "bad",
        7,
        [[3]],
        [None],
        [{"start": 3}],
        {"a": {"b": 1}},
        "[(3, 6)",
        "{3, 6}",
        "'\\d'",
        "(" * 5000,
        "-" * 5000,
        "__import__('os')",
    ],
)
def test_what_is_no_evidence_is_left_out_and_counted(value):
    assert read_spans(value, TEXT) == ([], 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("  a bad word", "bad"),
        ("a so\u00adft b\u200bad word", "b\u200bad"),
        ("e\u0301 e\u0301 bad word", "bad"),
        ("one\r\ntwo bad\r\n", "bad"),
        ("\ufeffbad\u200b\u200b, then", "bad"),
        ("\u200bbad\u200b", "bad"),
        ("a\u200e b\u2063ad\0 word", "b\u2063ad\0"),
        ("👩\u200d🍳 page\x0cba\ufe0fd word", "ba\ufe0fd"),
    ],
)
def test_evidence_follows_the_text_through_cleaning(text, words):
    start = text.index(words)
    table = pd.DataFrame({"text": [text, "fine"], "label": ["x", "y"], "marks": [[[start, start + len(words)]], None]})
    records = tables.to_records(table, PARAMS | {"spans_column": "marks"})
    first, last = records[0]["spans"][0]
    assert records[0]["text"][first:last] == "bad" and "spans" not in records[1]


def test_the_column_is_read_on_request_only_and_what_was_left_out_is_said():
    table = pd.DataFrame({"text": ["a bad word", "fine"], "label": ["x", "y"], "spans": [[[2, 5], [9, 40]], "?"]})
    assert "spans" not in tables.to_records(table, PARAMS)[0]
    assert tables.to_records(table, PARAMS | {"spans_column": "spans"})[0]["spans"] == [[2, 5]]
    assert "Column 'spans': 2 left out (row 0, 1)" in table.attrs["remarks"][-1]
    with pytest.raises(UserError, match=r"'marks' is missing .parameter spans_column."):
        tables.to_records(table, PARAMS | {"spans_column": "marks"})


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_every_format_carries_evidence(tmp_path, suffix):
    rows = [{"text": TEXT, "label": "x", "s": [[3, 6]]}, {"text": "fine", "label": "y", "s": []}]
    path, frame = tmp_path / f"a{suffix}", pd.DataFrame(rows)
    if suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        frame.to_parquet(path) if suffix == ".parquet" else frame.to_csv(path, index=False)
    records = tables.to_records(read_table(str(path), "text"), PARAMS | {"spans_column": "s"})
    assert records[0]["spans"] == [[3, 6]] and "spans" not in records[1]


def test_copies_of_a_text_bring_their_evidence_for_the_label_that_counts():
    rows = [
        ("A bad  Word", "x", [[2, 5]]),
        ("a BAD word ", "x", [[6, 10]]),
        ("a bad word", "y", [[0, 1]]),
        ("a bad word", "x", []),
    ]
    table = pd.DataFrame(rows, columns=["text", "label", "marks"])
    records = tables.to_records(table, PARAMS | {"spans_column": "marks"})
    (record,) = drop_exact_duplicates(records)
    assert [record["text"][start:end] for start, end in record["spans"]] == ["bad", "Word"]
    assert carried([[0, 6]], "Straße a", "STRASSE  A") == [[0, 7]]


@pytest.mark.skipif(not CASES.is_dir(), reason="the folder of small inputs that went wrong is not there")
@pytest.mark.parametrize("form", ["pairs", "triples", "dicts"])
def test_the_cases_give_what_is_right(form):
    table = read_table(str(CASES / f"spans_{form}.jsonl"), "text")
    record = tables.to_records(table, PARAMS | {"spans_column": "spans"})[0]
    assert [record["text"][start:end] for start, end in record["spans"]] == ["bad"]
