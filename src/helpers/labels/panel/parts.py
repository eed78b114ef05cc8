"""The parts of the labelling panel: one text with its answer, the controls around it, evidence, search, and the key layer."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import traitlets

from helpers import env
from helpers.env import UserError
from helpers.labels import seats
from helpers.labels.panel import html
from helpers.labels.panel.kinds import button, flow
from helpers.labels.session import Session, find, merge, trim

HERE = Path(__file__).parent
HELP = (
    "A click on a label saves it and shows the next text; where several things can be chosen, “Save and next” does. What "
    "is saved is on the disk. “Undo” takes back the latest step, again and again.\n\nEvidence: mark a phrase with the "
    "mouse, or type it and press “Add”; a click on a marked phrase removes it.\n\nLeave this page when you like: the "
    "panel goes on where you stopped."
)
KEYS = (
    "\n\nKeys: 1–9 and 0 choose · Enter next (saves what is chosen) · Backspace undo · s skip · f flag · ? help · "
    "Tab to the buttons · Esc leaves a field · Ctrl+Enter in a rewrite saves it."
)

RunStep = Callable[[Callable[[], None]], None]  # runs one step and shows its UserError in the panel


# --- one text --------------------------------------------------------------------------------------------------------


@dataclass
class Hints:
    """What may be shown with a text: cues of a lexicon, the model's suggestion once revealed, lines of context."""

    cues: Callable[[str], list] | None = None
    suggestions: Mapping[str, dict] | None = None
    context: Mapping[str, list[str]] | None = None
    reveal: bool = False

    def for_record(self, record: dict) -> tuple[list[html.Mark], list[str], set[str]]:
        """Marks over the text, lines under it, and the names under which a label event records what was visible."""
        cues = self.cues(record["text"]) if self.cues else []
        marks = [(cue.start, cue.end, "cue") for cue in cues]
        lines = list((self.context or {}).get(record["id"], ()))
        visible = {"cues"} if cues else set()
        suggestion = (self.suggestions or {}).get(record["id"]) if self.reveal else None
        if suggestion:
            label = label_text(suggestion.get("label"))
            marks += [(start, end, "model") for start, end in suggestion.get("spans") or []]
            lines.insert(0, f"Suggestion of the model: {label}")
            visible.add(f"model:{label}")
        return marks, lines, visible


class Row:
    """Shows the item at `place` of the session's list; `place` is None while the row is empty."""

    def __init__(
        self, number: int, session: Callable[[], Session], hints: Hints, make_answer: Callable, on_change: Callable
    ):
        """`make_answer` makes an object of `kinds`; `on_change(row, complete)` is called when the person changes it."""
        self.number, self.session, self.hints = number, session, hints
        self.place: int | None = None
        self.spans: list[list[int]] = []
        self.visible_hints: set[str] = set()  # every hint that was visible at some time since the text came up
        self.start_time, self.filling = 0.0, False
        self.text = widgets.HTML()
        self.answer = make_answer(lambda complete: self.filling or on_change(self, complete))
        self.answer.widget.add_class("ambo-answer")
        self.box = widgets.VBox()
        self.place_below()
        self.box.add_class("ambo-row")

    def place_below(self, *below: widgets.Widget) -> None:
        """Put these widgets, and no others, under the answer."""
        self.box.children = (self.text, self.answer.widget, *below)

    @property
    def record(self) -> dict:
        return self.session().records[self.place]

    @property
    def event(self) -> dict | None:
        """The label or skip that stands for the item."""
        return None if self.place is None else self.session().answer(self.place)

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
        session, event = self.session(), self.event
        marks, lines, visible = self.hints.for_record(self.record)
        self.visible_hints |= visible
        marks += [(start, end, "evidence") for start, end in self.spans]
        again, flagged = session.keys[self.place][1], session.flagged(self.place)
        self.text.value = (
            html.headline(self.place, len(session.records), again, flagged, event_text(event))
            + self.answer.picture(self.record, marks, self.number)
            + html.context_lines(lines)
        )

    def say(self, text: str) -> None:
        """Show a sentence in place of a text."""
        self.text.value = html.message(text, error=False)
        self.box.layout.display = None


