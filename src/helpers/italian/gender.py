"""Gender in Italian job ads: occupations, counterfactual swap, double forms, and cues of exclusive wording."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from helpers.italian.lexicon import (
    FEMININE,
    FOLDER,
    MASCULINE,
    PLURAL,
    SINGULAR,
    Token,
    belongs,
    is_function,
    read_table,
)
from helpers.italian.nouns import Phrase
from helpers.italian.phrases import is_oblique, person_phrases

# where one sex may lawfully be named: acting and fashion, positive action (D.Lgs. 198/2006, art. 27 and 42)
LAWFUL = re.compile(r"casting|sfilat|azioni positive|art\. ?(27|42)\b", re.IGNORECASE)

# nouns made from participles: "il candidato" is as well "la persona candidata"
PARTICIPLES = set(
    re.findall(
        r"\w+",
        "addetto assunto candidato delegato diplomato disoccupato incaricato interessato iscritto laureato neoassunto "
        "neodiplomato neolaureato qualificato selezionato",
    )
)


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


@cache
def occupations() -> list[Occupation]:
    """The occupations of the package, in file order."""
    fields = [name for name in Occupation.__dataclass_fields__ if name != "epicene"]
    return [
        Occupation(**{f: row[f] for f in fields}, epicene=row["epicene"] == "yes")
        for row in read_table(FOLDER / "occupations.tsv")
    ]


# --- rewriting -------------------------------------------------------------------------------------------------------


def article(forms: tuple[str, ...], slot: int, following: str) -> str:
    """The article of `slot` before a word: lo studente, l'operatrice, gli amici."""
    vowel = re.match(r"[aeiouàèéìòù]", following.lower())
    impure = re.match(r"s[^aeiouàèéìòùh]|sh|z|gn|p[sn]|x|y|i[aeou]", following.lower())
    masculine, masculine_z, masculine_v, feminine, feminine_v, plural, plural_z, feminine_plural = forms
    if slot == 0:
        return masculine_v if vowel else masculine_z if impure else masculine
    if slot == 1:
        return feminine_v if vowel else feminine
    return feminine_plural if slot == 3 else plural_z if vowel or impure else plural


def as_in(old: Token, new: str) -> str:
    """`new` in the capitals of the word it replaces."""
    if new == old.low:
        return old.text
    if old.text.isupper() and len(old.text.strip("'’")) > 1:
        return new.upper()
    return new[0].upper() + new[1:] if old.text[0].isupper() else new


def _flip(tokens: list[Token], phrase: Phrase, slot: int) -> dict[int, str]:
    """New words by index for a phrase put into `slot`; empty where a form is missing."""
    words: dict[int, str] = {}
    for i in sorted(phrase.parts, reverse=True):
        forms = phrase.parts[i].forms
        following = words.get(i + 1) or (tokens[i + 1].text if i + 1 < len(tokens) else "")
        new = article(forms, slot, following) if len(forms) == 8 else forms[slot]
        if new == "-":
            return {}
        words[i] = as_in(tokens[i], new)
    return words


def _render(text: str, tokens: list[Token], words: dict[int, str]) -> str:
    """`text` with the words replaced, save fixed ones; an elided article clings to the next word, a full one does not."""
    pieces, position = [], 0
    curly = "’" in text and "'" not in text
    for i, word in sorted(words.items()):
        token, end = tokens[i], tokens[i].end
        if token.fixed:
            continue
        if word.endswith("'") and not token.low.endswith("'"):
            end = tokens[i + 1].start
        elif token.low.endswith("'") and not word.endswith("'"):
            word += " "
        pieces += [text[position : token.start], word.replace("'", "’") if curly else word]
        position = end
    return "".join(pieces) + text[position:]


