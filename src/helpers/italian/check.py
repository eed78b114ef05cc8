"""Was an Italian text made inclusive, and nothing else: a strict check of a rewriting against its source and a reference."""

from __future__ import annotations

import re
from typing import Any

from helpers import edits
from helpers.italian import gender
from helpers.italian.lexicon import PLURAL, SINGULAR, is_function, tokenise
from helpers.italian.phrases import person_phrases

# (ending, endings in which a person word has both genders); the first ending that fits counts
ENDINGS = (
    ("trice", ("tore/trice", "trice/tore", "tore/tora")),
    ("trici", ("tori/trici", "trici/tori")),
    ("tore", ("tore/trice", "tore/tora", "tore o {f}trice")),
    ("tori", ("tori/trici", "tori e {f}trici")),
    ("iera", ("iere/a", "iera/e")),
    ("iere", ("iere/a", "ieri/e", "iera/e")),
    ("chi", ("chi/che",)),
    ("che", ("chi/che", "ci/che")),
    ("ghi", ("ghi/ghe",)),
    ("ghe", ("ghi/ghe", "gi/ghe")),
    ("ci", ("ci/che",)),
    ("gi", ("gi/ghe",)),
    ("o", ("o/a",)),
    ("a", ("o/a", "a/o", "e/a")),
    ("i", ("i/e",)),
    ("e", ("i/e", "e/i", "e/a")),
)
ARTICLES = {
    "il": "il/la", "lo": "lo/la", "la": "il/la lo/la", "i": "i/le", "gli": "gli/le", "le": "i/le gli/le",
    "un": "un/a un/una un/un'", "uno": "uno/a uno/una", "una": "un/a uno/a un/una uno/una", "un'": "un/un'",
    "del": "del/della", "dello": "dello/della", "della": "del/della dello/della", "dei": "dei/delle",
    "degli": "degli/delle", "delle": "dei/delle degli/delle", "al": "al/alla", "allo": "allo/alla",
    "alla": "al/alla allo/alla", "ai": "ai/alle", "agli": "agli/alle", "alle": "ai/alle agli/alle",
    "dal": "dal/dalla", "dallo": "dallo/dalla", "dalla": "dal/dalla", "dai": "dai/dalle", "dagli": "dagli/dalle",
    "dalle": "dai/dalle dagli/dalle", "nel": "nel/nella", "sul": "sul/sulla", "ragazza": "ragazzo/a", "mio": "mio/a",
    "tuo": "tuo/a", "suo": "suo/a", "uomo": "uomo/donna", "donna": "uomo/donna", "uomini": "uomini/donne",
    "donne": "uomini/donne donne/uomini",
}  # fmt: skip
NEUTRAL_HEADS = {
    "persona",
    "persone",
    "figura",
    "figure",
    "risorsa",
    "risorse",
    "clientela",
    "utenza",
    "chi",
    "direzione",
}
PRONOUNS = {"colui", "colei", "lui", "lei", "egli", "ella"}
PERSON_WORDS = {"person", "participle", "adj", "noun"}
LIMITS = {"solo", "soli", "sola", "sole", "solamente", "esclusivamente", "preferibilmente", "rigorosamente", "no"}
GRAMMAR = ("masculine_form", "feminine_title")


def doubles(word: str) -> list[str]:
    """Ways to write both genders of a word, in its capitals: operaio/a, operaio/operaia, operaio o operaia; [] without one."""
    low = word.lower().replace("’", "'")
    if low == "un'":  # with the space that its other forms need
        return [_capitals(word, m) for m in ("un/un'", "un/una ", "un/a ")]
    made = ARTICLES.get(low, "").split()
    if not made and len(low) > 2:
        ending, options = next(((e, o) for e, o in ENDINGS if low.endswith(e)), ("", ()))
        stem = low[: len(low) - len(ending)]
        made = [stem + option.format(f=stem) for option in options]
        for both in [m for m in made if "/" in m]:
            one, _, other = both.partition("/")
            full = f"{one[: -len(other)]}{other}" if len(other) < 3 else f"{stem}{other}"
            made += [f"{one}/{full}", f"{one} o {full}", f"{one} e {full}"]
    return [_capitals(word, m) for m in dict.fromkeys(made)]


