"""The stretches of a text that give people a gender: noun phrases, predicates, loose adjectives, pronouns."""

from __future__ import annotations

from dataclasses import dataclass

from helpers.italian.lexicon import (
    ANY,
    BOUNDARY,
    FEMININE,
    MASCULINE,
    MODIFIERS,
    PLURAL,
    SINGULAR,
    Reading,
    Token,
    adjective_of,
    belongs,
    is_function,
    noun_mask,
    reading_of,
    tokenise,
    word_classes,
)
from helpers.italian.nouns import VERBAL, Phrase, before, chain, joined, noun_phrases, opens


@dataclass
class Head:
    """A noun or pronoun that a predicate could agree with."""

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
        if belongs(token, "someone"):
            heads.append(Head(i, 1, True, False))
        elif belongs(token, "copula_singular"):  # the "tu" of "sarai"
            heads.append(Head(i, SINGULAR, True, False))
        elif i in people:
            slot = people[i].slot
            mask = people[i].mask if slot is None else 1 << slot
            heads.append(Head(i, mask, True, is_oblique(tokens, min(people[i].parts))))
        elif i not in inside and token.lower[0].isalpha() and not _modifies_title(tokens, i, people):
            heads += [thing] if (thing := _thing(tokens, i)) else []
    return heads


def _modifies_title(tokens: list[Token], i: int, people: dict[int, Phrase]) -> bool:
    """Whether the word at i stands in an English title before its head: the "Software" of "il Software Engineer"."""
    k = i
    while k not in people and joined(tokens, k) and (belongs(tokens[k], "english") or tokens[k].text.istitle()):
        k += 1
    return k > i and k in people and tokens[k].text.istitle() and len(set(people[k].parts[k].forms)) == 1


def _thing(tokens: list[Token], i: int) -> Head | None:
    """The noun at i that is no gendered person: after an article, a name, the first word, or "persona", "profilo"."""
    token = tokens[i]
    neutral = reading_of(token, {"neutral"})
    article = reading_of(tokens[i - 1], {"article", "determiner", "adj"}) if i else None
    if not neutral and is_function(token):
        return None
    first = token.text[0].isupper() and opens(tokens, i)
    name = token.text.istitle() and not token.readings and not opens(tokens, i)
    if not (neutral or article or first or name or (i and tokens[i - 1].lower in ("ogni", "qualche"))):
        return None
    mask = neutral.mask if neutral else noun_mask(token)
    mask = (article.mask & mask or article.mask) if article else mask
    k = i
    while k and reading_of(tokens[k - 1], {"article", "determiner", "adj"}):  # "dal nostro ufficio"
        k -= 1
    said_of_people = reading_of(token, {"person"}) is not None and not neutral
    return Head(i, mask, said_of_people, is_oblique(tokens, k), bool(neutral))


def is_oblique(tokens: list[Token], first: int) -> bool:
    """Whether the phrase whose first word is given stands after a preposition, "del" and the like included."""
    article = reading_of(tokens[first], {"article"})
    contracted = article and article.forms[0] in ("del", "al", "dal", "nel", "sul")
    return bool(contracted or (first and belongs(tokens[first - 1], "preposition")))


def _sentence_start(tokens: list[Token], i: int) -> int:
    """Index of the first token of the sentence or line of i."""
    while i > 0 and tokens[i - 1].lower not in BOUNDARY:
        i -= 1
    return i


# --- predicates ------------------------------------------------------------------------------------------------------


