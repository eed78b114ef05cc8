"""What a text may do outside a page: a terminal shows it and obeys none of it, a spreadsheet runs none of it."""

import ast
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.text import guarded, say, unguarded, visible
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


@pytest.mark.parametrize("cell", ["=1+1", "+cmd|' /C calc'!A0", "-x", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''-x"])
def test_a_formula_gets_an_apostrophe_and_loses_it_again(cell):
    assert guarded(cell) == "'" + cell and unguarded(guarded(cell)) == cell


@pytest.mark.parametrize("cell", ["", "a=b", "-1", "+3.5", "-2e-3", "'tis", "it's", 3, -0.5, None, True, "-0,5"])
def test_other_cells_stay_as_they_are(cell):
    assert guarded(cell) is cell and unguarded(cell) is cell


@given(st.text(alphabet="'=+-@\t\ra1.", max_size=6))
def test_every_cell_comes_back(cell):
    assert unguarded(guarded(cell)) == cell
