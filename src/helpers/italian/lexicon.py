"""The words of Italian job ads: the tables of italian_jobs, guesses for unknown words by their endings, and tokens."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "tables"
# Masks are bit sets over the four forms of a word: 1 masculine, 2 feminine, 4 masculine plural, 8 feminine plural.
MASCULINE, FEMININE, SINGULAR, PLURAL, ANY = 0b0101, 0b1010, 0b0011, 0b1100, 0b1111
PEOPLE = {"noun", "role"}
SAID_OF_PEOPLE = {"adj", "participle", "person", "role"}
AMOUNTS = {"molto", "tanto", "troppo", "poco"}
BOUNDARY = set(".;:!?\n•|–—·✓●▪►")


@dataclass(frozen=True)
class Reading:
    """What a word can be: its kind, its four forms (eight for an article), and the mask of forms it stands for."""

    kind: str
    forms: tuple[str, ...]
    mask: int


@dataclass
class Token:
    """A word, number, sign or line end of the text."""

    text: str
    low: str  # lower case, straight apostrophe
    start: int
    end: int
    readings: list[Reading]
    fixed: bool  # part of a double form such as "candidato/a" or "il/la": never rewritten


def reading_of(token: Token, kinds: set[str], mask: int = ANY) -> Reading | None:
    """The first reading of one of the kinds that can agree with `mask`."""
    return next((r for r in token.readings if r.kind in kinds and r.mask & mask), None)


# --- tables ----------------------------------------------------------------------------------------------------------


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a tab-separated table."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


@cache
def word_classes() -> dict[str, set[str]]:
    """Class → words."""
    classes: dict[str, set[str]] = {}
    for row in read_table(FOLDER / "morph_words.tsv"):
        classes.setdefault(row["class"], set()).add(row["word"])
    return classes


def belongs(token: Token, *classes: str) -> bool:
    """Whether the word belongs to one of the classes of morph_words.tsv."""
    return any(token.low in word_classes()[name] for name in classes)


def is_adverb(token: Token) -> bool:
    """A known adverb, or any word in -mente."""
    return belongs(token, "adverb") or token.low.endswith("mente")


@cache
def function_words() -> frozenset[str]:
    """Words that are never a person, a quality or a thing."""
    content = {"english", "kin", "ambiguous", "also_of_things"}
    return frozenset(word for name, words in word_classes().items() if name not in content for word in words)


def is_function(token: Token) -> bool:
    """Whether the token is a sign, a number, a function word or a determiner."""
    return (
        not token.low[0].isalpha()
        or token.low in function_words()
        or reading_of(token, {"article", "determiner"}) is not None
    )


@cache
def lexicon() -> dict[str, list[Reading]]:
    """Form → readings, from the articles, the lexicon and the head words of the occupations."""
    found: dict[str, list[Reading]] = {}
    for row in read_table(FOLDER / "morph_determiners.tsv"):
        _add(found, "article", tuple(row.values())[1:], (1, 1, 1, 2, 2, 4, 4, 8))
    for row in read_table(FOLDER / "lexicon.tsv"):
        _add(found, row["kind"], tuple(row.values())[:4], (1, 2, 4, 8))
    for row in read_table(FOLDER / "occupations.tsv"):
        columns = (row["masculine"], row["feminine"], row["masculine_plural"], row["feminine_plural"])
        forms = tuple(column.lower().split()[0] for column in columns)
        # epicene heads are listed in the lexicon, with care: "guida" names no one's gender
        if forms[0] not in forms[1:3] and all(r.kind == "adj" for r in found.get(forms[0], [])):
            _add(found, "role", forms, (1, 2, 4, 8))
    for word in AMOUNTS:  # beside one person they are adverbs: "molto motivata"
        found.pop(word, None)
    return found


def _add(found: dict[str, list[Reading]], kind: str, forms: tuple[str, ...], bits: tuple[int, ...]) -> None:
    for form in set(forms) - {"-"}:
        mask = sum({bit for other, bit in zip(forms, bits, strict=True) if other == form})
        found.setdefault(form, []).append(Reading(kind, forms, mask))


# --- endings ---------------------------------------------------------------------------------------------------------

# Endings of unknown words: masculine, feminine, masculine plural, feminine plural.
ROLE_ENDINGS = [
    ("ista", "ista", "isti", "iste"),
    *((f"{v}tore", f"{v}trice", f"{v}tori", f"{v}trici") for v in "aiut"),
    ("ologo", "ologa", "ologi", "ologhe"),
    ("aiolo", "aiola", "aioli", "aiole"),
]
ADJECTIVE_ENDINGS = [
    ("ico", "ica", "ici", "iche"),
    ("co", "ca", "chi", "che"),
    ("go", "ga", "ghi", "ghe"),
    ("ario", "aria", "ari", "arie"),
    ("io", "ia", "ii", "ie"),
    ("o", "a", "i", "e"),
]
EPICENE = re.compile(r"(nt|il|al|es|ar|bil|vol|ac|oc|ev|or|en|on)[ei]$|ista$")
# the plural -i of an unknown word turns into -e only after these: "contenti", but "felici"
PARTICIPLE = re.compile(r"(at|it|ut|tt|st|rt|lt|os|is|us|rs|ss|iv|an|egn|ich?|olt|ett|unt|int|ert)(issim)?[oaie]$")


def _by_ending(word: str, kind: str, table: list[tuple[str, ...]], mask: int = ANY) -> list[Reading]:
    """Readings of an unknown word by its ending, those that can agree with `mask`."""
    for endings in table:
        found = []
        for position, ending in enumerate(endings):
            if word.endswith(ending) and len(word) > len(ending) + 2 and mask & 1 << position:
                forms = tuple(word[: len(word) - len(ending)] + e for e in endings)
                found.append(Reading(kind, forms, sum(1 << p for p, form in enumerate(forms) if form == word)))
        if found:
            return found
    return []


def adjective_of(token: Token, mask: int, loose: bool) -> Reading | None:
    """The adjective that `token` may be beside a person of `mask`; any ending will do where `loose`."""
    known = reading_of(token, SAID_OF_PEOPLE, mask)
    if known or token.readings or token.fixed or not token.low.isalpha() or len(token.low) < 4:
        return known
    if token.low in function_words() or belongs(token, "english") or token.text.istitle():
        return None
    if EPICENE.search(token.low):
        forms = (token.low,) * 4
        number = SINGULAR if token.low[-1] in "ea" else PLURAL
        return Reading("adj", forms, number) if number & mask else None
    other = token.low.endswith(("mento", "ezza", "enza", "anza", "ore", "ista", "ando", "endo"))  # "stai cercando"
    if not PARTICIPLE.search(token.low) and not (loose and token.low[-1] in "oa" and not other):
        return None
    return next(iter(_by_ending(token.low, "adj", ADJECTIVE_ENDINGS, mask)), None)


def noun_mask(token: Token) -> int:
    """The forms an unknown noun may stand for, by its last letter; foreign words agree with anything."""
    low = token.low
    if low.endswith(("zione", "sione", "gione", "tà", "tù", "tudine", "rice")):
        return FEMININE
    return {"o": 1, "a": 2, "i": PLURAL, "e": 0b1011}.get(low[-1], SINGULAR) if low[-1].isalpha() else 0


# --- tokens ----------------------------------------------------------------------------------------------------------

_SIGN = r"(?:/-?|-|\()"  # "addetto/i" is a number, not a gender: the endings are paired one by one
_TOKEN = re.compile(
    r"(?P<double>[^\W\d_]*[əɜ][^\W\d_]*|[^\W\d_]+[*@][^\W\d_]*|[^\W\d_]*(?:"
    rf"[one]{_SIGN}a|a{_SIGN}[oe]|i{_SIGN}(?:[gc]?he|e|trici|esse)|(?<![rl])(?<!nt)e{_SIGN}i"
    rf"|re{_SIGN}t?rice|[oe]{_SIGN}e?ssa|ri{_SIGN}(?:t?rici|esse)|ce{_SIGN}tore|ci{_SIGN}tori)\b\)?)"
    r"|[Ee]['’](?![^\W\d_])|[Uu]n po['’]|[^\W\d_]+['’](?=[^\W\d_])|[^\W\d_]+|\d+|\n|[^\w\s]",
    re.IGNORECASE,
)

# "le assistenti e gli assistenti", "una baby sitter o un baby sitter"
_DETERMINER = r"\b(?:(?:il|lo|la|i|gli|le|un|un[ao]|(?:de|a|da|ne|su)(?:l|i|gli|ll[aoe])) |(?:un|l|\wll|\w\wll)['’])"
_TWICE = re.compile(rf"{_DETERMINER}(\w+(?: \w+)?) (?:e|o|ed|od|oppure) {_DETERMINER}\1\b", re.IGNORECASE)


def tokenise(text: str) -> list[Token]:
    """Words, numbers, signs and line ends with their offsets and readings; pairs of both genders are fixed."""
    tokens = []
    for match in _TOKEN.finditer(text):
        word, double = match.group(), bool(match["double"])
        low = word.lower().replace("’", "'")
        known = _double_readings(low) if double else lexicon().get(low) or _by_ending(low, "role", ROLE_ENDINGS)
        tokens.append(Token(word, low, match.start(), match.end(), known, double))
    for match in _TWICE.finditer(text):
        for token in tokens:
            token.fixed |= match.start() <= token.start < match.end()
    _fix_pairs(tokens)
    return tokens


def _fix_pairs(tokens: list[Token]) -> None:
    """Fix the words from one gender of a word to the other: "addetti e addette", "un valido o una valida"."""
    for i, first in enumerate(tokens):
        # no determiner between two articles: "la nostra responsabile e il suo collaboratore" are two people
        between = {"article", "adj"} if reading_of(first, {"article"}) else {"article", "adj", "determiner"}
        for j in range(i + 1, min(i + 6, len(tokens))):
            if are_pair(first, tokens[j]):
                for token in tokens[i : j + 1]:
                    token.fixed = True
            linked = belongs(tokens[j], "conjunction") or tokens[j].low in "(),"
            if not linked and not reading_of(tokens[j], between):
                break


def _double_readings(low: str) -> list[Reading]:
    """A double form is a noun, an article or an adjective that agrees with either gender."""
    stem = re.split(r"[/*@ə(\-]", low)[0]
    known = [r for ending in ("", "o", "a", "e", "i") for r in lexicon().get(stem + ending, [])]
    return [Reading(r.kind, r.forms, SINGULAR if r.mask & SINGULAR else PLURAL) for r in known[:1]]


def are_pair(one: Token, two: Token) -> bool:
    """Whether two words are the two genders of one word: il/la, addetti e addette."""
    same_stem = len(one.low) > 4 and one.low[:-1] == two.low[:-1]
    return (same_stem and {one.low[-1], two.low[-1]} in ({"a", "o"}, {"e", "i"})) or any(
        a.forms == b.forms and not a.mask & b.mask and any(a.mask & n and b.mask & n for n in (SINGULAR, PLURAL))
        for a in one.readings
        for b in two.readings
    )