def _subject(tokens: list[Token], heads: list[Head], verb: int, end: int, mask: int) -> Head | None:
    """The head that the predicate between `verb` and `end` agrees with: to the left, or just after it."""
    left = [h for h in heads if _sentence_start(tokens, verb) <= h.index < verb and h.mask & mask]
    i = verb - 1
    while i >= 0 and belongs(tokens[i], "clitic", "adverb"):
        i -= 1
    link = tokens[i].lower if i >= 0 else ""
    if link == "che" or (link in ("quale", "quali") and i and not is_oblique(tokens, i - 1)):
        return left[-1] if left else None
    # "il rischio di essere assunto"
    if i >= 0 and belongs(tokens[verb], "copula_infinitive") and belongs(tokens[i], "preposition"):
        left = [h for h in left if h.person or h.neutral]
    after = next((h for h in heads if end <= h.index < end + 4 and h.mask & mask and not h.oblique), None)
    between = tokens[end : after.index] if after else []
    if after and all(belongs(t, "function") or reading_of(t, {"article", "determiner", "adj"}) for t in between):
        return after
    if link in ("cui", "quale", "quali", "dove"):
        return None
    clause = i >= 0 and belongs(tokens[i], "clause")
    subjects = [h for h in left if not h.oblique] or [h for h in left if clause and h.person]
    shared = link == "," or clause or (i >= 0 and belongs(tokens[i], "conjunction"))
    return (subjects[0] if shared else subjects[-1]) if subjects else None


def _copula(tokens: list[Token], i: int) -> tuple[int, bool]:
    """The forms a predicate after token i may take (0: no copula), and whether the person is spoken to or speaking."""
    token, clitic = tokens[i], tokens[i - 1].lower if i else ""
    if clitic in ("c'", "ci"):  # "c'è", "ci sono"
        return 0, False
    if belongs(token, "copula_singular") or (belongs(token, "wish") and clitic == "ti"):  # "ti vogliamo curioso"
        return SINGULAR, True
    if belongs(token, "have") and clitic in ("mi", "ti", "m'", "t'"):  # "mi ha colpito"
        return SINGULAR, True
    if belongs(token, "copula_plural"):
        return PLURAL, True
    if belongs(token, "copula_infinitive") or token.lower == "sono":
        return ANY, False
    return SINGULAR * belongs(token, "copula_third_singular") | PLURAL * belongs(token, "copula_third_plural"), False


def _predicates(tokens: list[Token], heads: list[Head], used: set[int]) -> list[Phrase]:
    """Participles and adjectives after a copula whose subject is a person: "sei pronto", "il candidato è assunto"."""
    phrases = []
    for i, token in enumerate(tokens):
        mask, own = _copula(tokens, i)
        if not mask:
            continue
        parts, mask, end = chain(tokens, i + 1, mask, True)
        parts = {k: r for k, r in parts.items() if k not in used}
        known = any(tokens[k].readings for k in parts)  # "mi ha colpito", not "mi ha detto"
        if not parts or (belongs(token, "have") and not known):
            continue
        if not own and not (token.lower == "sono" and mask & SINGULAR):
            subject = _subject(tokens, heads, i, end, mask)
            if not (subject.person if subject else _is_typical(tokens, heads, i, parts, mask)):
                continue
        phrases.append(Phrase(parts, mask, min(parts), "object" if belongs(token, "have") else "predicate"))
        used |= set(parts)
    return phrases


def _is_typical(tokens: list[Token], heads: list[Head], verb: int, parts: dict[int, Reading], mask: int) -> bool:
    """Whether a predicate without a subject is one that is said of people: "verrà inserito in un team"."""
    if verb and tokens[verb - 1].lower == "si" and mask & SINGULAR:  # impersonal: "si è sempre fatto"
        return False
    kinds = {"person", "participle"} | ({"adj"} if belongs(tokens[verb], "copula_infinitive") else set())
    told = [r for r in parts.values() if r.kind in kinds and r.forms[0] != "stato"]
    return bool(told) and not _earlier_neutral(heads, verb, mask)


def _earlier_neutral(heads: list[Head], i: int, mask: int) -> bool:
    """Whether the last person spoken of before i is "la risorsa", "il profilo" or the like."""
    people = [h for h in heads if h.index < i and (h.person or h.neutral) and h.mask & mask & FEMININE]
    return bool(people) and people[-1].neutral


# --- loose words -----------------------------------------------------------------------------------------------------


