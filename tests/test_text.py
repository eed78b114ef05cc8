"""What a text is without what no reader sees, and what it may do outside a page: no terminal and no spreadsheet obeys it."""

import ast
import csv
import io
import sys
import time
import unicodedata

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.files import write_delimited
from helpers.text import FORMULA, bare_words, clean, guarded, name, normalise, say, unguarded, visible
from tests.project import ROOT

ORDERS = {
    "a colour": "\x1b[31mred",
    "a title": "\x1b]0;title\x07",
    "a link": "\x1b]8;;http://payload.invalid\x1b\\text\x1b]8;;\x1b\\",
    "the line again": "safe\rgone",
    "a bell": "\a",
    "a C1 control": "\x9b2J",
    "backspaces": "abc\b\b\b",
    "another order": "\u202egnp.exe\u202c",
    "an isolate": "\u2066a\u2069",
}


@pytest.mark.parametrize("name", ORDERS)
def test_what_a_terminal_would_obey_is_written_out(name):
    stream = io.StringIO()
    say(ORDERS[name], stream)
    shown = stream.getvalue().removesuffix("\n")
    assert shown.isprintable() and "\\" in shown


def test_other_text_stays_as_it_is():
    for text in ("due\nrighe\te un tab", "perché «così» 中文 👩‍🍳 שלום", r"C:\new\x1b", ""):
        assert visible(text) == text


def test_the_commands_print_through_one_function():
    """A print of its own, or typer's, would send what is in the data to the terminal."""
    paths = [*(ROOT / "src/helpers/cli").glob("*.py"), *(ROOT / "src/helpers").glob("*/cli.py")]
    assert len(paths) > 1, "no files: the rule has nothing to check"
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            assert called not in ("print", "typer.echo", "typer.secho", "click.echo", "sys.stdout.write"), path
            if called in ("tqdm.write", "sys.stderr.write"):
                assert ast.unparse(node.args[0]).startswith("visible("), path


FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-x", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''-x", "＝1", "＋1", "－x", "＠a"]


@pytest.mark.parametrize("cell", FORMULAS)
def test_a_formula_gets_an_apostrophe_and_loses_it_again(cell):
    assert (
        guarded(cell) == "'" + cell.replace("=", "'=" if cell[0] in "\t\r" else "=")
        and unguarded(guarded(cell)) == cell
    )


@pytest.mark.parametrize("cell", ["", "a=b", "-1", "+3.5", "-2e-3", "'tis", "it's", 3, -0.5, None, True, "-0,5"])
def test_other_cells_stay_as_they_are(cell):
    assert guarded(cell) is cell and unguarded(cell) is cell


@given(st.text(alphabet="'=+-@\t\ra1.;\n\"(|＝", max_size=8))
def test_every_cell_comes_back(cell):
    assert unguarded(guarded(cell)) == cell


CALLS = ["=cmd|' /C calc'!A0", "-2+cmd|' /C calc'!A0", "@SUM(A1)", "＝cmd|' /C calc'!A0", '"=1+1', '"";"+cmd|a!b']


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("separator", [";", "\t", "\n", "\r", ";'"])
def test_a_spreadsheet_with_another_separator_finds_no_formula_in_a_text(separator, call):
    cell = f"Buono {separator}{call}"
    stream = io.StringIO(newline="")
    write_delimited(stream, pd.DataFrame({"n": [1], "text": [guarded(cell)], "last": ["x"]}))
    for sign in ";\t":
        lines = stream.getvalue().splitlines(keepends=True)
        found = [cell for row in csv.reader(lines, delimiter=sign) for cell in row]
        assert not [cell for cell in found if FORMULA.match(cell) and not cell.startswith("'")]
    assert unguarded(guarded(cell)) == cell


@pytest.mark.parametrize("cell", ["Cercasi:\n- cuoco\n- lavapiatti", "ciao ;-) a dopo", "grazie\n@anna", "a;b=c"])
def test_lists_and_faces_stay_as_they_are(cell):
    assert guarded(cell) == cell


def test_the_time_to_guard_a_text_grows_with_its_length():
    began = time.time()
    for part in (";-", "\n-", ";'", ';"', "\t"):
        unguarded(guarded(part * 200_000))
    assert time.time() - began < 5


# Format characters with a sign of their own: of Arabic, Syriac and Kaithi numbers and verses; the layout of hieroglyphs.
SIGNED = [*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD, *range(0x13430, 0x13440)]


def test_no_character_that_nobody_sees_stays_in_a_word():
    unseen = [
        c
        for c in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(c) in ("Cf", "Cc") and ord(c) not in SIGNED
    ]
    unseen = [c for c in unseen if not c.isspace()] + list("\u034f\u115f\u1160\ufe00\ufe0e\ufe0f\U000e0100\U000e01ef")
    assert len(unseen) > 200
    for c in unseen:
        for word in ("infer{}miere", "ба{}ба", "{}hate{}"):
            spoilt, sound = word.replace("{}", c), word.replace("{}", "")
            assert clean(spoilt) == name(spoilt) == sound, hex(ord(c))
            assert normalise(spoilt) == bare_words(spoilt) == sound, hex(ord(c))


@pytest.mark.parametrize(
    "text",
    [
        "👩\u200d🍳 🧑🏽\u200d🍳 🏳\ufe0f\u200d🌈 👁\ufe0f\u200d🗨\ufe0f ❤\ufe0f\u200d🔥 ☎\ufe0e",
        "1\ufe0f\u20e3 #\ufe0f\u20e3 ™\ufe0f",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "می\u200cخواهم",
        "क्\u200dष श्री\u200cमान",
        "അവന്\u200d",
        "ᠮᠣᠩᠭᠣ᠋ᠯ ᠬ᠎ᠠ",
        "due\nrighe\te un tab",
    ],
)
def test_what_emoji_and_scripts_are_written_with_stays(text):
    assert clean(text) == text and normalise(text) == " ".join(text.split())


@pytest.mark.parametrize(
    "text", ["❤\u200d", "a\u200d❤", "❤\ufe0f\ufe0f", "1\ufe0f", "\U000e0067🏴\U000e0067", "ma\u200c", "ha\u180ete"]
)
def test_half_a_sequence_is_none(text):
    assert clean(text) in ("❤", "a❤", "❤\ufe0f", "1", "🏴", "ma", "hate")


@pytest.mark.parametrize(
    "text", ["page one\x0cpage two", "page one\x0bpage two", "page one\x85page two", "page one\u3164page two"]
)
def test_what_parts_words_still_parts_them(text):
    assert name(text) == normalise(text) == "page one page two"


@given(st.text(alphabet="a1é\u0301❤🏴\u00ad\u200c\u200d\ufe0f\u20e3\U000e0067\U000e007fمᠮ\u180e\x00\x0b²", max_size=8))
def test_a_clean_text_is_clean(text):
    assert clean(clean(text)) == clean(text)
    assert normalise(clean(text)) == normalise(text)
