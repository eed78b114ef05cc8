"""Requirements that exclude beyond grammar (age, looks, sex, origin, …) taken out of job ads.

A requirement that is an item of a list or stands beside a noun goes, with the words that belong to it and one comma or
conjunction; a sentence that says nothing else goes whole. What the rest of a sentence is built on stays. What asks for a list
("si richiedono", "è richiesta") then agrees with the items that are left.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from operator import itemgetter

from helpers import edits
from helpers.italian import gender
from helpers.italian.addressees import WORKPLACE
from helpers.italian.cues import LAWFUL, Patterns, patterns_for, requirement_cues
from helpers.italian.forms import with_capitals
from helpers.italian.lexicon import table_rows
from helpers.italian.phrases import person_phrases

PERSON = r"(?:uomini|donne|uomo|donna|maschi|maschio|femmine|femmina|ragazz[oaie]|signor[aei]|signorin[ae])"
ONLY = r"(?:solo|soltanto|esclusivamente|unicamente|preferibilmente|rigorosamente|tassativamente|assolutamente)"
SEARCH = r"cerc|ricerc|selez|assum"  # stems of "cercasi", "si ricerca", "selezioniamo", "assumiamo"
# words before a requirement that go with it, and after it
LEADS = re.compile(
    rf"(?i)\b(?:e|ed|di|con|un|una|il|la|{ONLY}|possibilmente|meglio se|anche|ma|purché|non oltre|eventuali|età|fisico|voce"
    r"|tra i|(?:dote|qualità|caratteristica|virtù)(?: tutta)?) $"
)
TRAILS = re.compile(
    r"(?i) (?:(?:(?<=\d )e (?:i |gli )?|[-–] ?)?\d+(?:[.,]\d+)?(?: (?:anni|cm|m)\b)?|anni|anno|cm|m|compiuti|circa|al massimo"
    r"|massimo|max|e curat[oaie]|non ammessi|richiest[oaie]|indispensabil[ei]|obbligatori[oa]|di (?:squadra|polso|fatica|età)"
    r"|fisic[aoi]|fisiche|piccol[ie]|o simili|senza eccezioni)(?!\w)"
)
ALTERNATIVE = re.compile(r" o \w+[aeio](?=[,.;)]| per | a |$)")  # "rumene o moldave"
NEXT_PHRASE = r"(?:per|a|ad|al|in|da|con|su|presso|nel|nella|sul|sulla)\b"
UNFINISHED = re.compile(r"(?i):[.;:!?]?$|\b(?:il|lo|la|i|gli|le|un|una|e|ed|di|del|della|con|per|a|da|in)[,.;:!?]?$")
SOUGHT = re.compile(rf"((?:si )?(?:{SEARCH})\w+)(?: una?| un['’])? ({PERSON})", re.IGNORECASE)  # and nobody else
SEX_OF_A_NOUN = re.compile(rf"(?!{ONLY}|no |di |sesso|{SEARCH}|si )(\S+) {PERSON}", re.IGNORECASE)
ONLY_ONE_SEX = re.compile(rf"{ONLY} {PERSON}", re.IGNORECASE)
# the "uomo" of "pizzaiolo uomo"
SEX_AFTER_PERSON = re.compile(r" (uomo|donna|maschio|femmina|uomini|donne)(?=[,.;:)!?]| per | a |$)")
STAFF = re.compile(rf"(?:{ONLY} )?(personale|candidature|profili|figure|risorse|staff|team) .*", re.IGNORECASE)
STEREOTYPE_OF = re.compile(r"(?:^tipicamente|(?<=\w)(?: tipicamente)?) (?:femminil[ei]|maschil[ei]|matern[oa])$")
ASKS = re.compile(
    r"(?i)(?:^|[ (])(?:richied|richiest|serv|occorr|necessari|chied|vogli|gradit|previst|indispensabil|obbligatori)\w+$|:$"
)
SEPARATOR = re.compile(r"[–—•|·-]")
SENTENCE_END = r"[.;!?\n]"
CONTEXT = 1000  # characters on either side that say whether a requirement can go, and how
LONGEST = 100  # characters that a requirement and what it is told by reach over


def without_requirements(text: str) -> str:
    """`text` without the requirements beyond grammar, as far as a sentence is left."""
    shorter = _without_any(text)
    while _rules(shorter) != _rules(text):  # what made a requirement lawful went with another one
        text, shorter = shorter, _without_any(shorter)
    return shorter


def inclusive(text: str, scope: str = WORKPLACE) -> str:
    """`text` for everyone in the scope: requirements beyond grammar go, gendered phrases take the double form."""
    return gender.neutralise(without_requirements(text), scope)


# --- taking one out ---------------------------------------------------------------------


def _without_any(text: str) -> str:
    """`text` without its requirements, from the last to the first, each within what stands around it.

    text[:end] has not changed yet, `near` is what follows on it now, and the pieces of `finished` follow on `near`.
    """
    rules = _rules(text)
    requirements = _requirements(text, rules, 0, len(text))
    end, near, finished = len(text), "", []
    staying = 0  # characters from the first requirement that cannot go to the end of `near`
    while requirements:
        start, stop, category = requirements.pop()
        after, near = text[min(stop + CONTEXT, end) : end] + near, ""
        if len(after) > CONTEXT:
            finished.append(after[CONTEXT:])
            staying = max(0, staying - len(finished[-1]))
        opens, end = max(0, start - CONTEXT), min(stop + CONTEXT, end)
        near = after[:CONTEXT]
        window = text[opens:end] + near
        shorter = _without(window, start - opens, stop - opens, category)
        if shorter == window:
            staying = len(window) - (start - opens)
            continue
        unchanged = min(edits.shared_prefix(window, shorter), end - opens)
        changed_to = len(shorter) - edits.shared_prefix(window[: unchanged - 1 : -1], shorter[: unchanged - 1 : -1])
        end, near = opens + unchanged, shorter[unchanged:]
        # the removal moved, made or undid requirements that reach to its place: these are found anew
        first = opens + unchanged - LONGEST
        while requirements and requirements[-1][1] > first:
            requirements.pop()
        places = _requirements(shorter, rules, max(0, unchanged - 2 * LONGEST), changed_to + LONGEST)
        requirements += [
            (opens + a, opens + b, category)
            for a, b, category in places
            if opens + b > first and a < len(shorter) - staying
        ]
    return text[:end] + near + "".join(reversed(finished))


def _rules(text: str) -> tuple[Patterns, bool]:
    """The patterns of requirements that nothing in `text` makes lawful, and whether a sex may be named in it."""
    return patterns_for(text), bool(LAWFUL.search(text))


def _requirements(text: str, rules: tuple[Patterns, bool], first: int, last: int) -> list[tuple[int, int, str]]:
    """(start, end, category) of what excludes beyond grammar in text[first:last], in order."""
    patterns, is_lawful = rules
    spans = [(cue.start, cue.end, cue.category) for cue in requirement_cues(text, patterns, first, last)]
    sexes = [] if is_lawful else [match.span(1) for match in SEX_AFTER_PERSON.finditer(text, first, last)]
    sexes = [(start, end) for start, end in sexes if not _is_within(spans, start)]
    if sexes:
        tokens, phrases = person_phrases(text)
        phrase_ends = {tokens[max(p.parts)].end for p in phrases if not re.fullmatch(PERSON, tokens[p.head].lower)}
        spans += [(start, end, "explicit_sex") for start, end in sexes if start - 1 in phrase_ends]
    return sorted(spans)


def _is_within(spans: list[tuple[int, int, str]], place: int) -> bool:
    """Whether one of the spans, which are in order, covers `place`."""
    k = bisect_right(spans, place, key=itemgetter(0))
    return k > 0 and place < spans[k - 1][1]


def _without(text: str, start: int, end: int, category: str) -> str:
    """`text` without its requirement text[start:end]; as it is where no sentence would be left."""
    requirement = text[start:end]
    if wording := _neutral_wording(text, start, end, category):
        return text[:start] + wording + text[end:]
    start, end, lead = _widened(text, start, end, category)
    shorter = _without_sentence(text, start, end)
    return _without_item(text, start, end, lead, requirement) if shorter is None else shorter


def _neutral_wording(text: str, start: int, end: int, category: str) -> str | None:
    """What names the people sought without their sex, None where the requirement names nobody."""
    requirement = text[start:end]
    if staff := STAFF.fullmatch(requirement):
        return staff[1]
    if category == "explicit_sex" and (noun := SEX_OF_A_NOUN.fullmatch(requirement)):
        return noun[1]
    if (sought := SOUGHT.fullmatch(requirement)) and re.match(rf"[,.;:!?]|$| {NEXT_PHRASE}", text[end:]):
        return sought[1] + (" personale" if sought[2][-1] in "ei" else " una persona")
    if ONLY_ONE_SEX.fullmatch(requirement) and not _follows_a_person(text, start):
        return "personale"
    return None


def _follows_a_person(text: str, start: int) -> bool:
    """Whether the word before `start` belongs to a phrase about people, or there is none."""
    before = text[:start].rstrip(" ,(")
    if not before or before[-1] in ".;:!?" or before != text[:start].rstrip():
        return True
    tokens, phrases = person_phrases(text)
    return any(tokens[i].end == len(before) for phrase in phrases for i in phrase.parts)


def _widened(text: str, start: int, end: int, category: str) -> tuple[int, int, str]:
    """(start, end, first word) of the requirement with what belongs to it: "(max 30 anni)"."""
    lead = ""
    while match := LEADS.search(text[:start]):
        start, lead = match.start(), match.group().strip() + " "
    while match := TRAILS.match(text, end) or (category == "origin" and ALTERNATIVE.match(text, end)):
        end = match.end()
    if text[:start].endswith("(") and text[end : end + 1] == ")":
        start, end = start - 1, end + 1
    return start, end, lead


def _without_sentence(text: str, start: int, end: int) -> str | None:
    """`text` without the sentence that is nothing but text[start:end] (unless nothing is left); None where it says more."""
    opens = max((match.end() for match in re.finditer(rf"{SENTENCE_END}\s*", text[:start])), default=0)
    closes = re.compile(rf"{SENTENCE_END}|$").search(text, end).start()
    if not ASKS_FOR_NOTHING_ELSE.fullmatch(text[opens:start] + text[end:closes]):
        return None
    before, after = text[:opens], text[closes:]
    if not re.search(r"\w", before + after):
        return text
    if before.rstrip().endswith(";"):
        return before.rstrip()[:-1] + after
    if before.endswith("\n"):
        return before + after[1:] if after else before[:-1]
    rest = _capitalised_as(text[opens:], after[1:].lstrip(" "))
    space = " " if before and rest[:1].strip() else ""
    return before.rstrip(" ") + space + rest


def _without_item(source: str, start: int, end: int, lead: str, requirement: str) -> str:
    """`source` without source[start:end]; as it is where the sentence would not stand without it."""
    text, start, end = _agreeing(source, start, end)
    before, after = text[:start].rstrip(" "), text[end:].lstrip(" ")
    if SEPARATOR.match(after) and SEPARATOR.search(before[-1:]):  # "barista – bella presenza – turni"
        return _capitalised_as(text, before[:-1] + after)
    opens = not before or before[-1] in ",.;:(!?\n–-" or bool(ASKS.search(before))
    conjunction = re.match(r"ed? ", after)
    if conjunction and (opens or lead or " " not in requirement):
        return _before_conjunction(text, before, after[conjunction.end() :], lead, opens)
    closes = re.match(r"[,.;:)!?\n]|$", after)
    if closes and closes.group() != "," and ASKS.search(before):
        return source
    if not closes and (opens or not re.match(NEXT_PHRASE, after)):
        # "la dolcezza femminile che": the quality stays without the sex
        quality = STEREOTYPE_OF.sub("", requirement)
        old = requirement if quality else f" {requirement}"
        at = source.find(old, max(0, start - 1))
        return source[:at] + quality + source[at + len(old) :] if at >= 0 else source
    if before.endswith(",") and closes:
        next_phrase = re.match(rf", (?={NEXT_PHRASE})", after)  # "facchini, no stranieri, per deposito"
        if next_phrase and "," not in before[:-1]:
            after = after[next_phrase.end() :]
        before = before[:-1]
    elif opens and after.startswith(","):
        after = after[1:].lstrip()
        if before.endswith((".", "!", "?", "\n")):
            after = _capitalised_as(text[start:], after)
    if lead in ("e ", "ed ") and re.match(r"[.;:)!?]|$", after) and ", " in before:
        first_items, _, last_item = before.rpartition(", ")
        if len(last_item.split()) < 5:
            before = f"{first_items} e {last_item}"
    if closes and UNFINISHED.search(before + closes.group()):
        return source
    space = "" if not before or before[-1] in "\n(" or after[:1] in (*",.;:)!?\n", "") else " "
    return _capitalised_as(text, before + space + after)


def _before_conjunction(text: str, before: str, rest: str, lead: str, opens: bool) -> str:
    """What becomes of "… con REQUIREMENT e REST", "…, REQUIREMENT e REST"."""
    if not (opens or lead):  # "cameriera carina e spigliata"
        return f"{before} {rest}"
    if before.endswith(",") and re.search(r" con |:", before):  # a list goes on: "con attestato e buone doti"
        return f"{before[:-1]} e {rest}"
    if lead in ("e ", "ed "):
        return f"{before} e {rest}"
    lead = "" if lead != "con " or re.match(r"(con|di)\b", rest) else lead
    return _capitalised_as(text, (f"{before} " if before else "") + lead + rest)


def _capitalised_as(source: str, text: str) -> str:
    return text[:1].upper() + text[1:] if source[:1].isupper() else text


# --- agreement of what asks for a list with its items -----------------------------------

ASKING_ROWS = [(kind, forms) for kind, *forms in map(dict.values, table_rows("morph_asking"))]
ASKING_FORMS = {form: forms for _, forms in ASKING_ROWS for form in forms}  # form → its four forms


def _any_form(kind: str) -> str:
    return "|".join(form for row_kind, forms in ASKING_ROWS if row_kind == kind for form in forms)


ASKING = re.compile(
    rf"\b({_any_form('verb')})\b:?"
    rf"|(?:\b({_any_form('copula')}) "
    r"|(?:^|(?<=[.;:!?,(\n] )|(?<=[(\n])))"  # alone, a participle opens its clause
    rf"({_any_form('participle')})\b:?",
    re.IGNORECASE,
)
ASKS_FOR_NOTHING_ELSE = re.compile(rf"\W*(?:{ASKING.pattern}|requisiti(?: richiesti)?)?\W*", re.IGNORECASE)
# not before a preposition or a single letter, which belong to the item before: "Word e di Excel", "patenti B e C"
BETWEEN_ITEMS = re.compile(
    r"(?:,? ed? |, )(?!(?:di|d['’]|del\w*|al?|al\w+|in|nel\w*|con|per|da|dal\w*|sul?\w*)\b|[A-Z]\b)"
)
FEMININE_ITEM = re.compile(r"(?!diploma|programma|sistema)\w*(?:a|[àù]|ion[ei]|patent[ei]|auto|moto|doti)")
FEMININE_PLURAL_ITEM = re.compile(
    r"(?!patente)\w*(?:[nz]ze|[aiu]te|che|ghe|ure|esse|buone|ottime|massime|minime|le)|doti|\w+ioni"
)


def _agreeing(text: str, start: int, end: int) -> tuple[str, int, int]:
    """`text` whose asking word agrees with the list that is left, and the span's new place.

    A plural asking word agrees with all items that stay, a singular one with the first. Where no item stays, the asking word
    stays as it is, or joins the span if it opens a clause between commas.
    """
    asking = max(ASKING.finditer(text[:start]), key=lambda match: match.start(), default=None)
    items = _list_items(text, asking.end()) if asking else []
    if not items or not items[0][0] <= start < items[-1][1]:
        return text, start, end
    after_comma = text[: asking.start()].endswith(", ")
    if after_comma and not re.search(r" ed? ", text[items[0][0] : items[-1][1]]):
        items = items[:1]  # "barista, richiesto diploma, sede a Lodi"
    remaining = [text[first : min(last, start)] + text[max(first, end) : last] for first, last in items]
    forms = [_gender_and_number(item) for item in remaining if re.search(r"\w", item)]
    if not forms and after_comma:
        return text, asking.start(), end
    negative = any(re.match(r"(?:no|niente|nessun\w*) ", item) for item in remaining)
    if not forms or len(forms) == len(items) or negative:
        return text, start, end
    words = [word for word in asking.groups() if word]  # a verb, or a participle with or without a copula
    if words[0].lower() not in ASKING_FORMS[words[0].lower()][2:]:  # singular
        forms = forms[:1]
    slot = 2 * (forms[0][1] or len(forms) > 1) + all(feminine for feminine, _ in forms)
    old = " ".join(words)
    new = with_capitals(" ".join(ASKING_FORMS[word.lower()][slot] for word in words), old)
    after = asking.start() + len(old)
    shift = len(new) - len(old)
    return text[: asking.start()] + new + text[after:], start + shift, end + shift


def _list_items(text: str, start: int) -> list[tuple[int, int]]:
    """The items of a list from `start` to the one after its conjunction, or to the clause's end."""
    stop = re.compile(r"[.;:!?()\n]|$").search(text, start).start()
    items = []
    for match in BETWEEN_ITEMS.finditer(text, start, stop):
        items.append((start, match.start()))
        start = match.end()
        if match.group().strip(", "):  # a conjunction: one more item follows
            stop = start + len(text[start:stop].partition(",")[0])
            break
    return [*items, (start, stop)]


def _gender_and_number(item: str) -> tuple[bool, bool]:
    """Whether an item is feminine and whether it is plural, by its first word."""
    words = re.findall(r"\d+|[^\W\d_]+", re.sub(r"\bl['’]|\b(?:almeno|anche|inoltre) ", " ", item.lower()))
    if not words:  # "È richiesta ____ e l'età massima di 30 anni"
        return False, False
    counted = words[0].isdigit() and words[0] != "1"
    word = words[1] if words[0].isdigit() and len(words) > 1 else words[0]
    feminine_plural = bool(FEMININE_PLURAL_ITEM.fullmatch(word))
    feminine = feminine_plural or bool(FEMININE_ITEM.fullmatch(word))
    return feminine, counted or feminine_plural or word.endswith("i")
