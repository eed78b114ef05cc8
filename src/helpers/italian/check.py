"""Was an Italian text made inclusive, and nothing else? A strict check against a reference."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from operator import attrgetter, itemgetter

from helpers import edits
from helpers.italian import gender
from helpers.italian.addressees import EVERYONE
from helpers.italian.cues import find_cues, requirement_cues
from helpers.italian.forms import accepted_doubles, double_words
from helpers.italian.lexicon import VERBAL, Token, is_function
from helpers.italian.phrases import person_phrases

# nouns of the reference that name people without their gender
NEUTRAL_HEADS = re.compile(r"\b(person[ae]|figur[ae]|risors[ae]|clientela|utenza|chi|direzione)\b", re.IGNORECASE)
PRONOUNS = {"colui", "colei", "lui", "lei", "egli", "ella"}
PERSON_WORDS = {"person", "participle", "adj", "noun"}
LIMITS = re.compile(r"sol[oaie]|solamente|esclusivamente|preferibilmente|rigorosamente|no")

Edit = tuple[int, int, str]  # source[start:end] becomes the text


def check(source: str, output: str, reference: str) -> dict[str, bool]:
    """What became of a source text, judged by a reference.

    The reference says where something has to change. There, the output may say what the reference says, or put every
    gendered word into both genders. A source that the reference leaves alone must come back as it is.

    Returns
    -------
    dict with
        inclusive : no gendered word or exclusionary requirement that the reference changed is left, and no new one has come
        untouched : the rest is letter for letter the source
        agreement : every changed span is one of the accepted renderings, and words that agree with a neutral noun of the
            reference (*la persona … inserita*) follow it together or not at all
        compliant : all three
    """
    source, output, reference = (_normalised(text) for text in (source, output, reference))
    changes = _changes(source, reference)
    if source == reference:
        untouched = agreement = source == output
        inclusive = not _has_new_cues(source, output)
    elif (pattern := _all_in_double_form(source, changes)) and _match(pattern, output):
        inclusive = untouched = agreement = True
    else:
        untouched = _keeps_the_rest(source, changes, output)
        match = None
        if untouched:
            renderings = [(change[0], change[1], _renderings(source, *change)) for change in changes]
            match = _match(_pattern(source, renderings), output)
        agreement = match is not None and _neutral_nouns_agree(source, changes, match.groups())
        words = [source[a:b] for change in changes for a, b, must in _person_words(source, *change) if must]
        words += [text for start, end, _ in changes for text in _requirements_in(source, start, end)]
        unchanged = any(_stands_alone(word, output) and not _stands_alone(word, reference) for word in set(words))
        inclusive = not unchanged and not _has_new_cues(reference, output)
    verdict = {"inclusive": inclusive, "untouched": untouched, "agreement": agreement}
    return {"compliant": all(verdict.values()), **verdict}


def _normalised(text: str) -> str:
    """The text with straight apostrophes, single spaces, and none before a sign."""
    return re.sub(r" ([,.;:!?)])", r"\1", re.sub(r"\s+", " ", text.replace("’", "'"))).strip()


# --- what has to change -----------------------------------------------------------------


def _changes(source: str, reference: str) -> list[Edit]:
    """The reference's edits, each with the article before it; a deletion takes one space along."""
    changes: list[Edit] = []
    for start, end, new in edits.spans(source, reference):
        before = re.search(r"(\w+['’]|\w+ )$", source[changes[-1][1] if changes else 0 : start])
        if before and before.group().strip().lower() in double_words():
            start, new = start - len(before.group()), before.group() + new
        if not new and source[end : end + 1] == " " and (start == 0 or source[start - 1] == " "):
            end += 1
        elif not new and source[start - 1 : start] == " " and not source[end : end + 1].isalnum():
            start -= 1
        changes.append((start, end, new))
    return changes


def _person_words(source: str, start: int, end: int, new: str) -> list[tuple[int, int, bool]]:
    """(start, end, whether it must change) of the words of an edit that may give a person a gender."""
    gendered = _gendered(source)
    new_words = set(re.findall(r"\w+(?:/[\w']+)*", new.lower()))
    words = []
    for i, token in _tokens_in(source, start, end):
        doubles = accepted_doubles(token.text)
        if not doubles:
            continue
        doubled = bool(new_words & {rendering.lower() for rendering in doubles})
        inflected = any(r.kind in PERSON_WORDS and len(set(r.forms)) > 2 for r in token.readings)
        if i in gendered or token.lower in PRONOUNS or doubled or inflected or VERBAL.search(token.lower):
            words.append((token.start, token.end, doubled or token.lower not in new_words))
    return words


