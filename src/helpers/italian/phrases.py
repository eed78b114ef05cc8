"""Person phrases: the noun phrases, predicates, loose adjectives and pronouns about people."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter

from helpers.italian.agreement import (
    DETERMINERS,
    Parts,
    Phrase,
    adjacent,
    adjectives_from,
    noun_phrases,
    opens_sentence,
    preceding,
)
from helpers.italian.lexicon import (
    ANY,
    BOUNDARY,
    EPICENE,
    FEMININE,
    MASCULINE,
    MODIFIERS,
    NOUNS,
    PLURAL,
    REACH,
    SINGULAR,
    SLOT_BITS,
    VERBAL,
    Reading,
    Token,
    adjective_of,
    belongs,
    is_adverb,
    is_foreign,
    is_function,
    is_link,
    noun_mask,
    reading_of,
    tokenise,
    word_classes,
)


@lru_cache(maxsize=64)  # cues, rules and the check ask for the same text again and again
def person_phrases(text: str) -> tuple[list[Token], list[Phrase]]:
    """The tokens of `text` and its person phrases, in order; neither may be changed."""
    tokens = tokenise(text)
    phrases = noun_phrases(tokens)
    heads = Heads(_heads(tokens, phrases))
    phrases = [phrase for phrase in phrases if not _is_apposition(tokens, heads, phrase)]
    used = {i for phrase in phrases for i in phrase.parts}
    predicates, of_things = _predicates(tokens, heads, used)
    phrases += predicates
    phrases += _loose_adjectives(tokens, heads, used, of_things)
    phrases += _pronouns(tokens, heads, used)
    return tokens, sorted(phrases, key=lambda phrase: min(phrase.parts))


# --- heads ------------------------------------------------------------------------------


@dataclass
class Head:
    """A noun or pronoun that a predicate could agree with."""

    index: int
    mask: int
    is_person: bool  # a person with a gender of its own, so that what agrees with it is gendered too
    is_oblique: bool  # after a preposition, so no subject
    is_neutral: bool = False  # "la persona", "il profilo": a noun for a person of either gender


Test = Callable[[Head], bool]


class Heads:
    """Heads in order, of which the first and the last of a kind between two places are found without a walk."""

    def __init__(self, heads: list[Head]):
        self._heads = heads
        self._by_kind: dict[tuple[Test, int], list[Head]] = {}

    def first(self, start: int, end: int, mask: int, test: Test) -> Head | None:
        """The first head from token `start` to before `end` that can agree with `mask` and passes `test`."""
        places = [(heads, bisect_left(heads, start, key=_index)) for heads in self._of(mask, test)]
        found = [heads[k] for heads, k in places if k < len(heads) and heads[k].index < end]
        return min(found, key=_index, default=None)

    def last(self, start: int, end: int, mask: int, test: Test) -> Head | None:
        """As `first`, the last."""
        places = [(heads, bisect_left(heads, end, key=_index) - 1) for heads in self._of(mask, test)]
        found = [heads[k] for heads, k in places if k >= 0 and heads[k].index >= start]
        return max(found, key=_index, default=None)

    def _of(self, mask: int, test: Test) -> list[list[Head]]:
        """The heads that pass `test`, a list for each slot of `mask`."""
        bits = [bit for bit in SLOT_BITS if bit & mask]
        for bit in bits:
            if (test, bit) not in self._by_kind:
                self._by_kind[test, bit] = [h for h in self._heads if h.mask & bit and test(h)]
        return [self._by_kind[test, bit] for bit in bits]


_index = attrgetter("index")


def _any(head: Head) -> bool:
    return True


def _is_someone(head: Head) -> bool:
    return head.is_person or head.is_neutral


def _is_person(head: Head) -> bool:
    return head.is_person


def _is_subject(head: Head) -> bool:
    return not head.is_oblique


def _is_someone_subject(head: Head) -> bool:
    return _is_someone(head) and not head.is_oblique


def _heads(tokens: list[Token], phrases: list[Phrase]) -> list[Head]:
    """Every noun that a predicate could agree with, people and things, in order."""
    heads = []
    people = {phrase.head: phrase for phrase in phrases}
    in_phrases = {i for phrase in phrases for i in phrase.parts}
    for i, token in enumerate(tokens):
        if belongs(token, "someone") and not _is_one_of_things(tokens, i, people):
            heads.append(Head(i, 1, True, is_oblique(tokens, i)))
        elif belongs(token, "copula_singular") and not _is_six(tokens, i):
            # the "tu" of "sarai", but "per sei mesi"
            heads.append(Head(i, SINGULAR, True, False))
        elif i in people:
            slot = people[i].slot
            mask = people[i].mask if slot is None else SLOT_BITS[slot]
            heads.append(Head(i, mask, True, is_oblique(tokens, min(people[i].parts))))
        elif i not in in_phrases and token.lower[0].isalpha() and not _modifies_title(tokens, i, people):
            heads += filter(None, [_thing(tokens, i)])
    return heads


def _is_six(tokens: list[Token], i: int) -> bool:
    """Whether "sei" is the number: *ogni sei mesi*, *conta sei sedi*."""
    before, following = tokens[i - 1] if i else None, tokens[i + 1] if adjacent(tokens, i) else None
    if before and (belongs(before, "preposition") or before.lower in ("ogni", "di", "da", "in")):
        return True
    if before and reading_of(before, {"article", "determiner"}):
        return True
    if tokens[i].lower != "sei" or not following or following.readings or is_function(following):
        return False
    return following.lower[-1] == "i" or (following.lower[-1] == "e" and not EPICENE.search(following.lower))


def _is_one_of_things(tokens: list[Token], i: int, people: dict[int, Phrase]) -> bool:
    """Whether "ciascuno" or "nessuno" is one of things: *nessuno dei nostri impianti*."""
    article = reading_of(tokens[i + 1], {"article"}) if i + 1 < len(tokens) else None
    return bool(article and article.forms[0] == "del" and not people.keys() & set(range(i + 2, i + 5)))


def _modifies_title(tokens: list[Token], i: int, people: dict[int, Phrase]) -> bool:
    """Whether i modifies the head of an English title: the "Software" of "Software Engineer"."""
    k = i
    while (
        k not in people
        and k - i <= REACH
        and adjacent(tokens, k)
        and (belongs(tokens[k], "english") or tokens[k].text.istitle())
    ):
        k += 1
    return k in people and tokens[k].text.istitle() and len(set(people[k].parts[k].forms)) == 1


def _thing(tokens: list[Token], i: int) -> Head | None:
    """The noun at i that is no gendered person: a thing, a name, "persona", "profilo"."""
    token, neutral = tokens[i], reading_of(tokens[i], {"neutral"})
    article = reading_of(tokens[i - 1], DETERMINERS) if i else None
    if not neutral and is_function(token):
        return None
    is_name = token.text[0].isupper() if opens_sentence(tokens, i) else token.text.istitle() and not token.readings
    if not (neutral or article or is_name or (i and tokens[i - 1].lower in ("ogni", "qualche"))):
        return None
    mask = neutral.mask if neutral else noun_mask(token)
    mask = article.mask & mask or article.mask if article else mask
    # "dal nostro ufficio"
    first = next((k + 1 for k in preceding(i) if not reading_of(tokens[k], DETERMINERS)), max(0, i - REACH))
    is_person = reading_of(token, {"person"}) is not None and not neutral
    return Head(i, mask, is_person, is_oblique(tokens, first), bool(neutral))


def is_oblique(tokens: list[Token], first: int) -> bool:
    """Whether the phrase that begins at `first` follows a preposition, or begins with "del"."""
    article = reading_of(tokens[first], {"article"})
    contracted = article and article.forms[0] in ("del", "al", "dal", "nel", "sul")
    return bool(contracted or (first and belongs(tokens[first - 1], "preposition")))


def _follows_neutral(heads: Heads, i: int, mask: int, start: int = 0) -> bool:
    """Whether the last person named before i, from `start` on, is "la risorsa", "il profilo" or the like."""
    someone = heads.last(start, i, mask & FEMININE, _is_someone)
    return someone is not None and someone.is_neutral


def _is_apposition(tokens: list[Token], heads: Heads, phrase: Phrase) -> bool:
    """Whether a bare noun only agrees with a neutral one before it: "persona ordinata, non fumatrice"."""
    if len(phrase.parts) > 1 or phrase.slot != 1:
        return False
    return _follows_neutral(heads, phrase.head, phrase.mask, tokens[phrase.head].sentence)


# --- predicates -------------------------------------------------------------------------


def _predicates(tokens: list[Token], heads: Heads, used: set[int]) -> tuple[list[Phrase], set[int]]:
    """Participles and adjectives after a copula whose subject is a person ("sei pronto"), and the words that are of a thing."""
    phrases: list[Phrase] = []
    of_things: set[int] = set()
    for i, token in enumerate(tokens):
        mask, is_own = _copula(tokens, i)
        if not mask or (i and tokens[i - 1].lower in ("nulla", "niente", "ciò")):
            continue
        parts, mask, end = adjectives_from(tokens, i + 1, mask, True)
        parts = {k: reading for k, reading in parts.items() if k not in used}
        in_lexicon = any(tokens[k].readings for k in parts)  # "mi ha colpito", not "mi ha detto"
        if not parts or (belongs(token, "have") and not in_lexicon):
            continue
        about = i
        if not is_own and not (token.lower == "sono" and mask & SINGULAR):
            subject = _subject(tokens, heads, i, end, mask)
            behind = not (subject and subject.is_person) and _has_bare_subject(tokens, end, mask)
            if behind or (subject is None and _are_things(tokens, heads, i, mask)):
                of_things |= parts.keys()
                continue
            if not (subject.is_person if subject else _describes_people(tokens, heads, i, parts, mask)):
                continue
            about = subject.index if subject else -1
        phrases.append(Phrase(parts, mask, min(parts), "object" if belongs(token, "have") else "predicate", about))
        used |= set(parts)
    return phrases, of_things


def _copula(tokens: list[Token], i: int) -> tuple[int, bool]:
    """The mask after the copula at i (0: none), and whether its subject is reader or speaker."""
    token, clitic = tokens[i], tokens[i - 1].lower if i else ""
    if clitic in ("c'", "ci"):  # "c'è", "ci sono"
        return 0, False
    wished = belongs(token, "wish") and clitic == "ti"  # "ti vogliamo curioso"
    had = belongs(token, "have") and clitic in ("mi", "ti", "m'", "t'")  # "mi ha colpito"
    if belongs(token, "copula_third_subjunctive") and _has_subject_behind_che(tokens, i):
        return SINGULAR, False
    if wished or had or belongs(token, "copula_singular"):
        return SINGULAR, True
    if belongs(token, "copula_plural"):
        return PLURAL, True
    if belongs(token, "copula_infinitive") or token.lower == "sono":
        return ANY, False
    singular = SINGULAR if belongs(token, "copula_third_singular") else 0
    return singular | (PLURAL if belongs(token, "copula_third_plural") else 0), False


def _has_subject_behind_che(tokens: list[Token], i: int) -> bool:
    """Whether a noun stands between "che" and the verb at i, which then is a third person: *che il modulo risulti compilato*."""
    between = []
    for k in preceding(i):
        if tokens[k].lower in BOUNDARY | {","}:
            return False
        if tokens[k].lower in ("che", "affinché", "purché", "qualora", "finché"):
            return any(not is_function(tokens[m]) for m in between)
        between.append(k)
    return False


def _subject(tokens: list[Token], heads: Heads, verb: int, end: int, mask: int) -> Head | None:
    """The head that the predicate between `verb` and `end` agrees with: to the left, or just after it."""
    i = next((k for k in preceding(verb) if not belongs(tokens[k], "clitic", "adverb")), -1)
    before = tokens[verb].sentence, verb, mask
    link = tokens[i].lower if i >= 0 else ""
    if link == "che" or (link in ("quale", "quali") and i and not is_oblique(tokens, i - 1)):
        return heads.last(*before, _any)
    # "il rischio di essere assunto"
    of_people = i >= 0 and belongs(tokens[verb], "copula_infinitive") and belongs(tokens[i], "preposition")
    after = heads.first(end, end + 6, mask, _is_subject)
    between = tokens[end : after.index] if after else []
    if after and all(
        belongs(token, "function", "preposition", "adverb")
        or reading_of(token, DETERMINERS)
        or _is_complement(tokens, k)
        for k, token in enumerate(between, end)
    ):
        return after
    if link in ("cui", "quale", "quali", "dove"):
        return None
    opens_clause = i >= 0 and belongs(tokens[i], "clause")
    shares_subject = link == "," or opens_clause or (i >= 0 and belongs(tokens[i], "conjunction"))
    choose = heads.first if shares_subject else heads.last
    subject = choose(*before, _is_someone_subject if of_people else _is_subject)
    return choose(*before, _is_person) if subject is None and opens_clause else subject


def _has_bare_subject(tokens: list[Token], end: int, mask: int) -> bool:
    """Whether a thing without an article stands right behind a predicate: *sono ammessi pagamenti in contanti*."""
    if end >= len(tokens) or not adjacent(tokens, end - 1):
        return False
    token = tokens[end]
    if is_function(token) or token.text[0].isupper() or is_adverb(token) or reading_of(token, {"noun", "role"}):
        return False
    plural = token.lower[-1] in "ie" and noun_mask(token) & mask & PLURAL
    return bool(plural) and (not token.readings or reading_of(token, {"thing"}) is not None)


def _are_things(tokens: list[Token], heads: Heads, verb: int, mask: int) -> bool:
    """Whether a plural predicate without a subject of its number is about things joined: *la parte tecnica e quella … sono*."""
    is_finite = belongs(tokens[verb], "copula_third_plural") and not (verb and tokens[verb - 1].lower in ("si", "che"))
    if mask & SINGULAR or not is_finite:
        return False
    start = tokens[verb].sentence
    return heads.last(start, verb, ANY, _is_subject) is not None and heads.last(start, verb, ANY, _is_someone) is None


def _is_complement(tokens: list[Token], k: int) -> bool:
    """Whether the word at k is the noun of a complement: *assegnato alla risorsa un budget*, *messo a disposizione*."""
    return belongs(tokens[k - 1], "preposition") or is_oblique(tokens, k - 1)


def _describes_people(tokens: list[Token], heads: Heads, verb: int, parts: Parts, mask: int) -> bool:
    """Whether a predicate without a subject describes people: "verrà inserito in un team"."""
    if verb and tokens[verb - 1].lower == "si" and mask & SINGULAR:  # impersonal: "si è sempre fatto"
        return False
    kinds = {"person", "participle"} | ({"adj"} if belongs(tokens[verb], "copula_infinitive") else set())
    of_people = any(reading.kind in kinds and reading.forms[0] != "stato" for reading in parts.values())
    return of_people and not _follows_neutral(heads, verb, mask)


# --- loose adjectives -------------------------------------------------------------------


def _loose_adjectives(tokens: list[Token], heads: Heads, used: set[int], of_things: set[int]) -> list[Phrase]:
    """Adjectives whose person is not named or stands further left: "se interessato", "automunito"."""
    phrases = []
    for i, token in enumerate(tokens):
        if i in used or i in of_things or token.is_double:
            continue
        joined = _joined_adjective(tokens, i, used)
        reading = joined or reading_of(token, {"person", "adj"})
        if not reading or len(set(reading.forms)) < 3:
            continue
        if joined:
            parts, mask = {i: reading}, reading.mask
        elif _describes_a_person(tokens, heads, i, reading, used):
            parts, mask, _ = adjectives_from(tokens, i, reading.mask, False)
        else:
            continue
        parts = {k: reading for k, reading in parts.items() if k not in used}
        someone = heads.last(tokens[i].sentence, i, mask, _is_person)
        phrases.append(Phrase(parts, mask, i, "loose", someone.index if someone else -1))
        used |= set(parts)
    return phrases


def _describes_a_person(tokens: list[Token], heads: Heads, i: int, reading: Reading, used: set[int]) -> bool:
    """Whether the adjective at i describes a person, and not the word before or after it."""
    j = tokens[i].previous
    after_comma = j >= 0 and tokens[j].lower == ","
    linked = j < 0 or is_link(tokens[j])
    linked = linked or (belongs(tokens[j], "clause") and tokens[j].lower != "che")  # "purché serio"
    while j >= 0 and is_link(tokens[j]):
        j = tokens[j].previous
    if j >= 0 and (reading_of(tokens[j], {"article"}) or belongs(tokens[j], "have")):
        return False
    if (
        _modifies_next_word(tokens, i, reading)
        or _is_fronted(tokens, i, reading)
        or (j >= 0 and belongs(tokens[j], "language", "duration"))
    ):
        return False  # "inglese spigliato", "tempo pieno e determinato"
    start = tokens[i].sentence
    before = start, i, reading.mask
    someone = heads.last(*before, _is_someone)
    last_is_person = someone is not None and someone.is_person
    of_people_only = reading.kind == "person" and reading.forms[0] not in word_classes()["also_of_things"]
    # no thing is "laureato": the last person is
    last = someone if of_people_only and last_is_person else heads.last(*before, _any)
    if last_is_person and _in_title(tokens, someone.index, j):
        return True
    apart = j < start or j in used or is_function(tokens[j]) or _is_quality(tokens[j], reading.mask)
    ambiguous = reading.kind == "person" and last and last.is_person and tokens[j].lower.endswith("e")
    free = apart or after_comma or ambiguous or (of_people_only and last_is_person)
    if not free and noun_mask(tokens[j]) & reading.mask:
        return False  # "addetto vendite automunito", but not "impianto automatizzato"
    if not free and adjacent(tokens, i - 1) and _is_loan_word(tokens[j]):
        return False  # "in corner selezionati"
    if _is_of_the_firm(tokens, i, reading):
        return False
    if linked:
        is_subject = _is_someone_subject if of_people_only and last_is_person else _is_subject
        last = heads.last(*before, is_subject) or last
    if last:
        return last.is_person and (reading.kind == "person" or (linked and j >= start))
    return reading.kind == "person" and not _follows_neutral(heads, i, reading.mask)


def _is_of_the_firm(tokens: list[Token], i: int, reading: Reading) -> bool:
    """Whether the participle at i describes the firm or its search: *Iscritta al registro …*, *Ricerca autorizzata*."""
    if reading.mask != SLOT_BITS[1] or reading.forms[0] not in word_classes()["also_of_things"]:
        return False
    opens = tokens[i].sentence == i
    if i > 1 and tokens[i - 1].lower == "," and tokens[i - 2].lower == ".":  # "Alfa S.r.l., autorizzata"
        return True
    return opens or (tokens[i - 1].lower == "ricerca" and tokens[i - 1].sentence == i - 1)


def _is_loan_word(token: Token) -> bool:
    """Whether the word is a thing with one form for both numbers; "banker" may be a person."""
    if reading_of(token, {"thing"}):
        return token.lower[-1] not in "aeioàèéìòù"
    return is_foreign(token) and not belongs(token, "english") and not token.lower.endswith(("er", "or", "ist", "man"))


def _modifies_next_word(tokens: list[Token], i: int, reading: Reading) -> bool:
    """Whether the adjective at i belongs to the thing after it: "pronto soccorso", "buona dizione"."""
    following = tokens[i + 1] if adjacent(tokens, i) else None
    if not following:
        return False
    if not reading.mask & MASCULINE and reading_of(following, {"article"}, reading.mask):
        return True  # "benvenute le esperienze"
    if _opens_thing(tokens, i + 1, reading.mask) and VERBAL.search(tokens[i].lower):
        return True  # "una volta inserito il codice"
    unknown = not following.readings and not is_function(following)
    if i and tokens[i - 1].lower[:-1] == "stat" and _has_bare_subject(tokens, i + 1, reading.mask):
        return True  # "sono stati assunti impegni"
    may_modify = reading.kind == "adj" or following.lower[-1] in "oa"
    return unknown and may_modify and bool(noun_mask(following) & reading.mask)


def _is_fronted(tokens: list[Token], i: int, reading: Reading) -> bool:
    """Whether a participle that opens its sentence describes its subject: *inseriti nel 2020, i profili sono …*."""
    if tokens[i].sentence != i or not VERBAL.search(tokens[i].lower):
        return False
    for k in range(i + 1, min(i + REACH, len(tokens))):
        if tokens[k].lower in BOUNDARY:
            return False
        if tokens[k].lower == "," and _opens_thing(tokens, k + 1, reading.mask):
            return True
    return False


def _opens_thing(tokens: list[Token], i: int, mask: int) -> bool:
    """Whether "il" or "un" at i opens a noun phrase about a thing that agrees with `mask`."""
    article = reading_of(tokens[i], {"article"}, mask) if i < len(tokens) else None
    if not article or article.forms[0] not in ("il", "un"):
        return False
    k = i + 1
    while k < len(tokens) - 1 and k < i + 4 and reading_of(tokens[k], {"determiner", "adj"}):
        k += 1
    if k >= len(tokens) or is_function(tokens[k]) or reading_of(tokens[k], NOUNS | {"person"}):
        return False
    return bool(noun_mask(tokens[k]) & mask & article.mask)


def _is_quality(token: Token, mask: int) -> bool:
    """Whether the word is an adjective for people; an unknown one needs an ending without gender."""
    # "sorridente", but not "mente"
    without_gender = len(token.lower) > 6 and token.lower[:-1].endswith(("ent", "ant", "bil", "vol"))
    return adjective_of(token, mask, False) is not None and (bool(token.readings) or without_gender)


def _joined_adjective(tokens: list[Token], i: int, used: set[int]) -> Reading | None:
    """The participle or adjective at i where it continues one about a person, see `_continues`."""
    token, j = tokens[i], tokens[i].previous
    if j < 1 or not is_link(tokens[j]):
        return None
    reading = reading_of(token, {"person", "adj", "participle"})
    if not reading and not token.readings and VERBAL.search(token.lower):
        reading = adjective_of(token, ANY, True)
    if not reading or reading_of(token, {"thing", "noun"}):
        return None
    if tokens[j].lower == "," and not (VERBAL.search(token.lower) or reading.kind == "person"):
        return None
    return reading if _continues(tokens, i, j, reading.mask, used) else None


def _continues(tokens: list[Token], i: int, link: int, mask: int, used: set[int]) -> bool:
    """Whether the word at i continues one about a person: "iscritto all'albo e munito di".

    Between them is nothing but a complement, and after it another one, a sign or a conjunction.
    """
    k = link - 1  # the word that describes a person
    while k >= 0 and k not in used and tokens[k].lower not in BOUNDARY | {","} and link - k <= 7:
        k -= 1
    if k not in used or tokens[k].is_double or link - k > 7 or not reading_of(tokens[k], MODIFIERS, mask):
        return False
    if tokens[k].lower[-1] != tokens[i].lower[-1]:
        return False
    if k + 1 < link and not _opens_complement(tokens, k + 1):
        return False
    ends = i + 1 == len(tokens) or not tokens[i + 1].lower[0].isalpha() or belongs(tokens[i + 1], "conjunction")
    return ends or _opens_complement(tokens, i + 1)


def _opens_complement(tokens: list[Token], i: int) -> bool:
    return belongs(tokens[i], "preposition") or is_oblique(tokens, i)


def _in_title(tokens: list[Token], head: int, last: int) -> bool:
    """Whether `head` to `last` is a title that ends in a foreign word: "redattore web"."""
    is_foreign = tokens[last].lower[-1] not in "aeioàèéìòù" and not tokens[last].readings
    is_foreign = is_foreign and last - head <= REACH
    return is_foreign and all(adjacent(tokens, k - 1) and not is_function(tokens[k]) for k in range(head + 1, last + 1))


# --- pronouns ---------------------------------------------------------------------------


def _pronouns(tokens: list[Token], heads: Heads, used: set[int]) -> list[Phrase]:
    """Pronouns that stand for people: lui, tutti coloro, uno dei nostri, quelli che, i quali."""
    phrases = []
    for i, token in enumerate(tokens[:-1]):
        if tokens[i + 1].lower in ("quale", "quali") and (article := reading_of(token, {"article"})):
            head = heads.last(0, i, article.mask, _any)
            if head and head.is_person:
                phrases.append(Phrase({i: article}, article.mask & head.mask, i, "loose", head.index))
            continue
        reading = None if i in used or token.is_double else reading_of(token, {"pronoun"})
        if reading and _stands_for_people(tokens, i, reading, used):
            phrases.append(Phrase({i: reading}, reading.mask, i, "loose"))
            used.add(i)
    return phrases


def _stands_for_people(tokens: list[Token], i: int, reading: Reading, used: set[int]) -> bool:
    """Whether the pronoun at i stands for people, by the words after it."""
    token, following = tokens[i], tokens[i + 1].lower
    partitive = following in ("di", "dei", "degli", "delle")
    if token.lower in ("uno", "una") and not (partitive or following in ("tra", "fra")):
        return False
    people = {"noi", "voi", "loro", "coloro", "quelli", "quelle"} | ({"che"} if reading.mask & PLURAL else set())
    everyone = token.lower in ("tutti", "tutte") and (following in BOUNDARY or following in (",", ")", "e", "anche"))
    of_people = following == "di" and i + 2 < len(tokens) and tokens[i + 2].lower in people
    of_people = of_people or bool(partitive and used & {i + 1, i + 2, i + 3})
    return following in people or everyone or of_people or token.text in ("lui", "lei", "Lui")
