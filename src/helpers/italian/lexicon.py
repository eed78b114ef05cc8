"""The words of Italian job ads: tables, guesses by ending, and tokens with their readings.

Agreement is computed on masks. A mask is a set of bits over the four forms of a word (its slots):
1 masculine, 2 feminine, 4 masculine plural, 8 feminine plural. "candidati" has the mask 4, the
epicene "responsabile" 3.
"""

from __future__ import annotations

import csv
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from operator import attrgetter
from pathlib import Path

FOLDER = Path(__file__).parent / "tables"
MASCULINE, FEMININE, SINGULAR, PLURAL, ANY = 0b0101, 0b1010, 0b0011, 0b1100, 0b1111
SLOT_BITS = (1, 2, 4, 8)
ARTICLE_BITS = (1, 1, 1, 2, 2, 4, 4, 8)  # the eight columns of morph_determiners.tsv
NOUNS = {"noun", "role"}
MODIFIERS = {"adj", "participle", "person", "role"}  # kinds of words that may describe a person
AMOUNTS = {"molto", "tanto", "troppo", "poco"}
BOUNDARY = set(".;:!?\n•|–—·✓●▪►")  # signs that end a sentence, a line or an item
REACH = 32  # words that a search among neighbours goes through at most: no phrase is longer


@dataclass(frozen=True)
class Reading:
    """One meaning of a word: its kind, its four forms (an article: eight), the mask it can have."""

    kind: str
    forms: tuple[str, ...]
    mask: int

    @property
    def is_article(self) -> bool:
        """Whether the form depends on the next word: "il", "dello", "un'", "bell'"."""
        return len(self.forms) == len(ARTICLE_BITS)


@dataclass
class Token:
    """A word, number, sign or line end of the text."""

    text: str
    lower: str  # lower case, straight apostrophe
    start: int
    end: int
    readings: list[Reading]
    is_double: bool  # part of a double form such as "candidato/a" or "il/la": never rewritten
    # Both are asked for at every word: to search the text for them would take the square of its length.
    previous: int  # index of the nearest token before this one that is no adverb, -1 at the start
    sentence: int  # index of the first token of its sentence or line


def reading_of(token: Token, kinds: set[str], mask: int = ANY) -> Reading | None:
    """The first reading of one of the kinds that can agree with `mask`."""
    for reading in token.readings:  # asked dozens of times a word: a generator would take twice as long
        if reading.kind in kinds and reading.mask & mask:
            return reading
    return None


# --- tables -----------------------------------------------------------------------------


