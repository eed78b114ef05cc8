"""Requirements that exclude beyond grammar (age, looks, sex, origin, family, health) taken out of Italian job ads.

What stands as an item of a list or beside a noun goes, with the words that belong to it and one comma or conjunction, and so does
a sentence that says nothing else; what else a sentence is built on stays.
"""

from __future__ import annotations

import re

from helpers.italian import gender
from helpers.italian.asking import ASKING, agreed
from helpers.italian.phrases import person_phrases

GRAMMAR = ("masculine_form", "feminine_title")
PEOPLE = r"(?:uomini|donne|uomo|donna|maschi|maschio|femmine|femmina|ragazz[oaie]|signor[aei]|signorin[ae])"
ONLY = r"(?:solo|soltanto|esclusivamente|unicamente|preferibilmente|rigorosamente|tassativamente|assolutamente)"
# words before a requirement that go with it, and after it
LEADS = re.compile(
    rf"\b(?:e|ed|di|con|un|una|il|la|{ONLY}|possibilmente|meglio se|anche|ma|purché|non oltre|eventuali|età|fisico|voce|tra i"
    r"|(?:dote|qualità|caratteristica|virtù)(?: tutta)?) $",
    re.IGNORECASE,
)
TRAILS = re.compile(
    r" (?:(?:(?<=\d )e (?:i |gli )?|[-–] ?)?\d+(?:[.,]\d+)?(?: (?:anni|cm|m)\b)?|anni|anno|cm|m|compiuti|circa|al massimo|massimo"
    r"|max|e curat[oaie]|non ammessi|richiest[oaie]|indispensabil[ei]|obbligatori[oa]|di (?:squadra|polso|fatica|età)|fisic[aoi]"
    r"|fisiche|piccol[ie]|o simili|senza eccezioni)(?!\w)",
    re.IGNORECASE,
)
ALTERNATIVE = re.compile(r" o \w+[aeio](?=[,.;)]| per | a |$)")  # "rumene o moldave"
NEXT = r"(?:per|a|ad|al|in|da|con|su|presso|nel|nella|sul|sulla)\b"
UNFINISHED = re.compile(
    r":[.;:!?]?$|\b(?:il|lo|la|i|gli|le|un|una|e|ed|di|del|della|con|per|a|da|in)[,.;:!?]?$", re.IGNORECASE
)
SOUGHT = re.compile(
    rf"((?:si )?(?:cerc|ricerc|selez|assum)\w+)(?: una?| un['’])? ({PEOPLE})", re.IGNORECASE
)  # and nobody else
STAFF = re.compile(rf"(?:{ONLY} )?(personale|candidature|profili|figure|risorse|staff|team) .*", re.IGNORECASE)
ASKED = re.compile(
    r"(?:^|[ (])(?:(?:richied|richiest|serv|occorr|necessari|chied|vogli|gradit|previst|indispensabil|obbligatori)\w+)$|:$",
    re.IGNORECASE,
)
SEPARATOR = re.compile(r"[–—•|·-]")
SENTENCE_END = r"[.;!?\n]"
BARE = re.compile(rf"\W*(?:{ASKING.pattern}|requisiti(?: richiesti)?)?\W*", re.IGNORECASE)  # asks for nothing else


def without_requirements(text: str) -> str:
    """`text` without the requirements beyond grammar that can go and leave a sentence; one without any comes back as it is."""
    stay = 0
    while len(found := _requirements(text)) > stay:  # sought again after each: what goes moves the others
        left = _struck(text, *found[-1 - stay])
        stay += left == text
        text = left
    return text


def inclusive(text: str) -> str:
    """`text` as the rules would write it for everyone: requirements beyond grammar go, gendered phrases take the double form."""
    return gender.neutralise(without_requirements(text))


def _requirements(text: str) -> list[tuple[int, int, str]]:
    """(start, end, category) of what excludes beyond grammar, in order."""
    found = [(c.start, c.end, c.category) for c in gender.cues(text) if c.category not in GRAMMAR]
    named = [n for n in _named_sexes(text) if not any(a <= n[0] < b for a, b, _ in found)]
    return sorted(found + [(start, end, "explicit_sex") for start, end in named])


