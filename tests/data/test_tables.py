"""A user's table: what is read unchanged, and what is refused in one sentence that names the file, the row and the remedy."""

import csv
import json

import pandas as pd
import pytest

from helpers import files
from helpers.cli.predict import print_lines
from helpers.data import embedded, tables
from helpers.data.records import drop_exact_duplicates, with_given_answers, without_answer
from helpers.env import UserError
from helpers.text import unguarded

PARAMS = {
    "task": "t",
    "data_path": "a.csv",
    "text_column": "text",
    "label_column": "label",
    "labels": [],
    "positive_label": "",
    "group_columns": [],
    "id_column": "",
    "split_column": "",
    "test_split": "test",
    "validation_split": "",
}


FORMATS = {
    "commas.csv": 'text,label\n"one, ""two""\nlines",x\n\nthree; 3,y\n',
    "excel.csv": '\ufeff text ; label \r\n"one, ""two""\nlines";x\r\n\r\n"three; 3";y\r\n',  # Italian Excel
    "tabs.csv": 'text\tlabel\n"one, ""two""\nlines"\tx\nthree; 3\ty\n',
    "json.jsonl": '{"text": "one, \\"two\\"\\nlines", "label": "x"}\n\n{"text": "three; 3", "label": "y"}\n',
}


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_rows_from_every_format(tmp_path, name):
    table = tables.read_table(write(tmp_path / name, FORMATS[name]), "text")
    assert table.to_dict("list") == {"text": ['one, "two"\nlines', "three; 3"], "label": ["x", "y"]}


def test_a_tab_separated_corpus_has_bare_quotes(tmp_path):
    path = write(tmp_path / "a.tsv", 'text\tlabel\n"one, two\tx\nthree "3"\ty\n')
    assert tables.read_table(path, "text").text.tolist() == ['"one, two', 'three "3"']
    short = tables.read_table(write(tmp_path / "b.tsv", "text\tone\ttwo\na\tb\tc\nd\te\n"), "text")
    assert short.two.tolist() == ["c", ""]


def test_parquet_and_folder(tmp_path):
    pd.DataFrame({"text": ["a b"], "label": ["x"]}).to_parquet(tmp_path / "a.parquet")
    assert tables.read_table(str(tmp_path / "a.parquet"), "text").text.tolist() == ["a b"]
    (tmp_path / "texts").mkdir()
    write(tmp_path / "texts" / "1.txt", "first\ntext")
    assert tables.read_table(str(tmp_path / "texts"), "text").text.tolist() == ["first\ntext"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"text,label\nfine,x\ncaf\x81,y\n", "line 3: not UTF-8 nor Windows-1252; save the file as UTF-8"),
        ("a.csv", "text,label\nfine,x\n".encode("utf-16")[:-1], "line 2: not utf-16"),
        ("a.jsonl", '{"text": "a"}\n{"text": \n', "line 2: not valid JSON"),
        ("a.jsonl", '["text"]\n', "line 1: a JSON object is expected"),
        ("a.csv", "", "is empty"),
        ("a.csv", "\n\n", "is empty"),
        ("a.csv", "text,label\n", "has no rows"),
        ("a.csv", "body,label\na,b\n", "no column 'text': set text_column to one of body, label"),
        ("a.csv", "a fine day,x\na bad day,y\n", "If row 1 is no header, write the names of the columns above it"),
        ("a.csv", "text,label,text\na,b,c\n", "row 1: two columns are called 'text'"),
        ("a.csv", "text,label\na,x\nb, c,y\n", "row 3: the number of cells is 3, but in the header 2; put quotes"),
        ("a.csv", "text,label\na, b,x\nb, c,y\n", "row 2: the number of cells is 3"),
        ("a.csv", "text,label\na line\nbroken,x\n", "row 2: the number of cells is 1"),
        ("a.tsv", "text\tlabel\na\tb\tc\n", "row 2: the number of cells is 3, but in the header 2; take the tab out"),
        ("a.csv", 'text,label\na,x\n"open,x\nb,y\n', "line 3: a quotation mark is not closed"),
        ("a.parquet", b"PAR1xxxx", "is not a Parquet file"),
        ("a.xls", "x", "ends in '.xls'"),
        ("a.xlsx", "x", "openpyxl, which is not installed|is not an .xlsx file that can be read"),
    ],
)
def test_bad_files_are_named_with_the_row(tmp_path, name, content, words):
    with pytest.raises(UserError, match=words) as caught:
        tables.read_table(write(tmp_path / name, content), "text")
    assert str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)


