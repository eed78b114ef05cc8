"""The parts of the labelling panel: one text with its answer, the controls around it, evidence, search, and the key layer.

A part holds the `Panel` it belongs to, reads its session and hints, and acts through its `command`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as widgets
import traitlets

from helpers import env
from helpers.env import UserError
from helpers.labels.panel import html
from helpers.labels.panel.kinds import flow
from helpers.labels.session import Session, find, merge, trim

HERE = Path(__file__).parent
HELP = (
    "A click on a label saves it and shows the next text; “Save and next” does where the answer is a text. What "
    "is saved is on the disk. “Undo” takes back the latest step, again and again.\n\nEvidence: mark a phrase with the "
    "mouse, or type it and press “Add”; a click on a marked phrase removes it.\n\nLeave this page when you like: the "
    "panel goes on where you stopped.\n\nKeys: 1–9 and 0 choose · Enter next (saves what is chosen) · Backspace undo · "
    "s skip · f flag · ? help · Tab to the buttons · Esc leaves a field · Ctrl+Enter in a rewrite saves it."
)


def sheet() -> widgets.HTML:
    """The panel's style sheet; not the key layer's, whose module a front end can lack."""
    rules = (HERE / "panel.css").read_text(encoding="utf-8")
    return widgets.HTML(f"<style>{rules}</style>", layout=widgets.Layout(display="none"))


class Row:
    """Shows the item at `place` of the session's list; `place` is None while the row is empty."""

    def __init__(self, panel: Any, number: int, kind: Callable, labels: Sequence[str]):
        self.panel, self.number = panel, number
        self.place: int | None = None
        self.spans: list[list[int]] = []
        self.visible_hints: set[str] = set()  # every hint that was visible at some time since the text came up
        self.start_time, self.filling = 0.0, False
        self.text = widgets.HTML()
        self.answer = kind(labels, lambda complete: self.filling or panel.on_change(self, complete))
        self.answer.widget.add_class("ambo-answer")
        self.box = widgets.VBox()
        self.place_below()
        self.box.add_class("ambo-row")

    def place_below(self, *below: widgets.Widget) -> None:
        """Put these widgets, and no others, under the answer."""
        self.box.children = (self.text, self.answer.widget, *below)

    @property
    def record(self) -> dict:
        return self.panel.session.records[self.place]

    @property
    def event(self) -> dict | None:
        """The label or skip that stands for the item."""
        return None if self.place is None else self.panel.session.answer(self.place)

    def fill(self, place: int | None, draft: dict | None = None) -> None:
        """Show an item; `draft` is a label event just undone, whose text and evidence stay on the page to be changed."""
        self.place, self.start_time, self.visible_hints = place, time.monotonic(), set()
        self.box.layout.display = self.answer.widget.layout.display = None if place is not None else "none"
        if place is None:
            self.spans = []
            return
        self.spans = [list(span) for span in (self.event or draft or {}).get("spans") or []]
        label = (self.event or {}).get("label")
        if label is None and draft and self.answer.saves:
            label = draft["label"]
        self.show_answer(label)
        self.draw()

    def show_answer(self, label: Any) -> None:
        self.filling = True  # what the panel fills in is not what the person typed
        self.answer.show(self.record, label)
        self.filling = False

    def draw(self) -> None:
        """Draw the text with its marks, headline and context as they are now."""
        panel, session, record = self.panel, self.panel.session, self.record
        cues = panel.cues(record["text"]) if panel.cues else []
        if cues:
            self.visible_hints.add("cues")
        lines = list(panel.context.get(record["id"], ()))
        if panel.revealed and (suggestion := (panel.suggestions or {}).get(record["id"])):
            label = label_text(suggestion["label"])
            lines.insert(0, f"Suggestion of the model: {label}")
            self.visible_hints.add(f"model:{label}")
        marks = [(cue.start, cue.end, "cue") for cue in cues]
        marks += [(start, end, "evidence") for start, end in self.spans]
        again, flagged = session.keys[self.place][1], session.flagged(self.place)
        self.text.value = (
            html.headline(self.place, len(session.records), again, flagged, event_text(self.event))
            + self.answer.picture(record, marks, self.number)
            + html.context_lines(lines)
        )

    def say(self, text: str) -> None:
        """Show a sentence in place of a text."""
        self.text.value = html.message(text, error=False)
        self.box.layout.display = None


def label_text(label: Any) -> str:
    """A label as a person reads it, at most 60 characters of it."""
    text = str(label) or "rejected"
    return text if len(text) <= 60 else text[:59] + "…"


def event_text(event: dict | None) -> str:
    """The standing answer as a person reads it: its label, `skipped`, or nothing."""
    if event is None:
        return ""
    return "skipped" if event["event"] == "skip" else label_text(event["label"])


class Field(widgets.Text):
    """A text field that hands over its text when the person leaves it or presses Enter."""

    def __init__(self, purpose: str):
        super().__init__(placeholder=purpose, tooltip=purpose, continuous_update=False)
        self.layout.width = "auto"
        self.add_class("ambo-field")
        self._filling = False

    def fill(self, text: str) -> None:
        """Set the text without the callbacks of `on_typed`."""
        self._filling, self.value, self._filling = True, text, False

    def on_typed(self, callback: Callable[[str], None]) -> None:
        self.observe(lambda change: self._filling or callback(change["new"]), "value")


