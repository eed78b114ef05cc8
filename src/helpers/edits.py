"""Rewriting as a list of edits: derived from (source, target) pairs, written as a short script, applied to the source.

What no edit names stays untouched by construction, and a small model has to write only what changes (as in LaserTagger,
Malmi et al. 2019, arXiv 1909.01187, and Seq2Edits, Stahlberg & Kumar 2020, arXiv 2009.11136). A script has one line for each
edit, ` old | new`, in the order of the text, or ` =` where nothing is to change. Where `new` is `old` but for its end, it is
written as `cut+end`: ` operatori | +/trici`, ` segretaria | 1+o/a`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

import numpy as np

KEEP = " ="
# "addetto/a" and "un/un'" are one word
TOKEN = re.compile(r"\w+['’]?(?:/-?\w+['’]?)*|\s+|[^\w\s]")
CUT_END = re.compile(r"(\d?)\+(.*)", re.DOTALL)

# What a tagger says of a word: it stays, it changes its end, it opens a stretch that goes or is replaced (the next number: it goes
# on with one).
STAYS, ENDING, DELETED, REPLACED = 0, 1, 2, 4
TAGS = 6

Span = tuple[int, int, str]


def spans(source: str, target: str) -> list[Span]:
    """(start, end, new) of every stretch of the source that differs, in whole words; no stretch is empty.

    Neighbouring words are one stretch unless each only changes its end.
    """
    a, b = TOKEN.findall(source), TOKEN.findall(target)
    at = [0]
    for token in a:
        at.append(at[-1] + len(token))

    def blank(i: int, k: int) -> bool:
        return all(t.isspace() for t in a[i:k])

    def words(tokens: list[str]) -> bool:
        return any(t[0].isalnum() for t in tokens)

    def akin(i: int, k: int, j: int, m: int) -> bool:
        return k - i == 1 and m - j == 1 and a[i][0].isalnum() and "+" in _shortened(a[i], b[j])

    def split(i: int, k: int, j: int, m: int) -> list[tuple[int, int, int, int]]:
        """A stretch, cut at the words that only change their end and have nothing inserted beside them."""
        for x in range(i, k):
            for y in range(j, m):
                bare = words(a[i:x]) or not words(b[j:y]), words(a[x + 1 : k]) or not words(b[y + 1 : m])
                if akin(x, x + 1, y, y + 1) and all(bare):
                    return [*split(i, x, j, y), (x, x + 1, y, y + 1), *split(x + 1, k, y + 1, m)]
        return [(i, k, j, m)] if a[i:k] != b[j:m] else []

    found: list[tuple[int, int, int, int]] = []
    blocks = SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    for i, k, j, m in (piece for tag, *block in blocks if tag != "equal" for piece in split(*block)):
        # An insertion, or a stretch that loses the space at its end ("un interprete", "un/un'interprete"), takes a word along.
        while i > 0 and j > 0 and (blank(i, k) or (j < m and a[i].isspace() != b[j].isspace())):
            i, j = i - 1, j - 1
        while k < len(a) and m < len(b) and (blank(i, k) or (j < m and a[k - 1].isspace() != b[m - 1].isspace())):
            k, m = k + 1, m + 1
        while (
            found
            and i <= found[-1][1] + 1
            and (
                i < found[-1][1]
                or (
                    blank(found[-1][1], i)
                    and (not (akin(*found[-1]) and akin(i, k, j, m)) and j < m and found[-1][2] < found[-1][3])
                )
            )
        ):
            i, k, j, m = min(i, found[-1][0]), max(k, found[-1][1]), min(j, found[-1][2]), max(m, found[-1][3])
            found.pop()
        found.append((i, k, j, m))
    return [_trimmed(source, at[i], at[k], "".join(b[j:m])) for i, k, j, m in found]


def _trimmed(source: str, start: int, end: int, new: str) -> Span:
    """Without spaces at its ends; what goes between two commas takes the first of them along, not the second."""
    old = source[start:end]
    start, end, new = start + len(old) - len(old.lstrip()), end - len(old) + len(old.rstrip()), new.strip()
    before = source[:start].rstrip()
    if not new and source[start:end].endswith(",") and before.endswith(","):
        start, end = len(before) - 1, start + len(source[start : end - 1].rstrip())
    return start, end, new


def shared_prefix(one: str, other: str) -> int:
    """How many characters the two begin with in common."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _shortened(old: str, new: str) -> str:
    """`new` as `cut+end` where it is `old` with another end."""
    common = shared_prefix(old, new)
    cut = len(old) - common
    fits = common and cut <= min(5, len(old) - 2) if cut else len(old) > 3 or new[common:][:1] in ("/", " ")
    return f"{cut or ''}+{new[common:]}" if fits and old != new else new


def _lengthened(old: str, new: str) -> str:
    match = CUT_END.fullmatch(new)
    return old[: len(old) - int(match[1] or 0)] + match[2] if match else new


