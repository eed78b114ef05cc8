"""Addressees: whom a gendered phrase of a job ad is about.

`applicant` is the person sought, in any person or number; `staff` is who works there; `third_party` is everybody else
whom the ad speaks of and does not recruit: customers, patients, suppliers, authorities.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from helpers.italian.agreement import Phrase, opens_sentence, preceding
from helpers.italian.lexicon import PLURAL, Token, belongs, is_link, reading_of, table_rows

APPLICANT, STAFF, THIRD_PARTY = ADDRESSEES = ("applicant", "staff", "third_party")
WORKPLACE, EVERYONE = "workplace", "everyone"
# scope → the addressees whose gendered forms make a text not inclusive; forms for others are worth a note only
SCOPES = {APPLICANT: {APPLICANT}, EVERYONE: set(ADDRESSEES), WORKPLACE: {APPLICANT, STAFF}}

# nouns behind which "di" names the place that somebody would have, and those behind which it names who is there
PLACE = re.compile(
    r"ruol|figur|posizion|profil|mansion|ricerc|selezion|assunzion|inseriment|lavoro$|mestier|compit|qualific|post[oi]$"
    r"|titol|carrier|diplom|abilitazion|inquadrament|livell|copert|attestat|laure|area$|candidatur|domand|aspirant"
)
GROUP = re.compile(
    r"team|squadr|grupp|équipe|equipe|staff|rete$|pool|famiglia|comunità|community|organico|collettiv|divisione"
)
WITH = {"con", "coi", "a", "ad", "da", "tra", "fra", "presso"}
CONTRACTED = {"al": "a", "dal": "da", "del": "di"}
BESIDE = re.compile(r"affianc|assist|support|coordin|gesti|guid|form|motiv|dirig|coadiuv|aiut|segui|incontr|conosc")
SEARCH = re.compile(r"cerc|ricerc|selezion|assum|inseri|impieg|offr|indice|serv(e|ono)$|ammess|riservat|candidatur")
APPLY = re.compile(r"partecip|presentar|benvenut|gradit|valut|prefer|ideale|rivolt|adatt|candidatur|posson|escl")
OUTSIDE = re.compile(r"terz[ei]$|estern|appaltant|client[ei]$")
INFINITIVE = re.compile(r"..[aei]re$")
NUMBERS = {
    "due",
    "tre",
    "quattro",
    "cinque",
    "sei",
    "sette",
    "otto",
    "nove",
    "dieci",
    "undici",
    "dodici",
    "venti",
    "trenta",
}
NEW = {"nuovo", "prossimo", "futuro"}


class Addressees:
    """Whom the phrases of one text are about."""

    def __init__(self, tokens: list[Token], phrases: Iterable[Phrase]):
        self._tokens = tokens
        nouns = [phrase for phrase in phrases if phrase.kind == "noun"]
        self._by_head = {phrase.head: phrase for phrase in nouns}
        self._by_last = {max(phrase.parts): phrase for phrase in nouns}
        self._known: dict[int, str] = {}

    def of(self, phrase: Phrase) -> str:
        """One of ADDRESSEES.

        A predicate or adjective is about whom its subject is about. A noun for outsiders or colleagues decides for itself,
        unless it is what the ad looks for; the name of an occupation is the applicant's, except where somebody has, meets or
        leads such people (*con il direttore*, *un team di sviluppatori*, *i nostri tecnici*).
        """
        if phrase.kind == "noun":
            return self._of_noun(phrase)
        subject = self._by_head.get(phrase.about)
        if subject is not None:
            return self._of_noun(subject)
        verb = self._tokens[phrase.about] if phrase.about >= 0 else None
        is_we = verb is not None and belongs(verb, "copula_plural") and verb.lower.endswith("mo")
        return STAFF if is_we else APPLICANT

    def _of_noun(self, phrase: Phrase) -> str:
        if phrase.head not in self._known:
            self._known[phrase.head] = APPLICANT  # of a noun that is joined to itself
            self._known[phrase.head] = self._decided(phrase)
        return self._known[phrase.head]

    def _decided(self, phrase: Phrase) -> str:
        tokens, first, last = self._tokens, min(phrase.parts), max(phrase.parts)
        row = self._row(phrase)
        lemmas = {reading.forms[0] for reading in phrase.parts.values()}
        if tokens[phrase.head].lower.startswith("candidat") or (NEW & lemmas and not row):
            return APPLICANT
        if any(token.lower.startswith("estern") for token in tokens[last : last + 2]) or self._is_of_others(last):
            return THIRD_PARTY
        if row and first > 1 and tokens[first - 1].lower == "per" and belongs(tokens[first - 2], "language"):
            return row["addressee"]  # "italiano per stranieri"
        is_sought = self._is_sought(phrase)
        if row and row["sought"] == "no" and not self._is_predicate(first):
            return APPLICANT if self._is_family(phrase, row["word"]) else row["addressee"]
        if row and not is_sought and not self._is_applicants(phrase, row["sought"] == "often"):
            return STAFF if row["sought"] == "yes" and self._is_counted(phrase) else row["addressee"]
        if row or is_sought:
            return APPLICANT
        if joined := self._joined(phrase):
            return self._of_noun(joined)
        if {"nostro", "loro"} & lemmas:
            return APPLICANT if self._is_predicate(first) else STAFF
        preposition, is_definite = self._before(phrase)
        if preposition == "di":
            return self._behind_di(first, is_definite)
        if preposition in WITH and (is_definite or preposition in ("con", "da")):
            return STAFF
        return STAFF if self._is_counted(phrase) or self._is_led(first) else APPLICANT

    def _is_of_others(self, last: int) -> bool:
        """Whether people belong to somebody outside: *i manutentori delle ditte esterne*, *gli sviluppatori di terze parti*."""
        before, _ = self._preposition(last + 1)
        return before == "di" and any(OUTSIDE.match(token.lower) for token in self._tokens[last + 2 : last + 4])

    def _preposition(self, i: int) -> tuple[str, bool]:
        """The preposition at i, also one with an article, and whether it has one; ("", False) for none."""
        if i >= len(self._tokens):
            return "", False
        article = reading_of(self._tokens[i], {"article"})
        if article and article.forms[0] in CONTRACTED:
            return CONTRACTED[article.forms[0]], True
        word = self._tokens[i].lower
        return (word if word in WITH | {"di", "d'"} else ""), False

    def _row(self, phrase: Phrase) -> dict[str, str] | None:
        """What the table says of the noun of a phrase."""
        forms = {form for reading in self._tokens[phrase.head].readings for form in reading.forms[:2]}
        row = next((row for form in sorted(forms) if (row := _table().get(form))), None)
        # "paziente e ordinato": an adjective where no article stands
        is_quality = row and row["word"] == "paziente" and len(phrase.parts) == 1 and not phrase.mask & PLURAL
        return None if is_quality else row

    def _is_family(self, phrase: Phrase, word: str) -> bool:
        """Whether children are the applicant's own, as a requirement names them: *con figli grandi*, *numero di figli*."""
        before = self._tokens[min(phrase.parts) - 1].lower if min(phrase.parts) else ""
        return word in ("figlio", "bambino", "bimbo") and before in ("con", "senza", "di", "già", "o")

    def _is_applicants(self, phrase: Phrase, is_often: bool) -> bool:
        """Whether a noun that ads look for at times (or often) means the applicants: *adatto a studenti*, *il conducente dovrà*."""
        tokens, first = self._tokens, min(phrase.parts)
        preposition, is_definite = self._before(phrase)
        if is_often and self._is_counted(phrase):  # "conta 3.000 iscritti"
            return False
        if is_often and any(APPLY.match(tokens[k].lower) for k in preceding(first)[:6] if k >= tokens[first].sentence):
            return True
        if is_definite:
            is_object = first > 0 and INFINITIVE.search(tokens[first - 1].lower)  # "orientare il cittadino"
            return not preposition and not phrase.mask & PLURAL and not is_object
        if preposition == "di":
            return self._behind_di(first, False, STAFF) == APPLICANT
        return (first > 0 and tokens[first - 1].lower == "per") or (is_often and not preposition)

    def _is_sought(self, phrase: Phrase) -> bool:
        """Whether a phrase without a definite article opens a line, or follows "cercasi" or "sarai" in its sentence."""
        tokens, first = self._tokens, min(phrase.parts)
        preposition, is_definite = self._before(phrase)
        if is_definite or preposition:
            return False
        if opens_sentence(tokens, first) or self._is_predicate(first):
            return True
        near = [k for k in preceding(first) if k >= tokens[first].sentence]
        return any(belongs(tokens[k], "search") for k in near[:3]) or any(
            SEARCH.match(tokens[k].lower) for k in near[:14]
        )

    def _is_predicate(self, first: int) -> bool:
        """Whether a phrase says what the reader is or becomes: *sarai il nostro inviato*, *diventare socio*."""
        before = self._tokens[first - 1] if first else None
        return before is not None and (
            belongs(before, "copula_singular", "copula_infinitive")
            or before.lower.startswith("divent")
            or before.lower == "come"
        )

    def _joined(self, phrase: Phrase) -> Phrase | None:
        """The noun phrase that this one is joined to by a comma or conjunction: *tra avvocati e consulenti*."""
        link = min(phrase.parts) - 1
        if link < 1 or not is_link(self._tokens[link]):
            return None
        return self._by_last.get(link - 1)

    def _before(self, phrase: Phrase) -> tuple[str, bool]:
        """The preposition before a phrase ("" for none), and whether the phrase has a definite article."""
        tokens, first = self._tokens, min(phrase.parts)
        article = next((r for k in sorted(phrase.parts) if (r := reading_of(tokens[k], {"article"}))), None)
        is_definite = article is not None and article.forms[0] != "un"
        if article and article.forms[0] in CONTRACTED:
            return CONTRACTED[article.forms[0]], True
        before = tokens[first - 1].lower if first else ""
        return (before if before in WITH | {"di", "d'"} else ""), is_definite

    def _behind_di(self, first: int, is_definite: bool, otherwise: str = APPLICANT) -> str:
        """Whom a phrase behind "di" is about, by the noun before it: "il ruolo di", "un team di", "a supporto del"."""
        for k in preceding(first if is_definite else first - 1)[:5]:
            word = self._tokens[k].lower
            if GROUP.match(word):
                return STAFF
            if PLACE.match(word):
                return APPLICANT
        return STAFF if is_definite else otherwise

    def _is_counted(self, phrase: Phrase) -> bool:
        """Whether a plural has a number before it: *14 operatori*, *trentadue professionisti*."""
        first = min(phrase.parts)
        before = self._tokens[first - 1].lower if first else ""
        counted = (
            before.isdigit()
            or before in NUMBERS
            or before.startswith(("venti", "trenta", "quaranta", "cinquanta", "oltre"))
        )
        posts = (
            first > 2 and self._tokens[first - 2].lower == "." and self._tokens[first - 3].lower == "n"
        )  # "n. 4 autisti"
        return bool(phrase.mask & PLURAL) and counted and not posts and not self._before(phrase)[1]

    def _is_led(self, first: int) -> bool:
        """Whether the applicant works beside or leads the people of a phrase: *affiancherai uno store manager*."""
        return any(BESIDE.match(self._tokens[k].lower) for k in preceding(first)[:2])


@cache
def _table() -> dict[str, dict[str, str]]:
    """Masculine or feminine singular → row of morph_addressees.tsv."""
    return {row["word"]: row for row in table_rows("morph_addressees")}
