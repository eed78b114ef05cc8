"""Files as programs write them: encodings, separators, quotes, joined files, companions that a system puts beside a text."""

import json
import sys

import pandas as pd
import pytest

from helpers.data import tables
from helpers.data.reading import read_table
from helpers.env import UserError
from tests.data.test_tables import PARAMS, write
from tests.project import SHARED

CASES = SHARED.parent / "cases"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="the folder of small inputs that went wrong is not there")
COFFEE = "text,label\nun caffè – €2,x\nfine,y\n"


def remarks(table: pd.DataFrame) -> str:
    return "\n".join(table.attrs.get("remarks", []))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".txt"])
def test_every_common_encoding_gives_the_same_texts(tmp_path, encoding, suffix):
    path = tmp_path / f"a{suffix}"
    content = COFFEE
    if suffix != ".csv":
        content = "un caffè – €2" if suffix == ".txt" else json.dumps({"text": "un caffè – €2"}, ensure_ascii=False)
    write(path, content.encode(encoding))
    table = read_table(str(tmp_path) if suffix == ".txt" else str(path), "text")
    assert table.text.iloc[0] == "un caffè – €2"
    line = 2 if suffix == ".csv" else 1
    said = f"a{suffix}, line {line}: not UTF-8, so the file was read as Windows-1252"
    assert (said in remarks(table)) == (encoding == "cp1252")


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ("sep=;\ntext;label\na, b;x\nc;y\n", ["a, b", "c"]),
        ("\ufeffsep=|\r\ntext|label\r\na, b|x\r\nc|y\r\n", ["a, b", "c"]),
        ('"sep=\t"\ntext\tlabel\na, b\tx\nc\ty\n', ["a, b", "c"]),
        ("text;label;notes, if any\na, b, c;x;\nd;y;e, f, g\n", ["a, b, c", "d"]),
        ("text;label\none, two;x\nthree, four;y\nfive, six;x\n", ["one, two", "three, four", "five, six"]),
        ('text,label\n"a; b; c",x\n"d; e",y\n', ["a; b; c", "d; e"]),
        ("\n\ntext,label\na,x\nb,y\n", ["a", "b"]),
    ],
)
def test_the_separator_is_the_one_under_which_the_rows_fit_the_header(tmp_path, content, texts):
    table = read_table(write(tmp_path / "a.csv", content), "text")
    assert table.text.tolist() == texts and table.columns[1] == "label"


def test_rows_keep_the_numbers_of_a_spreadsheet(tmp_path):
    path = write(tmp_path / "a.csv", 'sep=;\ntext;label\n"a\nb";x\n\nc;y;z\n')
    with pytest.raises(UserError, match="row 4: the number of cells is 3"):  # Excel shows no row for `sep=`
        read_table(path, "text")
    with pytest.raises(UserError, match="row 3: two columns are called 'text'"):
        read_table(write(tmp_path / "b.csv", "\n\ntext,text\na,x\n"), "text")


BREAKS = ['one,\n"two"', "three", "four\tfive", '"six" seven', ""]


def test_a_tab_separated_file_of_pandas_has_the_texts_of_its_csv(tmp_path):
    table = pd.DataFrame({"text": BREAKS, "label": list("xyxyx")})
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_csv(tmp_path / "a.tsv", index=False, sep="\t")
    assert read_table(str(tmp_path / "a.csv"), "text").text.tolist() == BREAKS
    assert read_table(str(tmp_path / "a.tsv"), "text").text.tolist() == BREAKS


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ('text\tlabel\n"he said ""no"" twice"\tx\nb\ty\n', ['he said "no" twice', "b"]),
        ('text\tlabel\n"a word"\tx\n"b" c\ty\n', ['"a word"', '"b" c']),
        ('text\tlabel\n"open\tx\nno close"\ty\n', ['"open', 'no close"']),
        ('text\tlabel\n"all"\tx\n"quoted"\ty\n', ['"all"', '"quoted"']),
    ],
)
def test_quotes_in_a_tab_separated_file_are_text_unless_they_enclose_cells(tmp_path, content, texts):
    assert read_table(write(tmp_path / "a.tsv", content), "text").text.tolist() == texts


def test_the_header_of_a_second_file_is_no_row(tmp_path):
    path = write(tmp_path / "a.csv", "text,label\na,x\nText,label\ntext,label\nb,y\n")
    table = read_table(path, "text")
    assert table.text.tolist() == ["a", "Text", "b"] and table.index.tolist() == [2, 3, 5]
    assert "a.csv, row 4: the header again" in remarks(table)


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_a_file_without_a_header_loses_no_row_in_silence(tmp_path, suffix):
    separator = "," if suffix == ".csv" else "\t"
    rows = f"a fine day{separator}x\na bad day{separator}y\n"
    path = write(tmp_path / f"a{suffix}", rows)
    with pytest.raises(UserError, match="If row 1 is no header, write the names of the columns above it"):
        read_table(path, "text")