def _loose(tokens: list[Token], heads: list[Head], used: set[int]) -> list[Phrase]:
    """Adjectives whose person is unsaid or stands further left: "se interessato", "automunito"."""
    phrases = []
    for i, token in enumerate(tokens):
        if i in used or token.is_double:
            continue
        shared = _joined_quality(tokens, i, used)
        reading = shared or reading_of(token, {"person", "adj"})
        if not reading or len(set(reading.forms)) < 3:
            continue
        if not shared and not _stands_alone(tokens, heads, i, reading, used):
            continue
        parts, mask, _ = ({i: reading}, reading.mask, i) if shared else chain(tokens, i, reading.mask, False)
        parts = {k: r for k, r in parts.items() if k not in used}
        phrases.append(Phrase(parts, mask, i, "loose"))
        used |= set(parts)
    return phrases


def _stands_alone(tokens: list[Token], heads: list[Head], i: int, reading: Reading, used: set[int]) -> bool:
    """Whether the adjective at i is said of a person, and not of the word before or after it."""
    j = before(tokens, i)
    comma = j >= 0 and tokens[j].lower == ","
    linked = j < 0 or tokens[j].lower in ",/" or belongs(tokens[j], "conjunction")
    linked = linked or (belongs(tokens[j], "clause") and tokens[j].lower != "che")  # "purché serio"
    while j >= 0 and (belongs(tokens[j], "conjunction") or tokens[j].lower in ",/"):
        j = before(tokens, j)
    if j >= 0 and (reading_of(tokens[j], {"article"}) or belongs(tokens[j], "have")):
        return False
    start = _sentence_start(tokens, i)
    human = reading.kind == "person" and reading.forms[0] not in word_classes()["also_of_things"]
    own = j < start or j in used or is_function(tokens[j]) or _is_quality(tokens[j], reading.mask)
    following = tokens[i + 1] if joined(tokens, i) else None
    if following and not reading.mask & MASCULINE and reading_of(following, {"article"}, reading.mask):
        return False  # "benvenute le esperienze"
    unknown = following and not following.readings and not is_function(following)
    thing = reading.kind == "adj" or (unknown and following.lower[-1] in "oa")
    if unknown and thing and noun_mask(following) & reading.mask:  # "pronto soccorso", "buona dizione"
        return False
    near = [h for h in heads if start <= h.index < i and h.mask & reading.mask]
    people = [h for h in near if h.person or h.neutral]
    human = human and bool(people) and people[-1].person
    near = people if human else near  # no thing is "laureato": the last person is
    unclear = reading.kind == "person" and near and near[-1].person and tokens[j].lower.endswith("e")
    if people and people[-1].person and _in_title(tokens, people[-1].index, j):
        return True
    if not own and not comma and not unclear and not human and noun_mask(tokens[j]) & reading.mask:
        return False  # "addetto vendite automunito", but not "impianto automatizzato"
    if linked:
        near = [h for h in near if not h.oblique] or near
    if near:
        return near[-1].person and (reading.kind == "person" or (linked and j >= start))
    return reading.kind == "person" and not _earlier_neutral(heads, i, reading.mask)


def _is_quality(token: Token, mask: int) -> bool:
    """Whether the word is an adjective that may be said of people of `mask`, an unknown one only by an ending without gender."""
    found = adjective_of(token, mask, False)
    unknown = len(token.lower) > 6 and token.lower[:-1].endswith(
        ("ent", "ant", "bil", "vol")
    )  # "sorridente", not "mente"
    return found is not None and (bool(token.readings) or unknown)


def _joined_quality(tokens: list[Token], i: int, used: set[int]) -> Reading | None:
    """The participle or adjective at i where it goes on with what was said of a person, see `_is_shared`."""
    j = before(tokens, i)
    if j < 1 or not (belongs(tokens[j], "conjunction") or tokens[j].lower == ","):
        return None
    known = [r for r in tokens[i].readings if r.kind in ("person", "adj", "participle")]
    unknown = not tokens[i].readings and VERBAL.search(tokens[i].lower)
    reading = known[0] if known else adjective_of(tokens[i], ANY, True) if unknown else None
    if not reading or reading_of(tokens[i], {"thing", "noun"}):
        return None
    if tokens[j].lower == "," and not (VERBAL.search(tokens[i].lower) or reading.kind == "person"):
        return None
    return reading if _is_shared(tokens, i, j, reading.mask, used) else None


