"""Rewriting as a list of edits: derived from pairs, written as a script, applied to a source.

What no edit names stays untouched by construction, and a small model has to write only what changes (as in LaserTagger,
Malmi et al. 2019, arXiv 1909.01187, and Seq2Edits, Stahlberg & Kumar 2020, arXiv 2009.11136).

A script has one line for each edit, ` old | new`, in the order of the text, or ` =` without any. Where `new` is `old` with
another end, it is written as `cut+end`: ` operatori | +/trici`, ` segretaria | 1+o/a`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import accumulate, takewhile
from operator import eq, itemgetter

import numpy as np

KEEP = " ="
# "addetto/a" and "un/un'" are one word
TOKEN = re.compile(r"\w+['’]?(?:/-?\w+['’]?)*|\s+|[^\w\s]")
SENTENCE_ENDS = frozenset(".;:!?")
LONG = 2000  # tokens of two texts, blanks included, up to which difflib compares them as they are
CUT_END = re.compile(r"(\d?)\+(.*)", re.DOTALL)

# Tags of words: a word stays, changes its end, or opens a span that is deleted or replaced.
# DELETED + 1 and REPLACED + 1 continue such a span.
STAYS, ENDING, DELETED, REPLACED = 0, 1, 2, 4
TAGS = 6

Span = tuple[int, int, str]  # source[start:end] becomes the text
Block = tuple[int, int, int, int]  # source tokens i to k become target tokens j to m


# --- from a pair to edits ---------------------------------------------------------------


def opcodes(a: Sequence[str], b: Sequence[str]) -> list[tuple[str, int, int, int, int]]:
    """How the tokens `a` become `b`, as difflib's `get_opcodes`.

    difflib takes the square of the length. Beyond LONG tokens, the sentences that occur once in both are matched first
    (Cohen's patience diff), and difflib compares what lies between two of them; where that is still longer, all of it
    counts as replaced but for its common beginning and end.
    """
    codes: list[tuple[str, int, int, int, int]] = []
    i = j = 0
    for k, m, length in [*_anchors(a, b), (len(a), len(b), 0)]:
        prefix = shared_prefix(a[i:k], b[j:m]) if len(a) + len(b) > LONG else 0
        suffix = shared_prefix(a[i + prefix : k][::-1], b[j + prefix : m][::-1]) if len(a) + len(b) > LONG else 0
        if prefix:
            codes.append(("equal", i, i + prefix, j, j + prefix))
        i, j, end, stop = i + prefix, j + prefix, k - suffix, m - suffix
        if end - i + stop - j <= LONG:
            matcher = SequenceMatcher(None, a[i:end], b[j:stop], autojunk=False)
            codes += [(tag, i + w, i + x, j + y, j + z) for tag, w, x, y, z in matcher.get_opcodes()]
        else:
            codes.append(("delete" if j == stop else "insert" if i == end else "replace", i, end, j, stop))
        if suffix + length:
            codes.append(("equal", end, k + length, stop, m + length))
        i, j = k + length, m + length
    return codes


def _anchors(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int, int]]:
    """(place in a, place in b, tokens) of the sentences that both have once, in one order; none in short texts."""
    if len(a) + len(b) <= LONG:
        return []
    once_a, once_b = _sentences_once(a), _sentences_once(b)
    pairs = [(i, once_b[sentence], len(sentence)) for sentence, i in once_a.items() if sentence in once_b]
    # the longest increasing run of places in b, by patience sorting
    ends: list[int] = []
    piles: list[int] = []
    before: list[int] = []
    for k, (_, j, _) in enumerate(pairs):
        pile = bisect_left(ends, j)
        before.append(piles[pile - 1] if pile else -1)
        ends[pile : pile + 1], piles[pile : pile + 1] = [j], [k]
    run, k = [], piles[-1] if piles else -1
    while k >= 0:
        run.append(pairs[k])
        k = before[k]
    return run[::-1]


def _sentences_once(tokens: Sequence[str]) -> dict[tuple[str, ...], int]:
    """Sentence or line → its place, in order, of those that occur once."""
    places: dict[tuple[str, ...], list[int]] = {}
    start = 0
    for i, token in enumerate(tokens):
        if token in SENTENCE_ENDS or "\n" in token or i == len(tokens) - 1:
            places.setdefault(tuple(tokens[start : i + 1]), []).append(start)
            start = i + 1
    return {sentence: found[0] for sentence, found in places.items() if len(found) == 1}


def spans(source: str, target: str) -> list[Span]:
    """The edits from source to target, in whole words; no edited span is empty.

    Neighbouring words are one span unless each only changes its end.
    """
    a, b = TOKEN.findall(source), TOKEN.findall(target)
    differing = [block for tag, *block in opcodes(a, b) if tag != "equal"]
    merged: list[Block] = []
    for block in (part for whole in differing for part in _parts(a, b, *whole)):
        block = _widened(a, b, *block)
        while merged and _belong_together(a, b, merged[-1], block):
            previous = merged.pop()
            i, k, j, m = zip(previous, block, strict=True)
            block = min(i), max(k), min(j), max(m)
        merged.append(block)
    starts = list(accumulate(map(len, a), initial=0))  # of every token in the source, and its end
    return [_trimmed(source, starts[i], starts[k], "".join(b[j:m])) for i, k, j, m in merged]


def _parts(a: list[str], b: list[str], i: int, k: int, j: int, m: int) -> list[Block]:
    """A block, cut at the words that only change their end and have nothing inserted beside them."""
    if k - i + m - j > LONG:  # which `opcodes` has not compared either
        return [(i, k, j, m)]
    for x in range(i, k):
        for y in range(j, m):
            if not _changes_end(a, b, x, x + 1, y, y + 1):
                continue
            inserts_before = _has_word(b[j:y]) and not _has_word(a[i:x])
            inserts_after = _has_word(b[y + 1 : m]) and not _has_word(a[x + 1 : k])
            if not inserts_before and not inserts_after:
                return [*_parts(a, b, i, x, j, y), (x, x + 1, y, y + 1), *_parts(a, b, x + 1, k, y + 1, m)]
    return [(i, k, j, m)] if a[i:k] != b[j:m] else []


def _widened(a: list[str], b: list[str], i: int, k: int, j: int, m: int) -> Block:
    """A block with a neighbouring word, where it only inserts or loses the space at its end."""
    while i > 0 and j > 0 and (_is_blank(a[i:k]) or (j < m and a[i].isspace() != b[j].isspace())):
        i, j = i - 1, j - 1
    while k < len(a) and m < len(b) and (_is_blank(a[i:k]) or (j < m and a[k - 1].isspace() != b[m - 1].isspace())):
        k, m = k + 1, m + 1
    return i, k, j, m


def _belong_together(a: list[str], b: list[str], previous: Block, block: Block) -> bool:
    """Whether two blocks are one edit: they overlap, or are neighbours that replace words."""
    end, start = previous[1], block[0]
    if start < end:
        return True
    if start > end + 1 or not _is_blank(a[end:start]):
        return False
    both_change_end = _changes_end(a, b, *previous) and _changes_end(a, b, *block)
    return not both_change_end and previous[2] < previous[3] and block[2] < block[3]


def _changes_end(a: list[str], b: list[str], i: int, k: int, j: int, m: int) -> bool:
    return k - i == 1 and m - j == 1 and a[i][0].isalnum() and "+" in _shortened(a[i], b[j])


def _is_blank(tokens: list[str]) -> bool:
    return all(token.isspace() for token in tokens)


def _has_word(tokens: list[str]) -> bool:
    return any(token[0].isalnum() for token in tokens)


def _trimmed(source: str, start: int, end: int, new: str) -> Span:
    """The edit without outer spaces; a deletion between two commas takes the first one along."""
    old = source[start:end]
    start, end, new = start + len(old) - len(old.lstrip()), end - len(old) + len(old.rstrip()), new.strip()
    before = start
    while before and source[before - 1].isspace():
        before -= 1
    if not new and source[start:end].endswith(",") and source[before - 1 : before] == ",":
        start, end = before - 1, start + len(source[start : end - 1].rstrip())
    return start, end, new


def shared_prefix(one: Sequence[str], other: Sequence[str]) -> int:
    """How many characters, or tokens, the two begin with in common."""
    return sum(takewhile(bool, map(eq, one, other)))


def _shortened(old: str, new: str) -> str:
    """`new` as `cut+end` where it is `old` with another end."""
    common = shared_prefix(old, new)
    cut = len(old) - common
    ends_well = cut <= min(5, len(old) - 2) if cut else len(old) > 3 or new[common:][:1] in ("/", " ")
    return f"{cut or ''}+{new[common:]}" if common and ends_well and old != new else new


def _lengthened(old: str, new: str) -> str:
    """The wording that `new` stands for, the reverse of `_shortened`."""
    match = CUT_END.fullmatch(new)
    return old[: len(old) - int(match[1] or 0)] + match[2] if match else new


def tag(old: str, new: str) -> int:
    """The kind of an edit: ENDING, DELETED or REPLACED."""
    if not new:
        return DELETED
    return ENDING if TOKEN.fullmatch(old) and "+" in _shortened(old, new) else REPLACED


# --- scripts ----------------------------------------------------------------------------


def lines(source: str, edits: Sequence[Span]) -> list[tuple[str, str]]:
    """(old, new) of every edit; each old is widened to the left until a search finds it in place."""
    pairs, done = [], 0
    for start, end, new in edits:
        while start > done and _find(source, source[start:end], done) != start:
            left = source.rfind(" ", done, start - 1) + 1 or done
            new, start = source[left:start] + new, max(left, done)
        pairs.append((source[start:end], _shortened(source[start:end], new)))
        done = end
    return pairs


def script(source: str, target: str) -> str:
    """The edits that lead from source to target, one a line."""
    return "\n".join(f" {old} | {new}" for old, new in lines(source, spans(source, target))) or KEEP


def parse(source: str, written: str) -> tuple[list[Span], list[str]]:
    """(edits in their places, lines that name nothing in the source behind the edit before)."""
    edits, done, unplaced = [], 0, []
    for line in written.split("\n"):
        old, bar, new = (part.strip() for part in line.partition(" |"))
        start = _find(source, old, done) if old and bar else -1
        if start >= 0:
            done = start + len(old)
            edits.append((start, done, new))
        elif line.strip() and line != KEEP:
            unplaced.append(line.strip())
    return edits, unplaced


def _find(source: str, old: str, start: int) -> int:
    """Where `old` stands as whole words from `start` on; -1 without it."""
    left, right = (r"\b" if sign.isalnum() else "" for sign in (old[0], old[-1]))
    match = re.compile(left + re.escape(old) + right).search(source, start)
    return match.start() if match else -1


def apply(source: str, edits: Sequence[Span]) -> str:
    """The source with its edits made, and with spaces and commas mended around them."""
    finished, text, done = [], "", 0
    for start, end, new in edits:
        text = _joined(_joined(text, source[done:start]), _lengthened(source[start:end], new))
        done = end
        if len(text) > 2000:  # joining looks at the end alone
            finished.append(text[:-1000])
            text = text[-1000:]
    return "".join(finished) + _joined(text, source[done:]).rstrip(" ") if edits else source


def _joined(text: str, piece: str) -> str:
    """Two pieces with one space between words, and none before a sign or a second comma."""
    if not text or text.endswith(" "):
        piece = piece.lstrip(" ")
    elif text[-1].isalnum() and piece[:1].isalnum():
        piece = " " + piece
    if re.match(r"[,.;:!?)]", piece):
        text = text.rstrip(" ").rstrip(",")
    return text + piece


def onto_draft(source: str, draft: str, target: str) -> str:
    """What a learner that corrects a draft should write, so that it does not learn another style.

    Where draft and target both change the source, the draft's wording stays; elsewhere the target's
    is taken. What the target deletes goes in any case.
    """
    target_edits, draft_edits = spans(source, target), spans(source, draft)
    deletions = [edit for edit in target_edits if not edit[2]]
    from_draft = [edit for edit in draft_edits if _meets_any(edit, target_edits) and not _meets_any(edit, deletions)]
    from_target = [edit for edit in target_edits if not _meets_any(edit, from_draft)]
    return apply(source, sorted(from_draft + from_target))


def _meets_any(edit: Span, others: Sequence[Span]) -> bool:
    k = bisect_left(others, edit[1], key=itemgetter(0))  # the others are in order and do not overlap
    return k > 0 and others[k - 1][1] > edit[0]


# --- tags of words, as a tagger reads and writes them -----------------------------------


def token_tag(place: tuple[int, int], edits: Sequence[tuple[int, int, int]]) -> int:
    """The tag of a token at `place`, from (start, end, tag) of edits; -100 outside of the text."""
    start, end = place
    if start == end:
        return -100
    for edit_start, edit_end, edit_tag in edits:
        if start < edit_end and end > edit_start:
            return edit_tag if edit_tag == ENDING or start <= edit_start else edit_tag + 1
    return STAYS


def tagged(
    text: str, places: Sequence[tuple[int, int]], tags: np.ndarray, margin: float = 0.0
) -> list[tuple[int, int, int]]:
    """(start, end, tag) of edited spans of whole words.

    Parameters
    ----------
    places : (start, end) of each of the model's tokens
    tags : float array (tokens, 6)
        Log-probabilities.
    margin : float
        A word is edited where a tag is likelier than to stay by a factor of at least exp(`margin`).
    """
    edits: list[tuple[int, int, int]] = []
    continuing = -1  # the tag that would continue the last span
    for word in TOKEN.finditer(text):
        if word.group().isspace():
            continue
        tokens = [i for i, (start, end) in enumerate(places) if start < word.end() and end > word.start()]
        if not tokens:
            break
        scores = tags[tokens].sum(0)
        for opening in (DELETED, REPLACED):  # the tokens behind a word's first one continue its span
            scores[opening] += (tags[tokens[1:], opening + 1] - tags[tokens[1:], opening]).sum()
        scores[STAYS] += margin
        best = int(scores.argmax())
        if best == continuing:
            edits[-1] = (edits[-1][0], word.end(), edits[-1][2])
            continue
        opening = best - 1 if best in (DELETED + 1, REPLACED + 1) else best
        if opening != STAYS:
            edits.append((word.start(), word.end(), opening))
        continuing = opening + 1 if opening in (DELETED, REPLACED) else -1
    return edits