def label_text(label: Any) -> str:
    """A label as a person reads it, at most 60 characters of it where it is no dict."""
    if isinstance(label, dict):
        return " · ".join(f"{name}: {value}" for name, value in label.items() if value)
    text = (", ".join(label) or "none") if isinstance(label, list) else str(label) or "rejected"
    return text if len(text) <= 60 else text[:59] + "…"


def event_text(event: dict | None) -> str:
    """The standing answer as a person reads it: its label, `skipped`, or nothing."""
    if event is None:
        return ""
    return "skipped" if event["event"] == "skip" else label_text(event["label"])


# --- around the texts ------------------------------------------------------------------------------------------------


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
    """Buttons, fields, progress, messages and folds; `act` maps a command's name to the function that runs it."""

    def __init__(self, act: dict[str, Callable[[], None]], saves: bool, guideline: str, layer: Any):
        self.save = button("Save and next" if saves else "Next", act["next"])
        self.undo = button("Undo", act["undo"], "Take back the latest step")
        self.skip = button("Skip", act["skip"], "Leave this text without a label")
        self.flag = button("Flag", act["flag"], "Mark this text for a second look")
        self.reveal = button("Show the model's suggestion", act["reveal"])
        self.note = Field("note on this text")
        self.reason = Field("reason for the decision (required)")
        self.progress, self.message = widgets.HTML(), widgets.HTML()
        self.folds = [_fold("Guideline", html.markdown(guideline))] if guideline.strip() else []
        self.folds.append(_fold("Help", html.plain(HELP + KEYS if layer else HELP)))

    def say(self, text: str, error: bool = False) -> None:
        self.message.value = html.message(text, error)

    def show_progress(self, session: Session) -> None:
        total, pace = len(session.records), session.items_a_minute()
        self.progress.value = html.progress(session.done, total, session.skipped, session.counts, pace)

    def show_toggles(self, flagged: bool, revealed: bool) -> None:
        self.flag.description = "⚑ Unflag" if flagged else "Flag"
        self.reveal.description = f"{'Hide' if revealed else 'Show'} the model's suggestion"


def _fold(title: str, body: str) -> widgets.HTML:
    fold = widgets.HTML(html.fold(title, body))
    fold.add_class(f"ambo-{title.lower()}")
    return fold


class Evidence:
    """Marks spans of the current text as evidence; `save(row, spans)` stores what changed."""

    def __init__(
        self, row: Callable[[], Row], save: Callable[[Row, list[list[int]]], None], hints: Hints, run: RunStep
    ):
        """`row` returns the row to act on and raises UserError when that is empty."""
        self.row, self.save, self.hints = row, save, hints
        self.phrase = Field("evidence: a phrase of the text")
        self.add = button("Add", functools.partial(run, self._add), "Mark this phrase of the text as evidence")
        self.remove = button(
            "Remove", functools.partial(run, self._remove), "Remove this phrase, or the last one marked"
        )
        self.cues = button("Accept highlights", functools.partial(run, self._accept), "Take the cues as evidence")

    def mark(self, start: int, end: int) -> None:
        """Add the span `text[start:end]` of the current text to its evidence."""
        row = self.row()
        if span := trim(row.record["text"], start, end):
            self.save(row, merge([*row.spans, span]))

    def unmark(self, position: int) -> None:
        """Remove the evidence that covers the character at `position` of the current text."""
        row = self.row()
        self.save(row, [span for span in row.spans if not span[0] <= position < span[1]])

    def _add(self) -> None:
        row, phrase = self.row(), self.phrase.value.strip()
        if not phrase:
            raise UserError("Type a phrase of the text first.")
        start = find(row.record["text"], phrase, row.spans)
        if start < 0:
            raise UserError(f"“{phrase}” is not in the text, or is marked already.")
        self.mark(start, start + len(phrase))
        self.phrase.fill("")

    def _remove(self) -> None:
        row, phrase = self.row(), self.phrase.value.strip().casefold()
        matches = [(s, e) for s, e in row.spans if phrase in row.record["text"][s:e].casefold()]
        if not matches:
            raise UserError("No marked phrase contains these words." if row.spans else "No phrase is marked.")
        self.unmark(matches[-1][0])
        self.phrase.fill("")

    def _accept(self) -> None:
        row = self.row()
        cues = self.hints.cues(row.record["text"])
        if not cues:
            raise UserError("The lexicon finds no cue in this text.")
        self.save(row, merge([*row.spans, *([cue.start, cue.end] for cue in cues)]))


