"""The parts of the labelling panel: one text with its answer, the controls around it, evidence, and the key layer.

A part holds the `Panel` it belongs to, reads its session and hints, and acts through its `command`.
"""

from __future__ import annotations

import functools
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
from helpers.labels.session import Session, find, merge, trim, whole_words

HERE = Path(__file__).parent
MOST_LINES = 4  # of what is shown with a text, for which its row keeps room
HELP = (
    "A click on a label saves it and shows the next text; “Save and next” does where the answer is a text. What "
    "is saved is on the disk. “Undo” takes back the latest step, again and again.\n\nEvidence: mark a phrase with the "
    "mouse, or type it and press “Add”; a click on a marked phrase removes it.\n\nLeave this page when you like: the "
    "panel goes on where you stopped.\n\nKeys: 1–9 and 0 choose · Shift+1–9 and 0 label all open texts of a page · Enter "
    "next (saves what is chosen) · Backspace undo · s skip · f flag · ? help · Tab to the buttons and the marked phrases · "
    "Enter or Delete on a marked phrase removes it · Esc leaves a field · Enter in a field does what its button does · "
    "Ctrl+Enter in a rewrite saves it · Ctrl+S saves the notebook."
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
        self.start_time, self.filling, self.told = 0.0, False, False
        self.text, self.message = widgets.HTML(), widgets.HTML()
        self.message.add_class("ambo-message")  # as high without words, so that nothing moves when there are some
        self.answer = kind(labels, lambda complete: self.filling or panel.on_change(self, complete))
        self.answer.widget.add_class("ambo-answer")
        self.hints = widgets.HTML()  # below the answer, whose buttons keep their place whatever is shown
        self.hints.add_class("ambo-hints")
        if panel.single:  # room for the lines that may come, so that the buttons below keep theirs, too
            given = max(map(len, panel.context.values()), default=0)
            lines = given + len(panel.columns) + (panel.suggestions is not None)
            self.hints.layout.min_height = f"{4 + 21 * min(lines, MOST_LINES)}px"
        self.box = widgets.VBox([self.text, flow(self.answer.widget, self.message, self.hints)])
        self.box.add_class("ambo-row")

    @property
    def record(self) -> dict:
        return self.panel.session.records[self.place]

    @property
    def event(self) -> dict | None:
        """The label or skip that stands for the item."""
        return None if self.place is None else self.panel.session.answer(self.place)

    def fill(self, place: int | None, draft: dict | None = None) -> None:
        """Show an item; `draft` is an event just undone, whose text and evidence stay on the page to be changed.

        `told` says that the person knows the model's answer, wherever from.
        """
        self.place, self.start_time, self.visible_hints, self.told = place, time.monotonic(), set(), False
        self.box.layout.display = self.answer.widget.layout.display = None if place is not None else "none"
        if place is None:
            self.spans = []
            return
        self.spans = [list(span) for span in (self.event or draft or {}).get("spans") or []]
        label = (self.event or {}).get("label")
        if label is None and draft and self.answer.saves:
            label = draft.get("label")
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
        if panel.columns_shown:
            lines += [f"{column}: {record[column]}" for column in panel.columns if record.get(column) not in (None, "")]
            self.visible_hints.add("columns")
        if (panel.revealed or self.told) and (suggestion := (panel.suggestions or {}).get(record["id"])):
            kinds = f" ({suggestion['kinds'].replace('_', ' ')})" if suggestion.get("kinds") else ""
            lines.insert(0, f"Suggestion of the model: {shortened(self.answer.caption(suggestion['label']))}{kinds}")
            self.visible_hints.add(f"model:{shortened(suggestion['label'])}")
        marks = [(cue.start, cue.end, "cue") for cue in cues]
        marks += [(note.start, note.end, "aside") for note in (panel.notes(record["text"]) if panel.notes else [])]
        marks += [(start, end, "evidence") for start, end in self.spans]
        again, flagged = session.keys[self.place][1], session.flagged(self.place)
        said, total = panel.text_of(self.event), len(session.records)
        self.text.value = html.headline(self.place, total, again, flagged, said) + self.answer.picture(
            record, marks, self.number
        )
        self.hints.value = html.context_lines(lines)
        self.hints.layout.display = None if lines or panel.single else "none"

    def say(self, text: str) -> None:
        """Show a sentence in place of a text."""
        self.text.value = html.message(text, error=False)
        self.box.layout.display, self.hints.layout.display = None, "none"


def shortened(label: Any, most: int = 60) -> str:
    """At most `most` characters of a label or a text."""
    text = str(label) or "rejected"
    return text if len(text) <= most else text[: most - 1] + "…"


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
        self.panel = panel
        answer = panel.now.answer
        self.save = panel.button("Save and next" if panel.now.answer.saves else "Next", panel.steps.next)
        self.undo = panel.button("Undo", panel.steps.undo, "Take back the latest step")
        self.skip = panel.button("Skip", panel.steps.skip, "Leave this text without a label")
        self.flag = panel.button("Flag", panel.steps.flag, "Mark this text for a second look")
        self.reveal = panel.button("Show the model's suggestion", panel.toggle_reveal)
        self.columns = panel.button("Show columns", panel.toggle_columns, f"Show {', '.join(panel.columns)}")
        self.again = panel.button("Run all cells again", self._say_how_to_go_on)
        self.again.add_class("ambo-again")  # the key layer runs them, where the front end lets it
        self.stay = widgets.HTML()
        self.stay.add_class("ambo-stay")  # left out where it is narrow
        self.stay.value = html.small("Your labels are saved.")
        self.advice = widgets.HTML()
        self.advice.add_class("ambo-advice")
        self.go_on = flow(self.again, self.stay, self.advice)
        self.go_on.add_class("ambo-go-on")
        course = panel.course
        if not (panel.goes_on or course.batches or course.rounds):  # nothing will ever stand here
            self.go_on.layout.display = "none"
        self.together = []
        if len(panel.rows) > 1 and not answer.saves:
            tooltip = "Label all open texts of this page (Shift and the number)"
            for label in answer.labels:
                act = functools.partial(panel.steps.label_page, label)
                self.together.append(panel.button(f"All: {answer.caption(label)}", act, tooltip))
        self.together_line = flow(*self.together)
        self.together_line.add_class("ambo-together")
        self.note = Field("note on this text")
        self.reason = Field("reason for the decision (required)")
        self.progress, self.folds = widgets.HTML(), []
        classes = {answer.caption(label): words for label, words in getattr(answer, "explanations", {}).items()}
        if guideline.strip() or classes:
            self.folds = [widgets.HTML(html.fold("Guideline", html.classes(classes) + html.markdown(guideline)))]
        self.folds.append(widgets.HTML(html.fold("Help", f'<div class="ambo-plain">{HELP}</div>')))
        self.folds[-1].add_class("ambo-help")  # the key ? opens it

    @property
    def message(self) -> widgets.HTML:
        """The message of the current text, which stands in its row: below a page of ten nobody would see it."""
        return self.panel.now.message

    def say(self, text: str, error: bool = False) -> None:
        for row in self.panel.rows:
            if row.message.value:
                row.message.value = ""
        self.message.value = html.message(text, error)

    def show_progress(self, session: Session) -> None:
        course, row, total = self.panel.course, self.panel.now, len(session.records)
        is_open = any(row.place is not None and row.event is None for row in self.panel.rows)
        for button in self.together:  # not hidden: the page would lose the focus that its keys need
            button.disabled = not is_open
        batch = course.batch(None if row.place is None else row.record["id"])
        counts = {name: session.counts[name] for name in row.answer.categories}  # in the order of the buttons
        self.progress.value = html.course(batch, course.batches, course.measured(), course.scores()) + html.progress(
            session.done, total, session.skipped, counts, session.items_a_minute(), len(self.panel.kept)
        )
        goes_on = self.panel.goes_on and (course.is_over or self.panel.all_done)
        goes_on = goes_on and not self.panel.left_to_others()
        self.again.layout.display = self.stay.layout.display = None if goes_on else "none"
        self.advice.value = html.advice(course.stop)

    def press_all(self, n: int) -> None:
        """Act on Shift and a digit: label the page."""
        if self.together and n < min(10, len(self.together)):
            self.panel.steps.label_page(self.panel.now.answer.labels[n])

    def _say_how_to_go_on(self) -> None:
        self.say("Choose Run ▸ Run All Cells here, or give the same ambo run command again.")


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
            self.panel.steps.set_spans(row, merge([*row.spans, span]))

    def mark_words(self, start: int, end: int) -> None:
        """Add what the mouse marked, with the words that it cut made whole."""
        if span := whole_words(self.panel.current().record["text"], start, end):
            self.mark(*span)

    def unmark(self, position: int) -> None:
        """Remove the evidence that covers the character at `position` of the current text."""
        row = self.panel.current()
        self.panel.steps.set_spans(row, [span for span in row.spans if not span[0] <= position < span[1]])

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
        self.panel.steps.set_spans(row, merge([*row.spans, *([cue.start, cue.end] for cue in cues)]))


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