def test_missing_file_and_empty_folder(tmp_path):
    with pytest.raises(UserError, match="not a file or folder"):
        tables.read_table(str(tmp_path / "none.csv"), "text")
    with pytest.raises(UserError, match=r"no \.txt files"):
        tables.read_table(str(tmp_path), "text")
    with pytest.raises(UserError, match="data_path is empty"):
        tables.read_table("", "text")


def test_a_text_that_only_says_that_there_is_none_is_missing(tmp_path):
    """As where another program has written its missing values into the file."""
    texts = ["uno", "NaN", "due", "nan", "N/A", "la nan", "none", "None"]
    path = tmp_path / "a.csv"
    pd.DataFrame({"text": texts, "label": ["x", "y"] * 4}).to_csv(path, index=False)
    table = tables.read_table(str(path), "text")
    assert [r["text"] for r in tables.to_records(table, PARAMS)] == ["uno", "due", "la nan", "none"]
    said = "Column 'text' has 'NaN' (1 row), 'nan' (1 row), 'N/A' (1 row), 'None' (1 row): read as missing."
    assert said in table.attrs["remarks"]


@pytest.mark.parametrize(
    ("rows", "change", "words"),
    [
        ([{"text": "a", "label": "x"}, {"text": "b", "label": "x"}], {}, "holds only the class 'x'"),
        ([{"text": "a", "label": ""}], {}, "holds no label at all"),
        ([{"text": "a", "label": "x"}, {"text": "b", "label": "z"}], {"labels": ["x", "y"]}, "row 2: label 'z'"),
        ([{"text": "a", "label": "x"}], {"label_column": "gold"}, r"'gold' is missing \(parameter label_column\)"),
        ([{"text": "a", "label": "x"}], {"group_columns": ["sex"]}, r"'sex' is missing \(parameter group_columns\)"),
        (
            [{"text": "a", "label": "x"}],
            {"group_columns": ["\u200b"]},
            "group_columns names a column without a visible",
        ),
        (
            [{"text": "a", "label": "x"}],
            {"group_columns": ["label"]},
            "'label' is the name of a field .*; write 'label_'",
        ),
        *(
            ([{"text": "a", "label": "x", name: "m"}], {"group_columns": [name]}, f"'{name}' is the name of a field")
            for name in ("labelled_by", "method", "writer", "target_source", "answer", "right")
        ),
        ([{"text": "a", "label": "x"}], {"label_column": "text"}, "'text' is both the text and the answer"),
        ([{"text": " ", "label": "x"}], {"label_column": ""}, "holds no text"),
        ([{"text": ["a", "b"], "label": "x"}], {}, "row 1: the text is a list of 2"),
        ([{"text": {"a": 1}, "label": "x"}], {}, "row 1: the text is a dict"),
        (
            [{"text": "a", "label": "x", "k": 1}, {"text": "b", "k": 1}],
            {"id_column": "k"},
            "row 2: id '1' already stands in row 1",
        ),
    ],
)
def test_bad_tables(tmp_path, rows, change, words):
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(r) + "\n" for r in rows))
    with pytest.raises(UserError, match=words):
        tables.to_records(tables.read_table(path, "text"), PARAMS | change)


def test_repeated_ids_are_named_with_both_rows(tmp_path):
    table = tables.read_table(write(tmp_path / "a.csv", "text,label,key\na,x,k1\n\nb,y,k2\nc,x,k1\n"), "text")
    with pytest.raises(UserError, match=r"a.csv, row 5: id 'k1' already stands in row 2"):
        tables.to_records(table, PARAMS | {"id_column": "key"})
    assert len(tables.to_records(table, PARAMS)) == 3


ODD = ["x" * 200_000, "🧑🏽‍🍳 pane", "שלום עולם", "ab\u2028d", "<b>sì</b>", '"quoted", cell', "a\nb"]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_odd_texts_are_read_unchanged(tmp_path, suffix):
    table = pd.DataFrame({"text": ODD, "label": ["x", "y"] * 3 + ["x"]})
    path = tmp_path / f"a{suffix}"
    if suffix == ".csv":
        table.to_csv(path, index=False)
    elif suffix == ".parquet":
        table.to_parquet(path)
    else:
        path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in table.to_dict("records")))
    records = tables.to_records(tables.read_table(str(path), "text"), PARAMS)
    assert [r["text"] for r in records] == ODD


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_numbers_and_truth_values_are_labels_and_groups_and_gaps_are_gaps(tmp_path, suffix):
    table = pd.DataFrame({"text": ["a", "b", "c"], "label": [0, 1, None], "g": [True, False, True]})
    path = tmp_path / f"a{suffix}"
    table.to_parquet(path) if suffix == ".parquet" else table.to_json(path, orient="records", lines=True)
    records = tables.to_records(tables.read_table(str(path), "text"), PARAMS | {"group_columns": ["g"]})
    assert [(r.get("label"), r["g"]) for r in records] == [("0", "true"), ("1", "false"), (None, "true")]