@cache
def table_rows(name: str) -> list[dict[str, str]]:
    """The rows of the table `name`.tsv of the room, column → cell; they may not be changed."""
    with (FOLDER / f"{name}.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def occupations() -> list[dict[str, str]]:
    return table_rows("occupations")


@cache
def word_classes() -> dict[str, set[str]]:
    classes: dict[str, set[str]] = {}
    for row in table_rows("morph_words"):
        classes.setdefault(row["class"], set()).add(row["word"])
    return classes


@cache
def _classes_of() -> dict[str, frozenset[str]]:
    """Word → its classes."""
    classes: dict[str, set[str]] = {}
    for name, words in word_classes().items():
        for word in words:
            classes.setdefault(word, set()).add(name)
    return {word: frozenset(names) for word, names in classes.items()}


def belongs(token: Token, *classes: str) -> bool:
    """Whether the word belongs to one of the classes of morph_words.tsv."""
    known = _classes_of().get(token.lower)
    return known is not None and not known.isdisjoint(classes)


def is_link(token: Token) -> bool:
    """Whether the token joins two words: a comma, a conjunction, "/"."""
    return token.lower == "," or belongs(token, "conjunction")


def is_adverb(token: Token) -> bool:
    return belongs(token, "adverb") or token.lower.endswith("mente")


@cache
def function_words() -> frozenset[str]:
    """Words that are never a person, a quality or a thing."""
    content = {"english", "also_english", "kin", "ambiguous", "also_of_things", "organisation", "register", "trade"}
    content |= {
        "language",
        "automatic",
        "diploma",
        "duration",
        "compound",
        "title_of_work",
        "of_things",
        "body",
        "law",
        "office",
    }
    return frozenset(word for name, words in word_classes().items() if name not in content for word in words)


def is_function(token: Token) -> bool:
    """Whether the token is a sign, a number, a function word or a determiner."""
    is_word = token.lower[0].isalpha() and token.lower not in function_words()
    return not is_word or reading_of(token, {"article", "determiner"}) is not None


@cache
def lexicon() -> dict[str, list[Reading]]:
    """Form → readings, from the articles, the lexicon and the head words of the occupations."""
    readings: dict[str, list[Reading]] = {}
    for row in table_rows("morph_determiners"):
        _add(readings, "article", tuple(row.values())[1:])
    for row in table_rows("lexicon"):
        _add(readings, row["kind"], tuple(row.values())[:4])
    for row in occupations():
        columns = ("masculine", "feminine", "masculine_plural", "feminine_plural")
        forms = tuple(row[column].lower().split()[0] for column in columns)
        # epicene heads are listed in the lexicon, with care: "guida" names no one's gender
        if forms[0] not in forms[1:3] and all(known.kind == "adj" for known in readings.get(forms[0], [])):
            _add(readings, "role", forms)
    for word in AMOUNTS:  # beside one person they are adverbs: "molto motivata"
        readings.pop(word, None)
    return readings


def _add(readings: dict[str, list[Reading]], kind: str, forms: tuple[str, ...]) -> None:
    """Add a reading under each of its forms, with the mask of all slots that the form fills."""
    bits = ARTICLE_BITS if kind == "article" else SLOT_BITS
    for form in set(forms) - {"-"}:
        mask = sum({bit for other, bit in zip(forms, bits, strict=True) if other == form})
        readings.setdefault(form, []).append(Reading(kind, forms, mask))


# --- endings ----------------------------------------------------------------------------

EPICENE = re.compile(r"(nt|il|al|es|ar|bil|vol|ac|oc|ev|or|en|on)[ei]$|ista$")
ABSTRACT = re.compile(r"([zs]|gg)ion[ei]$|ment[oi]$|tudin[ei]$")
# the plural -i of an unknown word turns into -e only after these: "contenti", but "felici"
PARTICIPLE = re.compile(r"(at|it|ut|tt|st|rt|lt|os|is|us|rs|ss|iv|an|egn|ich?|olt|ett|unt|int|ert)(issim)?[oaie]$")
VERBAL = re.compile(r"[aiu]t[oaie]$")  # of an unknown adjective after "sei" or "è"
NOT_A_QUALITY = ("mento", "ezza", "enza", "anza", "ore", "ista", "ando", "endo")  # "stai cercando"


@lru_cache(maxsize=10_000)  # a long text says most of its words more than once
def _by_ending(word: str, kind: str, mask: int = ANY) -> list[Reading]:
    """Readings of an unknown word by the first row of morph_endings.tsv that can agree with `mask`."""
    for endings in (tuple(row.values())[1:] for row in table_rows("morph_endings") if row["kind"] == kind):
        readings = []
        for slot, ending in enumerate(endings):
            if word.endswith(ending) and len(word) > len(ending) + 2 and mask & SLOT_BITS[slot]:
                stem = word.removesuffix(ending)
                forms = tuple(stem + other for other in endings)
                bits = (bit for bit, form in zip(SLOT_BITS, forms, strict=True) if form == word)
                readings.append(Reading(kind, forms, sum(bits)))
        if readings:
            return readings
    return []


def adjective_of(token: Token, mask: int, any_ending: bool) -> Reading | None:
    """The adjective that `token` may be beside a person of `mask`.

    An unknown word needs an ending of participles or, with `any_ending`, the ending -o or -a.
    """
    known = reading_of(token, MODIFIERS, mask)
    if known or token.readings or token.is_double or not token.lower.isalpha() or len(token.lower) < 4:
        return known
    if token.lower in function_words() or belongs(token, "english") or token.text.istitle() or is_adverb(token):
        return None
    if ABSTRACT.search(token.lower):
        return None
    if EPICENE.search(token.lower):
        number = SINGULAR if token.lower[-1] in "ea" else PLURAL
        return Reading("adj", (token.lower,) * 4, number) if number & mask else None
    regular = any_ending and token.lower[-1] in "oa" and not token.lower.endswith(NOT_A_QUALITY)
    if not PARTICIPLE.search(token.lower) and not regular:
        return None
    return next(iter(_by_ending(token.lower, "adj", mask)), None)


def noun_mask(token: Token) -> int:
    """The mask of an unknown noun by its last letter; foreign words have any singular."""
    word = token.lower
    if word.endswith(("zione", "sione", "gione", "tà", "tù", "tudine", "rice")):
        return FEMININE
    return {"o": 1, "a": 2, "i": PLURAL, "e": 0b1011}.get(word[-1], SINGULAR) if word[-1].isalpha() else 0


# --- tokens -----------------------------------------------------------------------------

_SIGN = r"(?:/-?|-|\()"  # "addetto/i" is a number, not a gender: the endings are paired one by one
_TOKEN = re.compile(
    r"(?P<double>[^\W\d_]*[əɜ][^\W\d_]*|[^\W\d_]+[*@][^\W\d_]*|[^\W\d_]*(?:"
    rf"[one]{_SIGN}a|a{_SIGN}[oe]|i{_SIGN}(?:[gc]?he|e|trici|esse)|(?<![rl])(?<!nt)e{_SIGN}i"
    rf"|re{_SIGN}t?rice|[oe]{_SIGN}e?ssa|ri{_SIGN}(?:t?rici|esse)|ce{_SIGN}tore|ci{_SIGN}tori)\b\)?)"
    r"|(?P<accent>[^\W\d_]{2,}[aeiou]['’](?![^\W\d_]))"  # "attivita'", as keyboards without accents write it
    r"|[Ee]['’](?![^\W\d_])|[Uu]n po['’]|[^\W\d_]+['’](?=[^\W\d_])|[^\W\d_]+|\d+|\n|[^\w\s]",
    re.IGNORECASE,
)

# "le assistenti e gli assistenti", "una baby sitter o un baby sitter"
_DETERMINER = r"\b(?:(?:il|lo|la|i|gli|le|un|un[ao]|(?:de|a|da|ne|su)(?:l|i|gli|ll[aoe])) |(?:un|l|\wll|\w\wll)['’])"
_REPEATED = re.compile(rf"{_DETERMINER}(\w+(?: \w+)?) (?:e|o|ed|od|oppure) {_DETERMINER}\1\b", re.IGNORECASE)


_QUOTATION = re.compile(r"(?<!\w)['’‘]\w[^'’\n]{0,80}(['’])(?!\w)")  # its end is no accent
_TRUNCATED = {"sta'", "anda'", "vole'"}  # verbs cut short, as "po'" is
_GRAVE = str.maketrans("aeiou", "àèìòù")


def _words(text: str) -> Iterator[tuple[str, str, int, int, bool]]:
    """(as written, in small letters with straight apostrophes and accents, start, end, whether double) of every token."""
    closing = {match.start(1) for match in _QUOTATION.finditer(text)}
    for match in _TOKEN.finditer(text):
        word, start, end = match.group(), *match.span()
        lower = word.lower().replace("’", "'")
        if not match["accent"] or lower in _TRUNCATED:
            yield word, lower, start, end, bool(match["double"])
        elif end - 1 in closing:
            yield word[:-1], lower[:-1], start, end - 1, False
            yield word[-1], "'", end - 1, end, False
        else:
            vowel = "é" if lower.endswith("che'") else lower[-2].translate(_GRAVE)
            yield word, lower[:-2] + vowel, start, end, False


def tokenise(text: str) -> list[Token]:
    """Words, numbers, signs and line ends with their readings; double forms are marked."""
    tokens: list[Token] = []
    previous, sentence = -1, 0
    for i, (word, lower, start, end, is_double) in enumerate(_words(text)):
        known = _double_readings(lower) if is_double else lexicon().get(lower)
        is_known = is_double or known or not lower[-1].isalpha()  # signs have no ending
        readings = known or [] if is_known else _by_ending(lower, "role")
        token = Token(word, lower, start, end, readings, is_double, previous, sentence)
        tokens.append(token)
        previous = previous if is_adverb(token) else i
        sentence = i + 1 if lower in BOUNDARY else sentence
    for match in _REPEATED.finditer(text):
        first, last = (bisect_left(tokens, place, key=attrgetter("start")) for place in match.span())
        for token in tokens[first:last]:
            token.is_double = True
    _mark_english(tokens)
    _mark_pairs(tokens)
    return tokens


def _mark_english(tokens: list[Token]) -> None:
    """Read a word that Italian and English share as English before an English one: "native speaker".

    Right behind a word for women it stays Italian: "addette operative part-time".
    """
    for i, token in enumerate(tokens[:-1]):
        if belongs(token, "also_english") and is_foreign(tokens[i + 1]):
            women = i and reading_of(tokens[i - 1], {"noun", "role", "person", "adj"}, SLOT_BITS[3])
            if not women or women.mask != SLOT_BITS[3]:
                token.readings = [Reading("english", (token.lower,) * 4, ANY)]


def is_foreign(token: Token) -> bool:
    """Whether the word is English, or has no Italian ending: "content", "speaker"."""
    if belongs(token, "english"):
        return True
    inflected = any(len(set(reading.forms)) > 1 for reading in token.readings)
    return token.lower.isalpha() and not inflected and not is_function(token) and token.lower[-1] not in "aeioàèéìòù"


SHORT = 4  # letters of a word that says nothing by its stem


def _mark_pairs(tokens: list[Token]) -> None:
    """Mark the words from one gender of a word to the other: "un valido o una valida"."""
    for i, first in enumerate(tokens):
        # no determiner between two articles: "la nostra tutor e il suo tutor" are two people
        if not first.readings and len(first.lower) <= SHORT:
            continue
        between = {"article", "adj"} if reading_of(first, {"article"}) else {"article", "adj", "determiner"}
        for j in range(i + 1, min(i + 6, len(tokens))):
            if are_pair(first, tokens[j]):
                for token in tokens[i : j + 1]:
                    token.is_double = True
            linked = belongs(tokens[j], "conjunction") or tokens[j].lower in "(),"
            if not linked and not reading_of(tokens[j], between):
                break


def _double_readings(word: str) -> list[Reading]:
    """The reading of a double form, which agrees with either gender."""
    stem = re.split(r"[/*@ə(\-]", word)[0]
    forms = [stem + ending for ending in ("", "o", "a", "e", "i")]
    known = next((lexicon()[form][0] for form in forms if form in lexicon()), None)
    return [Reading(known.kind, known.forms, SINGULAR if known.mask & SINGULAR else PLURAL)] if known else []


def are_pair(one: Token, two: Token) -> bool:
    """Whether two words are the two genders of one word: il/la, addetti e addette."""
    same_stem = len(one.lower) > SHORT and one.lower[:-1] == two.lower[:-1]
    if same_stem and {one.lower[-1], two.lower[-1]} in ({"a", "o"}, {"e", "i"}):
        return True
    masks = [(a.mask, b.mask) for a in one.readings for b in two.readings if a.forms == b.forms]
    return any(not a & b and any(a & number and b & number for number in (SINGULAR, PLURAL)) for a, b in masks)
