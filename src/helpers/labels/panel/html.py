"""What the labelling panel shows, as HTML: marked text, word differences, progress. Every text is escaped here."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from helpers import edits
from helpers.text import plural

Mark = tuple[int, int, str]  # start and end in characters, and one of the kinds below

MARK_TITLES = {
    "evidence": "evidence",
    "cue": "cue of the lexicon",
    "aside": "a gendered form for people outside the scope: no finding",
    "removed": "removed",
    "added": "added",
}


def escape(text: object) -> str:
    """`text` as HTML that shows every character; a browser's parser would turn CR into LF and drop NUL."""
    return html.escape(str(text)).replace("\r", "&#13;").replace("\0", "\ufffd")


def segments(text: str, marks: Iterable[Mark]) -> list[tuple[int, str, list[str]]]:
    """Cut `text` wherever a mark begins or ends: (start, piece, kinds of the marks over it)."""
    opening: dict[int, Counter[str]] = {0: Counter(), len(text): Counter()}  # place → marks more or fewer from there on
    for start, end, kind in marks:
        start, end = max(0, start), min(len(text), end)
        if start < end:
            opening.setdefault(start, Counter())[kind] += 1
            opening.setdefault(end, Counter())[kind] -= 1
    pieces, kinds = [], Counter()
    for a, b in pairwise(sorted(opening)):
        kinds.update(opening[a])
        pieces.append((a, text[a:b], sorted(kind for kind, count in kinds.items() if count > 0)))
    return pieces


def marked(text: str, marks: Iterable[Mark]) -> str:
    """`text` with its marks; `data-at` gives the position in characters, for the key layer."""
    marks, pieces = list(marks), []
    evidence = {start: text[start:end] for start, end, kind in marks if kind == "evidence"}
    for start, piece, kinds in segments(text, marks):
        if not kinds:
            pieces.append(escape(piece))
            continue
        classes = " ".join(f"ambo-{kind}" for kind in kinds)
        title = ", ".join(MARK_TITLES[kind] for kind in kinds)
        button = ""
        if start in evidence:  # only its first piece: Tab reaches evidence once even where cues cut it up
            button = f' role="button" tabindex="0" aria-label="Remove evidence {escape(evidence[start])}"'
        pieces.append(f'<mark class="{classes}" data-at="{start}" title="{title}"{button}>{escape(piece)}</mark>')
    return "".join(pieces)


def text_box(text: str, marks: Iterable[Mark], row: int) -> str:
    """The text that evidence is marked in."""
    return f'<div class="ambo-text" dir="auto" data-row="{row}">{marked(text, marks)}</div>'


def differences(old: str, new: str) -> tuple[list[Mark], list[Mark]]:
    """Marks over the words that `old` loses and over those that `new` gains.

    `edits.spans` serves writers and taggers: it takes an unchanged word along with every insertion, which would be
    drawn here as removed and added.
    """
    a, b = (list(re.finditer(r"\w+|[^\w\s]", text)) for text in (old, new))
    removed: list[Mark] = []
    added: list[Mark] = []
    for kind, i, j, k, m in edits.opcodes([m[0] for m in a], [m[0] for m in b]):
        if kind in ("delete", "replace"):
            removed.append((a[i].start(), a[j - 1].end(), "removed"))
        if kind in ("insert", "replace"):
            added.append((b[k].start(), b[m - 1].end(), "added"))
    return removed, added


def side_by_side(old: str, new: str, marks: Iterable[Mark], row: int) -> str:
    """The original and its rewrite, the differences marked in both."""
    removed, added = differences(old, new)
    right = f'<div class="ambo-text" dir="auto">{marked(new, added)}</div>'
    return (
        f'<div class="ambo-pair"><div><div class="ambo-small">Original</div>{text_box(old, [*marks, *removed], row)}</div>'
        f'<div><div class="ambo-small">Rewrite</div>{right}</div></div>'
    )


def fold(title: str, body: str) -> str:
    """HTML that opens under its title, as the browser's own element: the keyboard reaches it, unlike an Accordion."""
    return f'<details class="ambo-fold"><summary>{escape(title)}</summary>{body}</details>'


def markdown(text: str) -> str:
    """Markdown with tables as HTML; HTML, links and images in it are shown as text."""
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["link", "image", "autolink"])
    return f'<div class="ambo-markdown">{reader.render(text)}</div>'


def headline(place: int, total: int, again: bool, flagged: bool, answer: str) -> str:
    """`Text 3 of 45`, whether it comes again or is flagged, and its answer so far."""
    facts = [f"Text {place + 1:,} of {total:,}"]
    if again:
        facts.append("shown a second time: label it as if it were new")
    if answer:
        facts.append(f"now: {answer}")
    if flagged:
        facts.append("⚑ flagged")
    return f'<div class="ambo-small">{escape(" · ".join(facts))}</div>'


