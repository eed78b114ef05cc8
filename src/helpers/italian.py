"""Gender morphology of Italian job ads: occupations, counterfactual swap, double forms, and cues of exclusive wording.

One machine serves all: `_phrases` finds the stretches that give a person one grammatical gender (noun phrases, predicates,
loose adjectives); `swap` and `neutralise` rewrite them, `cues` reports them. What is not surely about a person is left alone.
Masks are bit sets over the four forms of a word: 1 masculine, 2 feminine, 4 masculine plural, 8 feminine plural.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

FOLDER = Path(__file__).parent / "italian_jobs"
MASCULINE, FEMININE, SINGULAR, PLURAL, ANY = 0b0101, 0b1010, 0b0011, 0b1100, 0b1111
PEOPLE = {"noun", "role"}
SAID_OF_PEOPLE = {"adj", "participle", "person", "role"}
BOUNDARY = set(".;:!?\n•|–—·✓●▪►")


@dataclass(frozen=True)
class Occupation:
    """One row of occupations.tsv."""

    lemma: str
    masculine: str
    feminine: str
    masculine_plural: str
    feminine_plural: str
    double: str
    neutral: str
    epicene: bool
    sector: str


@dataclass(frozen=True)
class Cue:
    """A stretch `text[start:end]` that makes an ad exclusive, and why."""

    start: int
    end: int
    text: str
    category: str


@dataclass(frozen=True)
class Reading:
    """What a word can be: its kind, its four forms (eight for an article), and the mask of forms it stands for."""

    kind: str
    forms: tuple[str, ...]
    mask: int


@dataclass
class Token:
    text: str
    start: int
    end: int
    readings: list[Reading] = field(default_factory=list)
    fixed: bool = False  # part of a double or neutral form such as "candidato/a": a person, never rewritten

    @property
    def low(self) -> str:
        return self.text.lower().replace("’", "'")


@dataclass
class Phrase:
    """Words that agree about a person: `parts` index → reading, `mask` of the gender and number they share."""

    parts: dict[int, Reading]
    mask: int
    head: int
    kind: str  # noun, predicate, object ("mi ha colpito") or loose

    @property
    def slot(self) -> int | None:
        """0 to 3 as in the four forms; None when the words leave the gender open."""
        mask = self.mask if self.mask in (1, 2, 4, 8) else {0b1001: 1, 0b0101: 1, 0b1010: 2}.get(self.mask, 0)
        return mask.bit_length() - 1 if mask else None


# --- data ------------------------------------------------------------------------------------------------------------


def _rows(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


@cache
def occupations() -> list[Occupation]:
    """The occupations of the package, in file order."""
    fields = [name for name in Occupation.__dataclass_fields__ if name != "epicene"]
    return [
        Occupation(**{f: row[f] for f in fields}, epicene=row["epicene"] == "yes") for row in _rows("occupations.tsv")
    ]


@cache
def _words() -> dict[str, set[str]]:
    classes: dict[str, set[str]] = {}
    for row in _rows("morph_words.tsv"):
        classes.setdefault(row["class"], set()).add(row["word"])
    return classes


def _is(token: Token, *classes: str) -> bool:
    return any(token.low in _words()[name] for name in classes)


@cache
def _lexicon() -> dict[str, list[Reading]]:
    """Form → readings, from the articles, the lexicon and the head words of the occupations."""
    entries = []
    for row in _rows("morph_determiners.tsv"):
        forms = tuple(value for key, value in row.items() if key != "name")
        masks = (1, 1, 1, 2, 2, 4, 4, 8)
        entries.append(("article", forms, dict.fromkeys(forms, 0), masks))
    for row in _rows("lexicon.tsv"):
        forms = tuple(row.values())[:4]
        entries.append((row["kind"], forms, dict.fromkeys(forms, 0), (1, 2, 4, 8)))
    for job in occupations() if (FOLDER / "occupations.tsv").exists() else []:
        columns = (job.masculine, job.feminine, job.masculine_plural, job.feminine_plural)
        forms = tuple(value.lower().split()[0] for value in columns)
        if len(set(forms)) == 4:  # epicene heads are listed in the lexicon: "guida" names no one's gender
            entries.append(("noun", forms, dict.fromkeys(forms, 0), (1, 2, 4, 8)))
    lexicon: dict[str, list[Reading]] = {}
    for kind, forms, masks, bits in entries:
        for form, bit in zip(forms, bits, strict=True):
            masks[form] |= bit
        for form in set(forms) - {"-"}:
            known = lexicon.setdefault(form, [])
            if not any((r.kind in (kind, "noun") and r.forms == forms) or r.kind == "thing" for r in known):
                known.append(Reading(kind, forms, masks[form]))
    for form, readings in lexicon.items():  # a thing wins over the person it is spelled like: "la tecnica"
        if any(r.kind == "thing" for r in readings):
            lexicon[form] = [r for r in readings if r.kind in ("thing", "article")]
    return lexicon


# Endings of unknown words: masculine, feminine, masculine plural, feminine plural.
NOUN_ENDINGS = [
    ("tore", "trice", "tori", "trici"),
    ("ologo", "ologa", "ologi", "ologhe"),
    ("aiolo", "aiola", "aioli", "aiole"),
]
ROLE_ENDINGS = [("ista", "ista", "isti", "iste")]
ADJECTIVE_ENDINGS = [
    ("ico", "ica", "ici", "iche"),
    ("co", "ca", "chi", "che"),
    ("go", "ga", "ghi", "ghe"),
    ("ario", "aria", "ari", "arie"),
    ("io", "ia", "ii", "ie"),
    ("o", "a", "i", "e"),
]
EPICENE = re.compile(r"(nt|il|al|es|ar|bil|ac|oc|ev|or|en|on)[ei]$|ista$")
# the plural -i of an unknown word turns into -e only after these: "contenti", but "felici"
PARTICIPLE = re.compile(r"(at|it|ut|tt|st|rt|lt|os|is|us|rs|ss|iv|an|egn|ich?|olt|ett|unt|int|ert)(issim)?[oaie]$")

VERBAL = re.compile(r"[aiu]t[oaie]$")


def _by_ending(word: str, kind: str, table: list[tuple[str, ...]], mask: int = ANY) -> list[Reading]:
    """Readings of an unknown word by its ending, those that can agree with `mask`."""
    found = []
    for endings in table:
        for position, ending in enumerate(endings):
            if word.endswith(ending) and len(word) > len(ending) + 2 and mask & 1 << position:
                forms = tuple(word[: len(word) - len(ending)] + e for e in endings)
                found.append(Reading(kind, forms, sum(1 << p for p, form in enumerate(forms) if form == word)))
        if found:
            return found
    return found


def _adjective(token: Token, mask: int, loose: bool) -> Reading | None:
    """The adjective that `token` may be beside a person of `mask`; any ending will do where `loose`."""
    known = _reading(token, SAID_OF_PEOPLE, mask)
    if known or token.readings or token.fixed or not token.low.isalpha() or len(token.low) < 4:
        return known
    if any(token.low in _words()[c] for c in _words()):
        return None
    if EPICENE.search(token.low):
        forms = (token.low,) * 4
        number = SINGULAR if token.low[-1] in "ea" else PLURAL
        return Reading("adj", forms, number) if number & mask else None
    if not PARTICIPLE.search(token.low) and not (loose and token.low[-1] in "oa"):
        return None
    return next(iter(_by_ending(token.low, "adj", ADJECTIVE_ENDINGS, mask)), None)


# --- tokens ----------------------------------------------------------------------------------------------------------

_SIGN = r"(?:/-?|-|\()"  # "addetto/i" is a number, not a gender: the endings are paired one by one
_TOKEN = re.compile(
    r"(?P<double>[^\W\d_]*[əɜ][^\W\d_]*|[^\W\d_]+[*@][^\W\d_]*|[^\W\d_]*(?:"
    rf"[one]{_SIGN}a|a{_SIGN}[oe]|i{_SIGN}(?:[gc]?he|e|trici|esse)|(?<![rl])(?<!nt)e{_SIGN}i"
    rf"|re{_SIGN}(?:t?rice|e?ssa)|ri{_SIGN}(?:t?rici|esse)|ce{_SIGN}tore|ci{_SIGN}tori)\b\)?)"
    r"|[Ee]['’](?![^\W\d_])|[Uu]n po['’]|[^\W\d_]+['’](?=[^\W\d_])|[^\W\d_]+|\d+|\n|[^\w\s]"
)


def _tokens(text: str) -> list[Token]:
    """Words, numbers, signs and line ends with their offsets and readings; pairs of both genders are fixed."""
    tokens = []
    for match in _TOKEN.finditer(text):
        token = Token(match.group(), match.start(), match.end(), fixed=bool(match["double"]))
        if token.fixed:
            token.readings = _double_readings(token.low)
        else:
            token.readings = _lexicon().get(token.low) or _by_ending(token.low, "noun", NOUN_ENDINGS)
            token.readings = token.readings or _by_ending(token.low, "role", ROLE_ENDINGS)
        tokens.append(token)
    for i, first in enumerate(tokens):
        for j in range(i + 1, min(i + 6, len(tokens))):
            if _are_pair(first, tokens[j]):
                for token in tokens[i : j + 1]:
                    token.fixed = True
            if not (_is(tokens[j], "conjunction") or tokens[j].low in "()" or _reading(tokens[j], {"article"})):
                break
    return tokens


def _double_readings(low: str) -> list[Reading]:
    """A double form is a noun, an article or an adjective that agrees with either gender."""
    stem = re.split(r"[/*@ə(\-]", low)[0]
    known = [r for ending in ("", "o", "a", "e", "i") for r in _lexicon().get(stem + ending, [])]
    return [Reading(r.kind, r.forms, SINGULAR if r.mask & SINGULAR else PLURAL) for r in known[:1]]


def _are_pair(one: Token, two: Token) -> bool:
    """Whether two words are the two genders of one word: il/la, addetti e addette."""
    return any(
        a.forms == b.forms and not a.mask & b.mask and bool(a.mask & SINGULAR) == bool(b.mask & SINGULAR)
        for a in one.readings
        for b in two.readings
    )


def _reading(token: Token, kinds: set[str], mask: int = ANY) -> Reading | None:
    return next((r for r in token.readings if r.kind in kinds and r.mask & mask), None)


# --- phrases ---------------------------------------------------------------------------------------------------------


def _noun_mask(token: Token) -> int:
    """The forms an unknown noun may stand for, by its last letter; foreign words agree with anything."""
    low = token.low
    if low.endswith(("zione", "sione", "gione", "tà", "tù", "tudine", "rice")):
        return FEMININE
    return {"o": 1, "a": 2, "i": PLURAL, "e": 0b1011}.get(low[-1], SINGULAR) if low[-1].isalpha() else 0


def _is_function(token: Token) -> bool:
    return (
        not token.low[0].isalpha()
        or any(token.low in words for name, words in _words().items() if name != "english")
        or _reading(token, {"article", "determiner"}) is not None
    )


def _joined(tokens: list[Token], i: int) -> bool:
    """Whether tokens i and i + 1 stand in one line with nothing between them but a space."""
    return 0 <= i < len(tokens) - 1 and tokens[i + 1].start - tokens[i].end <= 2


def _before(tokens: list[Token], i: int) -> int:
    """Index of the nearest token before i that is no adverb, -1 at the start."""
    i -= 1
    while i >= 0 and (_is(tokens[i], "adverb") or tokens[i].low.endswith("mente")):
        i -= 1
    return i


def _starts_clause(tokens: list[Token], i: int) -> bool:
    """Whether i opens a title, a bullet or a sentence, or follows "cercasi", "se", "come"."""
    j = _before(tokens, i)
    return j < 0 or tokens[j].low in BOUNDARY or _is(tokens[j], "search") or tokens[j].low in '-*>"«“()'


def _is_person_noun(tokens: list[Token], i: int) -> Reading | None:
    """The person noun at i; a role word counts where it is no adjective of the word before it."""
    token = tokens[i]
    if noun := _reading(token, {"noun"}):
        return noun
    reading = _reading(token, {"role"})
    if _is(tokens[_before(tokens, i)], "have"):  # "hanno invitato"
        return None
    article = i > 0 and _reading(tokens[i - 1], {"article"}, ANY)
    if not reading and article:  # "gli interessati", with no noun after it that they could belong to
        reading = _reading(token, {"person"}, article.mask)
        following = tokens[i + 1] if _joined(tokens, i) else None
        if reading and following and not _is_function(following):
            known = _reading(following, PEOPLE | SAID_OF_PEOPLE)
            reading = None if not known and _noun_mask(following) & reading.mask else reading
        return reading
    if not reading or _starts_clause(tokens, i):
        return reading
    j = i - 1
    while j >= 0 and (_is(tokens[j], "conjunction") or tokens[j].low == ","):
        j -= 1
    previous = tokens[j]
    if _reading(previous, {"neutral", "thing"}, reading.mask):
        return None
    if _is_function(previous) or _reading(previous, PEOPLE | SAID_OF_PEOPLE):
        return reading
    return None if _noun_mask(previous) & reading.mask else reading


def _left(tokens: list[Token], head: int, mask: int, foreign: bool) -> tuple[dict[int, Reading], int]:
    """Articles, determiners and adjectives before a noun that agree with it; English words are passed over."""
    parts: dict[int, Reading] = {}
    i, words = head - 1, 0
    while _joined(tokens, i):
        article = _reading(tokens[i], {"article"}, mask)
        found = article or _reading(tokens[i], {"determiner"} | SAID_OF_PEOPLE, mask)
        if found:
            parts[i] = found
            mask &= found.mask
            if article and not (i and tokens[i - 1].low[:4] == "tutt"):
                break
        elif foreign and words < 3 and _is_english(tokens[i]):
            words += 1
        elif (
            i
            and _reading(tokens[i - 1], {"article", "determiner"}, mask)
            and (guess := _adjective(tokens[i], mask, True))
        ):
            parts[i] = guess
            mask &= guess.mask
        elif not (tokens[i].low in ("ex", "vice", "due", "tre", "quattro") or tokens[i].text.isdigit()):
            break
        i -= 1
    if words and not any(r.kind == "article" for r in parts.values()):
        return {}, ANY
    return parts, mask


def _is_english(token: Token) -> bool:
    """A modifier in an English title: no Italian ending, or a known English word."""
    low = token.low
    return (
        _is(token, "english")
        or low == "-"
        or (low.isalpha() and low[-1] not in "aeioàèéìòù" and not token.readings and not _is_function(token))
    )


def _chain(tokens: list[Token], i: int, mask: int, loose: bool) -> tuple[dict[int, Reading], int, int]:
    """Adjectives from i on that agree with `mask`: (parts, mask, index after the last of them)."""
    parts: dict[int, Reading] = {}
    first, end, linked = i, i, True
    while i < len(tokens) and tokens[i].low not in BOUNDARY:
        token = tokens[i]
        adjective = _adjective(token, mask, loose and not parts)
        known = _reading(token, SAID_OF_PEOPLE, mask)
        if adjective and (
            known
            or (linked and (loose or i == first or i - 1 in parts))
            or (loose and parts and VERBAL.search(token.low))
        ):
            parts[i] = adjective
            mask &= adjective.mask
            end, linked = i + 1, True
        elif token.low in (",", "/", "&") or (_is(token, "conjunction") and parts):
            linked = False
        elif not (_is(token, "adverb") or token.low.endswith("mente")):
            break
        i += 1
    return parts, mask, end


def _noun_phrases(tokens: list[Token]) -> list[Phrase]:
    """A phrase for each person noun, with what stands before and after it."""
    phrases: list[Phrase] = []
    used: set[int] = set()
    for i in range(len(tokens)):
        noun = None if i in used else _is_person_noun(tokens, i)
        following = _reading(tokens[i + 1], {"noun"}) if noun and _joined(tokens, i) else None
        if not noun or (following and following.mask & noun.mask and _reading(tokens[i], SAID_OF_PEOPLE)):
            continue  # "giovani lavoratori": the adjective joins the noun after it
        foreign = len(set(noun.forms)) == 1
        parts, mask = _left(tokens, i, noun.mask, foreign)
        mask &= noun.mask
        after, mask, _ = _chain(tokens, i + 1, mask, False) if not (foreign or tokens[i].fixed) else ({}, mask, i + 1)
        parts = {k: r for k, r in parts.items() if k not in used} | {i: noun} | after
        phrases.append(Phrase(parts, mask, i, "noun"))
        used |= set(parts)
    return phrases


@dataclass
class Head:
    index: int
    mask: int
    person: bool  # a person with a gender of its own, so that what agrees with it is gendered too
    oblique: bool  # after a preposition, so no subject
    neutral: bool = False


def _heads(tokens: list[Token], phrases: list[Phrase]) -> list[Head]:
    """Every noun that a predicate could agree with, people and things, in order."""
    heads = []
    people = {phrase.head: phrase for phrase in phrases}
    inside = {i for phrase in phrases for i in phrase.parts}
    for i, token in enumerate(tokens):
        if i in people:
            first = min(people[i].parts)
            slot = people[i].slot
            mask = people[i].mask if slot is None else 1 << slot
            heads.append(Head(i, mask, True, _is_oblique(tokens, first)))
        elif i not in inside and token.low[0].isalpha():
            neutral = _reading(token, {"neutral"})
            article = i and _reading(tokens[i - 1], {"article", "determiner", "adj"})
            name = token.text[0].isupper() and not token.text.isupper() and not token.readings
            if (
                neutral
                or name
                or (article and not _is_function(token))
                or (_starts_clause(tokens, i) and not _is_function(token))
            ):
                mask = neutral.mask if neutral else _noun_mask(token)
                mask = (article.mask & mask or article.mask) if article else mask
                heads.append(Head(i, mask, False, _is_oblique(tokens, i - 1 if article else i), bool(neutral)))
    return heads


def _is_oblique(tokens: list[Token], first: int) -> bool:
    article = _reading(tokens[first], {"article"})
    contracted = article and article.forms[0] in ("del", "al", "dal", "nel", "sul")
    return bool(contracted or (first and _is(tokens[first - 1], "preposition")))


def _sentence_start(tokens: list[Token], i: int) -> int:
    while i > 0 and tokens[i - 1].low not in BOUNDARY:
        i -= 1
    return i


def _subject(tokens: list[Token], heads: list[Head], verb: int, end: int, mask: int) -> Head | None:
    """The head that the predicate between `verb` and `end` agrees with: to the left, or just after it."""
    left = [h for h in heads if _sentence_start(tokens, verb) <= h.index < verb and h.mask & mask]
    i = verb - 1
    while i >= 0 and _is(tokens[i], "clitic", "adverb"):
        i -= 1
    link = tokens[i].low if i >= 0 else ""
    if link == "che" or (link in ("quale", "quali") and not _is_oblique(tokens, i - 1)):
        return left[-1] if left else None
    if _is(tokens[verb], "copula_infinitive") and _is(tokens[i], "preposition"):  # "il rischio di essere assunto"
        left = [h for h in left if h.person or h.neutral]
    after = next((h for h in heads if end <= h.index < end + 4 and h.mask & mask and not h.oblique), None)
    if after and all(_reading(t, {"article", "determiner", "adj"}) for t in tokens[end : after.index] if not _is(t, "function")):
        return after
    subjects = [h for h in left if not h.oblique] if link not in ("cui", "quale", "quali", "dove") else []
    shared = link == "," or (i >= 0 and _is(tokens[i], "conjunction", "clause"))
    return (subjects[0] if shared else subjects[-1]) if subjects else None


def _predicates(tokens: list[Token], heads: list[Head], used: set[int]) -> list[Phrase]:
    """Participles and adjectives after a copula whose subject is a person: "sei pronto", "il candidato sarà inserito"."""
    phrases = []
    for i, token in enumerate(tokens):
        own = next((m for c, m in (("singular", SINGULAR), ("plural", PLURAL)) if _is(token, f"copula_{c}")), 0)
        third = next((m for c, m in (("singular", SINGULAR), ("plural", PLURAL)) if _is(token, f"copula_third_{c}")), 0)
        third = ANY if _is(token, "copula_infinitive") or token.low == "sono" else third
        if i and _is(token, "have") and tokens[i - 1].low in ("mi", "ti", "m'", "t'"):
            own = SINGULAR  # "mi ha colpito": the participle may agree with the person spoken to
        if not (own or third) or (i and tokens[i - 1].low in ("c'", "ci")):  # "c'è", "ci sono"
            continue
        parts, mask, end = _chain(tokens, i + 1, own or third, True)
        parts = {k: r for k, r in parts.items() if k not in used}
        if not parts or not mask:
            continue
        if not own and not (token.low == "sono" and mask & SINGULAR):
            subject = _subject(tokens, heads, i, end, mask)
            kinds = {"person", "participle"} | ({"adj"} if third == ANY and token.low != "sono" else set())
            typical = any(r.kind in kinds for r in parts.values())
            if not (subject.person if subject else typical and not _earlier_neutral(heads, i, mask)):
                continue
        phrases.append(Phrase(parts, mask, min(parts), "object" if _is(token, "have") else "predicate"))
        used |= set(parts)
    return phrases


def _earlier_neutral(heads: list[Head], i: int, mask: int) -> bool:
    """Whether the last person spoken of before i is "la risorsa", "il profilo" or the like."""
    people = [h for h in heads if h.index < i and (h.person or h.neutral) and h.mask & mask]
    return bool(people) and people[-1].neutral


def _loose(tokens: list[Token], heads: list[Head], used: set[int]) -> list[Phrase]:
    """Adjectives that mean a person by themselves: "se interessato", "automunito", "addetto alle vendite esperto"."""
    phrases = []
    for i, token in enumerate(tokens):
        reading = None if i in used or token.fixed else _reading(token, {"person"})
        if not reading or len(set(reading.forms)) < 3:
            continue
        j = _before(tokens, i)
        while j >= 0 and (_is(tokens[j], "conjunction") or tokens[j].low in ",/"):
            j = _before(tokens, j)
        start = _sentence_start(tokens, i)
        near = [h for h in heads if start <= h.index < i and h.mask & reading.mask]
        opens = j < start or _is_function(tokens[j]) or _starts_clause(tokens, i)
        governed = (
            not opens
            and j not in used
            and not _reading(tokens[j], SAID_OF_PEOPLE)
            and _noun_mask(tokens[j]) & reading.mask
        )
        person = near[-1].person if near else opens and not _earlier_neutral(heads, i, reading.mask)
        if _reading(tokens[j], {"article"}) or _is(tokens[j], "have") or governed or not person:
            continue
        parts, mask, _ = _chain(tokens, i, reading.mask, False)
        parts = {k: r for k, r in parts.items() if k not in used}
        phrases.append(Phrase(parts, mask, i, "loose"))
        used |= set(parts)
    return phrases


def _pronouns(tokens: list[Token], heads: list[Head], used: set[int]) -> list[Phrase]:
    """Pronouns that stand for people: lui, tutti coloro, uno dei nostri, quelli che, i quali."""
    phrases = []
    for i, token in enumerate(tokens[:-1]):
        low = tokens[i + 1].low
        if low in ("quale", "quali") and (article := _reading(token, {"article"})):
            near = [h for h in heads if h.index < i and h.mask & article.mask]
            if near and near[-1].person:
                phrases.append(Phrase({i: article}, article.mask & near[-1].mask, i, "loose"))
            continue
        reading = None if i in used or token.fixed else _reading(token, {"pronoun"})
        if not reading or (token.low in ("uno", "una") and low not in ("di", "dei", "degli", "delle", "tra", "fra")):
            continue
        people = {"noi", "voi", "loro", "coloro", "quelli", "quelle"} | ({"che"} if reading.mask & PLURAL else set())
        everyone = token.low in ("tutti", "tutte") and (low in BOUNDARY or low in (",", ")", "e", "anche", "gli"))
        linked = (low == "di" or low in ("dei", "degli", "delle")) and used & {i + 1, i + 2, i + 3}
        if low in people or everyone or linked or token.text in ("lui", "lei", "Lui"):
            phrases.append(Phrase({i: reading}, reading.mask, i, "loose"))
            used.add(i)
    return phrases


def _phrases(text: str) -> tuple[list[Token], list[Phrase]]:
    """The tokens of `text` and all stretches that agree about a person, in order."""
    tokens = _tokens(text)
    phrases = _noun_phrases(tokens)
    heads = _heads(tokens, phrases)
    used = {i for phrase in phrases for i in phrase.parts}
    for find in (_predicates, _loose):
        phrases += find(tokens, heads, used)
    phrases += _pronouns(tokens, heads, used)
    return tokens, sorted(phrases, key=lambda phrase: min(phrase.parts))


# --- rewriting -------------------------------------------------------------------------------------------------------


def _article(forms: tuple[str, ...], slot: int, following: str) -> str:
    """The article of `slot` before a word: lo studente, l'operatrice, gli amici."""
    vowel = re.match(r"[aeiouàèéìòù]", following.lower())
    impure = re.match(r"s[^aeiouàèéìòùh]|sh|z|gn|p[sn]|x|y|i[aeou]", following.lower())
    masculine, masculine_z, masculine_v, feminine, feminine_v, plural, plural_z, feminine_plural = forms
    if slot == 0:
        return masculine_v if vowel else masculine_z if impure else masculine
    if slot == 1:
        return feminine_v if vowel else feminine
    return feminine_plural if slot == 3 else plural_z if vowel or impure else plural


