"""Person nouns, and the phrases they form with the articles and adjectives that agree with them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from helpers.italian.lexicon import (
    AMOUNTS,
    BOUNDARY,
    MODIFIERS,
    NOUNS,
    PLURAL,
    SINGULAR,
    Reading,
    Token,
    adjective_of,
    belongs,
    is_adverb,
    is_function,
    lexicon,
    noun_mask,
    reading_of,
    word_classes,
)

# what an unknown adjective may end in: after "sei" or "è", as a noun after an article, right after the noun
VERBAL = re.compile(r"[aiu]t[oaie]$")
NOMINAL = re.compile(r"([aiu]t|unt|itt|ert|elt|ess|ost)[oaie]$")
QUALITY = re.compile(r"(at|it|ut|os|iv|an)(issim)?[oaie]$")


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

    def gendered_words(self) -> list[int]:
        """The words that have one gender in the number of the phrase, which must have a slot."""
        number = SINGULAR if self.slot < 2 else PLURAL
        return [i for i, reading in self.parts.items() if (reading.mask & number).bit_count() == 1]


# --- position --------------------------------------------------------------------------------------------------------


def joined(tokens: list[Token], i: int) -> bool:
    """Whether tokens i and i + 1 stand in one line with nothing between them but a space."""
    return 0 <= i < len(tokens) - 1 and tokens[i + 1].start - tokens[i].end <= 2


def before(tokens: list[Token], i: int) -> int:
    """Index of the nearest token before i that is no adverb, -1 at the start."""
    i -= 1
    while i >= 0 and is_adverb(tokens[i]):
        i -= 1
    return i


def opens(tokens: list[Token], i: int) -> bool:
    """Whether i is the first word of a title, a bullet or a sentence, adverbs aside."""
    j = before(tokens, i)
    return j < 0 or tokens[j].lower in BOUNDARY or tokens[j].lower in '-*>"«“()'


def _starts_clause(tokens: list[Token], i: int) -> bool:
    """Whether i opens a line or a sentence, or follows "cercasi", "se", "come"."""
    return opens(tokens, i) or belongs(tokens[before(tokens, i)], "search")


# --- person nouns ----------------------------------------------------------------------------------------------------


def _person_noun(tokens: list[Token], i: int) -> Reading | None:
    """The person noun at i, if it is one."""
    token = tokens[i]
    noun, neutral = reading_of(token, {"noun"}), reading_of(tokens[i - 1], {"neutral"}) if i else None
    if neutral and reading_of(token, NOUNS | {"person"}, neutral.mask):  # "personale addetto alle casse"
        return None
    if reading_of(token, {"thing"}):  # "la tecnica" is no woman, but "cercasi tecnica di laboratorio" is
        return reading_of(token, NOUNS) if _is_wanted(tokens, i) else None
    if noun and belongs(token, "ambiguous") and not _starts_clause(tokens, i):  # "la commessa", an order or a person
        indefinite = i and reading_of(tokens[i - 1], {"article"})
        return noun if indefinite and indefinite.forms[0] == "un" else None
    if noun and not (token.lower == "candidati" and _is_imperative(tokens, i)) and not _is_part(tokens, i):
        return noun
    if lead := reading_of(token, {"lead"}):  # "capo reparto", not "un capo di cachemire"
        following = tokens[i + 1] if joined(tokens, i) else None
        agrees = following and QUALITY.search(following.lower) and noun_mask(following) & lead.mask
        return lead if following and not is_function(following) and not agrees else None
    j = before(tokens, i)
    if _is_part(tokens, i) or (j >= 0 and belongs(tokens[j], "have")):  # "hanno invitato"
        return None
    return _role(tokens, i, j)


def _role(tokens: list[Token], i: int, j: int) -> Reading | None:
    """The role word or participle at i where it is a noun, and no adjective of the word j before it."""
    token, k = tokens[i], i - 1
    while k >= 0 and reading_of(tokens[k], {"adj"}):
        k -= 1
    article = reading_of(tokens[k], {"article", "determiner"}) if k >= 0 else None
    role = reading_of(token, {"role"})
    if not role:  # "gli interessati", with no noun after it that they could belong to
        return _nominal(tokens, i, article.mask) if article else None
    modifies = role.forms[0] == "-" and joined(tokens, i) and not is_function(tokens[i + 1])
    if modifies and not reading_of(tokens[i + 1], MODIFIERS):  # "altri settori"
        return None
    if article or _starts_clause(tokens, i):
        return role
    while j >= 0 and (belongs(tokens[j], "conjunction") or tokens[j].lower == ","):
        j -= 1
    if reading_of(tokens[j], NOUNS):
        return role if _person_noun(tokens, j) else None
    after_function = token.lower in lexicon() and is_function(tokens[j]) and not _is_copula(tokens[j])
    return role if after_function or reading_of(tokens[j], {"person"}) else None


def _is_wanted(tokens: list[Token], i: int) -> bool:
    """Whether the word at i, with its indefinite article, is what the ad looks for: "cercasi una tecnica"."""
    while i and (reading_of(tokens[i - 1], {"adj"}) or tokens[i - 1].lower in ("un", "una", "un'")):
        i -= 1
    return i > 0 and tokens[i - 1].lower.startswith(("cerc", "ricerchi", "selezion", "assum", "offr"))


def _nominal(tokens: list[Token], i: int, mask: int) -> Reading | None:
    """A participle used as a noun after an article of `mask`: "gli interessati"."""
    reading = reading_of(tokens[i], {"person"}, mask)
    if not reading or not NOMINAL.search(tokens[i].lower):
        return None
    following = tokens[i + 1] if joined(tokens, i) else None
    thing = following and not is_function(following) and not reading_of(following, NOUNS | MODIFIERS)
    return None if thing and noun_mask(following) & reading.mask else reading


def _is_imperative(tokens: list[Token], i: int) -> bool:
    """Whether "candidati" is the verb, as in "Candidati ora!"."""
    follows = i + 1 == len(tokens) or belongs(tokens[i + 1], "imperative")
    return follows and (
        _starts_clause(tokens, i) or tokens[i].text.istitle() or (i > 0 and tokens[i - 1].lower in ("e", ","))
    )


def _is_part(tokens: list[Token], i: int) -> bool:
    """Part of a compound, an abbreviation or a code: socio-assistenziale, Ho.Re.Ca., (RE), casa madre, moda donna."""
    token, previous = tokens[i], tokens[i - 1] if i else None
    if len(token.lower) == 2 and token.text != token.lower:
        return True
    if previous and belongs(token, "kin") and joined(tokens, i - 1) and not is_function(previous):
        return not reading_of(previous, NOUNS | MODIFIERS)
    opens_compound = i + 2 < len(tokens) and tokens[i + 1].lower == "-" and tokens[i + 2].start - token.end == 1
    ends_compound = i > 1 and previous.lower in ".@-_" and token.start == tokens[i - 2].end + 1
    return opens_compound or ends_compound


def _is_copula(token: Token) -> bool:
    return any(token.lower in words for name, words in word_classes().items() if name.startswith("copula"))


# --- noun phrases ----------------------------------------------------------------------------------------------------


def _left(tokens: list[Token], head: int, noun: Reading) -> tuple[dict[int, Reading], int]:
    """Articles, determiners and adjectives before a noun that agree with it; English words are passed over."""
    parts: dict[int, Reading] = {}
    mask, foreign = noun.mask, len(set(noun.forms)) == 1
    i, words = head - 1, 0
    while joined(tokens, i) and not tokens[i].is_double:
        token = tokens[i]
        if foreign and words < 3 and _is_english(token):
            words, i = words + 1, i - 1
            continue
        found = reading_of(token, {"article"}, mask) or reading_of(token, {"determiner"} | MODIFIERS, mask)
        if not found and i and reading_of(tokens[i - 1], {"article", "determiner"}, mask):
            found = adjective_of(token, mask, True)
        if found:
            parts[i] = found
            mask &= found.mask
            if found.kind == "article" and not (i and tokens[i - 1].lower[:4] == "tutt"):
                break
        elif not (token.lower in ("ex", "vice", "più", "due", "tre", "quattro") or token.text.isdigit()):
            break
        i -= 1
    if words and not any(r.kind == "article" for r in parts.values()):
        return {}, noun.mask
    return parts, mask


def _is_english(token: Token) -> bool:
    """A modifier in an English title: no Italian ending, or a known English word."""
    unknown = token.lower.isalpha() and not token.readings and not is_function(token)
    return belongs(token, "english") or token.lower == "-" or (unknown and token.lower[-1] not in "aeioàèéìòù")


def chain(tokens: list[Token], i: int, mask: int, loose: bool) -> tuple[dict[int, Reading], int, int]:
    """Adjectives from i on that agree with `mask`: (parts, mask, index after the last of them)."""
    parts: dict[int, Reading] = {}
    first, end, linked = i, i, True
    while i < len(tokens) and tokens[i].lower not in BOUNDARY:
        token = tokens[i]
        amount = i > first and tokens[i - 1].lower in AMOUNTS
        adjective = adjective_of(token, mask, loose and not parts and not amount)
        if adjective and not reading_of(token, MODIFIERS, mask) and not (loose and linked):
            # an unknown word: a participle, or a quality right after the noun
            quality = QUALITY if i == first or i - 1 in parts else VERBAL if loose else None
            adjective = adjective if quality and quality.search(token.lower) else None
        if adjective:
            parts[i] = adjective
            mask &= adjective.mask
            end, linked = i + 1, True
        elif token.lower in (",", "/", "&") or (belongs(token, "conjunction") and parts):
            linked = False
        elif not (is_adverb(token) or _is_part(tokens, i) or (token.lower == "-" and _is_part(tokens, i - 1))):
            break  # but "operatore socio-sanitario"
        i += 1
    return parts, mask, end


def noun_phrases(tokens: list[Token]) -> list[Phrase]:
    """A phrase for each person noun, with what stands before and after it."""
    phrases: list[Phrase] = []
    used: set[int] = set()
    for i in range(len(tokens)):
        noun = None if i in used else _person_noun(tokens, i)
        following = reading_of(tokens[i + 1], {"noun"}) if noun and joined(tokens, i) else None
        if not noun or (following and following.mask & noun.mask and reading_of(tokens[i], MODIFIERS)):
            continue  # "giovani lavoratori": the adjective joins the noun after it
        parts, mask = _left(tokens, i, noun)
        after: dict[int, Reading] = {}
        if not tokens[i].is_double:
            after, mask, _ = chain(tokens, i + 1, mask, False)
        parts = {k: r for k, r in parts.items() if k not in used} | {i: noun} | after
        phrases.append(Phrase(parts, mask, i, "noun"))
        used |= set(parts)
    return phrases