@lru_cache(maxsize=4)  # asked for at every edit of a source
def _gendered(source: str) -> set[int]:
    """The tokens of the source that give a person one gender."""
    tokens, phrases = person_phrases(source)
    gendered: set[int] = set()
    for phrase in phrases:
        if phrase.slot is not None and phrase.kind != "object" and not tokens[phrase.head].is_double:
            gendered.update(phrase.gendered_words())
    return gendered


def _tokens_in(source: str, start: int, end: int) -> list[tuple[int, Token]]:
    """(index, token) of the tokens within source[start:end]."""
    tokens = person_phrases(source)[0]
    first, last = bisect_left(tokens, start, key=attrgetter("start")), bisect_right(tokens, end, key=attrgetter("end"))
    return list(enumerate(tokens[first:last], first))


def _requirements_in(source: str, start: int, end: int) -> list[str]:
    """Texts of the requirements beyond grammar that reach into source[start:end]."""
    cues = _cached_requirements(source)
    first, last = bisect_right(cues, start, key=attrgetter("end")), bisect_left(cues, end, key=attrgetter("start"))
    return [cue.text for cue in cues[first:last]]


_cached_requirements = lru_cache(maxsize=4)(requirement_cues)


def _has_new_cues(before: str, after: str) -> bool:
    return bool(
        {cue.text.lower() for cue in find_cues(after, EVERYONE)}
        - {cue.text.lower() for cue in find_cues(before, EVERYONE)}
    )


def _stands_alone(word: str, text: str) -> bool:
    """Whether a text has the word outside of a double form."""
    return bool(re.search(rf"(?<![\w/]){re.escape(word)}(?![\w/]| [eo] \w+(?:trice|trici|[ae])\b)", text))


# --- how it may be written --------------------------------------------------------------


def _match(pattern: str, output: str) -> re.Match[str] | None:
    """The whole output matched; spaces do not count, as an edit's neighbours decide which it leaves."""
    return re.fullmatch(pattern.replace(r"\ ", ""), output.replace(" ", ""), re.DOTALL)


def _pattern(source: str, pieces: list[Edit], start: int = 0, end: int | None = None) -> str:
    """Pattern of source[start:end] with patterns in the place of pieces."""
    patterns = []
    for piece_start, piece_end, piece in pieces:
        patterns += [re.escape(source[start:piece_start]), piece]
        start = piece_end
    return "".join(patterns) + re.escape(source[start:end])


def _keeps_the_rest(source: str, changes: list[Edit], output: str) -> bool:
    """Whether the output has what no edit touches, in order and with nothing else outside of the edits, but for spaces.

    Each part is looked for behind the one before: a pattern would try every way to place them.
    """
    bounds = [0, *(place for start, end, _ in changes for place in (start, end)), len(source)]
    parts = [source[a:b].replace(" ", "") for a, b in zip(bounds[::2], bounds[1::2], strict=True)]
    output = output.replace(" ", "")
    if len(parts) == 1:
        return output == parts[0]
    at, last = len(parts[0]), len(output) - len(parts[-1])
    if not (output.startswith(parts[0]) and output.endswith(parts[-1]) and at <= last):
        return False
    for part in parts[1:-1]:
        place = output.find(part, at, last)
        if place < 0:
            return False
        at = place + len(part)
    return True


def _renderings(source: str, start: int, end: int, new: str) -> str:
    """A group for source[start:end]: the reference's words, or the gendered words doubled."""
    old, words = source[start:end], _person_words(source, start, end, new)
    must_change = [source[a:b] for a, b, must in words if must]
    only_deletes = not set(re.findall(r"\w+", new.lower())) - set(re.findall(r"\w+", old.lower()))
    requirements = _requirements_in(source, start, end)
    other_numbers = re.findall(r"\d+", old) != re.findall(r"\d+", new)
    if (only_deletes and not must_change) or (not requirements and other_numbers):
        return f"({re.escape(new)})"
    # a word that need not change may stay
    doubles = [(a, b, _any_double(source[a:b], *([] if must else [source[a:b]]))) for a, b, must in words]
    doubled = _pattern(source, doubles, start, end)
    if requirements:
        clause = re.escape(", " + requirements[0])
        goes = len(requirements) == 1 and clause in doubled  # the requirement goes, with its comma
        return f"({re.escape(new)}|{doubled.replace(clause, '')})" if goes else f"({re.escape(new)})"
    options = [re.escape(new), doubled]
    for text in (_neutral(source), _with_persona(source)):
        by_rule = _counterpart(source, text, start, end)
        if by_rule and not any(_stands_alone(word, by_rule) for word in must_change):
            options.append(re.escape(by_rule))
    return f"({'|'.join(options)})"


