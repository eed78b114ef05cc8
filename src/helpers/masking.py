"""Secrets in texts that come from elsewhere are replaced by `…`, however they are written there."""

from __future__ import annotations

import base64
import codecs
import html
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from urllib.parse import unquote
from urllib.request import getproxies

MASK = "…"
Place = tuple[int, int]  # where a character begins and ends in the text as it came
REST = re.compile(r"[\w+/-]?(?:=|%3d){1,2}|", re.IGNORECASE)  # of base64 and base32, behind the last whole character
HEX_SIGN = re.compile(r"0x(?=[0-9a-f]{2})|[\W_]+")  # what stands between bytes in hexadecimal
NUMBER = re.compile(r"(?<!\d)\d{1,3}(?!\d)")
BYTE = re.compile(r"(?:%(?:25)*|\\{1,4}x|=)[0-9a-f]{2}", re.IGNORECASE)
ESCAPED = re.compile(  # one character, or a row of escaped bytes
    rf"""(?P<bytes>(?:{BYTE.pattern})+)
    |(?P<number>\\{{1,4}}(?:u(?P<unicode>[0-9a-f]{{4}})|u\{{(?P<braced>[0-9a-f]{{1,6}})\}}|(?P<octal>[0-3][0-7]{{2}}))
        |&\#(?:x0*(?P<hexadecimal>[0-9a-f]{{1,6}})|0*(?P<decimal>\d{{1,7}}));?)
    |&(?P<name>[a-z]{{2,20}});
    |(?P<fold>=[ \t]*(?:\r?\n|(?:\\{{1,4}}r)?\\{{1,4}}n))
    |\\{{1,4}}(?P<escaped>[^\\])
    |.""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)


def make_mask(secrets: Iterable[str]) -> Callable[[str], str]:
    """The function that replaces secrets in a text of a server by `…`, in time proportional to the text.

    It finds them, and pieces of them (half of a long one, three quarters of one below 24 characters,
    at least eight), in any case and width, with what is invisible in between; URL-quoted, escaped as in JSON, HTML, mail or C, also
    twice; in hexadecimal (of UTF-16 too, whatever stands between the bytes), base32 and base64 (also twice) and base85, there also
    behind a user or a scheme; backwards and in rot13; as a list of numbers; and with the same one or two signs between
    its characters. A secret below eight characters is found only where it stands alone, and one below four not at all:
    the texts of a corpus are full of its letters.
    """
    spelled: dict[int, set[str]] = {}  # length → pieces of a spelling, each of which gives it away
    in_hex: dict[int, set[str]] = {}
    alone: set[str] = set()
    ends: set[str] = set()
    for secret in {s for s in secrets if len(s) >= 4}:
        for pieces, form in [*((spelled, f) for f in _forms(secret)), *((in_hex, f) for f in _hex_forms(secret))]:
            length = len(form) if len(secret) < 8 else _telling_length(form)
            found = {form[i : i + length] for i in range(len(form) - length + 1)}
            pieces.setdefault(length, set()).update(found)
            alone |= found if len(secret) < 8 else set()
            ends.add(form[-length:])

    def mask(text: str) -> str:
        hidden, layer = bytearray(len(text)), (text, [(i, i + 1) for i in range(len(text))])
        for _ in range(3):  # as it stands, and what it says once or twice decoded
            folded = _folded(*layer)
            views = [
                (spelled, *folded, 1),
                (spelled, *_folded(*_numbered(*layer)), 1),
                (in_hex, *_bare_hex(*folded), 1),
            ]
            views += [(spelled, *folded, step) for step in (2, 3)]
            for pieces, said, places, step in views:
                for start, end, piece in _found(pieces, said, places, step):
                    if piece in ends:
                        end = REST.match(text, end).end()
                    if piece not in alone or _stands_alone(text, start, end):
                        hidden[start:end] = b"\1" * (end - start)
            decoded = _decoded(*layer)
            if decoded[0] == layer[0]:
                break
            layer = decoded
        shown, masked = 0, []
        for run in re.finditer(b"\1+", hidden):
            masked += [text[shown : run.start()], MASK]
            shown = run.end()
        return "".join([*masked, text[shown:]])

    return mask


def without_secrets(text: str, *secrets: str) -> str:
    """A text of the hub's client or of a proxy without secrets: those given, and what the environment has for both."""
    secrets += tuple(os.environ.get(name, "") for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"))
    for address in (os.environ.get("HF_ENDPOINT", ""), *getproxies().values()):
        user, has_user, _ = address.rpartition("//")[2].rpartition("@")
        name, has_password, password = user.partition(":")
        if has_user:
            secrets += (
                user,
                unquote(user),
                *((password, unquote(password)) if has_password else (name, unquote(name))),
            )
    return make_mask(secrets)(text)


def _found(
    pieces: dict[int, set[str]], said: str, places: Sequence[Place], step: int
) -> Iterator[tuple[int, int, str]]:
    """Start, end and piece wherever a piece stands, or every `step`th character of a row does and the signs between repeat."""
    for first in range(step):
        letters = said[first::step]
        for length, known in pieces.items():
            for i in range(len(letters) - length + 1):
                if (piece := letters[i : i + length]) in known:
                    row = range(first + i * step, first + (i + length - 1) * step, step)
                    if len({said[k + 1 : k + step] for k in row}) == 1:
                        yield places[row.start][0], places[row.stop][1], piece


def _numbered(text: str, places: Sequence[Place]) -> tuple[str, list[Place]]:
    """The characters that the numbers of a list stand for; a line end where something else lies between two numbers."""
    said, where, end = [], [], 0
    for match in NUMBER.finditer(text):
        if not 0 < match.start() - end <= 3 or text[end : match.start()].isalpha():
            said.append("|")
            where.append(places[match.start()])
        end = match.end()
        said.append(chr(int(match[0])))
        where.append((places[match.start()][0], places[end - 1][1]))
    return "".join(said), where


def _bare_hex(said: str, places: Sequence[Place]) -> tuple[str, list[Place]]:
    """Letters and digits of a folded text, without `0x`."""
    kept, end = [], 0
    for match in HEX_SIGN.finditer(said):
        kept += range(end, match.start())
        end = match.end()
    kept += range(end, len(said))
    return "".join([said[k] for k in kept]), [places[k] for k in kept]


def _telling_length(form: str) -> int:
    """Characters in a row that give a secret away; of a short one more, because it may hold an ordinary word."""
    return max(8, len(form) // 2 if len(form) >= 24 else -(-3 * len(form) // 4))


def _stands_alone(text: str, start: int, end: int) -> bool:
    return not re.search(r"\w", text[max(0, start - 1) : start] + text[end : end + 1])


def _forms(secret: str) -> set[str]:
    """The spellings of a secret that no decoding of a text reveals, as `_folded` gives them."""
    data = secret.encode()
    forms = {secret, *_base32_forms(data)}
    forms |= _base64_forms(data) | _base64_forms(secret.encode("utf-16-le"))
    if len(secret) >= 8:  # a short one would be a word
        forms |= {secret[::-1], codecs.encode(secret, "rot13"), *_base85_forms(data)}
    forms |= {form for once in _base64_forms(data) for form in _base64_forms(once.encode())}
    once = _decoded(secret, [(0, 0)] * len(secret))  # what a secret with a backslash or a % is read as in a text
    forms |= {form for form in (once[0], _decoded(*once)[0]) if len(form) >= min(8, len(secret))}
    return {_folded(form, [(0, 0)] * len(form))[0] for form in forms}


def _hex_forms(secret: str) -> set[str]:
    """In hexadecimal, also of UTF-16, whose other order of bytes has the same digits."""
    return {secret.encode().hex(), secret.encode("utf-16-le").hex()}


def _folded(text: str, places: Sequence[Place]) -> tuple[str, list[Place]]:
    """The characters of a text in small letters, without accents and what is invisible, and the place of each."""
    said, where = [], []
    for character, place in zip(text, places, strict=True):
        for letter in character if character.isascii() else unicodedata.normalize("NFKD", character):
            if unicodedata.category(letter)[0] not in "CZM":
                lower = letter.casefold()
                said.append(lower)
                where += [place] * len(lower)
    return "".join(said), where


def _decoded(text: str, places: Sequence[Place]) -> tuple[str, list[Place]]:
    """A text with its escaped characters as what they stand for, and the place of each."""
    said, where = [], []
    for match in ESCAPED.finditer(text):
        start, end = match.span()
        characters, own = match[0], places[start:end]
        if match["bytes"]:
            found = [places[start + m.start()][0] for m in BYTE.finditer(match[0])] + [places[end - 1][1]]
            data = bytes(int(m[0][-2:], 16) for m in BYTE.finditer(match[0]))
            characters = data.decode("utf-8", "surrogateescape")
            bounds = [0, *accumulate(len(c.encode("utf-8", "surrogateescape")) for c in characters)]
            own = [(found[low], found[high]) for low, high in pairwise(bounds)]
        elif meaning := _meaning(match):
            characters, own = meaning, [(places[start][0], places[end - 1][1])]
        elif match["escaped"] or match["fold"]:  # a line end or a tab; the end of a line of mail that goes on
            characters, own = "", []
        said.append(characters)
        where += own
    return "".join(said), where


def _meaning(match: re.Match) -> str:
    """The one character that an escaped one stands for; '' where it is none, or invisible."""
    if match["number"]:
        digits = match["octal"] or match["decimal"] or match["hexadecimal"] or match["unicode"] or match["braced"]
        return chr(min(int(digits, 8 if match["octal"] else 10 if match["decimal"] else 16), sys.maxunicode))
    if match["name"]:
        character = html.unescape(match[0])
        return character if len(character) == 1 else ""
    return match["escaped"] if match["escaped"] and match["escaped"] not in "nrt" else ""


def _base64_forms(data: bytes) -> set[str]:
    """The characters that the base64 of any bytes around `data` has, for the three places in a
    group of three bytes.
    """
    forms = set()
    for offset, start in enumerate((0, 2, 3)):  # characters before `start` are others too
        shifted = b"\0" * offset + data
        form = base64.b64encode(shifted).decode()[start : 8 * len(shifted) // 6]
        forms |= {form, form.translate(str.maketrans("+/", "-_"))}
    return forms


def _base32_forms(data: bytes) -> set[str]:
    """The characters that the base32 of any bytes around `data` has, for the five places in a group of five bytes."""
    forms = set()
    for offset in range(5):
        shifted = b"\0" * offset + data
        forms.add(base64.b32encode(shifted).decode()[-(-8 * offset // 5) : 8 * len(shifted) // 5])
    return forms


def _base85_forms(data: bytes) -> set[str]:
    """The whole groups of five characters that any bytes around `data` leave alone, in both alphabets."""
    forms = set()
    for offset in range(4):
        shifted = b"\0" * offset + data
        end = 5 * (len(shifted) // 4)
        forms |= {encode(shifted).decode()[5 * bool(offset) : end] for encode in (base64.b85encode, base64.a85encode)}
    return forms
