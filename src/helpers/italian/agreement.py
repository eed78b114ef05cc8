"""Person nouns, and the phrases they form with the articles and adjectives that agree with them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import takewhile

from helpers.italian.lexicon import (
    AMOUNTS,
    BOUNDARY,
    MODIFIERS,
    NOUNS,
    PLURAL,
    REACH,
    SINGULAR,
    VERBAL,
    Reading,
    Token,
    adjective_of,
    belongs,
    is_adverb,
    is_function,
    is_link,
    lexicon,
    noun_mask,
    reading_of,
    word_classes,
)

# endings of an unknown adjective: as a noun after an article, after a noun
NOMINAL = re.compile(r"([aiu]t|unt|itt|ert|elt|ess|ost)[oaie]$")
QUALITY = re.compile(r"(at|it|ut|os|iv|an)(issim)?[oaie]$")

COPULAS = [f"copula_{form}" for form in ("infinitive", "singular", "plural", "third_singular", "third_plural")]

FIRMS = {"operatore", "gestore", "distributore", "produttore", "editore", "costruttore", "concessionario"}
DEVICES = {"assistente", "traduttore", "risponditore", "operatore", "lettore", "compilatore"}

DETERMINERS = {"article", "determiner", "adj"}

Parts = dict[int, Reading]  # words of a phrase: token index → reading


@dataclass
class Phrase:
    """Words that agree about a person, with the mask of the gender and number they share."""

    parts: Parts
    mask: int
    head: int  # index of the noun, or of the first word where there is none
    kind: str  # noun, predicate, object ("mi ha colpito") or loose
    about: int = (
        -1
    )  # index of the noun that a predicate or adjective agrees with, or of its verb; -1 where none is named

    @property
    def slot(self) -> int | None:
        """0 to 3 as in the four forms; None when the words leave the gender open."""
        return {1: 0, 2: 1, 4: 2, 8: 3, 0b1001: 0, 0b0101: 0, 0b1010: 1}.get(self.mask)

    def gendered_words(self) -> list[int]:
        """The words that have one gender in the number of the phrase, which must have a slot."""
        number = SINGULAR if self.slot < 2 else PLURAL
        return [i for i, reading in self.parts.items() if (reading.mask & number).bit_count() == 1]


# --- position ---------------------------------------------------------------------------


def adjacent(tokens: list[Token], i: int) -> bool:
    """Whether tokens i and i + 1 stand in one line with nothing between them but a space."""
    return 0 <= i < len(tokens) - 1 and tokens[i + 1].start - tokens[i].end <= 2


def preceding(i: int) -> range:
    """Indices of the tokens before i within reach, the nearest first."""
    return range(i - 1, max(i - 1 - REACH, -1), -1)


def opens_sentence(tokens: list[Token], i: int) -> bool:
    """Whether i is the first word of a title, a bullet or a sentence, adverbs aside."""
    j = tokens[i].previous
    return j < 0 or tokens[j].lower in BOUNDARY or tokens[j].lower in '-*>"«“()'


def _opens_clause(tokens: list[Token], i: int) -> bool:
    """Whether i opens a line or a sentence, or follows "cercasi", "se", "come"."""
    return opens_sentence(tokens, i) or belongs(tokens[tokens[i].previous], "search")


# --- person nouns -----------------------------------------------------------------------


def _person_noun(tokens: list[Token], i: int) -> Reading | None:
    """The reading of token i as a noun for a person, None where it is none here."""
    token = tokens[i]
    is_word = token.lower[0].isalpha() and not (token.readings and all(r.kind == "article" for r in token.readings))
    if not is_word or _is_no_person(tokens, i):
        return None
    noun, neutral = reading_of(token, {"noun"}), reading_of(tokens[i - 1], {"neutral"}) if i else None
    if neutral and reading_of(token, NOUNS | {"person"}, neutral.mask):  # "personale addetto alle casse"
        return None
    if _is_machine(tokens, i) or reading_of(
        token, {"thing"}
    ):  # "la tecnica" is no woman, but "cercasi tecnica di laboratorio" is
        return reading_of(token, NOUNS) if _is_sought(tokens, i) else None
    if (
        noun and belongs(token, "ambiguous") and (not _opens_clause(tokens, i) or (i and tokens[i - 1].lower == "per"))
    ):  # "la commessa", an order or a person
        article = reading_of(tokens[i - 1], {"article"}) if i else None
        return noun if article and article.forms[0] == "un" else None
    if noun and (_is_participle(tokens, i) or _is_finite_verb(tokens, i)):
        return None
    if noun and not (token.lower == "candidati" and _is_imperative(tokens, i)) and not _is_part(tokens, i):
        return noun
    if lead := reading_of(token, {"lead"}):  # "capo reparto", not "un capo di cachemire"
        following = tokens[i + 1] if adjacent(tokens, i) else None
        agrees = following and QUALITY.search(following.lower) and noun_mask(following) & lead.mask
        return lead if following and not is_function(following) and not agrees else None
    j = token.previous
    if _is_part(tokens, i) or (j >= 0 and belongs(tokens[j], "have")):  # "hanno invitato"
        return None
    return _role(tokens, i, j)


def _is_finite_verb(tokens: list[Token], i: int) -> bool:
    """Whether a noun is a verb: *la linea collega lo scalo al porto*, *lo si fotografa*."""
    if not i or not tokens[i].lower.endswith("a") or not adjacent(tokens, i - 1):
        return False
    if tokens[i - 1].lower in ("si", "non"):
        return True
    bare = not reading_of(tokens[i - 1], DETERMINERS) and not belongs(tokens[i - 1], "preposition", "search")
    following = tokens[i + 1] if adjacent(tokens, i) else None
    return bool(tokens[i].lower == "collega" and bare and following and reading_of(following, {"article"}))


def _is_participle(tokens: list[Token], i: int) -> bool:
    """Whether "candidato" is a participle: *ha candidato un progetto*, *una scuola candidata al premio*."""
    if not tokens[i].lower.startswith("candidat"):
        return False
    j = tokens[i].previous
    if j >= 0 and belongs(tokens[j], "have"):
        return True
    bare = j < 0 or not reading_of(tokens[j], {"article", "determiner", "adj"})
    return bare and adjacent(tokens, i) and tokens[i + 1].lower in ("al", "alla", "all'", "ai", "alle")


def _is_no_person(tokens: list[Token], i: int) -> bool:
    """Whether the noun at i is a firm, a device, or part of the name of a place, an institution or a diploma."""
    token, before = tokens[i], [tokens[k] for k in preceding(i)[:3]]
    following = tokens[i + 1] if adjacent(tokens, i) else None
    if before and adjacent(tokens, i - 1) and belongs(before[0], "organisation"):  # "azienda cliente"
        return True
    if before and adjacent(tokens, i - 1) and reading_of(before[0], {"thing"}) and reading_of(token, {"adj"}):
        return True  # "un certificato medico"
    if following is not None:
        if token.lower in FIRMS and belongs(following, "trade") and reading_of(token, NOUNS, SINGULAR):
            return True  # "un operatore logistico"
        if _is_device_noun(token) and belongs(following, "automatic"):
            return True  # "l'assistente virtuale"
        if reading_of(token, {"adj"}) and belongs(following, "organisation"):
            return True  # "primarie aziende"
    is_singular = reading_of(token, NOUNS, SINGULAR) and not reading_of(token, NOUNS, PLURAL)
    words = [other for other in before if not reading_of(other, {"article", "adj"})]
    if is_singular and words and words[0].lower == "siamo":  # what many are together
        return True
    if _is_compound(tokens, i) or _is_elliptic(tokens, i) or _is_diploma(tokens, i) or _is_title_of_work(tokens, i):
        return True
    if belongs(token, "of_things") and is_singular and before and before[0].lower == ",":
        return True  # "il progetto, vincitore del bando"
    if following is not None and token.text in ("Fratelli", "Sorelle") and following.text.istitle():
        return True  # "Fratelli Moro"
    if _is_said_to_be_organisation(tokens, i) or _is_of_a_body(tokens, i) or _is_said_of_organisation(tokens, i):
        return True
    if not token.text[0].isupper():
        return False
    # "Albo Nazionale Gestori Ambientali", "via dei Medici", "Statuto dei Lavoratori"
    named = takewhile(_may_stand_in_a_name, before)
    return any(belongs(other, "register") for other in named)


def _is_said_to_be_organisation(tokens: list[Token], i: int) -> bool:
    """Whether the noun at i is then called an organisation: *il committente è un ente pubblico*."""
    for k in range(i + 1, min(i + 8, len(tokens) - 1)):
        if tokens[k].lower in BOUNDARY | {","}:
            return False
        if tokens[k].lower == "è":
            rest = [t for t in tokens[k + 1 : k + 4] if not reading_of(t, {"article", "adj"})]
            return bool(rest) and belongs(rest[0], "organisation", "office")
    return False


def _is_said_of_organisation(tokens: list[Token], i: int) -> bool:
    """Whether the noun at i says what an organisation is: *la fondazione è socia di due consorzi*."""
    if i < 2 or tokens[i - 1].lower != "è" or not adjacent(tokens, i) or not belongs(tokens[i + 1], "preposition"):
        return False
    return belongs(tokens[i - 2], "organisation", "office") and tokens[i - 2].lower[-1] in "aeoà"


def _is_of_a_body(tokens: list[Token], i: int) -> bool:
    """Whether i says whose register or law it is: *albo dei consulenti*, *statuto dei lavoratori*."""
    if i and adjacent(tokens, i - 1) and reading_of(tokens[i - 1], NOUNS | {"person"}):  # "degli impiegati civili"
        i -= 1
    words = [tokens[k] for k in range(i - 1, max(-1, i - 10), -1)]
    if len(words) > 2 and words[1].lower == "per" and words[0].lower in ("i", "gli", "le"):  # "CCNL per i dipendenti"
        return belongs(words[2], "body")
    if len(words) < 2 or words[0].lower not in ("dei", "degli", "delle", "del", "della", "dell'"):
        return False
    if words[1].lower in ("nazionale", "regionale", "provinciale"):
        return True
    if belongs(words[1], "body") or (len(words) > 2 and belongs(words[2], "body") and not is_function(words[1])):
        return words[0].lower in ("dei", "degli", "delle")
    # "Codice di comportamento dei dipendenti", "Ordine dei Commercialisti e degli Esperti"
    name = list(takewhile(_may_stand_in_a_law, words[1:]))
    return any(word.text[0].isupper() and belongs(word, "body", "law") for word in name)


def _may_stand_in_a_law(token: Token) -> bool:
    """Whether the word may stand in a law's or a body's name before whom it is for: *Codice di comportamento dei*."""
    if token.lower in ("e", "unico", "di", "del", "della", "dell'", "dei", "degli", "delle", "al"):
        return True
    return token.lower[0].isalpha() and not is_function(token) and not belongs(token, "search")


def _may_stand_in_a_name(token: Token) -> bool:
    """Whether the word may stand between the register and the noun of a name: *Albo Nazionale dei Gestori*."""
    if token.lower in BOUNDARY or belongs(token, "search", *COPULAS):
        return False
    return token.text[0].isupper() or is_function(token) or belongs(token, "register")


def _is_machine(tokens: list[Token], i: int) -> bool:
    """Whether i is an unknown word in -trice behind an article: *la vendemmiatrice*, but *orlatrice in sede* is a person."""
    if not tokens[i].lower.endswith("trice") or tokens[i].lower in lexicon() or not i:
        return False
    article = reading_of(tokens[i - 1], {"article"})
    return article is not None and article.forms[0] in ("il", "un")


def _is_device_noun(token: Token) -> bool:
    return token.lower in DEVICES or token.lower.endswith(("tore", "tori", "trice", "trici"))


def _is_compound(tokens: list[Token], i: int) -> bool:
    """Whether the words from i on name a thing or an institution: *lettore di codici*, *giudice di pace*."""
    words = [token.lower for token in tokens[max(0, i - 1) : i + 3]]
    own = words[1:] if i else words
    return any(" ".join(part) in word_classes()["compound"] for part in (own[:2], own[:3], words[:2] if i else []))


def _is_elliptic(tokens: list[Token], i: int) -> bool:
    """Whether i is the adjective of a noun left out: *la parte tecnica e quella commerciale*."""
    before = tokens[i - 1].lower if i else ""
    if before in ("quello", "quelli"):  # a determiner before "scienziato" alone, and the like
        return before == "quelli" or not re.match(r"z|s[^aeiou]|ps|gn|x|y", tokens[i].lower)
    return before in ("quella", "quelle") and reading_of(tokens[i], {"adj"}) is not None


def _is_diploma(tokens: list[Token], i: int) -> bool:
    """Whether i is what a diploma or a course is called after: *diploma di geometra o di perito agrario*."""
    near = [tokens[k] for k in preceding(i)[:12] if k >= tokens[i].sentence]
    words = [token for token in near if not reading_of(token, {"adj"}) and token.lower != "professionale"]
    if words and belongs(words[0], "diploma"):
        return True
    words = _without_kind_of_diploma(words)
    while words and words[0].lower in ("di", "da", "per"):
        if len(words) > 1 and belongs(words[1], "diploma"):
            # "assunzione con la qualifica di operaio" is what somebody will be
            is_position = any(token.lower == "con" for token in words[2:4]) or words[0].lower == "da"
            return not is_position and (words[0].lower == "di" or words[1].lower.startswith(("attest", "patentin")))
        if len(words) < 2 or not is_link(words[1]):
            return False
        place = next((k for k, token in enumerate(words) if k > 1 and token.lower == words[0].lower), len(words))
        words = words[place:]
    return False


def _without_kind_of_diploma(words: list[Token]) -> list[Token]:
    """The words before a noun, the nearest first, without those that only say which diploma: *qualifica triennale IeFP di*."""
    if len(words) < 3 or words[0].lower != "di":
        return words
    if words[1].lower in ("attività", "esercizio") and words[2].lower in (
        "all'",
        "per",
    ):  # "abilitazione all'attività di"
        return [words[0], *words[3:]]
    for k, token in enumerate(words[1:5], 1):
        if belongs(token, "diploma"):
            return [words[0], *words[k:]]
        if is_function(token) or not token.lower[0].isalpha() or reading_of(token, NOUNS):
            break
    return words


def _is_title_of_work(tokens: list[Token], i: int) -> bool:
    """Whether i stands in the title of a course or a work: *il corso "Addetti antincendio"*, *La vedova allegra*, *Il Mugnaio*."""
    article = reading_of(tokens[i - 1], {"article"}) if i and tokens[i - 1].text.istitle() else None
    if article and not opens_sentence(tokens, i - 1):
        if tokens[i].text.islower():
            return True
        before = tokens[i - 2]
        if tokens[i].text.istitle() and before.text.islower() and not belongs(before, "search", *COPULAS):
            return adjacent(tokens, i - 2) and not tokens[i].lower.startswith("candidat")
    near = [k for k in preceding(i)[:24] if k >= tokens[i].sentence]
    quotes = [k for k in near if tokens[k].lower in '"«“”»']
    if not quotes or tokens[quotes[0]].lower in "”»" or (tokens[quotes[0]].lower == '"' and len(quotes) % 2 == 0):
        return False
    return any(belongs(tokens[k], "title_of_work", "diploma") for k in near if quotes[0] - 12 <= k < quotes[0])


def _role(tokens: list[Token], i: int, j: int) -> Reading | None:
    """The role word or participle at i where it is a noun, and not an adjective of the word j."""
    token, role = tokens[i], reading_of(tokens[i], {"role"})
    k = next((k for k in preceding(i) if not reading_of(tokens[k], {"adj"})), -1)
    article = reading_of(tokens[k], {"article", "determiner"}) if k >= 0 else None
    if any(belongs(tokens[m], "language") for m in range(k + 1, i)) and article:  # "un inglese tecnico"
        return None
    if not role:  # "gli interessati", with no noun after it that they could belong to
        return _participle_noun(tokens, i, article.mask) if article else None
    is_modifier = role.forms[0] == "-" and adjacent(tokens, i) and not is_function(tokens[i + 1])
    if is_modifier and not reading_of(tokens[i + 1], MODIFIERS):  # "altri settori"
        return None
    if token.lower in ("altri", "altre") and _resumes_things(tokens, k if article else i):
        return None
    if article or _opens_clause(tokens, i):
        return role
    is_joined = j >= 0 and is_link(tokens[j])
    while j >= 0 and is_link(tokens[j]):
        j -= 1
    if reading_of(tokens[j], NOUNS):
        return role if _person_noun(tokens, j) else None
    if is_joined and belongs(tokens[j], "number"):  # "redatti entro le undici e inviati"
        return None
    after_function_word = token.lower in lexicon() and is_function(tokens[j]) and not belongs(tokens[j], *COPULAS)
    return role if after_function_word or reading_of(tokens[j], {"person"}) else None


def _resumes_things(tokens: list[Token], i: int) -> bool:
    """Whether "gli altri" from i on is the rest of things named before: *due impianti sono a Lodi, gli altri in Polonia*."""
    j = tokens[i].previous
    if i + 1 < len(tokens) and not reading_of(tokens[i], {"article"}):  # "altri dieci sono in collaudo"
        return belongs(tokens[i + 1], "number") or tokens[i + 1].text.isdigit()
    if j < 0 or not (is_link(tokens[j]) or tokens[j].lower in BOUNDARY):
        return False
    sentence = [k for k in preceding(i) if k >= tokens[max(0, j - 1)].sentence]
    return bool(sentence) and not any(_may_be_somebody(tokens, k) for k in sentence)


def _may_be_somebody(tokens: list[Token], k: int) -> bool:
    """Whether the word at k may be a noun for people: a participle behind an article is one, another is a quality."""
    if reading_of(tokens[k], {"adj"}):
        return False
    is_noun = reading_of(tokens[k], NOUNS | {"neutral"}) is not None
    return is_noun or bool(reading_of(tokens[k], {"person"}) and k and reading_of(tokens[k - 1], {"article"}))


def _is_sought(tokens: list[Token], i: int) -> bool:
    """Whether the word at i is what the ad looks for: "cercasi una tecnica"."""
    articles = ("un", "una", "un'")
    k = next((k for k in preceding(i) if not reading_of(tokens[k], {"adj"}) and tokens[k].lower not in articles), -1)
    if k >= 0 and tokens[k].lower.startswith(("cerc", "ricerchi", "selezion", "assum", "offr")):
        return True
    # "azienda orticola ricerca cernitrici", but not "ricerca tecnica"
    return k >= 0 and tokens[i].lower.endswith(("trice", "trici")) and tokens[k].lower in ("ricerca", "ricercano")


def _participle_noun(tokens: list[Token], i: int, mask: int) -> Reading | None:
    """A participle used as a noun after an article of `mask`: "gli interessati"."""
    reading = reading_of(tokens[i], {"person"}, mask)
    if not reading or not NOMINAL.search(tokens[i].lower):
        return None
    if (
        i > 1 and tokens[i - 1].lower[:4] == "tutt" and tokens[i - 2].lower == ","
    ):  # "i decreti 198 e 215, tutti richiamati"
        return None
    following = tokens[i + 1] if adjacent(tokens, i) else None
    before_thing = following and not is_function(following) and not reading_of(following, NOUNS | MODIFIERS)
    return None if before_thing and noun_mask(following) & reading.mask else reading


def _is_imperative(tokens: list[Token], i: int) -> bool:
    """Whether "candidati" is the verb, as in "Candidati ora!"."""
    if i + 1 < len(tokens) and not belongs(tokens[i + 1], "imperative"):
        return False
    return _opens_clause(tokens, i) or tokens[i].text.istitle() or (i > 0 and tokens[i - 1].lower in ("e", ","))


def _is_part(tokens: list[Token], i: int) -> bool:
    """Whether i is part of a compound or a code: socio-assistenziale, Ho.Re.Ca., (RE), casa madre."""
    token, previous = tokens[i], tokens[i - 1] if i else None
    if len(token.lower) == 2 and token.text != token.lower:
        return True
    if previous and belongs(token, "kin") and adjacent(tokens, i - 1) and not is_function(previous):
        return not reading_of(previous, NOUNS | MODIFIERS)
    opens_compound = i + 2 < len(tokens) and tokens[i + 1].lower == "-" and tokens[i + 2].start - token.end == 1
    ends_compound = i > 1 and previous.lower in ".@-_" and token.start == tokens[i - 2].end + 1
    return opens_compound or ends_compound


# --- noun phrases -----------------------------------------------------------------------


def noun_phrases(tokens: list[Token]) -> list[Phrase]:
    """A phrase for each person noun, with the words before and after it that agree with it."""
    phrases: list[Phrase] = []
    used: set[int] = set()
    for i in range(len(tokens)):
        noun = None if i in used else _person_noun(tokens, i)
        following = reading_of(tokens[i + 1], {"noun"}) if noun and adjacent(tokens, i) else None
        if not noun or (following and following.mask & noun.mask and reading_of(tokens[i], MODIFIERS)):
            continue  # "giovani lavoratori": the adjective joins the noun after it
        before, mask = _modifiers_before(tokens, i, noun)
        after: Parts = {}
        if not tokens[i].is_double:
            after, mask, _ = adjectives_from(tokens, i + 1, mask, False)
        parts = {k: reading for k, reading in before.items() if k not in used} | {i: noun} | after
        phrases.append(Phrase(parts, mask, i, "noun"))
        used |= set(parts)
    return phrases


def _modifiers_before(tokens: list[Token], head: int, noun: Reading) -> tuple[Parts, int]:
    """Words before a noun that agree with it, past English ones ("un senior software engineer"), and the mask they share."""
    parts: Parts = {}
    mask, is_foreign = noun.mask, len(set(noun.forms)) == 1
    i, english_words = head - 1, 0
    while adjacent(tokens, i) and not tokens[i].is_double and head - i <= REACH:
        token = tokens[i]
        if is_foreign and english_words < 3 and _is_english(token):
            english_words, i = english_words + 1, i - 1
            continue
        modifier = reading_of(token, {"article"}, mask) or reading_of(token, {"determiner"} | MODIFIERS, mask)
        if not modifier and i and reading_of(tokens[i - 1], {"article", "determiner"}, mask):
            modifier = adjective_of(token, mask, True)
        if modifier:
            parts[i] = modifier
            mask &= modifier.mask
            if modifier.kind == "article" and not (i and tokens[i - 1].lower[:4] == "tutt"):
                break
        elif not (token.lower in ("ex", "vice", "più", "due", "tre", "quattro") or token.text.isdigit()):
            break
        i -= 1
    if english_words and not any(reading.kind == "article" for reading in parts.values()):
        return {}, noun.mask
    return parts, mask


def _is_english(token: Token) -> bool:
    """Whether the word may modify an English title: it is English, or has no Italian ending."""
    unknown = token.lower.isalpha() and not token.readings and not is_function(token)
    is_read_so = belongs(token, "english") or reading_of(token, {"english"}) is not None
    return is_read_so or token.lower == "-" or (unknown and token.lower[-1] not in "aeioàèéìòù")


def adjectives_from(tokens: list[Token], start: int, mask: int, in_predicate: bool) -> tuple[Parts, int, int]:
    """Adjectives from `start` on that agree with `mask`, joined by commas and conjunctions.

    After a copula (`in_predicate`), an unknown first word counts with any ending. Also returns what
    is left of `mask` after agreement, and the index after the last adjective.
    """
    parts: Parts = {}
    i, end, linked = start, start, True
    while i < len(tokens) and i - end <= REACH and tokens[i].lower not in BOUNDARY:
        token = tokens[i]
        after_amount = i > start and tokens[i - 1].lower in AMOUNTS
        adjective = adjective_of(token, mask, in_predicate and not parts and not after_amount)
        opens = in_predicate and linked and (not parts or tokens[i - 1].lower[:-1] == "stat")
        if adjective and not reading_of(token, MODIFIERS, mask) and not opens:
            # an unknown word has to be a quality right after the noun, or a participle
            ending = QUALITY if i == start or i - 1 in parts else VERBAL if in_predicate else None
            adjective = adjective if ending and ending.search(token.lower) else None
        if adjective:
            parts[i] = adjective
            mask &= adjective.mask
            end, linked = i + 1, True
        elif token.lower in (",", "/", "&") or (belongs(token, "conjunction") and parts):
            linked = False
        elif belongs(token, *COPULAS) or not (
            is_adverb(token) or _is_part(tokens, i) or (token.lower == "-" and _is_part(tokens, i - 1))
        ):
            break  # but "operatore socio-sanitario"
        i += 1
    return parts, mask, end