_neutral, _with_persona = (lru_cache(maxsize=4)(rewrite) for rewrite in (gender.neutralise, gender.persona))
_spans = lru_cache(maxsize=8)(edits.spans)


def _any_double(word: str, *others: str) -> str:
    """A group that matches every double form of a word, or one of the other texts."""
    return "(?:" + "|".join(map(re.escape, [*accepted_doubles(word), *others])) + ")"


def _all_in_double_form(source: str, changes: list[Edit]) -> str | None:
    """Pattern of the source with the gendered words that the reference changes doubled, and without requirements.

    None where the source has neither, or the reference leaves out more.
    """
    requirements = [(cue.start, cue.end) for cue in requirement_cues(source)]
    if any(_removes_more(source, change, requirements) for change in changes):
        return None
    words = {(a, b) for change in changes for a, b, must in _person_words(source, *change) if must}
    words = {(a, b) for a, b in words if not any(a < end and b > start for start, end in requirements)}
    places = sorted({*words, *requirements})
    if not places:
        return None
    by_rule, at = _neutral(source), 0
    pieces: list[Edit] = []
    for i, (start, end) in enumerate(places):
        if start < at:  # the second of two nouns
            continue
        following = places[i + 1] if i + 1 < len(places) else (-1, -1)
        both = _counterpart(source, by_rule, start, following[1]) if following[0] == end + 1 else None
        if (start, end) in requirements:  # it goes with a comma or conjunction
            comma = re.match(r" ?,", source[end:])
            joint = re.search(r"(, | e | )$", source[at:start])
            start, end = at + joint.start() if joint else start, end + comma.end() if comma else end
            piece = ",?" if comma or (joint and "," in joint.group()) else ""
        elif both and re.search(r" [eo] ", both):  # the rules write "i farmacisti e le farmaciste"
            first, second = _any_double(source[start:end]), _any_double(source[slice(*following)])
            end, piece = following[1], f"(?:{first}{second}|{re.escape(both)})"
        else:
            piece = _any_double(source[start:end])
        pieces.append((start, end, piece))
        at = end
    return _pattern(source, pieces)


def _removes_more(source: str, change: Edit, requirements: list[tuple[int, int]]) -> bool:
    """Whether the reference leaves out words that no rule knows as a requirement."""
    start, end, new = change
    new_words = set(re.findall(r"\w+", new.lower()))
    removed = [
        token for _, token in _tokens_in(source, start, end) if token.lower not in new_words and token.text[0].isalnum()
    ]
    removed = [t for t in removed if not any(t.start < b and t.end > a for a, b in requirements)]
    if any(LIMITS.fullmatch(token.lower) for token in removed):
        return True
    only_deletes = new_words <= set(re.findall(r"\w+", source[start:end].lower()))
    return only_deletes and not all(is_function(token) for token in removed)


def _counterpart(source: str, other: str, start: int, end: int) -> str | None:
    """What stands in `other` for source[start:end]; None where a change crosses its bounds."""
    pieces, at = [], start
    spans = _spans(source, other)
    first, last = bisect_right(spans, start, key=itemgetter(1)), bisect_left(spans, end, key=itemgetter(0))
    for a, b, new in spans[first:last]:
        if a < start or b > end:
            return None
        pieces += [source[at:a], new]
        at = b
    return "".join(pieces) + source[at:end]


def _neutral_nouns_agree(source: str, changes: list[Edit], written: Sequence[str]) -> bool:
    """Whether the words that agree with a neutral noun of the reference follow it together or not at all.

    `written` is what the output has for each change, without spaces.
    """
    if not any(NEUTRAL_HEADS.search(new) for _, _, new in changes):
        return True
    follows_reference = {
        text == new.replace(" ", "")
        for (start, end, new), text in zip(changes, written, strict=True)
        if NEUTRAL_HEADS.search(new) or _changes_gender(source[start:end], new)
    }
    return len(follows_reference) == 1


def _changes_gender(old: str, new: str) -> bool:
    """Whether a word is in the other gender: inserita for inserito."""
    pairs = product(re.findall(r"\w+", old), re.findall(r"\w+", new))
    return any(a[:-1] == b[:-1] and a != b and len(a) > 2 for a, b in pairs)