def context_lines(lines: Iterable[str]) -> str:
    """What others said of the text, a line each."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="ambo-context">{items}</ul>' if items else ""


def progress(
    done: int, total: int, skipped: int, counts: Mapping[str, int], items_a_minute: float, kept: int = 0
) -> str:
    """Bar, labels of before, counts per class, pace, and the time that the open texts take at that pace."""
    share = 100 * done / total if total else 0
    facts = [f"{done:,} of {plural(total, 'new text' if kept else 'text')}"]
    if kept:
        facts.insert(0, f"{plural(kept, 'label')} of before {'is' if kept == 1 else 'are'} kept and used")
    facts += [f"{n:,} {name}" for name, n in counts.items() if n]
    if skipped:
        facts.append(f"{skipped:,} skipped")
    if items_a_minute >= 2:
        facts.append(f"{items_a_minute:.0f} a minute")
    elif items_a_minute:
        facts.append(f"{60 / items_a_minute:.0f} seconds a text")
    if items_a_minute and done < total:
        minutes = (total - done) / items_a_minute
        rest = plural(max(1, round(minutes)), "minute") if minutes < 90 else plural(round(minutes / 60), "hour")
        facts.append(f"about {rest} left")
    return (
        f'<div class="ambo-bar" role="progressbar" aria-label="Texts done" aria-valuemin="0" aria-valuemax="{total}" '
        f'aria-valuenow="{done}"><div style="width:{share:.1f}%"></div></div>'
        f'<div class="ambo-small ambo-facts">{" · ".join(f"<span>{escape(fact)}</span>" for fact in facts)}</div>'
    )


def small(text: str) -> str:
    """A line in small print."""
    return f'<div class="ambo-small">{escape(text)}</div>'


def course(batch: int, batches: int, measured: str, scores: Sequence[float]) -> str:
    """Which batch this is, and what was `measured` after each round, also as a small curve."""
    facts = [f"Batch {batch:,} of {batches:,}"] if batch and batches else []
    if scores:
        ends = dict.fromkeys([scores[0], scores[-1]])
        facts.append(f"{measured}: " + " → ".join(f"{score:.3f}" for score in ends))
    line = "".join(f"<span>{escape(fact)}</span>" for fact in facts)
    if len(scores) > 1:
        line += sparkline(scores, measured)
    return f'<div class="ambo-small ambo-course">{line}</div>' if line else ""


def advice(stop: str) -> str:
    """`You may stop now.`, which opens over the page to say why and how; '' without such words."""
    title, _, reason = stop.partition(". ")
    if not stop:
        return ""
    return f'<details class="ambo-stop"><summary>{escape(title)}: why?</summary><div>{escape(reason)}</div></details>'


def sparkline(values: Sequence[float], measured: str, width: int = 120, height: int = 24) -> str:
    """Values as a line without axes, named and listed where the mouse rests; a rise of less than 0.1 stays a small one."""
    low, high = min(values), max(max(values), min(values) + 0.1)
    step = (width - 8) / max(1, len(values) - 1)
    points = [(4 + i * step, 4 + (height - 8) * (high - value) / (high - low)) for i, value in enumerate(values)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    spoken = escape(f"{measured}, after each round: " + ", ".join(f"{value:.3f}" for value in values))
    return (
        f'<svg class="ambo-curve" width="{width}" height="{height}" role="img" aria-label="{spoken}"><title>{spoken}</title>'
        f'<polyline points="{line}"/><circle cx="{points[-1][0]:.1f}" cy="{points[-1][1]:.1f}" r="3"/></svg>'
    )


def done(command: str, following: str, address: str, names: str, disputed: int = 0) -> str:
    """That nothing is left to label, and the command to give again or, without one, a link to the notebook that follows.

    Where texts are disputed it says so first: without a decision they are left out.
    """
    words = f"Now give this command again: <code>{escape(command)}</code>"
    if not command:
        words = f'Next: <a href="{escape(address)}">{escape(following)}</a>, with {escape(names)}.'
    if disputed:
        texts = "1 text is" if disputed == 1 else f"{disputed:,} texts are"
        left = f"{texts} left out until somebody decides, in the panel above; the others are labelled."
        return f"<div><strong>Disputed:</strong> {left} {words}</div>"
    return f"<div><strong>Done:</strong> nothing is left to label here. {words}</div>"


def classes(explained: Mapping[str, str]) -> str:
    """The classes as people read them, each with what it means."""
    rows = "".join(f"<p><strong>{escape(name)}</strong><br>{escape(words)}</p>" for name, words in explained.items())
    return f"<div>{rows}</div>" if rows else ""


def closed(how: str) -> str:
    """The line that stands where a panel is when no kernel is behind it: how to open it."""
    return f'<div class="ambo-closed">{escape(how)} here.</div>'


def waits(for_what: str, how: str) -> str:
    """The line near the top of a page that waits for people."""
    words = f"This notebook waits for {for_what}. {how} at the end of this page."
    return f'<div class="ambo-waits"><strong>{escape(words)}</strong></div>'


def waiting(texts: Mapping[str, Sequence[str]]) -> str:
    """Who has still how many texts to label; '' for nobody."""
    facts = [f"{name} {len(ids):,}" for name, ids in texts.items()]
    return f"Texts still to label: {', '.join(facts)}." if facts else ""


def message(text: str, error: bool) -> str:
    """A line that a screen reader speaks; it interrupts for an error."""
    if not text:
        return ""
    kind = 'class="ambo-error" role="alert"' if error else 'class="ambo-info" role="status"'
    return f"<div {kind}>{escape(text)}</div>"