class Controls:
    """Buttons, fields, progress, messages and folds."""

    def __init__(self, panel: Any, guideline: str):
        self.save = panel.button("Save and next" if panel.now.answer.saves else "Next", panel.next)
        self.undo = panel.button("Undo", panel.undo, "Take back the latest step")
        self.skip = panel.button("Skip", panel.skip, "Leave this text without a label")
        self.flag = panel.button("Flag", panel.flag, "Mark this text for a second look")
        self.reveal = panel.button("Show the model's suggestion", panel.toggle_reveal)
        self.note = Field("note on this text")
        self.reason = Field("reason for the decision (required)")
        self.progress, self.message = widgets.HTML(), widgets.HTML()
        self.folds = [widgets.HTML(html.fold("Guideline", html.markdown(guideline)))] if guideline.strip() else []
        self.folds.append(widgets.HTML(html.fold("Help", f'<div class="ambo-plain">{HELP}</div>')))
        self.folds[-1].add_class("ambo-help")  # the key ? opens it

    def say(self, text: str, error: bool = False) -> None:
        self.message.value = html.message(text, error)

    def show_progress(self, session: Session) -> None:
        total, pace = len(session.records), session.items_a_minute()
        self.progress.value = html.progress(session.done, total, session.skipped, session.counts, pace)


class Evidence:
    """Marks spans of the current text as evidence."""

    def __init__(self, panel: Any):
        self.panel = panel
        self.phrase = Field("evidence: a phrase of the text")
        self.add = panel.button("Add", self._add, "Mark this phrase of the text as evidence")
        self.remove = panel.button("Remove", self._remove, "Remove this phrase, or the last one marked")
        self.cues = panel.button("Accept highlights", self._accept, "Take the cues as evidence")

    def mark(self, start: int, end: int) -> None:
        """Add the span `text[start:end]` of the current text to its evidence."""
        row = self.panel.current()
        if span := trim(row.record["text"], start, end):
            self.panel.set_spans(row, merge([*row.spans, span]))

    def unmark(self, position: int) -> None:
        """Remove the evidence that covers the character at `position` of the current text."""
        row = self.panel.current()
        self.panel.set_spans(row, [span for span in row.spans if not span[0] <= position < span[1]])

    def _add(self) -> None:
        row, phrase = self.panel.current(), self.phrase.value.strip()
        if not phrase:
            raise UserError("Type a phrase of the text first.")
        start = find(row.record["text"], phrase, row.spans)
        if start < 0:
            raise UserError(f"“{phrase}” is not in the text, or is marked already.")
        self.mark(start, start + len(phrase))
        self.phrase.fill("")

    def _remove(self) -> None:
        row, phrase = self.panel.current(), self.phrase.value.strip().casefold()
        matches = [(s, e) for s, e in row.spans if phrase in row.record["text"][s:e].casefold()]
        if not matches:
            raise UserError("No marked phrase contains these words." if row.spans else "No phrase is marked.")
        self.unmark(matches[-1][0])
        self.phrase.fill("")

    def _accept(self) -> None:
        row = self.panel.current()
        cues = self.panel.cues(row.record["text"])
        if not cues:
            raise UserError("The lexicon finds no cue in this text.")
        self.panel.set_spans(row, merge([*row.spans, *([cue.start, cue.end] for cue in cues)]))


class Search:
    """Finds texts of the session by their words, or the latest done; choosing one shows it."""

    def __init__(self, panel: Any):
        self.panel = panel
        self.query = Field("words of a text, to go back to it")
        self.button = panel.button("Search", self._search, "Search; without words: the latest done")
        hidden = widgets.Layout(width="100%", display="none")
        self.results = widgets.Select(options=[], rows=6, layout=hidden, tooltip="Texts found")
        self.results.observe(self._choose, "value")
        self.box = widgets.VBox([flow(self.query, self.button), self.results])

    def _choose(self, change: dict) -> None:
        if change["new"] is not None:
            self.panel.command(lambda: self.panel.go_to(change["new"]))

    def _search(self) -> None:
        session, query = self.panel.session, self.query.value.strip()
        options = []
        for place in session.search(query):
            text = " ".join(session.records[place]["text"].split())
            options.append((f"{place + 1} · {event_text(session.answer(place)) or 'open'} · {text[:80]}", place))
        self.results.unobserve(self._choose, "value")  # new options select the first of them
        self.results.options, self.results.value = options, None
        self.results.observe(self._choose, "value")
        self.results.layout.display = None if options else "none"
        if not options:
            raise UserError(f"No text contains “{query}”." if query else "Nothing is done yet.")


class Keys(anywidget.AnyWidget):
    """Draws a line that names the keys; listens to the panel around it."""

    _esm = HERE / "panel.js"
    serial = traitlets.Int().tag(sync=True)  # counts the pages shown: a key is meant for one of them
    turn = traitlets.Int().tag(sync=True)  # counts the commands answered
    single = traitlets.Bool(True).tag(sync=True)  # one text at a time

    def __init__(self, single: bool):
        if env.in_colab():  # Colab shows third-party widgets only on request
            from google.colab import output

            output.enable_custom_widget_manager()
        super().__init__(single=single)