def _capitals(like: str, word: str) -> str:
    if like.isupper() and len(like) > 1:
        return word.upper()
    return word[0].upper() + word[1:] if like[0].isupper() else word


def gendered(text: str) -> list[tuple[int, int]]:
    """(start, end) of every word that gives a person one gender."""
    tokens, phrases = person_phrases(text)
    found = []
    for phrase in phrases:
        if phrase.slot is None or phrase.kind == "object" or tokens[phrase.head].fixed:
            continue
        number = SINGULAR if phrase.slot < 2 else PLURAL
        one = [i for i, reading in phrase.parts.items() if (reading.mask & number).bit_count() == 1]
        found += [(tokens[i].start, tokens[i].end) for i in one]
    return sorted(set(found))


def check(source: str, output: str, reference: str) -> dict[str, Any]:
    """What became of a source: `inclusive`, `untouched`, `agreement`, all of them `compliant`; `left` names what stayed.

    The reference says where something is to change. There, the output may say what the reference says, or put every gendered word
    into both genders. inclusive: no gendered word or exclusionary requirement that the reference changed is left, and no new one
    has come; untouched: the rest is letter for letter the source; agreement: every changed stretch is one of these renderings,
    and words that agree with a neutral noun of the reference (*la persona … inserita*) follow it together or not at all.
    A source that the reference leaves alone must come back as it is.
    """
    source, output, reference = (_spaces(t) for t in (source, output, reference))
    if source == reference:
        same = source == output
        return {
            "compliant": same,
            "inclusive": not _new_cues(source, output),
            "untouched": same,
            "agreement": same,
            "left": [],
        }
    chunks = _chunks(source, reference)
    kept = [
        source[a:b] for a, b in zip([0, *(c[1] for c in chunks)], [*(c[0] for c in chunks), len(source)], strict=True)
    ]
    if re.fullmatch(_doubled(source, chunks, reference), output.replace(" ", "")):
        return {"compliant": True, "inclusive": True, "untouched": True, "agreement": True, "left": []}
    untouched = _full_match(kept, ["(.*)"] * len(chunks), output) is not None
    found = _full_match(kept, [_renderings(source, *chunk) for chunk in chunks], output)
    agreement = found is not None and _ties_hold(source, chunks, list(found.groups()))
    left = [w for w in _must_go(source, chunks) if re.search(_alone(w), output) and not re.search(_alone(w), reference)]
    inclusive = not left and not _new_cues(reference, output) and (untouched or output != source)
    result = {"inclusive": inclusive, "untouched": untouched, "agreement": agreement}
    return {"compliant": all(result.values()), **result, "left": left}


def _spaces(text: str) -> str:
    return re.sub(r" ([,.;:!?)])", r"\1", re.sub(r"\s+", " ", text.replace("’", "'"))).strip()


def _chunks(source: str, reference: str) -> list[tuple[int, int, str]]:
    """The reference's edits, each with the article before it; a stretch that goes takes one of the blanks around it along."""
    chunks: list[tuple[int, int, str]] = []
    for start, end, new in edits.spans(source, reference):
        before = re.search(r"(\w+['’]|\w+ )$", source[chunks[-1][1] if chunks else 0 : start])
        if before and before.group().strip().lower() in ARTICLES:
            start, new = start - len(before.group()), before.group() + new
        if not new and source[end : end + 1] == " " and (start == 0 or source[start - 1] == " "):
            end += 1
        elif not new and source[start - 1 : start] == " " and not source[end : end + 1].isalnum():
            start -= 1
        chunks.append((start, end, new))
    return chunks


def _full_match(kept: list[str], between: list[str], output: str) -> re.Match[str] | None:
    """Spaces do not count: what an edit leaves beside it depends on its neighbours."""
    pattern = re.escape(kept[0]) + "".join(b + re.escape(k) for b, k in zip(between, kept[1:], strict=True))
    return re.fullmatch(pattern.replace(r"\ ", ""), output.replace(" ", ""), re.DOTALL)