def _as_in(old: str, new: str) -> str:
    """`new` in the capitals of `old`."""
    if old.isupper() and len(old.strip("'’")) > 1:
        return new.upper()
    return new[0].upper() + new[1:] if old[0].isupper() else new


def _flip(tokens: list[Token], phrase: Phrase, slot: int) -> dict[int, str]:
    """New words by index for a phrase put into `slot`; empty where a form is missing."""
    words: dict[int, str] = {}
    for i in sorted(phrase.parts, reverse=True):
        forms = phrase.parts[i].forms
        following = words.get(i + 1) or (tokens[i + 1].text if i + 1 < len(tokens) else "")
        new = _article(forms, slot, following) if len(forms) == 8 else forms[slot]
        if new == "-":
            return {}
        words[i] = tokens[i].text if new == tokens[i].low else _as_in(tokens[i].text, new)
    return words


def _render(text: str, tokens: list[Token], words: dict[int, str]) -> str:
    """`text` with the words replaced; an elided article clings to the next word, a full one stands apart."""
    pieces, position = [], 0
    for i, word in sorted(words.items()):
        token = tokens[i]
        end = token.end
        if word.endswith("'") != token.low.endswith("'"):
            if word.endswith("'"):
                end = tokens[i + 1].start
            else:
                word += " "
        elif word.endswith("'"):
            word = word[:-1] + token.text[-1]
        pieces += [text[position : token.start], word]
        position = end
    return "".join(pieces) + text[position:]