def test_the_datas_own_split_is_kept():
    table = pd.DataFrame(
        {"text": ["a", "b", "c", "d"], "label": ["x", "y", "x", "y"], "part": ["train", "dev", "test_far", ""]}
    )
    records = tables.to_records(table, PARAMS | {"split_column": "part", "test_split": "dev"})
    assert [r["split"] for r in records] == ["pool", "test", "test_far", "pool"]
    with pytest.raises(UserError, match="'part' names no test row: set test_split to one of 'train', 'dev', ''"):
        tables.to_records(table[table.part != "test_far"], PARAMS | {"split_column": "part", "test_split": "tst"})


@pytest.mark.parametrize("given", ["teste\u0301", " test\u00e9 ", "te\u00adst\u00e9"])
def test_parameters_name_columns_as_cells_are_spelled(tmp_path, given):
    table = tables.read_table(write(tmp_path / "a.csv", "test\u00e9,class,area\nuno,a,n\ndue,b,s\n"), given)
    names = {"text_column": given, "label_column": " class", "group_columns": ["area "]}
    rows = tables.to_records(table, PARAMS | names)
    assert [(r["text"], r["label"], r["area "]) for r in rows] == [("uno", "a", "n"), ("due", "b", "s")]
    assert tables.clean_texts(table, given) == ["uno", "due"]


@pytest.mark.parametrize("name", ["source", "weight", "target", "parent_id", "id"])
def test_a_group_column_may_be_called_like_a_field_of_the_record(name):
    table = pd.DataFrame({"text": list("ab"), "label": list("xy"), name: ["north", "south"]})
    records = tables.to_records(table, PARAMS | {"group_columns": [f"{name}_"]})
    assert [r[f"{name}_"] for r in records] == ["north", "south"] and {r["source"] for r in records} == {"pool"}
    assert name not in ("weight", "target", "parent_id") or name not in records[0]
    with pytest.raises(UserError, match=f"Parameter group_columns: '{name}' is the name of .*; write '{name}_' there"):
        tables.to_records(table, PARAMS | {"group_columns": [name]})


SPLITS = ["test", "Test", "TEST ", "dev", "Dev", "train", "", "Test_far"]


@pytest.mark.parametrize(
    ("change", "splits", "remark"),
    [
        (
            {"validation_split": "dev"},
            ["test", "test", "test", "validation", "validation", "pool", "pool", "test_far"],
            "'Test' (1 row), 'TEST' (1 row): read as test; 'Dev' (1 row): read as validation; "
            "'train' (1 row), no value (1 row): to the pool; 'Test_far' (1 row): read as test_far; if that is an",
        ),
        (
            {},
            ["test", "test", "test", "pool", "pool", "pool", "pool", "test_far"],
            "'dev' (1 row), 'Dev' (1 row), 'train' (1 row), no value (1 row): to the pool, from which validation rows",
        ),
        (
            {"test_split": "dev", "validation_split": "Dev"},
            ["pool", "pool", "pool", "test", "validation", "pool", "pool", "test_far"],
            "'test' (1 row), 'Test' (1 row), 'TEST' (1 row), 'train' (1 row), no value (1 row): to the pool; ",
        ),
    ],
)
def test_every_value_of_the_split_column_is_accounted_for(change, splits, remark):
    table = pd.DataFrame({"text": list("abcdefgh"), "label": list("xy") * 4, "part": SPLITS})
    records = tables.to_records(table, PARAMS | {"split_column": "part"} | change)
    assert [r["split"] for r in records] == splits
    (said,) = [words for words in table.attrs["remarks"] if words.startswith("Column 'part'")]
    assert remark in said and said.endswith("name it in test_split or validation_split.")


def test_splits_that_the_parameters_name_are_no_news():
    table = pd.DataFrame({"text": list("ab"), "label": list("xy"), "part": ["test", "dev"]})
    tables.to_records(table, PARAMS | {"split_column": "part", "validation_split": "dev", "label_column": ""})
    assert not table.attrs.get("remarks")


def test_empty_labels_are_missing_labels(tmp_path):
    path = write(tmp_path / "t.csv", "text,label\nuno,a\ndue,b\ntre,\n")
    rows = tables.to_records(tables.read_table(path, "text"), PARAMS | {"labels": ["a", "b"]})
    assert [r.get("label") for r in rows] == ["a", "b", None]


