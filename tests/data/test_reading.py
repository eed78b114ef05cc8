"""Files as programs write them: encodings, separators, quotes, joined files, companions that a system puts beside a text."""

import json
import os
import sys
import tracemalloc

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers import files
from helpers.data import arrow, batched, tabbed, tables
from helpers.data.reading import open_lines, open_table, read_table
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


LETTERS = [
    "a letter came,\nin Turin",
    'nobody wants "in" Lecce',
    "never trust\nin Pisa",
    'more "of" this',
    "plain",
    "one\ntwo\nthree",
]
LABELS = ["ok", "hate", "hate", "ok", "ok", "hate"]


@pytest.mark.parametrize(
    ("odd", "text", "said"),
    [
        ("", "", ""),
        (
            "a last text\tok",
            "a last text",
            "row 8: fewer cells than in the header; those at the end were read as empty.",
        ),
        (
            '"Hi" she said\tok\tsouth',
            '"Hi" she said',
            "row 8: quotation marks that enclose no cell were read as part of it.",
        ),
        ('a pipe of 5"\tok\tsouth', 'a pipe of 5"', "row 8: quotation marks that enclose no cell"),
        ('"never closed\tok\tsouth', '"never closed', "row 8: quotation marks that enclose no cell"),
        ("\t\t", "", ""),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_odd_line_tears_no_text_of_a_quoted_file(tmp_path, odd, text, said, place):
    table = pd.DataFrame({"text": LETTERS, "label": LABELS, "region": "north"})
    order = [
        *table.columns[-place:],
        *table.columns[:-place],
    ]  # of a row with the last cell missing, the text is the first
    if odd.count("\t") == 1:
        order = [*table.columns]
    content = table[order].to_csv(index=False, sep="\t")
    if odd:
        cells = dict(zip(table.columns, odd.split("\t"), strict=False))
        content += "\t".join(cells[name] for name in order if name in cells) + "\n"
    read = read_table(write(tmp_path / "a.tsv", content), "text")
    assert read.text.tolist() == LETTERS + ([text] if odd else [])
    assert read.label.tolist()[:6] == LABELS and (said in remarks(read) if said else not remarks(read))


ALL_QUOTED = '"hello world"\t"x"\t"1"\n"b ""c"" d"\t"y"\t"2"\n"d"\t"x"\t"3"\n'


@pytest.mark.parametrize("header", ['"text"\t"label"\t"n"\n', "text\tlabel\tn\n"])
@pytest.mark.parametrize("odd", ["", '"Hi" she said\tx\t4\n', "e\tx\n"])
def test_a_tab_separated_file_with_every_cell_in_quotes_loses_them(tmp_path, header, odd):
    content = header + 4 * ALL_QUOTED + odd
    table = read_table(write(tmp_path / "a.tsv", content), "text")
    assert table.text.tolist()[:12] == 4 * ["hello world", 'b "c" d', "d"] and set(table.label) == {"x", "y"}
    assert bool(remarks(table)) == bool(odd)


@pytest.mark.parametrize("content", ['"text"\t"n"\n"hello ""world"""\t1\nb\t2\n', 'text\tn\n"hello\tworld"\t1\nb\t2\n'])
def test_quotes_that_enclose_some_cells_are_taken_off(tmp_path, content):
    table = read_table(write(tmp_path / "a.tsv", content), "text")
    assert table.text.tolist()[1] == "b" and not table.text[2].startswith('"')


@pytest.mark.parametrize(
    "content",
    [
        'text\tlabel\n"open\tx\nno close"\ty\n',
        'text\tlabel\n"open\tx\nshort\nno close"\ty\n',
        'text\tlabel\n"open\tx\nworld\ty\nno close"\tx\n',
        'text\tlabel\n"open\tx\n5" pipe\ty\n"whole"\tx\nno close"\ty\n',
        'text\n"open\nno close"\n',
    ],
)
def test_no_rows_between_two_bare_quotes_become_one(tmp_path, content):
    table = read_table(write(tmp_path / "a.tsv", content), "text")
    assert table.text.tolist()[0] == '"open' and table.text.tolist()[-1] == 'no close"'
    assert len(table) == content.count("\n") - 1


@pytest.mark.parametrize("texts", [["one\ntwo", "three\n\nfour", "five"], ["one\ntwo"] * 3, ["a", 'b\n"c"', "d"]])
def test_a_single_column_keeps_its_line_breaks(tmp_path, texts):
    pd.DataFrame({"text": texts}).to_csv(tmp_path / "a.tsv", index=False, sep="\t")
    table = read_table(str(tmp_path / "a.tsv"), "text")
    assert table.text.tolist() == texts
    assert "a cell in quotation marks has line breaks in it; if these are rows of their own" in remarks(table)


def test_a_single_cell_that_may_be_rows_stays_rows_and_is_said(tmp_path):
    content = 'text\nplain\n"open\nno close"\n'
    table = read_table(write(tmp_path / "a.tsv", content), "text")
    assert table.text.tolist() == ["plain", '"open', 'no close"']
    assert "a.tsv, row 3: a quotation mark is opened and closed in a later row" in remarks(table)
    table = read_table(write(tmp_path / "a.tsv", content.replace("text", '"text"')), "text")  # as the sentence says
    assert table.text.tolist() == ["plain", "open\nno close"]


def test_quotes_around_a_whole_cell_that_stay_are_said(tmp_path):
    table = read_table(write(tmp_path / "a.tsv", 'text\tlabel\n"hello world"\tx\nplain\ty\n'), "text")
    assert table.text.tolist() == ['"hello world"', "plain"]
    assert "a.tsv, row 2: quotation marks around a whole cell were read as part of it." in remarks(table)


def test_a_quoted_cell_that_may_be_rows_is_said(tmp_path):
    table = pd.DataFrame({"text": ["a\tb\nc", *LETTERS], "label": ["x", *LABELS], "n": "1"})
    table.to_csv(tmp_path / "a.tsv", index=False, sep="\t")
    read = read_table(str(tmp_path / "a.tsv"), "text")
    assert read.text.tolist() == table.text.tolist()
    assert "row 2: a cell in quotation marks has tabs and line breaks in it; if these are rows" in remarks(read)


def test_the_header_of_a_second_file_is_no_row(tmp_path):
    path = write(tmp_path / "a.csv", "text,label\na,x\nText,x\ntext,label\nb,y\n")
    table = read_table(path, "text")
    assert table.text.tolist() == ["a", "Text", "b"] and table.index.tolist() == [2, 3, 5]
    assert "a.csv, row 4: the header again" in remarks(table)


@pytest.mark.parametrize(
    "again", ["\ufefftext,label", "text , label", "Text,LABEL", '\ufeff"text","label"', " te\u00adxt,label"]
)
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_the_header_of_a_second_file_is_none_however_it_is_spelled(tmp_path, again, suffix):
    content = f"\ufefftext,label\na,x\n{again}\nb,y\n"
    path = write(tmp_path / f"a{suffix}", content if suffix == ".csv" else content.replace(",", "\t"))
    table = read_table(path, "text")
    assert table.text.tolist() == ["a", "b"] and table.label.tolist() == ["x", "y"]
    assert "row 3: the header again, as where files were joined; left out." in remarks(table)


def test_below_a_header_in_another_order_the_cells_follow_it(tmp_path):
    path = write(tmp_path / "a.csv", "text,label,n\na,x,1\nn,Text,label\n2,b,y\ntext,label,n\nc,x,3\n")
    table = read_table(path, "text")
    assert table.to_dict("list") == {"text": ["a", "b", "c"], "label": ["x", "y", "x"], "n": ["1", "2", "3"]}
    assert "row 3: the header again, in another order; left out, and the cells below it put in the order" in remarks(
        table
    )


def test_a_word_that_is_the_header_but_for_case_is_a_row_of_a_list_of_words(tmp_path):
    table = read_table(write(tmp_path / "a.csv", "text\nText\ntext\nb\n"), "text")
    assert table.text.tolist() == ["Text", "b"] and "row 3: the header again" in remarks(table)


def test_the_second_mark_in_joined_json_lines_is_no_error(tmp_path):
    path = write(tmp_path / "a.jsonl", '\ufeff{"text": "a"}\n\ufeff{"text": "b"}\n')
    assert read_table(path, "text").text.tolist() == ["a", "b"]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_a_row_of_empty_cells_is_a_row_and_a_blank_line_is_none(tmp_path, name):
    content = "text,note\nhello,1\n\n,\n   \n,foo\n , \nbye,2\n\n"
    table = read_table(write(tmp_path / name, content.replace(",", "\t") if name == "a.tsv" else content), "text")
    assert table.text.tolist() == ["hello", "", "", "", "bye"] and table.index.tolist() == [2, 4, 6, 7, 8]
    assert f"{name}: 3 blank lines are no rows and were skipped." in remarks(table)
    records = tables.to_records(table, PARAMS | {"label_column": ""})
    assert len(table) - len(records) == 3


def test_an_empty_text_that_pandas_writes_into_one_column_is_a_row(tmp_path):
    table = pd.DataFrame({"text": ["a", "", "b"]})
    for name, separator in (("a.csv", ","), ("a.tsv", "\t")):
        table.to_csv(tmp_path / name, index=False, sep=separator)
        assert read_table(str(tmp_path / name), "text").text.tolist() == ["a", "", "b"]
    table = read_table(write(tmp_path / "b.csv", "text\nhello\n\nbye\n"), "text")
    assert table.index.tolist() == [2, 4] and "1 blank line is no row and was skipped" in remarks(table)


def test_blank_lines_of_json_are_said(tmp_path):
    table = read_table(write(tmp_path / "a.jsonl", '{"text": "a"}\n\n{}\n{"text": ""}\n'), "text")
    assert table.index.tolist() == [1, 3, 4] and table.text.tolist() == ["a", None, ""]
    assert "1 blank line is no row and was skipped" in remarks(table)
    assert read_table(write(tmp_path / "b.jsonl", '{"text": "a"}'), "text").attrs.get("remarks", []) == []


MOSTLY = ["perché no", "città e virtù", "così è", "già più"]


@pytest.mark.parametrize(
    ("bad", "read"),
    [
        (b"caff\xe8", "caffè"),
        (b"caff\xc3", "caffÃ"),
        (b"so\xe2\x80 on", "so\ufffd on"),
        (b"un\x81known", "un\ufffdknown"),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_a_bad_byte_in_a_file_of_utf8_spoils_no_other_letter(tmp_path, bad, read, suffix):
    lines = [text.encode() for text in MOSTLY]
    lines.insert(2, bad)
    if suffix == ".jsonl":
        lines = [b'{"text": "' + line + b'"}' for line in lines]
    else:
        lines.insert(0, b"text")
    table = read_table(write(tmp_path / f"a{suffix}", b"\n".join(lines)), "text")
    assert table.text.tolist() == [*MOSTLY[:2], read, *MOSTLY[2:]]
    line = 3 if suffix == ".jsonl" else 4
    said = f"a{suffix}, line {line}: bytes that are not UTF-8, as all others are, were read as Windows-1252; if letters look wrong"
    assert said in remarks(table)


def test_a_file_with_the_mark_of_utf8_is_read_as_that(tmp_path):
    table = read_table(write(tmp_path / "a.csv", b"\xef\xbb\xbftext,label\ncaff\xe8,x\n"), "text")
    assert table.text.tolist() == ["caffè"] and "line 2: bytes that are not UTF-8" in remarks(table)


@pytest.mark.parametrize(
    "line", ['{"text": "a", "text": "b"}', '{"text": "a", "label": "x", "label": "x"}', '{"s": {"k": 1, "k": 2}}']
)
def test_a_field_that_stands_twice_is_refused(tmp_path, line):
    with pytest.raises(
        UserError, match=r"a.jsonl, line 2: the field '(text|label|k)' stands twice; rename or delete one"
    ):
        read_table(write(tmp_path / "a.jsonl", '{"text": "z"}\n' + line + "\n"), "text")


IDS = [1234567890123456789, None, 1234567890123456791, 1234567890123456788]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("written", tables.WRITERS)
def test_every_digit_of_an_id_is_kept_beside_a_gap(tmp_path, suffix, written):
    path = tmp_path / f"a{suffix}"
    if suffix == ".parquet":
        pd.DataFrame({"text": list("abcd"), "tid": pd.array(IDS, "Int64")}).to_parquet(path)
    else:
        rows = [{"text": text} | ({"tid": tid} if tid else {}) for text, tid in zip("abcd", IDS, strict=True)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = read_table(str(path), "text")
    assert table.tid.tolist() == IDS
    records = tables.to_records(table, PARAMS | {"label_column": "", "id_column": "tid"})
    assert [r["own_id"] for r in records] == [str(i or "") for i in IDS]
    back = read_table(str(tables.write_table(tmp_path / f"b{written}", table)), "text")
    assert [int(i) if i else None for i in back.tid] == IDS


def test_every_digit_of_an_id_is_kept_from_the_hub(monkeypatch):
    import datasets

    rows = datasets.Dataset.from_dict({"text": list("abcd"), "tid": IDS})
    monkeypatch.setattr(datasets, "load_dataset", lambda name, split: rows)
    assert read_table("hf:owner/name", "text").tid.tolist() == IDS


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("hf:owner/name", "has the name of that data set; rename it"),
        ("hf:../..", "no data set"),
        ("hf:", "no data set"),
    ],
)
def test_a_data_set_of_the_hub_is_never_read_from_a_folder_here(tmp_path, monkeypatch, path, expected):
    write(tmp_path / "data.csv", "text\na\n")
    (tmp_path / "owner" / "name").mkdir(parents=True)
    write(tmp_path / "owner" / "name" / "data.csv", "text\na\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=expected):
        read_table(path, "text")


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
    assert "a.xlsx: 2 blank lines are no rows and were skipped." in remarks(table)
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


def test_the_header_of_a_second_sheet_that_was_pasted_below_is_no_row(tmp_path):
    openpyxl = pytest.importorskip("openpyxl", reason="openpyxl is an extra: ambo-notebooks[excel]")
    book, path = openpyxl.Workbook(), str(tmp_path / "a.xlsx")
    for row in (["text", "label"], ["a", 1], ["Text ", "label"], ["b", 0], ["label", "text"], [1, "c"]):
        book.active.append(row)
    book.save(path)
    table = read_table(path, "text")
    assert table.text.tolist() == ["a", "b", "c"] and table.label.tolist() == [1, 0, 1]
    assert "row 3: the header again" in remarks(table) and "row 5: the header again, in another order" in remarks(table)


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
    with pytest.raises(
        UserError, match="'source' is the name of a field that records or answers have; write 'source_'"
    ):
        tables.to_records(table, PARAMS | {"group_columns": ["source"]})


MANY = {
    ".csv": 'sep=;\ntext;n\n"a\nb";1\n\n;\ntext;n\n"c ""d""";2\nn;text\n3;e\n',
    ".tsv": 'text\tn\n"a\nb"\t1\n\nlast\n"Hi" she said\t2\n"c\td"\t3\r\n"e ""f"""\t4\n"g\n\nh"\t5\n',
    ".jsonl": '{"text": "a"}\n\n{"text": "b", "n": 1234567890123456789}\n{"n": null, "late": [1]}\n',
}


def test_a_link_out_of_a_folder_of_texts_is_refused(tmp_path):
    (tmp_path / "texts").mkdir()
    write(tmp_path / "secret", "a private key")
    write(tmp_path / "texts" / "b.txt", "a text")
    (tmp_path / "texts" / "a.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match=r"a\.txt is a link that leads out of its folder"):
        read_table(str(tmp_path / "texts"), "text")


@pytest.mark.parametrize("suffix", [*MANY, ".parquet", ".txt", ".xlsx"])
def test_a_table_is_the_same_in_batches_of_any_size(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"a{suffix}"
    if suffix in MANY:
        path.write_bytes(MANY[suffix].encode())
    elif suffix == ".parquet":
        index = pd.RangeIndex(5, 0, -1, name="key")  # which pandas keeps as a range, not as a column
        pd.DataFrame({"text": list("abcde"), "n": pd.array([1, None, 3, 4, 5], "Int64")}, index=index).to_parquet(path)
    elif suffix == ".xlsx":
        openpyxl = pytest.importorskip("openpyxl", reason="openpyxl is an extra: ambo-notebooks[excel]")
        book = openpyxl.Workbook()
        for row in (["text", "n"], ["a", 1], [], ["text", "n"], ["b", 2], ["c", 3]):
            book.active.append(row)
        book.save(path)
    else:
        for i in range(4):
            write(tmp_path / f"{i}.txt", f"text {i}\n")
        path = tmp_path
    whole = read_table(str(path), "text")
    for rows, characters, piece in ((1, 10**6, 1), (2, 10**6, 3), (1024, 4, 7)):
        monkeypatch.setattr(batched, "BATCH", rows)
        monkeypatch.setattr(batched, "CHARACTERS", characters)
        monkeypatch.setattr(tabbed, "PIECE", piece)
        said: list[str] = []
        batches = list(open_table(str(path), "text").batches(said))
        assert len(batches) > 1 and pd.concat(batches).equals(whole) and said == whole.attrs.get("remarks", [])
    assert suffix != ".parquet" or whole.key.tolist() == [5, 4, 3, 2, 1]


def test_a_batch_ends_with_the_row_that_makes_it_long(tmp_path, monkeypatch):
    monkeypatch.setattr(batched, "CHARACTERS", 100)
    path = write(tmp_path / "a.csv", "text\n" + "".join("x" * size + "\n" for size in (10, 95, 300, 1, 2)))
    assert [len(batch) for batch in open_table(path, "text").batches()] == [2, 1, 2]


def test_a_mistake_in_a_late_row_is_found_where_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(batched, "BATCH", 2)
    batches = open_table(write(tmp_path / "a.csv", "text,n\na,1\nb,2\nc,3,4\n"), "text").batches()
    assert len(next(batches)) == 2
    with pytest.raises(UserError, match="row 4: the number of cells is 3"):
        next(batches)


def test_a_quotation_mark_that_no_other_closes_for_long_is_text(tmp_path, monkeypatch):
    monkeypatch.setattr(tabbed, "LONGEST", 50)
    monkeypatch.setattr(tabbed, "PIECE", 8)
    rows = ['"sound ""one"""\tx', '"never closed\ty', *(f"text {i} is bare\tz" for i in range(20)), '"last"\tx']
    table = read_table(write(tmp_path / "a.tsv", "\n".join(['"text"\t"label"', *rows])), "text")
    assert table.text.tolist() == ['sound "one"', '"never closed', *(f"text {i} is bare" for i in range(20)), "last"]


def test_lines_are_a_table_of_one_column():
    source = open_lines(lambda: iter(["a\n", "\n", "b\u2028c"]), "text")
    (batch,) = source.batches()
    assert batch.text.tolist() == ["a", "", "b\u2028c"] and batch.index.tolist() == [1, 2, 3]
    (none,) = open_lines(lambda: iter([]), "text").batches()
    assert none.empty and none.columns.tolist() == ["text"]


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


def test_a_parquet_whose_values_repeat_is_read_a_few_rows_at_a_time(tmp_path):
    """The file holds the text once, and 2,000 rows of it would take a gigabyte."""
    pq.write_table(
        pa.table({"text": ["x" * 500_000] * 2000, "n": range(2000)}), tmp_path / "a.parquet", compression="zstd"
    )
    source = open_table(str(tmp_path / "a.parquet"), "text")
    for exact in (False, True):
        sizes, before = [], pa.total_allocated_bytes()
        for table in source.batches(exact=exact):
            sizes.append(len(table))
            assert pa.total_allocated_bytes() - before < 100_000_000
        assert sum(sizes) == 2000 and max(sizes) <= arrow.DECODED


def test_batches_of_a_parquet_are_large_again_where_its_rows_are_short(tmp_path):
    table = pa.table({"text": [f"text {i}" for i in range(3000)]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1000)
    tables_read = list(open_table(str(tmp_path / "a.parquet"), "text").batches())
    assert max(map(len, tables_read)) <= batched.BATCH and len(tables_read) <= 4
    assert pd.concat(tables_read)["text"].tolist() == table["text"].to_pylist()


def test_times_with_nanoseconds_are_read(tmp_path):
    columns = {"text": ["a", "b"], "at": pa.array([3_600_000_000_001, None], pa.time64("ns"))}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert read_table(str(tmp_path / "a.parquet"), "text")["at"].tolist() == ["01:00:00.000000001", None]


def test_fields_that_every_row_names_anew_are_a_sentence(tmp_path):
    path = tmp_path / "a.jsonl"
    for count in (999, 1000):
        path.write_text("".join(json.dumps({"text": "a", f"k{i}": i}) + "\n" for i in range(count)))
        if count == 999:
            assert read_table(str(path), "text").shape == (999, 1000)
    with pytest.raises(
        UserError, match=r"a\.jsonl, line 1000: with this one the rows have more than 1,000 different fields"
    ):
        read_table(str(path), "text")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet", ".txt"])
def test_a_table_that_has_changed_since_it_was_opened_is_a_sentence(tmp_path, suffix):
    path, frame = tmp_path / f"a{suffix}", pd.DataFrame({"text": ["a", "b"], "note": ["x", "y"]})
    changes = [
        frame.assign(note=["x", "z"]),
        frame.rename(columns={"note": "mark"}),
        frame.assign(more=1),
        frame[["text"]],
    ]
    for table in changes:
        save(path, frame)
        source = open_table(str(path), "text")
        assert sum(map(len, source.batches())) > 0
        save(path, table)
        with pytest.raises(UserError, match=r"has changed while it was read|could not be read"):
            list(source.batches())


def save(path, frame):
    """A table; as .txt files, a folder of one with all of its cells."""
    if path.suffix == ".txt":
        path.mkdir(exist_ok=True)
        (path / "0.txt").write_text(frame.to_csv())
    else:
        tables.write_table(path, frame)


def test_a_formatted_cell_at_the_far_end_of_a_sheet_makes_no_row_longer(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book, path = openpyxl.Workbook(), tmp_path / "a.xlsx"
    book.active.append(["text", "label"])
    for i in range(200):
        book.active.append([f"text {i}", "a"])
    book.active["XFD2000"].font = openpyxl.styles.Font(bold=True)
    book.save(path)
    tracemalloc.start()
    table = read_table(str(path), "text")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(table) == 200 and list(table.columns) == ["text", "label"]
    assert peak < 60e6  # 2,000 rows of 16,384 cells take 260 MB


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a file name is Unicode")
def test_a_file_name_of_another_encoding_is_read_and_hashed(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for i, name in enumerate((b"a.txt", b"caff\xe8.txt")):
        with open(os.path.join(os.fsencode(folder), name), "w") as file:
            file.write(f"text {i}")
    assert len(read_table(str(folder), "text")) == 2
    assert len(files.sha256(folder)) == 64