def swap(text: str, to: Literal["feminine", "masculine"]) -> str:
    """Counterfactual variant: every word that gives a person the other gender is put into `to`, with full agreement."""
    tokens, phrases = _phrases(text)
    wanted = FEMININE if to == "feminine" else MASCULINE
    words: dict[int, str] = {}
    for phrase in phrases:
        slot = phrase.slot
        if slot is not None and not 1 << slot & wanted and not tokens[phrase.head].fixed:
            words |= _flip(tokens, phrase, slot ^ 1)
    return _render(text, tokens, {i: w for i, w in words.items() if not tokens[i].fixed})


def _double(masculine: str, feminine: str) -> str:
    """Both genders in one word as editors write it: candidato/a, operatori/trici, tecnici/che, uomo/donna."""
    if masculine == feminine:
        return masculine
    if masculine[:-1] == feminine[:-1]:
        return f"{masculine}/{feminine[-1]}"
    for ending in ("trice", "trici", "essa", "esse", "che", "ghe"):
        if feminine.endswith(ending) and feminine[: -len(ending)] == masculine[: len(feminine) - len(ending)]:
            return f"{masculine}/{ending}"
    return f"{masculine}/{feminine}"


def _both(tokens: list[Token], phrase: Phrase, slot: int) -> dict[int, str]:
    """Words by index that put a phrase of masculine `slot` into the double form; empty where a form is missing."""
    words: dict[int, str] = {}
    for i in sorted(phrase.parts):
        forms = phrase.parts[i].forms
        pair = (forms[slot], forms[slot + 1])
        if len(forms) == 8:
            following = phrase.parts[i + 1].forms if i + 1 in phrase.parts else ()
            word = following[slot] if len(following) == 4 else tokens[i + 1].text
            pair = (_article(forms, slot, word), forms[3 if slot == 0 else 7])
            if pair[0].endswith("'"):  # "l'operaio/a", "dell'operaio/a": the elided article serves both
                pair = (pair[0], pair[0])
        if "-" in pair:
            return {}
        new = "/".join(pair) if len(forms) == 8 and pair[0] != pair[1] else _double(*pair)
        words[i] = tokens[i].text if pair[0] == pair[1] == tokens[i].low else _as_in(tokens[i].text, new)
    return words