def test_a_folder_holds_what_its_owner_put_there(tmp_path):
    for name in ("1.txt", "sub/2.TXT"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, f"text {name}")
    for name in ("._1.txt", ".hidden/3.txt", "__MACOSX/sub/._2.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / name, b"\x00\x05\x16\x07\x81\x8d")
    table = read_table(str(tmp_path), "text")
    assert table.file.tolist() == ["1.txt", "sub/2.TXT"]
    assert "3 hidden files left out (._1.txt, .hidden/3.txt, __MACOSX/sub/._2.txt)" in remarks(table)


def test_parquet_keeps_a_named_index_and_names_its_columns_in_text(tmp_path):
    path = tmp_path / "a.parquet"
    pd.DataFrame({"text ": ["a"], "n": [1]}, index=pd.Index(["k1"], name="key")).to_parquet(path)
    table = read_table(str(path), "text")
    assert table.columns.tolist() == ["key", "text", "n"] and table.index.tolist() == [1]


def test_names_of_fields_are_cleaned_in_json_lines_too(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text ": "a", "\\ud800": 1}\n{"text": "b"}\n')
    assert read_table(path, "text").text.tolist() == ["a", "b"]
    with pytest.raises(UserError, match="line 1: two fields have one name"):
        read_table(write(tmp_path / "b.jsonl", '{"text": "a", "text ": "b"}\n'), "text")
    with pytest.raises(UserError, match="line 1: not valid JSON"):
        read_table(write(tmp_path / "c.jsonl", '{"text": ' + "[" * 100_000 + "\n"), "text")


def test_a_workbook_has_its_first_sheet_read_with_the_rows_excel_shows(tmp_path):
    openpyxl = pytest.importorskip("openpyxl", reason="openpyxl is an extra: ambo-notebooks[excel]")
    book, path = openpyxl.Workbook(), str(tmp_path / "a.xlsx")
    for row in (
        [],
        [" text", "label", "g"],
        ["è una\nprova", 1, True],
        [],
        ["b", 0.0, None],
        [None, "", "#N/A"],
        ["c", 1],
    ):
        book.active.append(row)
    book.create_sheet("more").append(["x"])
    book.save(path)
    table = read_table(path, "text")
    records = tables.to_records(table, PARAMS | {"group_columns": ["g"]})
    assert [(r["text"], r["label"], r["g"]) for r in records] == [
        ("è una\nprova", "1", "true"),
        ("b", "0", ""),
        ("c", "1", ""),
    ]
    assert table.index.tolist()[:2] == [3, 5] and "the first of its 2 sheets was read ('Sheet')" in remarks(table)
    with pytest.raises(UserError, match="If row 1 is no header"):
        read_table(path, "body")
    book.active.append(["d", "e", "f", "lost"])
    book.save(path)
    with pytest.raises(UserError, match="row 8: it has cells to the right of the last column"):
        read_table(path, "text")


def test_without_openpyxl_a_workbook_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(UserError, match=r'openpyxl, which is not installed: pip install "ambo-notebooks\[excel\]"'):
        read_table(write(tmp_path / "a.xlsx", b"PK"), "text")


FOREIGN = {"parent_id": "t1_abc", "spans": [[0, 99]], "source": "forum", "target": "men", "weight": 3, "id": "7"}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_columns_of_a_users_table_are_not_fields_of_our_record(tmp_path, suffix):
    rows = [{"text": f"text {i}", "label": "xy"[i % 2]} | FOREIGN for i in range(4)]
    path = tmp_path / f"a{suffix}"
    if suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        frame = pd.DataFrame(rows)
        frame.to_parquet(path) if suffix == ".parquet" else frame.to_csv(path, index=False)
    records = tables.to_records(read_table(str(path), "text"), PARAMS)
    assert {frozenset(r) for r in records} == {frozenset({"id", "text", "label", "source", "split"})}
    assert {r["source"] for r in records} == {"pool"} and records[0]["id"] != "7"


def test_a_group_column_cannot_hide_a_field_of_the_record(tmp_path):
    table = read_table(write(tmp_path / "a.csv", "text,label,source\na,x,forum\nb,y,web\n"), "text")
    with pytest.raises(UserError, match="'source' is the name of a field that every record has; rename"):
        tables.to_records(table, PARAMS | {"group_columns": ["source"]})


@needs_cases
def test_the_cases_give_what_is_right():
    texts = {}
    for suffix in ("csv", "tsv"):
        table = read_table(str(CASES / f"quoted_line_breaks.{suffix}"), "text")
        texts[suffix] = [r["text"] for r in tables.to_records(table, PARAMS)]
    assert len(texts["csv"]) == 60 and texts["csv"] == texts["tsv"]
    assert read_table(str(CASES / "sep_line.csv"), "text").text.tolist() == ["first text", "second text"]
    assert len(read_table(str(CASES / "texts_mac"), "text")) == 6
    table = read_table(str(CASES / "symbols_matter.csv"), "text")
    records = tables.to_records(table, PARAMS)
    assert len({r["id"] for r in records}) == len(table) and [r["label"] for r in records] == table.label.tolist()
