"""The forms of a word: gender, number, its article, and both genders in one (candidato/a)."""

from __future__ import annotations

import re
from functools import cache

from helpers.italian.lexicon import Reading, article_named

# --- one gender -------------------------------------------------------------------------


def inflected(reading: Reading, slot: int, following: str) -> str | None:
    """The form of a word in a slot (0 to 3) before another word, None where it has none: lo studente, gli amici."""
    form = article(reading, slot, following) if reading.is_article else reading.forms[slot]
    return None if form == "-" else form


def article(reading: Reading, slot: int, following: str) -> str:
    """The form of an article in a slot before a word; "-" where it has none."""
    vowel = re.match(r"[aeiouàèéìòù]", following.lower())
    impure = re.match(r"s[^aeiouàèéìòùh]|sh|z|gn|p[sn]|x|y|i[aeou]", following.lower())
    masculine, masculine_z, masculine_vowel, feminine, feminine_vowel, plural, plural_z, feminine_plural = reading.forms
    masculine = masculine_vowel if vowel else masculine_z if impure else masculine
    plural = plural_z if vowel or impure else plural
    return (masculine, feminine_vowel if vowel else feminine, plural, feminine_plural)[slot]


def articled(noun: str, name: str, slot: int) -> str:
    """`noun` after the article or articulated preposition with the form `name` (else KeyError), put into a slot."""
    # by sound: the h of loan words is silent and HR is read "acca erre"; "chef" is read "scef"
    sound = re.sub(r"^h", "a", re.sub(r"^chef", "scef", noun, flags=re.IGNORECASE), flags=re.IGNORECASE)
    word = article(article_named(name), slot, sound)
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
    masculine, feminine = article(reading, slot, following), _full_feminine(reading, slot)
    if masculine.endswith("'"):  # "l'operaio/a": the elided article serves both
        return masculine
    if "-" in (masculine, feminine):
        return None
    return masculine if masculine == feminine else f"{masculine}/{feminine}"


def with_schwa(reading: Reading, slot: int, following: str) -> str | None:
    """The form with a schwa in the number of the masculine `slot`: candidatə, dellə; or None."""
    masculine, feminine = reading.forms[slot : slot + 2]
    if "-" in (masculine, feminine):
        return None
    if not reading.is_article:
        return _schwa_noun(masculine, feminine)
    masculine, feminine = article(reading, slot, following), article(reading, slot + 1, following)
    if masculine != feminine:
        return _full_feminine(reading, slot)[:-1] + "ə"
    return None if masculine == "-" else masculine


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


def _table(rows: str) -> dict[str, list[str]]:
    pairs = (row.split(": ") for row in re.split(r"[|\n]", rows))
    return {key: renderings.split() for key, renderings in pairs}


# A person may write more renderings than the rules do (direttrice/tore, operaio o operaia), and the
# strict check accepts them all. Ending of a word: endings with both genders; the first ending that
# fits counts.
DOUBLE_ENDINGS = _table("""trice: tore/trice trice/tore tore/tora|trici: tori/trici trici/tori|tore: tore/trice tore/tora
tori: tori/trici|iera: iere/a iera/e|iere: iere/a ieri/e iera/e|chi: chi/che|che: chi/che ci/che|ghi: ghi/ghe
ghe: ghi/ghe gi/ghe|ci: ci/che|gi: gi/ghe|o: o/a|a: o/a a/o e/a|i: i/e|e: i/e e/i e/a""")
DOUBLE_WORDS = _table("""un: un/a un/una un/un'|uno: uno/a uno/una|una: un/a uno/a un/una uno/una|un': un/un'
dalla: dal/dalla|nel: nel/nella|sul: sul/sulla|mio: mio/a|tuo: tuo/a|suo: suo/a|ragazza: ragazzo/a
uomo: uomo/donna|donna: uomo/donna|uomini: uomini/donne|donne: uomini/donne donne/uomini""")


@cache
def double_words() -> dict[str, list[str]]:
    """Articles and words without a stem in common → their double forms."""
    doubles: dict[str, list[str]] = {}
    for name in ("il", "del", "al", "dal"):
        singular, singular_z, _, feminine, _, plural, plural_z, feminine_plural = article_named(name).forms
        pairs = (singular, feminine), (singular_z, feminine), (plural, feminine_plural), (plural_z, feminine_plural)
        for masculine, feminine in pairs:
            doubles.setdefault(masculine, []).append(f"{masculine}/{feminine}")
            doubles.setdefault(feminine, []).append(f"{masculine}/{feminine}")
    return doubles | DOUBLE_WORDS


def accepted_doubles(word: str) -> list[str]:
    """All accepted ways to write both genders: operaio/a, operaio/operaia, operaio o operaia."""
    lower = word.lower().replace("’", "'")
    if lower == "un'":  # with the space that its other forms need
        renderings = ["un/un'", "un/una ", "un/a "]
    elif lower in double_words():
        renderings = double_words()[lower]
    else:
        renderings = _doubles_by_ending(lower)
    return [with_capitals(rendering, word) for rendering in renderings]


def _doubles_by_ending(word: str) -> list[str]:
    """The double forms of a word by its ending, short, in full and with a conjunction."""
    ending = next((ending for ending in DOUBLE_ENDINGS if word.endswith(ending)), None)
    if ending is None or len(word) < 3:
        return []
    stem = word.removesuffix(ending)
    renderings = [stem + both for both in DOUBLE_ENDINGS[ending]]
    for both in list(renderings):
        first, _, other = both.partition("/")
        second = first[: -len(other)] + other if len(other) < 3 else stem + other
        renderings += [f"{first}/{second}", f"{first} o {second}", f"{first} e {second}"]
    return list(dict.fromkeys(renderings))
