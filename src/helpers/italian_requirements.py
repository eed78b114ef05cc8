"""Requirements that exclude beyond grammar (age, looks, sex, origin, family, health) taken out of Italian job ads.

Only what stands as an item of a list or beside a noun goes, with the words that belong to it and one comma or conjunction; a
requirement that a sentence is built on stays.
"""

from __future__ import annotations

import re

from helpers import italian
from helpers.italian_grammar import person_phrases

GRAMMAR = ("masculine_form", "feminine_title")
PEOPLE = r"(?:uomini|donne|uomo|donna|maschi|maschio|femmine|femmina|ragazz[oaie]|signor[aei]|signorin[ae])"
ONLY = r"(?:solo|soltanto|esclusivamente|unicamente|preferibilmente|rigorosamente|tassativamente|assolutamente)"
# words before a requirement that go with it, and after it
LEADS = re.compile(
    rf"\b(?:e|ed|di|con|un|una|{ONLY}|possibilmente|meglio se|anche|ma|purché|eventuali|età|fisico|tra i"
    r"|(?:dote|qualità|caratteristica|virtù)(?: tutta)?) $|\($",
    re.IGNORECASE,
)
TRAILS = re.compile(
    r" (?:(?:e |[-–] ?)?\d+(?:[.,]\d+)?(?: (?:anni|cm|m)\b)?|anni|anno|cm|m|compiuti|circa|al massimo|massimo|max|non ammessi"
    r"|richiest[oaie]|indispensabil[ei]|obbligatori[oa]|di (?:squadra|polso|fatica|età)|fisic(?:a|he|i|o)|piccol[ie]|o simili"
    r"|senza eccezioni)(?!\w)|\)",
    re.IGNORECASE,
)
ALTERNATIVE = re.compile(r" o \w+[aeio](?=[,.;)]| per | a |$)")  # "rumene o moldave"
NEXT = r"(?:per|a|ad|al|in|da|con|su|presso|nel|nella|sul|sulla)\b"
STAFF = re.compile(rf"(?:{ONLY} )?(personale|candidature|profili|figure|risorse|staff|team) .*", re.IGNORECASE)
ASKED = re.compile(r"(?:^|[ (])(?:richied\w+|richiest\w+|serv\w+|occorr\w+|necessari\w+|chied\w+)$|:$", re.IGNORECASE)


def without_requirements(text: str) -> str:
    """`text` without the requirements beyond grammar that can go and leave a sentence; one without any comes back as it is."""
    found = [(c.start, c.end, c.category) for c in italian.cues(text) if c.category not in GRAMMAR]
    found += [(start, end, "explicit_sex") for start, end in _named_sexes(text) if not _inside(start, found)]
    for start, end, category in sorted(found, reverse=True):
        text = _struck(text, start, end, category)
    return text


def inclusive(text: str) -> str:
    """`text` as the rules would write it for everyone: requirements beyond grammar go, gendered phrases take the double form."""
    return italian.neutralise(without_requirements(text))


def _inside(start: int, found: list[tuple[int, int, str]]) -> bool:
    return any(a <= start < b for a, b, _ in found)


def _named_sexes(text: str) -> list[tuple[int, int]]:
    """Where a sex is named right behind a person: the "uomo" of "pizzaiolo uomo"."""
    if italian.LAWFUL.search(text):
        return []
    tokens, phrases = person_phrases(text)
    ends = {tokens[max(p.parts)].end for p in phrases if not re.fullmatch(PEOPLE, tokens[p.head].low)}
    spots = re.finditer(r" (uomo|donna|maschio|femmina|uomini|donne)(?=[,.;:)!?]| per | a |$)", text)
    return [m.span(1) for m in spots if m.start() in ends]


def _struck(text: str, start: int, end: int, category: str) -> str:
    """`text` without its requirement text[start:end]."""
    said = text[start:end]
    if staff := STAFF.fullmatch(said):
        return text[:start] + staff[1] + text[end:]
    if category == "explicit_sex" and (
        named := re.fullmatch(rf"(?!{ONLY}|no |di |sesso|cerc|ricerc|selez|assum|si )\S+( {PEOPLE})", said, re.I)
    ):
        return text[: start + named.start(1)] + text[end:]
    if re.fullmatch(rf"{ONLY} {PEOPLE}", said) and not _behind_a_person(text, start):
        return text[:start] + "personale" + text[end:]
    lead = ""
    while match := LEADS.search(text[:start]):
        start, lead = match.start(), match.group().strip() + " "
    while match := TRAILS.match(text[end:]) or (category == "origin" and ALTERNATIVE.match(text[end:])):
        end += match.end()
    before, after = text[:start].rstrip(), text[end:].lstrip()
    opening = not before or before[-1] in ",.;:(!?\n–-" or bool(ASKED.search(before))
    conjunction = re.match(r"ed? ", after)
    if conjunction and (opening or lead or " " not in said):
        return _before_conjunction(text, before, after[conjunction.end() :], lead, opening)
    ends = re.match(r"[,.;:)!?]|$", after)
    if not ends and (opening or not re.match(NEXT, after)):  # "la dolcezza femminile che": the quality without the sex
        kept = re.sub(r"(?<=\w) (?:tipicamente )?(?:femminil[ei]|maschil[ei]|matern[oa])$", "", said)
        return text.replace(said, kept, 1)
    if before.endswith(",") and ends:
        inner = re.match(rf", (?={NEXT})", after)  # "facchini, no stranieri, per deposito"
        alone = inner and "," not in before[:-1]
        before, after = before[:-1], after[inner.end() :] if alone else after
    elif opening and after.startswith(","):
        after = after[1:].lstrip()
    if lead in ("e ", "ed ") and re.match(r"[.;:)!?]|$", after) and (", " in before):
        head, _, last = before.rpartition(", ")
        before = f"{head} e {last}" if len(last.split()) < 5 else before
    return _capital(text, before + ("" if not before or after[:1] in (*",.;:)!?", "") else " ") + after)


def _before_conjunction(text: str, before: str, rest: str, lead: str, opening: bool) -> str:
    """What becomes of "… con REQUIREMENT e REST", "…, REQUIREMENT e REST"."""
    if not (opening or lead):  # "cameriera carina e spigliata"
        return f"{before} {rest}"
    if before.endswith(",") and re.search(r" con |:", before):  # a list goes on: "con attestato e buone doti"
        return f"{before[:-1]} e {rest}"
    lead = lead if lead == "con " and not re.match(r"(con|di)\b", rest) else ""
    return _capital(text, f"{before} {lead}{rest}".strip())


def _behind_a_person(text: str, start: int) -> bool:
    """Whether the word before `start` belongs to a phrase about people, or there is none."""
    if not (before := text[:start].rstrip(" ,(")) or before[-1] in ".;:!?" or before != text[:start].rstrip():
        return True
    tokens, phrases = person_phrases(text)
    return any(tokens[i].end == len(before) for p in phrases for i in p.parts)


def _capital(source: str, text: str) -> str:
    return text[:1].upper() + text[1:] if source[:1].isupper() else text
