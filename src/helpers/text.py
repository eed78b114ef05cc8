"""How a text is stored, how two texts are compared, and how one is shown outside a page."""

from __future__ import annotations

import re
import unicodedata
from typing import TextIO

# What a terminal may obey instead of showing it: C0 and C1 controls but line end and tab, the marks that
# reverse the order of what follows, and lone surrogates, which no stream can encode.
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: str) -> str:
    """The text in Unicode NFC, with `\\n` line ends and without outer blanks; nothing else changes."""
    text = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate cannot be saved
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def normalise(text: str) -> str:
    """The case-folded words of the text, by which exact duplicates are found; the text itself if it has no word."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())) or text


def visible(text: str, hidden: re.Pattern = HIDDEN) -> str:
    """The text with what a terminal would obey written out, as in `\\x1b` for ESC; line ends and tabs stay.

    `hidden` matches other characters to write out, one at a time.
    """
    return hidden.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def say(line: object = "", file: TextIO | None = None) -> None:
    """Print a line to the terminal at once, so that nothing in it is obeyed there: what commands print goes through here."""
    print(visible(str(line)), file=file, flush=True)


# A spreadsheet runs a cell with one of these first; a number is none, and apostrophes before it are counted.
FORMULA = re.compile(r"(?='*[=+\-@\t\r])(?![+-]?\d+([.,]\d+)?([eE][+-]?\d+)?$)")


def guarded(cell: object) -> object:
    """A cell of a CSV file with an apostrophe in front if a spreadsheet would read its text as a formula."""
    return f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) else cell


def unguarded(cell: object) -> object:
    """The cell as it was before `guarded`."""
    is_guarded = isinstance(cell, str) and cell[:1] == "'" and FORMULA.match(cell[1:])
    return cell[1:] if is_guarded else cell