def _words(source: str, start: int, end: int, new: str) -> list[tuple[int, int, bool]]:
    """(start, end, whether it must change) of the words of a chunk that may give a person a gender."""
    marked, kept = set(gendered(source)), set(re.findall(r"\w+(?:/[\w']+)*", new.lower()))
    found = []
    for token in tokenise(source):
        if not (start <= token.start and token.end <= end and doubles(token.text)):
            continue
        person = any(r.kind in PERSON_WORDS and len(set(r.forms)) > 2 for r in token.readings)
        person = person or bool(re.search(r"[aiu]t[oaie]$", token.low))  # a participle that no table has
        both = bool(kept & {d.lower() for d in doubles(token.text)})
        spoken = (token.start, token.end) in marked or token.low in PRONOUNS or both
        if spoken or person:
            found.append((token.start, token.end, (spoken or person) and (both or token.low not in kept)))
    return found


def _beyond(source: str, start: int, end: int) -> list[str]:
    """Exclusionary requirements in source[start:end], beyond grammar."""
    return [c.text for c in gender.cues(source) if c.category not in GRAMMAR and c.start < end and c.end > start]


def _renderings(source: str, start: int, end: int, new: str) -> str:
    """A group that matches what may stand for source[start:end]: the reference's words, or its gendered words doubled."""
    old, options, words = source[start:end], [re.escape(new)], _words(source, start, end, new)
    must = [source[a:b] for a, b, needed in words if needed]
    deleted = not set(re.findall(r"\w+", new.lower())) - set(re.findall(r"\w+", old.lower()))
    beyond = _beyond(source, start, end)
    if (deleted and not must) or (not beyond and re.findall(r"\d+", old) != re.findall(r"\d+", new)):
        return "(" + options[0] + ")"
    pattern, at = "", start
    for a, b, needed in words:
        forms = doubles(source[a:b]) + ([] if needed else [source[a:b]])
        pattern += re.escape(source[at:a]) + "(?:" + "|".join(map(re.escape, forms)) + ")"
        at = b
    pattern += re.escape(source[at:end])
    if not beyond:
        options.append(pattern)
    elif len(beyond) == 1 and re.escape(", " + beyond[0]) in pattern:  # the requirement goes, with its comma
        return f"({options[0]}|{pattern.replace(re.escape(', ' + beyond[0]), '')})"
    else:
        return "(" + options[0] + ")"
    for text in (gender.neutralise(source), gender.persona(source)):
        made = _within(source, text, start, end)
        if made and not any(re.search(_alone(word), made) for word in must):
            options.append(re.escape(made))
    return "(" + "|".join(options) + ")"


def _alone(word: str) -> str:
    """Pattern of a word that is not part of a double form."""
    return rf"(?<![\w/]){re.escape(word)}(?![\w/]| [eo] \w+(?:trice|trici|[ae])\b)"