def _split(tokens: list[Token], phrase: Phrase) -> dict[int, str]:
    """"gli operatori" → "gli operatori e le operatrici", for a plural article and noun with unlike forms."""
    noun = phrase.parts[phrase.head].forms
    if phrase.slot not in (2, 3) or len(phrase.parts) > 2 or len(noun) != 4 or noun[2][:-1] == noun[3][:-1]:
        return {}
    first, second = (_flip(tokens, phrase, slot) for slot in (2, 3))
    if not first or not second or list(first) != list(range(phrase.head, min(phrase.parts) - 1, -1)):
        return {}
    extra = " ".join(second[i].lower() for i in sorted(second))
    both = f"{first[phrase.head]} e {extra.upper() if tokens[phrase.head].text.isupper() else extra}"
    return first | {phrase.head: both}


def neutralise(text: str) -> str:
    """`text` with each one-gender phrase about people in the double form; text without any comes back as it is."""
    tokens, phrases = _phrases(text)
    words: dict[int, str] = {}
    for phrase in phrases:
        if phrase.slot is not None and not tokens[phrase.head].fixed and phrase.kind != "object":
            words |= _split(tokens, phrase) or _both(tokens, phrase, phrase.slot & 2)
    return _render(text, tokens, {i: w for i, w in words.items() if not tokens[i].fixed})