class Search:
    """Finds texts of the session by their words, or the latest done; choosing one calls `go_to` with its place."""

    def __init__(self, session: Session, go_to: Callable[[int], None], run: RunStep):
        self.session = session
        self.query = Field("words of a text, to go back to it")
        self.button = button("Search", functools.partial(run, self._search), "Search; without words: the latest done")
        hidden = widgets.Layout(width="100%", display="none")
        self.results = widgets.Select(options=[], rows=6, layout=hidden, tooltip="Texts found")
        self.box = widgets.VBox([flow(self.query, self.button), self.results])
        self.filling = False

        def choose(change: dict) -> None:
            if not self.filling and change["new"] is not None:
                run(functools.partial(go_to, change["new"]))

        self.results.observe(choose, "value")

    def _search(self) -> None:
        query = self.query.value.strip()
        places = self.session.search(query)
        self.filling = True  # new options select the first of them
        self.results.options = [(self._entry(place), place) for place in places]
        self.results.value = None
        self.filling = False
        self.results.layout.display = None if places else "none"
        if not places:
            raise UserError(f"No text contains “{query}”." if query else "Nothing is done yet.")

    def _entry(self, place: int) -> str:
        text = " ".join(self.session.records[place]["text"].split())
        return f"{place + 1} · {event_text(self.session.answer(place)) or 'open'} · {text[:80]}"


class About(widgets.VBox):
    """A closed box for what a person chooses to say about herself, one `name: value` a line; an empty one is forgotten."""

    def __init__(self, folder: Path | str, annotator: str):
        self.folder, self.annotator = Path(folder), annotator
        facts = seats.attributes(self.folder).get(annotator, {})
        self.message = widgets.HTML()
        self.lines = widgets.Textarea(
            "\n".join(f"{name}: {value}" for name, value in facts.items()),
            placeholder="mother tongue: Italian\nworks in: recruiting",
            tooltip="About me: name: value on every line",
            layout=widgets.Layout(width="100%"),
        )
        self._say("Only what you want to say. It stays in this folder and is never exported.")
        content = [self.message, self.lines, flow(button("Save about me", self._save))]
        self.content = widgets.VBox(content, layout=widgets.Layout(display="none"))
        super().__init__([flow(button("About me (optional)", self._toggle)), self.content])
        self.add_class("ambo-about")

    def _say(self, text: str, error: bool = False) -> None:
        self.message.value = html.message(text, error)

    def _toggle(self) -> None:
        self.content.layout.display = None if self.content.layout.display else "none"

    def _save(self) -> None:
        facts = {}
        for line in self.lines.value.splitlines():
            name, _, value = (part.strip() for part in line.partition(":"))
            if line.strip() and not (name and value):
                self._say(f"“{name}” has no value: write name: value on every line.", error=True)
                return
            if name:
                facts[name] = value
        try:
            seats.set_attributes(self.folder, self.annotator, facts)
            self._say("Saved." if facts else "Nothing is stored about you.")
        except UserError as error:
            self._say(str(error), error=True)


# --- style sheet and keys --------------------------------------------------------------------------------------------


def style() -> widgets.HTML:
    """The panel's style sheet as a widget, which needs no anywidget to bring it."""
    sheet = (HERE / "panel.css").read_text(encoding="utf-8")
    return widgets.HTML(f"<style>{sheet}</style>", layout=widgets.Layout(display="none"))


def key_layer(single: bool) -> Any:
    """The anywidget for keys and mouse selections; None where anywidget is not installed."""
    keys = _key_layer_class()
    if keys is None:
        return None
    if env.in_colab():  # Colab shows third-party widgets only on request
        from google.colab import output

        output.enable_custom_widget_manager()
    return keys(single=single)


@functools.cache
def _key_layer_class() -> type | None:
    try:
        import anywidget
    except ImportError:
        return None

    class Keys(anywidget.AnyWidget):
        """Draws a line that names the keys; listens to the panel around it."""

        _esm = HERE / "panel.js"
        serial = traitlets.Int().tag(sync=True)  # counts the pages shown: a key is meant for one of them
        turn = traitlets.Int().tag(sync=True)  # counts the commands answered
        single = traitlets.Bool(True).tag(sync=True)  # one text at a time

    return Keys
