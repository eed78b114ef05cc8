"""Gender rewritten: counterfactual swap, double forms, schwa, "persona", and back to one gender.

All but the last find the person phrases of a text and put them into another slot:
0 masculine, 1 feminine, 2 masculine plural, 3 feminine plural. So `slot ^ 1` is the other gender,
`slot & 2` the masculine of the same number and `slot | 1` the feminine.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import product
from typing import Literal

from helpers.italian.addressees import SCOPES, WORKPLACE
from helpers.italian.agreement import Phrase
from helpers.italian.cues import LAWFUL, grammar_cues
from helpers.italian.forms import article, doubled, inflected, with_capitals, with_schwa
from helpers.italian.lexicon import MASCULINE, PLURAL, SINGULAR, Reading, Token, are_pair, belongs, reading_of, tokenise
from helpers.italian.phrases import person_phrases

# nouns made from participles: "il candidato" is as well "la persona candidata"
PARTICIPLE_NOUNS = re.compile(
    r"addetto|assunto|candidato|delegato|diplomato|disoccupato|incaricato|interessato|iscritto|laureato|neoassunto"
    r"|neodiplomato|neolaureato|qualificato|selezionato"
)

Words = dict[int, str]  # new words by the index of the token that they replace
Form = Callable[[Reading, int, str], str | None]  # of a word in a slot, before the next word


# --- one gender -------------------------------------------------------------------------


def swap(text: str, to: Literal["feminine", "masculine"]) -> str:
    """The counterfactual: every word that gives a person the other gender is put into `to`."""
    tokens, phrases = person_phrases(text)
    words: Words = {}
    for phrase in phrases:
        slot = phrase.slot
        if slot is not None and slot & 1 != (to == "feminine") and not tokens[phrase.head].is_double:
            words |= _inflected(tokens, phrase, slot ^ 1)
    return _with_words(text, tokens, words)


def _inflected(tokens: list[Token], phrase: Phrase, slot: int, form: Form = inflected) -> Words:
    """The words of a phrase put into `slot` by a function of `forms`; empty where a form is missing."""
    words: Words = {}
    for i in sorted(phrase.parts, reverse=True):  # an article depends on the new word after it
        following = words.get(i + 1) or (tokens[i + 1].text if i + 1 < len(tokens) else "")
        new = form(phrase.parts[i], slot, following)
        if new is None:
            return {}
        words[i] = with_capitals(new, tokens[i].text)
    return words


def _with_words(text: str, tokens: list[Token], words: Words) -> str:
    """`text` with words replaced, except in double forms; an elided article clings to its noun."""
    pieces, position = [], 0
    curly = "’" in text and "'" not in text
    for i, word in sorted(words.items()):
        token, end = tokens[i], tokens[i].end
        if token.is_double:
            continue
        if word.endswith("'") and not token.lower.endswith("'"):
            end = tokens[i + 1].start
        elif token.lower.endswith("'") and not word.endswith("'"):
            word += " "
        pieces += [text[position : token.start], word.replace("'", "’") if curly else word]
        position = end
    return "".join(pieces) + text[position:]


# --- both genders -----------------------------------------------------------------------


def neutralise(text: str, scope: str = WORKPLACE) -> str:
    """`text` with each one-gender phrase about people in the scope in the double form."""
    return _rewritten(text, scope, _in_house_style)


def schwa(text: str, scope: str = WORKPLACE) -> str:
    """`text` with each one-gender phrase about people in the scope written with a schwa, plurals too.

    A noun whose genders have no stem in common (uomo, donna) takes the double form.
    """

    def write(tokens: list[Token], phrase: Phrase) -> Words:
        return _inflected(tokens, phrase, phrase.slot & 2, with_schwa) or _in_double_form(tokens, phrase)

    return _rewritten(text, scope, write)


def persona(text: str, scope: str = WORKPLACE) -> str:
    """`text` with nouns made from participles after "persona": una persona addetta.

    What agrees with such a noun becomes feminine, as "persona" is. Every other phrase takes the
    double form.
    """
    persona_slot = None  # the slot of the last "persona" or "persone" written, None after another noun

    def write(tokens: list[Token], phrase: Phrase) -> Words:
        nonlocal persona_slot
        slot = phrase.slot | 1
        if phrase.kind == "noun":
            persona_slot = slot if _may_follow_persona(phrase) else None
            words = _after_persona(tokens, phrase, slot) if persona_slot is not None else {}
        else:
            words = _inflected(tokens, phrase, slot) if persona_slot == slot else {}
        # a predicate in another number than the "persona" before it takes the plain double form
        style = _in_house_style if persona_slot is None else _in_double_form
        return words or style(tokens, phrase)

    return _rewritten(text, scope, write)


def _rewritten(text: str, scope: str, write: Callable[[list[Token], Phrase], Words]) -> str:
    """`text` with what `write` makes of each cue in the scope; a text that may lawfully name one sex stays."""
    if LAWFUL.search(text):
        return text
    tokens, _ = person_phrases(text)
    words: Words = {}
    for phrase, cue in grammar_cues(text):
        if cue.addressee in SCOPES[scope]:
            words |= write(tokens, phrase)
    return _with_words(text, tokens, words)


def _in_house_style(tokens: list[Token], phrase: Phrase) -> Words:
    """Both nouns where their plurals differ by more than a letter, otherwise the double form."""
    return _with_both_nouns(tokens, phrase) or _in_double_form(tokens, phrase)


def _in_double_form(tokens: list[Token], phrase: Phrase) -> Words:
    """The words of a phrase in the double form; empty where a form is missing."""
    return _inflected(tokens, phrase, phrase.slot & 2, doubled)


def _with_both_nouns(tokens: list[Token], phrase: Phrase) -> Words:
    """A plural noun with unlike forms written twice: "gli operatori e le operatrici"; or empty."""
    head, noun = phrase.head, phrase.parts[phrase.head]
    if phrase.slot not in (2, 3) or noun.is_article or noun.forms[2][:-1] == noun.forms[3][:-1]:
        return {}
    masculine, feminine = _inflected(tokens, phrase, 2), _inflected(tokens, phrase, 3)
    if not masculine or not feminine or sorted(phrase.parts) not in ([head], [head - 1, head]):
        return {}
    second = " ".join(feminine[i] for i in sorted(feminine))
    second = second.upper() if tokens[head].text.isupper() else second.lower()
    return masculine | {head: f"{masculine[head]} e {second}"}


def _may_follow_persona(phrase: Phrase) -> bool:
    """Whether the noun is made from a participle and only articles stand before it."""
    if not PARTICIPLE_NOUNS.fullmatch(phrase.parts[phrase.head].forms[0]):
        return False
    return all(reading.is_article for i, reading in phrase.parts.items() if i < phrase.head)


def _after_persona(tokens: list[Token], phrase: Phrase, slot: int) -> Words:
    """The words of a noun phrase in the feminine `slot`, "persona" or "persone" before its noun."""
    words, head = _inflected(tokens, phrase, slot), phrase.head
    if not words:
        return {}
    noun = "persona" if slot == 1 else "persone"
    words[head] = with_capitals(f"{noun} {phrase.parts[head].forms[slot]}", tokens[head].text)
    articles = {i: article(reading, slot, noun) for i, reading in phrase.parts.items() if i < head}
    return words | {i: with_capitals(word, tokens[i].text) for i, word in articles.items()}


# --- double forms back to one gender ----------------------------------------------------

_SIGNED = re.compile(r"([^\W\d_]+)(?:/-?|-|\()([^\W\d_]+)\)?")


def single(text: str, to: Literal["feminine", "masculine"]) -> str:
    """The counterfactual of inclusive wording: double forms give way to `to`.

    Signs that hide the number (candidat*, candidatə) stay, and so do neutral names of people.
    """
    if LAWFUL.search(text):
        return text
    tokens = tokenise(text)
    pieces, end, i = [], len(text), len(tokens) - 1  # what text[end:] became, from its end to its start
    while i >= 0:
        after = tokens[i].end
        word = text[after : min(end, after + 80)] + (pieces[-1] if pieces else "")  # an article asks for no more
        if replacement := _masculine_at(text, tokens, i, word.lstrip()):
            following = text[after:end]
            i, wording = replacement
            clings = wording.endswith("'")
            if clings and not following.strip(" ") and pieces:
                pieces[-1] = pieces[-1].lstrip(" ")
            pieces += [following.lstrip(" ") if clings else following, wording]
            end = tokens[i].start
        i -= 1
    masculine = text[:end] + "".join(reversed(pieces))
    return swap(masculine, "feminine") if to == "feminine" else masculine


def _masculine_at(text: str, tokens: list[Token], i: int, following: str) -> tuple[int, str] | None:
    """(first token, masculine wording) of the double form that ends at token i, or None."""
    token = tokens[i]
    if not token.is_double:
        return None
    if word := _masculine_of(token.lower):
        word = article(token.readings[0], 0, following) if word == "un" else word
        return i, with_capitals(word, token.text)
    link = _link_before(tokens, i)
    if link is None:
        return None
    if reading := reading_of(token, {"article"}):  # "il/la", "del/della"
        word = article(reading, 0 if reading.mask & SINGULAR else 2, following)
        return link - 1, with_capitals(word, tokens[link - 1].text)
    return _masculine_noun(text, tokens, link, i)


def _masculine_of(word: str) -> str | None:
    """The masculine in candidato/a, addetta/o, direttrice/tore; None where a sign hides the number."""
    match = _SIGNED.fullmatch(word)
    if not match:
        return None
    first, ending = match.groups()
    if ending in ("tore", "tori"):
        return first[: -len("trice")] + ending
    if first[-1] in "ae" and ending in ("o", "e", "i"):
        return first[:-1] + ending
    return first


def _link_before(tokens: list[Token], last: int) -> int | None:
    """Index of the "e", "o" or "/" in the pair that ends at `last`: "gli addetti e le addette"."""
    link = last - 1
    while link > 0 and last - link < 4 and reading_of(tokens[link], {"article", "determiner", "adj"}):
        link -= 1
    if link < 1 or not belongs(tokens[link], "conjunction"):
        return None
    first, second = tokens[link - 1], tokens[last]
    repeated = link == last - 2 and first.lower == second.lower  # "le assistenti e gli assistenti"
    couple = belongs(first, "kin") or belongs(second, "kin")  # "donne e uomini" are two kinds of people
    return link if (repeated or are_pair(first, second)) and not couple else None


def _masculine_noun(text: str, tokens: list[Token], link: int, last: int) -> tuple[int, str]:
    """As `_masculine_at`, for two nouns in full with what stands before them."""
    first, modifiers = link - 1, last - link - 1  # words before the second noun, and as many before the first
    start = max(first - modifiers, 0)
    differ = modifiers and tokens[link + 1].lower != tokens[start].lower
    one, two = (tokens[start], tokens[link + 1]) if differ else (tokens[first], tokens[last])
    if not _is_masculine(two, one):
        return first, tokens[first].text
    shared = reading_of(tokens[first - 1], {"article"}) if first and not modifiers else None
    if shared and (first < 2 or tokens[first - 2].lower != "/"):  # "le addette o addetti", not "i/le miei/mie"
        slot = 2 if shared.mask & PLURAL else 0
        word = with_capitals(article(shared, slot, tokens[last].lower), tokens[first - 1].text)
        return first - 1, word + ("" if word.endswith("'") else " ") + tokens[last].text
    second = text[tokens[link + 1].start : tokens[last].end]
    return start, second[0].upper() + second[1:] if tokens[start].text[0].isupper() else second


def _is_masculine(one: Token, other: Token) -> bool:
    """Whether the first of the two genders of a word is the masculine."""
    for a, b, number in product(one.readings, other.readings, (SINGULAR, PLURAL)):
        if a.forms == b.forms and a.mask & number and b.mask & number:
            return bool(a.mask & number & MASCULINE)
    return one.lower[-1] in "oi"