# --- cues ------------------------------------------------------------------------------------------------------------


@cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    return [(row["category"], re.compile(row["pattern"], re.IGNORECASE)) for row in _rows("morph_cues.tsv")]


def _is_named(tokens: list[Token], phrase: Phrase) -> bool:
    """Whether a first name and a surname follow: "il fondatore Mario Rossi"."""
    name = tokens[max(phrase.parts) + 1 : max(phrase.parts) + 3]
    return len(name) == 2 and all(t.text.istitle() and len(t.text) > 2 and not _is_function(t) for t in name)


def _grammar_cue(text: str, tokens: list[Token], phrase: Phrase) -> Cue | None:
    gendered = [i for i, r in phrase.parts.items() if not (r.mask & MASCULINE and r.mask & FEMININE and len(set(r.forms)) < 3)]
    if phrase.slot is None or phrase.kind == "object" or not gendered or tokens[phrase.head].fixed or _is_named(tokens, phrase):
        return None
    indices = [*gendered, phrase.head]
    start, end = tokens[min(indices)].start, tokens[max(indices)].end
    category = "feminine_title" if 1 << phrase.slot & FEMININE else "masculine_form"
    return Cue(start, end, text[start:end], category)


def cues(text: str) -> list[Cue]:
    """Stretches that make an ad not inclusive, in order; overlapping ones give way to the exclusion beyond grammar."""
    found = [
        Cue(match.start(), match.end(), match.group(), category)
        for category, pattern in _patterns()
        for match in pattern.finditer(text)
    ]
    tokens, phrases = _phrases(text)
    found += [cue for phrase in phrases if (cue := _grammar_cue(text, tokens, phrase))]
    kept: list[Cue] = []
    for cue in found:
        if all(cue.end <= other.start or cue.start >= other.end for other in kept):
            kept.append(cue)
    return sorted(kept, key=lambda cue: cue.start)
