"""One text of the panel's page: its picture, its answer, and what is not saved yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets

from helpers.labels.panel import html
from helpers.labels.panel.kinds import KINDS
from helpers.labels.session import Session


@dataclass
class Hints:
    """What may be shown with a text: cues of a lexicon, the model's suggestion once asked for, words of others."""

    cues: Callable[[str], list] | None = None
    suggestions: Mapping[str, dict] | None = None
    context: Mapping[str, list[str]] | None = None
    reveal: bool = False

    def about(self, record: dict) -> tuple[list[html.Mark], list[str], set[str]]:
        """Marks over the text, lines under it, and the names under which a label event records what was seen."""
        found = self.cues(record["text"]) if self.cues else []
        marks = [(cue.start, cue.end, "cue") for cue in found]
        lines = list((self.context or {}).get(record["id"], ()))
        shown = {"cues"} if found else set()
        suggestion = (self.suggestions or {}).get(record["id"]) if self.reveal else None
        if suggestion:
            marks += [(start, end, "model") for start, end in suggestion.get("spans") or []]
            lines.insert(0, f"Suggestion of the model: {words(suggestion.get('label'))}")
            shown.add(f"model:{words(suggestion.get('label'))}")
        return marks, lines, shown


class Row:
    """Shows the item at `place` of the session's list, None when the row is empty."""

    def __init__(
        self,
        number: int,
        session: Callable[[], Session],
        hints: Hints,
        kind: str,
        labels: Any,
        digits: bool,
        touched: Callable[[Row, bool], None],
    ):
        self.number, self.session, self.hints = number, session, hints
        self.place: int | None = None
        self.spans: list[list[int]] = []
        self.shown: set[str] = set()  # everything that was visible at some time since the text came up
        self.since, self.filling = 0.0, False
        self.text = widgets.HTML()
        self.answer = KINDS[kind](labels, lambda complete: self.filling or touched(self, complete), digits)
        self.answer.widget.add_class("ambo-answer")
        self.box = widgets.VBox()
        self.hold()
        self.box.add_class("ambo-row")

    def hold(self, *below: widgets.Widget) -> None:
        """Keep these widgets under the answer."""
        self.box.children = (self.text, self.answer.widget, *below)

    @property
    def record(self) -> dict:
        return self.session().records[self.place]

    @property
    def event(self) -> dict | None:
        """The label or skip that stands for the item."""
        return None if self.place is None else self.session().answer(self.place)

    def fill(self, place: int | None, draft: dict | None = None) -> None:
        """Show an item; `draft` is a label event just undone: what was typed and marked is to be mended, not lost."""
        self.place, self.since, self.shown = place, time.monotonic(), set()
        self.box.layout.display = self.answer.widget.layout.display = None if place is not None else "none"
        if place is None:
            self.spans = []
            return
        self.spans = [list(span) for span in (self.event or draft or {}).get("spans") or []]
        label = (self.event or {}).get("label")
        self.show_answer(draft["label"] if label is None and draft and self.answer.saves else label)
        self.draw()

    def show_answer(self, label: Any) -> None:
        self.filling = True  # what the panel fills in is not what the person typed
        self.answer.show(self.record, label)
        self.filling = False

    def draw(self) -> None:
        """Picture of the text as things stand."""
        session, event = self.session(), self.event
        marks, lines, shown = self.hints.about(self.record)
        self.shown |= shown
        marks += [(start, end, "evidence") for start, end in self.spans]
        again, flagged = session.keys[self.place][1], session.flagged(self.place)
        self.text.value = (
            html.headline(self.place, len(session.records), again, flagged, said(event))
            + self.answer.picture(self.record, marks, self.number)
            + html.context_lines(lines)
        )

    def say(self, text: str) -> None:
        """Stand empty, with a sentence in place of a text."""
        self.text.value = html.message(text, error=False)
        self.box.layout.display = None


def words(label: Any) -> str:
    """A label as a person reads it."""
    if isinstance(label, dict):
        return " · ".join(f"{name}: {value}" for name, value in label.items() if value)
    text = (", ".join(label) or "none") if isinstance(label, list) else str(label) or "rejected"
    return text if len(text) <= 60 else text[:59] + "…"


def said(event: dict | None) -> str:
    """What stands for an item: its label, `skipped`, or nothing."""
    return "" if event is None else "skipped" if event["event"] == "skip" else words(event["label"])