def tag(old: str, new: str) -> int:
    """ENDING, DELETED or REPLACED."""
    return DELETED if not new else ENDING if TOKEN.fullmatch(old) and "+" in _shortened(old, new) else REPLACED


def lines(source: str, found: Sequence[Span]) -> list[tuple[str, str]]:
    """(old, new) of every edit as a script has them; each old is widened to the left until a search finds it in its place."""
    pairs, done = [], 0
    for start, end, new in found:
        while start > done and _find(source, source[start:end], done) != start:
            left = source.rfind(" ", done, start - 1) + 1 or done
            new, start = source[left:start] + new, max(left, done)
        pairs.append((source[start:end], _shortened(source[start:end], new)))
        done = end
    return pairs


def script(source: str, target: str) -> str:
    """The edits that lead from source to target."""
    return "\n".join(f" {old} | {new}" for old, new in lines(source, spans(source, target))) or KEEP


def parse(source: str, written: str) -> tuple[list[Span], list[str]]:
    """(edits in their places, lines that name nothing in the source behind the edit before)."""
    found, done, lost = [], 0, []
    for line in written.split("\n"):
        old, bar, new = (part.strip() for part in line.partition(" |"))
        if not line.strip() or line == KEEP:
            continue
        start = _find(source, old, done) if old and bar else -1
        if start < 0:
            lost.append(line.strip())
            continue
        done = start + len(old)
        found.append((start, done, new))
    return found, lost


def apply(source: str, found: Sequence[Span]) -> str:
    """The source with its edits made, and with spaces and commas mended where an edit leaves two or none."""
    text, done = "", 0
    for start, end, new in found:
        old = source[start:end]
        text = _joined(_joined(text, source[done:start]), _lengthened(old, new))
        done = end
    return _joined(text, source[done:]).rstrip(" ") if found else source


def onto_draft(source: str, draft: str, target: str) -> str:
    """What is to be made of a draft of the target: where both change the source the draft holds, elsewhere the target.

    What the target leaves out goes in any case. So a learner that corrects the draft does not learn another style.
    """
    wanted, made = spans(source, target), spans(source, draft)

    def meet(one: Span, other: Span) -> bool:
        return one[0] < other[1] and one[1] > other[0]

    gone = [w for w in wanted if not w[2]]
    held = [m for m in made if any(meet(m, w) for w in wanted) and not any(meet(m, w) for w in gone)]
    return apply(source, sorted(held + [w for w in wanted if not any(meet(w, m) for m in held)]))


def _joined(text: str, piece: str) -> str:
    if not text or text.endswith(" "):
        piece = piece.lstrip(" ")
    elif text[-1].isalnum() and piece[:1].isalnum():
        piece = " " + piece
    if re.match(r"[,.;:!?)]", piece):
        text = text.rstrip(" ")
        text = text.rstrip(",") if text.endswith(",") else text
    return text + piece


def _find(source: str, old: str, start: int) -> int:
    """Where `old` stands as whole words from `start` on; -1 without it."""
    pattern = (r"\b" if old[0].isalnum() else "") + re.escape(old) + (r"\b" if old[-1].isalnum() else "")
    match = re.compile(pattern).search(source, start)
    return match.start() if match else -1


# --- a tagger's view --------------------------------------------------------------------------------------------------


def token_tag(place: tuple[int, int], found: Sequence[tuple[int, int, int]]) -> int:
    """The tag of a token at `place`, given (start, end, tag) of the edits; -100 outside of the text."""
    start, end = place
    if start == end:
        return -100
    for a, b, tag in found:
        if start < b and end > a:
            return tag if tag == ENDING or start <= a else tag + 1
    return STAYS


def tagged(
    text: str, places: Sequence[tuple[int, int]], tags: np.ndarray, margin: float = 0.0
) -> list[tuple[int, int, int]]:
    """(start, end, tag) of stretches of whole words from the tags' log-probabilities (tokens, 6).

    A word is edited where a tag is likelier than to stay by a factor of at least exp(`margin`).
    """
    found: list[tuple[int, int, int]] = []
    going = -1  # the tag that would go on with the stretch before
    for word in TOKEN.finditer(text):
        if word.group().isspace():
            continue
        over = [i for i, (a, b) in enumerate(places) if a < word.end() and b > word.start()]
        if not over:
            break
        scores = tags[over].sum(0)
        for opening in (DELETED, REPLACED):
            scores[opening] += (tags[over[1:], opening + 1] - tags[over[1:], opening]).sum()
        scores[STAYS] += margin
        best = int(scores.argmax())
        if best == going:
            found[-1] = (found[-1][0], word.end(), found[-1][2])
        elif best != STAYS:
            opening = best if best in (ENDING, DELETED, REPLACED) else best - 1
            found.append((word.start(), word.end(), opening))
            best = opening
        going = best if best == going else best + 1 if best in (DELETED, REPLACED) else -1
    return found
