"""Cues: the spans that make an Italian job ad not inclusive, each with its category."""

from __future__ import annotations

import re
import sys
from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from operator import attrgetter

from helpers.italian.addressees import APPLICANT, SCOPES, WORKPLACE, Addressees
from helpers.italian.agreement import Phrase
from helpers.italian.lexicon import FEMININE, SLOT_BITS, Token, belongs, is_function, table_rows
from helpers.italian.phrases import is_oblique, person_phrases

GRAMMAR = ("masculine_form", "feminine_title")  # the categories of gendered grammar; all others are requirements
# where one sex may lawfully be named: acting, fashion, positive action (D.Lgs. 198/2006, art. 27, 42)
LAWFUL = re.compile(r"casting|sfilat|azioni positive|art\. ?(27|42)\b", re.IGNORECASE)

Patterns = list[tuple[str, re.Pattern[str]]]


@dataclass(frozen=True)
class Cue:
    """A span `text[start:end]` that makes an ad exclusive, why, and whom it is about (one of ADDRESSEES)."""

    start: int
    end: int
    text: str
    category: str
    addressee: str = APPLICANT


def find_cues(text: str, scope: str = WORKPLACE) -> list[Cue]:
    """The cues of `text` that are about somebody in the scope, in order; of overlapping ones the requirement stays."""
    return [cue for cue in _all_cues(text) if cue.addressee in SCOPES[scope]]


def find_notes(text: str, scope: str = WORKPLACE) -> list[Cue]:
    """The gendered forms for people outside the scope, in order: no finding, but worth a note."""
    return [cue for cue in _all_cues(text) if cue.addressee not in SCOPES[scope]]


@lru_cache(maxsize=64)  # the panel asks for the cues and the notes of one text
def _all_cues(text: str) -> tuple[Cue, ...]:
    candidates = _pattern_cues(text, patterns_for(text))
    if not LAWFUL.search(text):
        candidates += [cue for _, cue in grammar_cues(text)]
    return tuple(_without_overlaps(candidates))


def requirement_cues(text: str, patterns: Patterns | None = None, first: int = 0, last: int = sys.maxsize) -> list[Cue]:
    """The cues that exclude beyond grammar: age, looks, sex, origin, family, health; those in text[first:last].

    Where `text` is a part of a longer one, `patterns` are those of the whole (`patterns_for`).
    """
    # A phrase never takes the place of a pattern, so the phrases need not be found.
    cues = _without_overlaps(_pattern_cues(text, patterns_for(text) if patterns is None else patterns, first, last))
    return [cue for cue in cues if cue.category not in GRAMMAR]


def patterns_for(text: str) -> Patterns:
    """(category, pattern) of the cues beyond grammar that nothing in `text` makes lawful."""
    return [(category, pattern) for category, pattern, unless in _patterns() if not unless.search(text)]


def _pattern_cues(text: str, patterns: Patterns, first: int = 0, last: int = sys.maxsize) -> list[Cue]:
    """The matches of the patterns in text[first:last], in the order of the table."""
    return [
        Cue(match.start(), match.end(), match.group(), category)
        for category, pattern in patterns
        for match in pattern.finditer(text, first, last)
    ]


def _without_overlaps(cues: list[Cue]) -> list[Cue]:
    """The cues in the order of the text, without those that overlap an earlier one of the list."""
    accepted: list[Cue] = []
    for cue in cues:
        k = bisect_left(accepted, cue.end, key=attrgetter("start"))
        if not k or accepted[k - 1].end <= cue.start:
            accepted.insert(k, cue)
    return accepted


def grammar_cues(text: str) -> list[tuple[Phrase, Cue]]:
    """Every phrase of `text` that gives somebody one gender, with its cue."""
    tokens, phrases = person_phrases(text)
    addressees = Addressees(tokens, phrases)
    cues = [(phrase, _grammar_cue(text, tokens, phrase)) for phrase in phrases]
    return [(phrase, replace(cue, addressee=addressees.of(phrase))) for phrase, cue in cues if cue]


def _grammar_cue(text: str, tokens: list[Token], phrase: Phrase) -> Cue | None:
    """The cue of a phrase with one gender, from its first gendered word to its last, or None."""
    head = tokens[phrase.head]
    if phrase.slot is None or phrase.kind == "object" or head.is_double or _is_certain_person(tokens, phrase):
        return None
    gendered = phrase.gendered_words()
    if not gendered or head.lower in ("lui", "lei", "tutte") or head.lower.startswith("quel"):
        return None
    start, end = tokens[min([*gendered, phrase.head])].start, tokens[max([*gendered, phrase.head])].end
    category = "feminine_title" if SLOT_BITS[phrase.slot] & FEMININE else "masculine_form"
    return Cue(start, end, text[start:end], category)


@cache
def _patterns() -> list[tuple[str, re.Pattern[str], re.Pattern[str]]]:
    """(category, pattern, context that makes it lawful) of every cue beyond grammar."""
    return [
        (row["category"], *(re.compile(row[name], re.IGNORECASE) for name in ("pattern", "unless")))
        for row in table_rows("morph_cues")
    ]


def _is_certain_person(tokens: list[Token], phrase: Phrase) -> bool:
    """Whether it is a relative, a named person ("il fondatore Mario Rossi") or a known woman."""
    after = tokens[max(phrase.parts) + 1 : max(phrase.parts) + 3]
    if len(after) == 2 and all(t.text.istitle() and len(t.text) > 2 and not is_function(t) for t in after):
        return not any(belongs(t, "english") for t in after)
    known_woman = phrase.slot == 1 and phrase.kind == "noun" and is_oblique(tokens, min(phrase.parts))
    return known_woman or belongs(tokens[phrase.head], "kin")
