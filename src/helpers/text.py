"""How a text is stored, how two texts are compared, and how one is shown outside a page."""

from __future__ import annotations

import re
import unicodedata
from typing import TextIO

# What a terminal may obey instead of showing it: C0 and C1 controls but line end and tab, the marks that
# reverse the order of what follows, and lone surrogates, which no stream can encode.
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# What no reader sees in a word: soft hyphen, zero-width space, word joiner, byte order mark. Joiners and
# non-joiners shape emoji and Persian, so they go only between Latin letters, accents included.
_LATIN = "A-Za-z\u00aa\u00ba\u00c0-\u024f\u0300-\u036f\u1e00-\u1eff"
INVISIBLE = re.compile(f"(?<=[{_LATIN}])[\u00ad\u200b-\u200d\u2060\ufeff]+(?=[{_LATIN}])|[\u00ad\u200b\u2060\ufeff]")


def clean(text: str) -> str:
    """The text in NFC, with `\\n` line ends, without what no reader sees and without outer blanks."""
    return unstripped(text).strip()


def unstripped(text: str) -> str:
    """The text as `clean` gives it, outer blanks included."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.isascii():
        return text
    text = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate cannot be saved
    return unicodedata.normalize("NFC", INVISIBLE.sub("", text))


def name(text: str) -> str:
    """A name (label, group, split, id, column) as `clean` gives it, with one blank where there are several."""
    return " ".join(clean(text).split())


def normalise(text: str) -> str:
    """What makes a text the same text: its letters whatever their case or width, its symbols, single blanks."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", INVISIBLE.sub("", text))
    return " ".join(text.casefold().split())


def bare_words(text: str) -> str:
    """The case-folded words of the text, by which texts resemble each other; the text if it has none."""
    return " ".join(re.findall(r"\w+", normalise(text))) or text


def quoted(value: str, most: int = 60) -> str:
    """A value of the data in quotation marks for a sentence, a long one cut."""
    return repr(value if len(value) <= most else f"{value[: most - 1]}…")


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
