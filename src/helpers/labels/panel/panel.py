"""The labelling panel: ipywidgets over a `Session`, and an anywidget layer for keys and the mouse.

    Panel(records, ["inclusive", "not_inclusive"], folder=here.path("labels"), annotator="anna", cues=find_cues)

The buttons do everything, by hand or with `button.click()`. `panel.js` adds the keys and the marking of evidence with
the mouse, where the front end can load it; it draws no text of the records: `html.py` escapes all of that.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from helpers.env import UserError
from helpers.labels.log import ADJUDICATOR, check_person
from helpers.labels.panel import kinds
from helpers.labels.panel.html import plural
from helpers.labels.panel.kinds import KINDS, flow
from helpers.labels.panel.parts import Controls, Evidence, Keys, Row, Search, event_text, sheet
from helpers.labels.session import Feeder, Session


class Panel(widgets.VBox):
    """Shows texts one at a time, or `page` at a time, and writes every step to `annotator`'s log in `folder`.

    Parameters
    ----------
    records : iterable of dicts
        `id` and `text`; for kind "edit" also `proposal`. A record given twice is shown twice.
    labels : list of str
        The classes; for kind "edit" nothing.
    cues : function, optional
        From a text to objects with `start` and `end`, which are highlighted.
    suggestions : mapping, optional
        Record id → dict with `label`; hidden until the person reveals them, unless `show_suggestions`.
    next_batch : function, optional
        Chooses more records while the person works; see `Feeder`.
    context : mapping, optional
        Record id → lines shown under the text.
    require_reason : bool
        A label needs a reason, as in adjudication.
    """

    def __init__(
        self,
        records: Iterable[dict],
        labels: Sequence[str] = (),
        *,
        folder: Path | str,
        annotator: str,
        kind: str = "choice",
        guideline: str = "",
        cues: Callable[[str], list] | None = None,
        suggestions: Mapping[str, dict] | None = None,
        show_suggestions: bool = False,
        page: int = 1,
        next_batch: Callable[[dict[str, Any]], list[dict]] | None = None,
        context: Mapping[str, list[str]] | None = None,
        require_reason: bool = False,
    ):
        if not require_reason:  # the adjudicator gives one
            check_person(annotator)
        if not 1 <= page <= 50:
            raise UserError(f"Parameter page={page!r} must be a number of texts from 1 to 50.")
        self.lock = threading.RLock()  # the batch thread and the kernel's subshells come in beside the main thread
        self.layer = Keys(page == 1)
        self.cues, self.suggestions, self.revealed = cues, suggestions, show_suggestions
        self.context, self.require_reason = context or {}, require_reason
        self.rows = [Row(self, number, KINDS[kind], labels) for number in range(page)]
        self.now = self.rows[0]
        answer = self.now.answer
        self.session = Session(records, folder, annotator, guideline, answer.fits, answer.category)
        self.feeder = next_batch and Feeder(next_batch, self._arrived, self.lock, len(self.session.records))
        self.controls, self.evidence, self.search = Controls(self, guideline), Evidence(self), Search(self)
        self.controls.note.on_typed(self._save_note)
        for field in (self.evidence.phrase, self.controls.reason, self.search.query):
            field.on_typed(lambda _: self.command(lambda: None))  # tells the key layer that the text is here
        self.layer.on_msg(self._from_browser)
        layout = self._layout()
        super().__init__([part for part in layout if part is not self.layer])
        self.children = layout  # the key layer's module may be slow or missing: by now the rest is on the page
        self.add_class("ambo-panel")
        if page == 1:
            self.add_class("ambo-single")
        with self.lock:
            self._feed()
            self._open_page(self.session.next_open(count=page))
        self._report_misfits()

    def _layout(self) -> list[widgets.Widget]:
        controls, evidence = self.controls, self.evidence
        parts = [sheet(), controls.progress]
        parts.append(widgets.VBox([row.box for row in self.rows]))
        if self.require_reason:
            parts.append(flow(controls.reason))
        parts.append(flow(controls.save, controls.undo, controls.skip, controls.flag, controls.note))
        tools = [evidence.phrase, evidence.add, evidence.remove]
        if self.cues:
            tools.append(evidence.cues)
        if self.suggestions is not None:
            tools.append(controls.reveal)
        return [*parts, flow(*tools), self.search.box, self.layer, *controls.folds]

    def _report_misfits(self) -> None:
        """Say which events of the log this panel cannot show: labels of a removed class, texts outside the list."""
        sentences = []
        if n := self.session.misfits:
            what = "fits no class of this panel" if n == 1 else "fit no class of this panel"
            sentences.append(f"{plural(n, 'label')} in the log {what} (was one removed?): to be labelled again.")
        name, n = self.session.annotator, self.session.unlisted
        if n and self.session.records and name != ADJUDICATOR:  # whose list holds only the undecided records
            why = "another batch, gone from the pool, or another task's folder"
            sentences.append(f"In the log of {name} but not in this list: {plural(n, 'text')} ({why}).")
        if sentences:
            self.controls.say(" ".join(sentences))

    def __repr__(self) -> str:
        return "(the labelling panel)"  # what a page without the kernel shows of a widget

    @property
    def buttons(self) -> dict:
        """The answer buttons of the current text, by label: `panel.buttons["inclusive"].click()`."""
        return self.now.answer.buttons

    # --- what is shown ---

    def _open_page(self, places: list[int]) -> None:
        """Show these items; with none, say whether all is done or the next texts are being chosen."""
        for i, row in enumerate(self.rows):
            row.fill(places[i] if i < len(places) else None)
        self._select(self.rows[0])
        if not places:
            self.now.say(self._no_text())
        self.layer.serial += 1
        self.controls.show_progress(self.session)

    def _no_text(self) -> str:
        if self.feeder and self.feeder.busy:
            return "Choosing the next texts …"
        if self.feeder and not self.feeder.ended:
            return f"No text is waiting: “{self.controls.save.description}” asks for more."
        return "All texts are done. Thank you."

    def _select(self, row: Row) -> None:
        """Make a row the one that keys and buttons act on."""
        if len(self.rows) > 1:
            self.now.box.remove_class("ambo-now")
            row.box.add_class("ambo-now")
        controls = self.controls
        if controls.message not in row.box.children:  # below a page of ten nobody would see it
            self.now.place_below()
            row.place_below(controls.message)
        self.now = row
        controls.note.fill(self.session.note(row.place) if row.place is not None else "")
        controls.reason.fill((row.event or {}).get("reason") or "")
        self.evidence.phrase.fill("")
        self._show_toggles()

    def _show_toggles(self) -> None:
        flagged = self.now.place is not None and self.session.flagged(self.now.place)
        self.controls.flag.description = "⚑ Unflag" if flagged else "Flag"
        self.controls.reveal.description = f"{'Hide' if self.revealed else 'Show'} the model's suggestion"

    def go_to(self, place: int) -> None:
        """Show the item at `place` of the list, done or not."""
        others = [p for p in self.session.next_open(place, len(self.rows)) if p != place]
        self._open_page([place, *others[: len(self.rows) - 1]])

    # --- commands ---

    def command(self, action: Callable[[], None]) -> None:
        """Run one step under the lock; a UserError is shown in red instead of raised."""
        with self.lock:
            try:
                self.controls.say("")
                action()
            except UserError as error:
                self.controls.say(str(error), error=True)
            except Exception as error:  # a callback's traceback goes to a log that nobody sees
                self.controls.say(f"This step failed ({type(error).__name__}: {error}).", error=True)
                raise
            finally:
                self.layer.turn += 1

    def button(self, text: str, action: Callable[[], None], tooltip: str = "") -> widgets.Button:
        """A button that runs `action` as a command."""
        return kinds.button(text, functools.partial(self.command, action), tooltip)

    def on_change(self, row: Row, complete: bool) -> None:
        """Act on a changed answer: save it when it is complete, else draw it. The answer itself calls this."""
        with self.lock:
            if row.place is None:
                return
            if row is not self.now:
                self._select(row)
            self.command(functools.partial(self._label, row) if complete else row.draw)

    def current(self) -> Row:
        """The row to act on; raises UserError when it is empty."""
        if self.now.place is None:
            raise UserError("There is no text to act on.")
        return self.now

    def next(self) -> None:
        row = self.now
        if row.place is None:
            self._feed(ask=True)
            self._open_page(self.session.next_open(count=len(self.rows)))
        elif row.answer.read() is not None:
            self._label(row)
        elif row.spans:
            raise UserError("Choose a label first: the marked evidence is saved with it.")
        else:
            self._move_on(row)

    def undo(self) -> None:
        result = self.session.undo()
        if result is None:
            raise UserError("There is nothing to undo.")
        place, event = result
        row = next((r for r in self.rows if r.place == place), None)
        if row is None:
            self.go_to(place)
            row = self.now
        row.fill(place, event if event["event"] == "label" else None)
        self._select(row)
        self.controls.show_progress(self.session)
        what = f"label {event_text(event)}" if event["event"] == "label" else event["event"]
        self.controls.say(f"Taken back: {what}.")

    def skip(self) -> None:
        row = self.current()
        self._write(row, "skip")
        self._move_on(row)

    def flag(self) -> None:
        row = self.current()
        self._write(row, "flag")
        row.draw()
        self._show_toggles()

    def toggle_reveal(self) -> None:
        self.revealed = not self.revealed
        for row in self.rows:
            if row.place is not None:
                row.draw()
        self._show_toggles()

    def set_spans(self, row: Row, spans: list[list[int]]) -> None:
        """Change the evidence of a text; where its answer is saved already, save this too."""
        event = row.event or {}
        if event.get("event") == "label" and event["label"] == row.answer.read():
            facts = {"reason": event["reason"]} if event.get("reason") else {}
            self._write(row, "label", label=event["label"], spans=spans, shown=sorted(row.visible_hints), **facts)
            self.controls.say("Evidence saved.")
        row.spans = spans
        row.draw()

    def _label(self, row: Row) -> None:
        label, reason = row.answer.read(), self.controls.reason.value.strip()
        if self.require_reason and not reason:
            row.show_answer(label)
            raise UserError(f"A decision needs a reason: write one, then press “{self.controls.save.description}”.")
        facts = {"label": label, "spans": row.spans, "shown": sorted(row.visible_hints)}
        facts["guideline"] = self.session.guideline
        if self.require_reason:
            facts["reason"] = reason
        before = row.event or {}
        if any(before.get(name) != value for name, value in facts.items()):  # Enter on a done text changes nothing
            self._write(row, "label", seconds=round(time.monotonic() - row.start_time, 2), **facts)
        self._move_on(row)

    def _save_note(self, text: str) -> None:
        row, text = self.now, text.strip()
        if row.place is not None and text != self.session.note(row.place):
            self.command(lambda: self._write(row, "note", text=text))

    def _write(self, row: Row, event: str, **facts: Any) -> None:
        other_answer = event_text(row.event) if self.session.catch_up() else ""
        try:
            self.session.write(event, row.place, **facts)
        except UserError:
            if not row.answer.saves:  # it must not look as if the label were saved
                row.show_answer((row.event or {}).get("label"))
            raise
        if event == "label" and self.feeder and not self.session.keys[row.place][1]:
            self.feeder.label(row.record["id"], facts["label"])
        if other_answer:
            self.controls.say(
                f"Text {row.place + 1} was answered in another window too ({other_answer}); yours came later."
            )

    def _move_on(self, row: Row) -> None:
        """To the next open item of the page, else to the next page; ask for more texts when few are left."""
        self._feed()
        others = self.rows[row.number + 1 :] + self.rows[: row.number]
        following = next((other for other in others if other.place is not None and other.event is None), None)
        if following is None:
            self._open_page(self.session.next_open(row.place, len(self.rows)))
            return
        row.fill(row.place)
        following.start_time = time.monotonic()
        self._select(following)
        self.controls.show_progress(self.session)

    # --- the next texts ---

    def _feed(self, ask: bool = False) -> None:
        if self.feeder and (self.feeder.wants_more(self.session.open) or (ask and not self.feeder.busy)):
            self.feeder.ask()

    def _arrived(self, result: Any) -> None:
        """Take what `next_batch` returned or raised; called in the feeder's thread, under the lock."""
        try:
            if isinstance(result, Exception):
                raise UserError(f"The next texts could not be chosen: {type(result).__name__}: {result}")
            self.session.add(result, repeats=False)
        except UserError as error:
            self.controls.say(str(error), error=True)
        if self.now.place is None:
            self._open_page(self.session.next_open(count=len(self.rows)))
        else:
            self.controls.show_progress(self.session)

    def _from_browser(self, _: Any, message: dict, __: Any) -> None:
        """Act on a key or on the mouse, unless the text it was meant for is no longer shown."""
        do, row = message.get("do"), message.get("row")
        start, end = (n if isinstance(n := message.get(name), int) else 0 for name in ("start", "end"))
        actions = {"next": self.next, "undo": self.undo, "skip": self.skip, "flag": self.flag, "row": lambda: None}
        actions["digit"] = lambda: self.now.answer.press(start)
        actions["mark"] = lambda: self.evidence.mark(start, end)
        actions["unmark"] = lambda: self.evidence.unmark(start)
        with self.lock:
            if do not in actions or (do != "undo" and message.get("serial") != self.layer.serial):
                return
            if isinstance(row, int) and 0 <= row < len(self.rows) and self.rows[row] is not self.now:
                self._select(self.rows[row])
            self.command(actions[do])
