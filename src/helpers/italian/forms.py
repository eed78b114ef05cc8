"""The forms of a word: gender, number, its article, and both genders in one (candidato/a)."""

from __future__ import annotations

import re
from functools import cache

from helpers.italian.lexicon import Reading, lexicon, table_rows

# --- one gender -------------------------------------------------------------------------


def inflected(reading: Reading, slot: int, following: str) -> str | None:
    """The form of a word in a slot (0 to 3) before another word, None where it has none: lo studente, gli amici."""
    form = article(reading, slot, following) if reading.is_article else reading.forms[slot]
    return None if form == "-" else form


def article(reading: Reading, slot: int, following: str) -> str:
    """The form of an article in a slot before a word; "-" where it has none."""
    vowel = re.match(r"h?[aeiouàèéìòù]", following.lower())  # the h is silent: "l'hostess"
    impure = re.match(r"s[^aeiouàèéìòùh]|sh|z|gn|p[sn]|x|y|i[aeou]", following.lower())
    masculine, masculine_z, masculine_vowel, feminine, feminine_vowel, plural, plural_z, feminine_plural = reading.forms
    masculine = masculine_vowel if vowel else masculine_z if impure else masculine
    plural = plural_z if vowel or impure else plural
    return (masculine, feminine_vowel if vowel else feminine, plural, feminine_plural)[slot]


def articled(noun: str, name: str, slot: int) -> str:
    """`noun` after the article or articulated preposition `name`, put into a slot; '' for no article.

    `name` is any form of it ("il", "dei"); raises KeyError for another word.
    """
    if not name:
        return noun
    reading = next(reading for reading in lexicon()[name] if reading.is_article)
    # by sound: the h of loan words is silent and HR is read "acca erre"; "chef" is read "scef"
    sound = re.sub(r"^h", "a", re.sub(r"^chef", "scef", noun, flags=re.IGNORECASE), flags=re.IGNORECASE)
    word = article(reading, slot, sound)
    return word + noun if word.endswith("'") else f"{word} {noun}"


def with_capitals(word: str, like: str) -> str:
    """`word` in the capitals of the word it replaces; a word that stays keeps its apostrophe."""
    if word == like.lower().replace("’", "'"):
        return like
    if like.isupper() and len(like.strip("'’")) > 1:
        return word.upper()
    return word[0].upper() + word[1:] if like[0].isupper() else word


# --- both genders -----------------------------------------------------------------------


def doubled(reading: Reading, slot: int, following: str) -> str | None:
    """The double form in the number of the masculine `slot`: candidato/a, del/della; or None."""
    if not reading.is_article:
        masculine, feminine = reading.forms[slot : slot + 2]
        return None if "-" in (masculine, feminine) else double(masculine, feminine)
    masculine = article(reading, slot, following)
    if masculine.endswith("'"):  # "l'operaio/a": the elided article serves both
        return masculine
    return f"{masculine}/{_full_feminine(reading, slot)}"


def with_schwa(reading: Reading, slot: int, following: str) -> str | None:
    """The form with a schwa in the number of the masculine `slot`: candidatə, dellə; or None."""
    masculine, feminine = reading.forms[slot : slot + 2]
    if "-" in (masculine, feminine):
        return None
    if not reading.is_article:
        return _schwa_noun(masculine, feminine)
    masculine, feminine = article(reading, slot, following), article(reading, slot + 1, following)
    return masculine if masculine == feminine else _full_feminine(reading, slot)[:-1] + "ə"


def _full_feminine(reading: Reading, slot: int) -> str:
    """The feminine of an article, not elided, in the number of a slot: "la", "una", "delle"."""
    return reading.forms[3 if slot < 2 else 7]


def double(masculine: str, feminine: str) -> str:
    """Both genders as editors write them: candidato/a, operatori/trici, tecnici/che, uomo/donna."""
    if masculine == feminine:
        return masculine
    if masculine[:-1] == feminine[:-1]:
        return f"{masculine}/{feminine[-1]}"
    for ending in ("trice", "trici", "essa", "esse", "che", "ghe"):
        if feminine.endswith(ending) and feminine[: -len(ending)] == masculine[: len(feminine) - len(ending)]:
            return f"{masculine}/{ending}"
    return f"{masculine}/{feminine}"


def _schwa_noun(masculine: str, feminine: str) -> str | None:
    """candidatə, operatorə, studentə; None where the genders have no stem in common."""
    if masculine == feminine:
        return masculine
    from_masculine = re.search(r"[^aeiou](trice|trici)$|ess[ae]$", feminine) and feminine[:2] == masculine[:2]
    if from_masculine or (feminine.endswith(("trice", "trici")) and masculine.endswith(("tore", "tori"))):
        return masculine[:-1] + "ə"
    shorter, longer = sorted((masculine[:-1], feminine[:-1]), key=len)
    # the feminine has the sound before the ending: tecnichə, operaiə
    same_stem = longer.startswith(shorter) and len(longer) - len(shorter) <= 1 < len(shorter)
    return feminine[:-1] + "ə" if same_stem else None


def with_asterisk(masculine: str, feminine: str) -> str | None:
    """The words with an asterisk for the last letter, or None where the genders differ by more."""
    pairs = list(zip(masculine.split(), feminine.split(), strict=False))
    if any(m != f and m[:-1] != f[:-1] for m, f in pairs):
        return None
    return " ".join(m if m == f else m[:-1] + "*" for m, f in pairs)


# --- every accepted way to write both genders -------------------------------------------


@cache
def double_words() -> dict[str, list[str]]:
    """Articles, words without a stem in common and endings ("-trice") → their double forms.

    A person may write more of them than the rules do (direttrice/tore), and the strict check
    accepts them all.
    """
    return {row["word"]: row["doubles"].split() for row in table_rows("morph_doubles")}


def accepted_doubles(word: str) -> list[str]:
    """All accepted ways to write both genders: operaio/a, operaio/operaia, operaio o operaia."""
    lower = word.lower().replace("’", "'")
    renderings = double_words().get(lower) or _doubles_by_ending(lower)
    return [with_capitals(rendering, word) for rendering in renderings]


def _doubles_by_ending(word: str) -> list[str]:
    """The double forms of a word by its ending, short, in full and with a conjunction."""
    ending = next((key for key in double_words() if key[0] == "-" and word.endswith(key[1:])), None)
    if ending is None or len(word) < 3:
        return []
    stem = word.removesuffix(ending[1:])
    renderings = [stem + both for both in double_words()[ending]]
    for both in list(renderings):
        first, _, other = both.partition("/")
        second = first[: -len(other)] + other if len(other) < 3 else stem + other
        renderings += [f"{first}/{second}", f"{first} o {second}", f"{first} e {second}"]
    return list(dict.fromkeys(renderings))