def _doubled(source: str, chunks: list[tuple[int, int, str]], reference: str) -> str:
    """Pattern, without spaces, of the source in double forms: each word that the reference changes and that gives a person a
    gender is put into both, requirements beyond grammar go, and nothing else changes. It matches nothing without such words.
    """
    struck = [(c.start, c.end) for c in gender.cues(source) if c.category not in GRAMMAR]
    if any(_struck_by_hand(source, chunk, struck) for chunk in chunks):
        return r"\Z\w"
    inside = [w for chunk in chunks for w in _words(source, *chunk) if w[2]]
    words = [(a, b) for a, b, _ in inside if not any(a < end and b > start for start, end in struck)]
    ruled, pattern, at, i = gender.neutralise(source), "", 0, 0
    for start, end in struck:
        words.append((start, end))
    words = sorted(set(words))
    while i < len(words):
        (a, b), forms = words[i], []
        if (a, b) in struck:
            tail = re.match(r" ?,", source[b:])
            joint = re.search(r"(, | e | )$", source[at:a])
            pattern += _squeezed(source[at : a - len(joint.group())] if joint else source[at:a])
            pattern += ",?" if tail or (joint and "," in joint.group()) else ""
            at, i = b + (tail.end() if tail else 0), i + 1
            continue
        if i + 1 < len(words) and words[i + 1][0] == b + 1 and (a, b) not in struck:  # "i farmacisti e le farmaciste"
            both = _within(source, ruled, a, words[i + 1][1])
            forms = [both] if both and re.search(r" [eo] ", both) else []
        pattern += _squeezed(source[at:a])
        if forms:
            one = "|".join(map(_squeezed, doubles(source[a:b])))
            two = "|".join(map(_squeezed, doubles(source[slice(*words[i + 1])])))
            pattern += f"(?:(?:{one})(?:{two})|{_squeezed(forms[0])})"
            at, i = words[i + 1][1], i + 2
        else:
            pattern += "(?:" + "|".join(map(_squeezed, doubles(source[a:b]))) + ")"
            at, i = b, i + 1
    return pattern + _squeezed(source[at:]) if words else r"\Z\w"


def _squeezed(text: str) -> str:
    return re.escape(text.replace(" ", ""))


def _struck_by_hand(source: str, chunk: tuple[int, int, str], struck: list[tuple[int, int]]) -> bool:
    """Whether the reference leaves out words that no rule knows as a requirement, so that they may not stay."""
    start, end, new = chunk
    kept = set(re.findall(r"\w+", new.lower()))
    gone = [
        t
        for t in tokenise(source)
        if start <= t.start
        and t.end <= end
        and t.low not in kept
        and t.text[0].isalnum()
        and (t.low in LIMITS or not is_function(t))
    ]
    gone = [t for t in gone if not any(t.start < b and t.end > a for a, b in struck)]
    limits = any(t.low in LIMITS for t in gone)
    return bool(gone) and (limits or not kept - set(re.findall(r"\w+", source[start:end].lower())))


def _within(source: str, other: str, start: int, end: int) -> str | None:
    """What stands in `other` for source[start:end]; None where a change crosses its bounds."""
    pieces, at = [], start
    for a, b, new in edits.spans(source, other):
        if b <= start or a >= end:
            continue
        if a < start or b > end:
            return None
        pieces += [source[at:a], new]
        at = b
    return "".join(pieces) + source[at:end]


def _ties_hold(source: str, chunks: list[tuple[int, int, str]], written: list[str]) -> bool:
    """Whether the words that agree with a neutral noun of the reference follow it together or not at all."""
    tied = [any(_flipped(w, source[a:b]) for w in re.findall(r"\w+", new)) for a, b, new in chunks]
    heads = [bool(NEUTRAL_HEADS & set(re.findall(r"\w+", new.lower()))) for _, _, new in chunks]
    if not any(heads):
        return True
    follows = [
        text == new.replace(" ", "")
        for (_, _, new), text, t, h in zip(chunks, written, tied, heads, strict=True)
        if t or h
    ]
    return len(set(follows)) <= 1


def _flipped(word: str, old: str) -> bool:
    """Whether a word is one of `old` in the other gender: inserita for inserito."""
    return any(w[:-1] == word[:-1] and w != word and len(w) > 2 for w in re.findall(r"\w+", old))


def _must_go(source: str, chunks: list[tuple[int, int, str]]) -> list[str]:
    """The gendered words in the changed stretches that have to change, and the requirements beyond grammar."""
    found = [source[a:b] for chunk in chunks for a, b, needed in _words(source, *chunk) if needed]
    return list(dict.fromkeys(found + [c for start, end, _ in chunks for c in _beyond(source, start, end)]))


def _new_cues(before: str, after: str) -> list[str]:
    """Texts of the cues in `after` that `before` does not have."""
    known = {c.text.lower() for c in gender.cues(before)}
    return [c.text for c in gender.cues(after) if c.text.lower() not in known]
