"""Italian double forms back to one gender: the counterfactual of an inclusive text, so a contrast pair made from it."""

from __future__ import annotations

import re
from typing import Literal

from helpers.italian import gender
from helpers.italian.lexicon import MASCULINE, PLURAL, SINGULAR, Token, are_pair, belongs, reading_of, tokenise

_SIGNED = re.compile(r"([^\W\d_]+)(?:/-?|-|\()([^\W\d_]+)\)?")


def _masculine_of(double: str) -> str | None:
    """The masculine in a double form: candidato/a, addetta/o, direttrice/tore; None where a sign hides the number: candidat*."""
    match = _SIGNED.fullmatch(double)
    if not match:
        return None
    one, other = match.groups()
    if other in ("tore", "tori"):
        return one[: -len("trice")] + other
    if one[-1] in "ae" and other in ("o", "e", "i") and one[-1] != other:
        return one[:-1] + other
    return one


def _link_before(tokens: list[Token], last: int) -> int | None:
    """Index of the "e", "o" or "/" in the pair that ends at `last`: "gli addetti e le addette", "addette o addetti"."""
    link = last - 1
    while link > 0 and last - link < 4 and reading_of(tokens[link], {"article", "determiner", "adj"}):
        link -= 1
    if link < 1 or not (belongs(tokens[link], "conjunction") or tokens[link].low == "/"):
        return None
    first, second = tokens[link - 1], tokens[last]
    repeated = link == last - 2 and first.low == second.low  # "le assistenti e gli assistenti"
    couple = belongs(first, "kin") or belongs(second, "kin")  # "donne e uomini" are two kinds of people
    return link if (repeated or are_pair(first, second)) and not couple else None


def _is_masculine(one: Token, other: Token) -> bool:
    """Whether the first of the two genders of a word is the masculine."""
    for a in one.readings:
        for b in other.readings:
            for number in (SINGULAR, PLURAL):
                if a.forms == b.forms and a.mask & number and b.mask & number:
                    return bool(a.mask & number & MASCULINE)
    return one.low[-1] in "oi"


def _masculine_at(text: str, tokens: list[Token], i: int, following: str) -> tuple[int, str] | None:
    """(index of its first token, masculine wording) of the double form that ends at token i; None without one."""
    token = tokens[i]
    if not token.fixed:
        return None
    if word := _masculine_of(token.low):
        is_article = word == "un" and token.readings and len(token.readings[0].forms) == 8
        return i, gender.as_in(token, gender.article(token.readings[0].forms, 0, following) if is_article else word)
    link = _link_before(tokens, i)
    if link is None:
        return None
    if article := reading_of(token, {"article"}):  # "il/la", "del/della"
        slot = 0 if article.mask & SINGULAR else 2
        return link - 1, gender.as_in(tokens[link - 1], gender.article(article.forms, slot, following))
    return _masculine_noun(text, tokens, link, i)


def _masculine_noun(text: str, tokens: list[Token], link: int, last: int) -> tuple[int, str]:
    """As `_masculine_at` for two nouns in full, with what stands before them."""
    first, own = link - 1, last - link - 1  # words before the second noun, and as many before the first
    start = max(first - own, 0)
    marked = own and tokens[link + 1].low != tokens[start].low
    one, two = (tokens[start], tokens[link + 1]) if marked else (tokens[first], tokens[last])
    if not _is_masculine(two, one):
        return first, tokens[first].text
    shared = reading_of(tokens[first - 1], {"article"}) if first and not own else None
    if shared and (first < 2 or tokens[first - 2].low != "/"):  # "le addette o addetti", not "i/le miei/mie"
        slot = 2 if shared.mask & PLURAL else 0
        new = gender.as_in(tokens[first - 1], gender.article(shared.forms, slot, tokens[last].low))
        return first - 1, new + ("" if new.endswith("'") else " ") + tokens[last].text
    chosen = text[tokens[link + 1].start : tokens[last].end]
    return start, chosen[0].upper() + chosen[1:] if tokens[start].text[0].isupper() else chosen


def single(text: str, to: Literal["feminine", "masculine"]) -> str:
    """Counterfactual of inclusive wording: double forms give way to the masculine; for the feminine the result is swapped.

    Signs that hide the number (candidat*, candidatə) stay, and so do neutral names of people.
    """
    if gender.LAWFUL.search(text):
        return text
    tokens = tokenise(text)
    done, end, i = "", len(text), len(tokens) - 1  # `done` is what text[end:] became
    while i >= 0:
        rest = text[tokens[i].end : end] + done
        if found := _masculine_at(text, tokens, i, rest.lstrip()):
            i, new = found
            done, end = rest.lstrip(" ") if new.endswith("'") else rest, tokens[i].start
            done = new + done
        i -= 1
    masculine = text[:end] + done
    return gender.swap(masculine, "feminine") if to == "feminine" else masculine