def _named_sexes(text: str) -> list[tuple[int, int]]:
    """Where a sex is named right behind a person: the "uomo" of "pizzaiolo uomo"."""
    if gender.LAWFUL.search(text):
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
    if (sought := SOUGHT.fullmatch(said)) and re.match(rf"[,.;:!?]|$| {NEXT}", text[end:]):
        return text[:start] + sought[1] + (" personale" if sought[2][-1] in "ei" else " una persona") + text[end:]
    if re.fullmatch(rf"{ONLY} {PEOPLE}", said) and not _behind_a_person(text, start):
        return text[:start] + "personale" + text[end:]
    lead = ""
    while match := LEADS.search(text[:start]):
        start, lead = match.start(), match.group().strip() + " "
    while match := TRAILS.match(text, end) or (category == "origin" and ALTERNATIVE.match(text, end)):
        end = match.end()
    if text[:start].endswith("(") and text[end : end + 1] == ")":
        start, end = start - 1, end + 1
    if (rest := _without_sentence(text, start, end)) is not None:
        return rest
    source = text
    text, start, end = agreed(text, start, end)
    before, after = text[:start].rstrip(" "), text[end:].lstrip(" ")
    if SEPARATOR.match(after) and SEPARATOR.search(before[-1:]):  # "barista – bella presenza – turni"
        return _capital(text, f"{before[:-1]}{after}")
    opening = not before or before[-1] in ",.;:(!?\n–-" or bool(ASKED.search(before))
    conjunction = re.match(r"ed? ", after)
    if conjunction and (opening or lead or " " not in said):
        return _before_conjunction(text, before, after[conjunction.end() :], lead, opening)
    ends = re.match(r"[,.;:)!?\n]|$", after)
    if ends and ends.group() != "," and ASKED.search(before):
        return source
    if not ends and (opening or not re.match(NEXT, after)):  # "la dolcezza femminile che": the quality without the sex
        kept = re.sub(r"(?:^tipicamente|(?<=\w)(?: tipicamente)?) (?:femminil[ei]|maschil[ei]|matern[oa])$", "", said)
        return source.replace(said if kept else f" {said}", kept, 1)
    if before.endswith(",") and ends:
        inner = re.match(rf", (?={NEXT})", after)  # "facchini, no stranieri, per deposito"
        alone = inner and "," not in before[:-1]
        before, after = before[:-1], after[inner.end() :] if alone else after
    elif opening and after.startswith(","):
        after = after[1:].lstrip()
        after = _capital(text[start:], after) if before.endswith((".", "!", "?", "\n")) else after
    if lead in ("e ", "ed ") and re.match(r"[.;:)!?]|$", after) and (", " in before):
        head, _, last = before.rpartition(", ")
        before = f"{head} e {last}" if len(last.split()) < 5 else before
    if ends and UNFINISHED.search(before + ends.group()):
        return source
    apart = "" if not before or before[-1] in "\n(" or after[:1] in (*",.;:)!?\n", "") else " "
    return _capital(text, before + apart + after)


def _without_sentence(text: str, start: int, end: int) -> str | None:
    """`text` without the sentence or line that says nothing but text[start:end], None where it says more.

    A text that would have nothing left comes back as it is.
    """
    opens = max((m.end() for m in re.finditer(rf"{SENTENCE_END}\s*", text[:start])), default=0)
    closes = re.compile(rf"{SENTENCE_END}|$").search(text, end).start()
    if not BARE.fullmatch(text[opens:start] + text[end:closes]):
        return None
    before, after = text[:opens], text[closes:]
    if not re.search(r"\w", before + after):
        return text
    if before.rstrip().endswith(";"):
        return before.rstrip()[:-1] + after
    if before.endswith("\n"):
        return before + after[1:] if after else before[:-1]
    rest = _capital(text[opens:], after[1:].lstrip(" "))
    return before.rstrip(" ") + (" " if before and rest[:1].strip() else "") + rest


def _before_conjunction(text: str, before: str, rest: str, lead: str, opening: bool) -> str:
    """What becomes of "… con REQUIREMENT e REST", "…, REQUIREMENT e REST"."""
    if not (opening or lead):  # "cameriera carina e spigliata"
        return f"{before} {rest}"
    if before.endswith(",") and re.search(r" con |:", before):  # a list goes on: "con attestato e buone doti"
        return f"{before[:-1]} e {rest}"
    if lead in ("e ", "ed "):
        return f"{before} e {rest}"
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