def _is_shared(tokens: list[Token], i: int, link: int, mask: int, used: set[int]) -> bool:
    """Whether "e" or a comma joins the word at i to one said of a person: "iscritto all'albo e munito di", "stimato, ascoltato".

    Between them stands nothing but a complement, and after the word another one, a sign or a conjunction.
    """
    k = link - 1
    while k >= 0 and k not in used and tokens[k].lower not in BOUNDARY | {","}:
        k -= 1
    if k not in used or tokens[k].is_double or link - k > 7 or not reading_of(tokens[k], MODIFIERS, mask):
        return False
    spots = [n for n in ([i + 1] if k + 1 == link else [k + 1, i + 1]) if n < len(tokens)]
    ends = [i + 1 == len(tokens) or not tokens[i + 1].lower[0].isalpha() or belongs(tokens[i + 1], "conjunction")]
    after = [belongs(tokens[n], "preposition") or is_oblique(tokens, n) for n in spots]
    told = all(after) or (any(ends) and all(after[:-1] if i + 1 in spots else after))
    return told and tokens[k].lower[-1] == tokens[i].lower[-1]


def _in_title(tokens: list[Token], head: int, last: int) -> bool:
    """Whether all from the person at `head` to `last` is its title, and ends in a foreign word: "redattore web"."""
    foreign = tokens[last].lower[-1] not in "aeioàèéìòù" and not tokens[last].readings
    return foreign and all(joined(tokens, k - 1) and not is_function(tokens[k]) for k in range(head + 1, last + 1))


def _pronouns(tokens: list[Token], heads: list[Head], used: set[int]) -> list[Phrase]:
    """Pronouns that stand for people: lui, tutti coloro, uno dei nostri, quelli che, i quali."""
    phrases = []
    for i, token in enumerate(tokens[:-1]):
        low = tokens[i + 1].lower
        if low in ("quale", "quali") and (article := reading_of(token, {"article"})):
            near = [h for h in heads if h.index < i and h.mask & article.mask]
            if near and near[-1].person:
                phrases.append(Phrase({i: article}, article.mask & near[-1].mask, i, "loose"))
            continue
        reading = None if i in used or token.is_double else reading_of(token, {"pronoun"})
        if not reading or (token.lower in ("uno", "una") and low not in ("di", "dei", "degli", "delle", "tra", "fra")):
            continue
        people = {"noi", "voi", "loro", "coloro", "quelli", "quelle"} | ({"che"} if reading.mask & PLURAL else set())
        everyone = token.lower in ("tutti", "tutte") and (low in BOUNDARY or low in (",", ")", "e", "anche"))
        linked = low in ("di", "dei", "degli", "delle") and used & {i + 1, i + 2, i + 3}
        linked = linked or (low == "di" and i + 2 < len(tokens) and tokens[i + 2].lower in people)
        if low in people or everyone or linked or token.text in ("lui", "lei", "Lui"):
            phrases.append(Phrase({i: reading}, reading.mask, i, "loose"))
            used.add(i)
    return phrases


def _is_apposition(tokens: list[Token], heads: list[Head], phrase: Phrase) -> bool:
    """A bare noun that only agrees with a neutral one before it: "persona ordinata, non fumatrice"."""
    start = _sentence_start(tokens, phrase.head)
    bare = len(phrase.parts) == 1 and phrase.slot == 1
    return bare and _earlier_neutral([h for h in heads if h.index >= start], phrase.head, phrase.mask)


def person_phrases(text: str) -> tuple[list[Token], list[Phrase]]:
    """The tokens of `text` and all stretches that agree about a person, in order."""
    tokens = tokenise(text)
    phrases = noun_phrases(tokens)
    heads = _heads(tokens, phrases)
    phrases = [p for p in phrases if not _is_apposition(tokens, heads, p)]
    used = {i for phrase in phrases for i in phrase.parts}
    for find in (_predicates, _loose, _pronouns):
        phrases += find(tokens, heads, used)
    return tokens, sorted(phrases, key=lambda phrase: min(phrase.parts))