def test_references_come_from_columns_and_from_rows_of_the_same_text():
    table = pd.DataFrame(
        [("Rude text", "a kind one", ""), ("rude  text", "b", "a kind one"), ("left alone", "", "")],
        columns=["text", "one", "two"],
    )
    pairs = PARAMS | {"label_column": "", "target_columns": ["one", "two"]}
    records = drop_exact_duplicates(tables.to_records(table, pairs))
    assert [(r["text"], r.get("target"), r.get("references")) for r in records] == [
        ("Rude text", "a kind one", ["a kind one", "b"]),
        ("left alone", None, None),
    ]
    assert without_answer(records[0]).keys() == {"id", "text", "split", "source"}
    answered = with_given_answers(records, {records[1]["id"]: "mended"}, "target")
    assert [r["references"] for r in answered] == [["a kind one", "b"], ["mended"]]
    for blank in ("", "  ", "\u200b"):  # as people may save an empty field
        assert with_given_answers(records, {records[1]["id"]: blank}, "target")[1]["target"] is None
    with pytest.raises(UserError, match="'two' is missing"):
        tables.to_records(table.drop(columns="two"), pairs)


def test_embedded_sets_are_read_by_name():
    assert {"text", "target", "split"} <= set(tables.read_table(embedded.REWRITES, "text").columns)
    assert len(tables.read_table(embedded.COUNTER_NARRATIVES, "HATE_SPEECH")) == 104
    with pytest.raises(
        UserError, match="not embedded: choose one of embedded:counter_narratives, embedded:italian_jobs"
    ):
        tables.read_table("embedded:rewritings", "text")


def test_a_table_that_a_format_cannot_hold_is_one_sentence_and_leaves_nothing(tmp_path):
    table = pd.DataFrame({"a": [1, "x", [2]]})
    with pytest.raises(UserError, match=r"out\.parquet cannot hold this table .*choose \.csv or \.jsonl"):
        tables.write_table(tmp_path / "out.parquet", table)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("cell", [2**70, {}, [["x"], [1]], [["\ud800"]]])
def test_no_cell_of_any_kind_is_more_than_a_sentence(tmp_path, cell):
    table = pd.DataFrame({"a": ["x", cell]}, dtype=object).drop(0)
    with pytest.raises(UserError, match=r"cannot hold this table \(.+\): choose \.csv or \.jsonl"):
        tables.write_table(tmp_path / "out.parquet", table)
    assert not list(tmp_path.iterdir())
    tables.write_table(tmp_path / "out.csv", table)


CARRIAGES = ["a\rb", "a\r=cmd|x", "\r", "a\r\nb", "a\nb", 'a "quoted"\r', "plain"]


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_a_bare_carriage_return_ends_no_row(tmp_path, suffix, raw):
    path = tables.write_table(tmp_path / f"out{suffix}", pd.DataFrame({"a\rb": CARRIAGES, "n": 1.5}), raw)
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream, delimiter="\t" if suffix == ".tsv" else ","))
    assert [unguarded(row[0]) for row in rows] == ["a\rb", *CARRIAGES] and {row[1] for row in rows[1:]} == {"1.5"}
    assert path.read_bytes().endswith(b"plain,1.5\n".replace(b",", b"\t" if suffix == ".tsv" else b","))


def test_every_writer_of_a_table_quotes_a_bare_carriage_return(tmp_path, capsys):
    files.write_csv(tmp_path / "a.csv", pd.DataFrame({"a": ["x\ry"]}))
    assert (tmp_path / "a.csv").read_bytes() == b'a\n"x\ry"\n'
    print_lines(pd.DataFrame({"a": ["x\ry"]}))
    assert capsys.readouterr().out == 'a\n"x\ry"\n'


@pytest.mark.parametrize("suffix", tables.WRITERS)
def test_half_a_character_is_written_as_a_question_mark(tmp_path, suffix):
    path = tables.write_table(tmp_path / f"out{suffix}", pd.DataFrame({"a": ["\ud83d!"]}, dtype=object))
    assert b"?!" in path.read_bytes()


def test_a_column_that_even_json_cannot_hold_is_a_sentence(tmp_path):
    table = pd.DataFrame({"a": ["x", ["\ud800"]]}, dtype=object)
    with pytest.raises(UserError, match=r"out\.jsonl cannot hold this table .*: mend or leave out that column"):
        tables.write_table(tmp_path / "out.jsonl", table)


def test_lists_of_a_parquet_stay_json_in_a_csv(tmp_path):
    pd.DataFrame({"text": ["a"], "tags": [["x", "y"]], "who": [{"age": 3}], "none": [[]]}).to_parquet(
        tmp_path / "a.parquet"
    )
    table = tables.read_table(str(tmp_path / "a.parquet"), "text")
    written = pd.read_csv(tables.write_table(tmp_path / "a.csv", table), keep_default_na=False).iloc[0]
    assert (written.tags, written.who, written.none) == ('["x", "y"]', '{"age": 3}', "")
