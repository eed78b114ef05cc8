"""How a text is stored, how two texts are compared, and how one is shown outside a page."""

from __future__ import annotations

import re
import unicodedata
from typing import TextIO

# What a terminal may obey instead of showing it: C0 and C1 controls but line end and tab, the marks that
# reverse the order of what follows, and lone surrogates, which no stream can encode.
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# What no reader sees, inside a word or beside it: controls and format characters, the grapheme joiner, fillers, variation
# selectors, tags. Ranges and no look-up in `unicodedata`: a record's id must not change with the version of Python.
# Format characters with a sign of their own, such as the Arabic end of verse, are none of them.
_UNSEEN = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# Of these, what readers do see by its effect: sequences of emoji, joiners at letters of scripts that they shape (from Arabic
# to Myanmar, Khmer to Tai Tham, …), and selectors behind Mongolian letters.
_PICTURE = (
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff][\ufe0e\ufe0f]?"
)
_SHAPED = (
    "[\u0600-\u109f\u1780-\u180a\u1810-\u1aaf\u1b00-\u1c7f\u1cd0-\u1cff\ua800-\ua95f\ua980-\uaaff\uabc0-\uabff\ufb50-\ufdff"
    "\ufe70-\ufefc\U00010a00-\U00010fff\U00011000-\U00011fff\U0001e900-\U0001e95f]"
)
_EFFECTIVE = (
    f"[0-9#*]\ufe0f\u20e3|\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f|{_PICTURE}(?:\u200d{_PICTURE})*"
    f"|(?<={_SHAPED})[\u200c\u200d]|[\u200c\u200d](?={_SHAPED})|[\u1820-\u18aa][\u180b-\u180f]+"
)
_INVISIBLE = re.compile(f"({_EFFECTIVE})|[{_UNSEEN}]")
# Controls that part lines or fields, and blanks of Hangul.
_BREAK, _BLANK = re.compile("[\x0b\x0c\x1c-\x1f\x85]"), re.compile("[\u3164\uffa0]")
_ANY = re.compile(f"{_BREAK.pattern}|{_BLANK.pattern}|[{_UNSEEN}]")  # most texts have none, which is soon found out

# Signs that NFKC would write as letters or digits, with which a text says something else: 10² is not 102.
_SIGNS = re.compile(
    "([\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u209c\u2100\u2101\u2103\u2105\u2106\u2109\u2116\u2120-\u2122\u213b\u2150-\u215f"
    "\u2189\u2460-\u24ff\u3192-\u319f\u3200-\u33ff\U0001f100-\U0001f2ff]+)"
)


def clean(text: str) -> str:
    """The text in NFC, with `\\n` line ends, without what no reader sees and without outer blanks."""
    return unstripped(text).strip()


def unstripped(text: str) -> str:
    """The text as `clean` gives it, outer blanks included."""
    text = _seen(text.replace("\r\n", "\n").replace("\r", "\n"))
    if text.isascii():
        return text
    text = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate cannot be saved
    return unicodedata.normalize("NFC", text)


def _seen(text: str) -> str:
    """The text without what no reader sees, and with a line end or blank for what looks like one."""
    if not _ANY.search(text):
        return text
    return _INVISIBLE.sub(r"\1", _BLANK.sub(" ", _BREAK.sub("\n", text)))


def name(text: str) -> str:
    """A name (label, group, split, id, column) as `clean` gives it, with one blank where there are several."""
    return " ".join(clean(text).split())


def normalise(text: str) -> str:
    """What makes a text the same text: its letters whatever their case or width, its symbols, single blanks."""
    text = _seen(text)
    if not text.isascii():
        parts = _SIGNS.split(text)  # every other one is signs
        parts[::2] = [unicodedata.normalize("NFKC", part) for part in parts[::2]]
        text = "".join(parts)
    return " ".join(text.casefold().split())


def bare_words(text: str) -> str:
    """The case-folded words of the text, by which texts resemble each other (10² and 102 do); the text if it has none."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", _seen(text)).casefold())) or text


def searchable(text: str) -> str:
    """The text in one case and without accents, as people type what they search for."""
    return re.sub(r"[\u0300-\u036f]", "", unicodedata.normalize("NFD", text)).casefold()


def word_places(text: str) -> list[tuple[int, int]]:
    """(start, end) of the words of a text."""
    return [match.span() for match in re.finditer(r"\w+", text)]


def quoted(value: str, most: int = 60) -> str:
    """A value of the data in quotation marks for a sentence, a long one cut."""
    return repr(value if len(value) <= most else f"{value[: most - 1]}…")


def plural(n: int, noun: str) -> str:
    """`1 label`, `2 labels`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def visible(text: str, hidden: re.Pattern = HIDDEN) -> str:
    """The text with what a terminal would obey written out, as in `\\x1b` for ESC; line ends and tabs stay.

    `hidden` matches other characters to write out, one at a time.
    """
    return hidden.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def say(line: object = "", file: TextIO | None = None) -> None:
    """Print a line to the terminal at once, so that nothing in it is obeyed there: what commands print goes through here."""
    print(visible(str(line)), file=file, flush=True)


# A spreadsheet runs a cell with one of these first; a number is none, and apostrophes before it are counted.
_RUN = "=+\\-@＝＋－＠"
FORMULA = re.compile(rf"(?='*[{_RUN}\t\r])(?![+-]?\d+([.,]\d+)?([eE][+-]?\d+)?$)")
# One that parts cells by semicolons or tabs begins a cell in the middle of a text, whatever is quoted. There a sign that also
# begins the lines of a list is none unless it could call something.
_BEGUN = rf"""(?=["']*(?:[=＝]|[{_RUN}][^;\t\r\n]*[(|]))"""
_INNER, _INNER_GUARDED = (re.compile(rf"([;\t\r\n]){sign}{_BEGUN}") for sign in ("", "'"))


def guarded(cell: object) -> object:
    """A cell of a CSV file with an apostrophe wherever a spreadsheet would else begin to read its text as a formula."""
    if not isinstance(cell, str):
        return cell
    cell = _INNER.sub(r"\1'", cell)
    return f"'{cell}" if FORMULA.match(cell) else cell


def unguarded(cell: object) -> object:
    """The cell as it was before `guarded`."""
    if not isinstance(cell, str):
        return cell
    is_guarded = cell[:1] == "'" and FORMULA.match(cell[1:])
    return _INNER_GUARDED.sub(r"\1", cell[1:] if is_guarded else cell)