def swap(text: str, to: Literal["feminine", "masculine"]) -> str:
    """Counterfactual variant: every word that gives a person the other gender is put into `to`, with full agreement."""
    tokens, phrases = person_phrases(text)
    wanted = FEMININE if to == "feminine" else MASCULINE
    words: dict[int, str] = {}
    for phrase in phrases:
        slot = phrase.slot
        if slot is not None and not 1 << slot & wanted and not tokens[phrase.head].fixed:
            words |= _flip(tokens, phrase, slot ^ 1)
    return _render(text, tokens, words)


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
            pair = (article(forms, slot, word), forms[3 if slot == 0 else 7])
            if pair[0].endswith("'"):  # "l'operaio/a", "dell'operaio/a": the elided article serves both
                pair = (pair[0], pair[0])
        if "-" in pair:
            return {}
        new = "/".join(pair) if len(forms) == 8 and pair[0] != pair[1] else _double(*pair)
        words[i] = as_in(tokens[i], new)
    return words


def _split(tokens: list[Token], phrase: Phrase) -> dict[int, str]:
    """Both nouns in full for a plural article and noun with unlike forms: "gli operatori e le operatrici"."""
    head, noun = phrase.head, phrase.parts[phrase.head].forms
    if phrase.slot not in (2, 3) or len(noun) != 4 or noun[2][:-1] == noun[3][:-1]:
        return {}
    first, second = (_flip(tokens, phrase, slot) for slot in (2, 3))
    if not first or not second or sorted(phrase.parts) not in ([head], [head - 1, head]):
        return {}
    extra = " ".join(second[i].lower() for i in sorted(second))
    return first | {head: f"{first[head]} e {extra.upper() if tokens[head].text.isupper() else extra}"}


def _schwa(masculine: str, feminine: str) -> str | None:
    """Both genders by a schwa: candidatə, operatorə, studentə, colleghə; None where the genders have no stem in common."""
    if masculine == feminine:
        return masculine
    if re.search(r"[^aeiou](trice|trici)$|ess[ae]$", feminine) and feminine[:2] == masculine[:2]:
        return masculine[:-1] + "ə"
    if feminine.endswith(("trice", "trici")) and masculine.endswith(("tore", "tori")):
        return masculine[:-1] + "ə"
    one, two = sorted((masculine[:-1], feminine[:-1]), key=len)
    # the feminine has the sound before the ending: tecnichə, operaiə
    return feminine[:-1] + "ə" if two.startswith(one) and len(two) - len(one) <= 1 < len(one) else None


def _with_schwa(tokens: list[Token], phrase: Phrase, slot: int) -> dict[int, str]:
    """Words by index that put a phrase of masculine `slot` into the schwa form; empty where a word has none."""
    words: dict[int, str] = {}
    for i in sorted(phrase.parts, reverse=True):
        forms = phrase.parts[i].forms
        if len(forms) == 8:
            following = words.get(i + 1) or (tokens[i + 1].text if i + 1 < len(tokens) else "")
            pair = article(forms, slot, following), article(forms, slot + 1, following)
            new = pair[0] if pair[0] == pair[1] else forms[3 if slot == 0 else 7][:-1] + "ə"
        else:
            new = _schwa(forms[slot], forms[slot + 1])
        if new is None or "-" in (new, *forms[slot : slot + 2]):
            return {}
        words[i] = as_in(tokens[i], new)
    return words


def neutralise(text: str) -> str:
    """`text` with each one-gender phrase about people in the double form; text without any comes back as it is."""
    return _reworded(text, lambda tokens, phrase: _split(tokens, phrase) or _both(tokens, phrase, phrase.slot & 2))


def schwa(text: str) -> str:
    """`text` with each one-gender phrase about people written with a schwa, singular and plural, as most ads do that use it.

    A noun whose genders have no stem in common (uomo, donna) takes the double form.
    """

    def write(tokens: list[Token], phrase: Phrase) -> dict[int, str]:
        return _with_schwa(tokens, phrase, phrase.slot & 2) or _both(tokens, phrase, phrase.slot & 2)

    return _reworded(text, write)


def persona(text: str) -> str:
    """`text` with nouns made from participles after "persona": le persone candidate, una persona addetta; the rest in double form.

    What agrees with such a noun becomes feminine, as "persona" is. A text without any comes back in the double form.
    """
    number = None  # of the last "persona" in the text

    def write(tokens: list[Token], phrase: Phrase) -> dict[int, str]:
        nonlocal number
        slot, head = phrase.slot | 1, phrase.head
        follows = phrase.kind != "noun" and number == slot
        if phrase.kind == "noun":
            before = [i for i in phrase.parts if i < head]
            named = phrase.parts[head].forms[0] in PARTICIPLES and all(len(phrase.parts[i].forms) == 8 for i in before)
            number = slot if named else None
        if number is None and not follows:
            return _split(tokens, phrase) or _both(tokens, phrase, phrase.slot & 2)
        words = _flip(tokens, phrase, slot)
        if phrase.kind == "noun" and words:
            noun = "persona" if slot == 1 else "persone"
            words[head] = as_in(tokens[head], f"{noun} {phrase.parts[head].forms[slot]}")
            words |= {i: as_in(tokens[i], article(phrase.parts[i].forms, slot, noun)) for i in before}
        return words if words and (follows or phrase.kind == "noun") else _both(tokens, phrase, phrase.slot & 2)

    return _reworded(text, write)


def _reworded(text: str, write: Callable[[list[Token], Phrase], dict[int, str]]) -> str:
    """`text` with what `write` makes of each phrase that is a cue; a text that may lawfully name one sex stays."""
    if LAWFUL.search(text):
        return text
    tokens, phrases = person_phrases(text)
    words: dict[int, str] = {}
    for phrase in phrases:
        if _grammar_cue(text, tokens, phrase):
            words |= write(tokens, phrase)
    return _render(text, tokens, words)


# --- cues ------------------------------------------------------------------------------------------------------------


@cache
def _patterns() -> list[tuple[str, re.Pattern[str], re.Pattern[str]]]:
    """(category, pattern, context that makes it lawful) of every cue beyond grammar."""
    return [
        (row["category"], re.compile(row["pattern"], re.IGNORECASE), re.compile(row["unless"], re.IGNORECASE))
        for row in read_table(FOLDER / "morph_cues.tsv")
    ]


def _is_certain_person(tokens: list[Token], phrase: Phrase) -> bool:
    """A relative, a named person or a woman already known: "la nostra mamma", "il fondatore Mario Rossi"."""
    after = tokens[max(phrase.parts) + 1 : max(phrase.parts) + 3]
    if len(after) == 2 and all(t.text.istitle() and len(t.text) > 2 and not is_function(t) for t in after):
        return not any(belongs(t, "english") for t in after)
    known_woman = phrase.slot == 1 and phrase.kind == "noun" and is_oblique(tokens, min(phrase.parts))
    return known_woman or belongs(tokens[phrase.head], "kin")


def _grammar_cue(text: str, tokens: list[Token], phrase: Phrase) -> Cue | None:
    """The cue of a phrase that has one gender, from its first gendered word to its last."""
    head = tokens[phrase.head]
    if phrase.slot is None or phrase.kind == "object" or head.fixed or _is_certain_person(tokens, phrase):
        return None
    number = SINGULAR if phrase.slot < 2 else PLURAL
    gendered = [i for i, reading in phrase.parts.items() if (reading.mask & number).bit_count() == 1]
    if not gendered or head.low in ("lui", "lei", "tutte") or head.low.startswith("quel"):
        return None
    start, end = tokens[min([*gendered, phrase.head])].start, tokens[max([*gendered, phrase.head])].end
    category = "feminine_title" if 1 << phrase.slot & FEMININE else "masculine_form"
    return Cue(start, end, text[start:end], category)


def cues(text: str) -> list[Cue]:
    """Stretches that make an ad not inclusive, in order; overlapping ones give way to the exclusion beyond grammar."""
    found = [
        Cue(match.start(), match.end(), match.group(), category)
        for category, pattern, unless in _patterns()
        if not unless.search(text)
        for match in pattern.finditer(text)
    ]
    if not LAWFUL.search(text):
        tokens, phrases = person_phrases(text)
        found += [cue for phrase in phrases if (cue := _grammar_cue(text, tokens, phrase))]
    kept: list[Cue] = []
    for cue in found:
        if all(cue.end <= other.start or cue.start >= other.end for other in kept):
            kept.append(cue)
    return sorted(kept, key=lambda cue: cue.start)
