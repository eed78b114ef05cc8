"""The labelling panel: ipywidgets over a `Session`, and an anywidget layer for keys and the mouse.

    Panel(records, ["inclusive", "not_inclusive"], folder=here.path("labels"), annotator="anna", cues=find_cues)

The buttons do everything, by hand or with `button.click()`. `panel.js` adds the keys and the marking of evidence with
the mouse, where the front end can load it; it draws no text of the records: `html.py` escapes all of that.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from helpers.env import UserError
from helpers.labels.log import ADJUDICATOR, check_person
from helpers.labels.panel import kinds
from helpers.labels.panel.course import Course
from helpers.labels.panel.kinds import KINDS, flow
from helpers.labels.panel.parts import Controls, Evidence, Keys, Row, sheet, shortened
from helpers.labels.panel.review import Review
from helpers.labels.panel.steps import Steps
from helpers.labels.session import Feeder, Session
from helpers.labels.similar import most_similar
from helpers.text import plural

WINDOW = 300  # open texts among which those of a page are chosen


class Panel(widgets.VBox):
    """Shows texts one at a time, or `page` at a time, and writes every step to `annotator`'s log in `folder`.

    Parameters
    ----------
    records : iterable of dicts
        `id` and `text`; for kind "edit" also `proposal`, and `proposed` where a label is judged with it. A record given twice
        is shown twice.
    labels : list of str
        The classes; for kind "edit" nothing.
    cues : function, optional
        From a text to objects with `start` and `end`, which are highlighted.
    notes : function, optional
        As `cues`, of what is marked more lightly and never taken as evidence.
    suggestions : mapping, optional
        Record id → dict with `label`, optionally `kinds` (of exclusion, one text); hidden until the person reveals them,
        unless `show_suggestions`.
    next_batch : function, optional
        Chooses more records while the person works; see `Feeder`.
    context : mapping, optional
        Record id → lines shown under the text.
    require_reason : bool
        A label needs a reason, as in adjudication.
    label_names, label_help : lists of str, optional
        What people read for each label, and a sentence on what it means.
    columns : list of str
        Fields of the records that a person can have shown.
    rounds, batches, validation_rows
        The finished rounds of the run, a list that may grow, how many batches it asks for, and on how many rows every round
        is scored; see `Course`.
    kept : collection of str
        Ids of records outside the list whose labels of before are used all the same.
    goes_on : bool
        Running the notebook again goes on from the labels: when all is done, say so.
    left_to_others : function, optional
        Says which other people have still texts to label, '' where none has: until then nothing goes on.
    embed : function, optional
        From texts to embeddings (texts, hidden). With `page`, the texts of a page resemble each other: by these
        embeddings, else by their words.
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
        notes: Callable[[str], list] | None = None,
        suggestions: Mapping[str, dict] | None = None,
        show_suggestions: bool = False,
        page: int = 1,
        next_batch: Callable[[dict[str, Any]], list[dict]] | None = None,
        context: Mapping[str, list[str]] | None = None,
        require_reason: bool = False,
        label_names: Sequence[str] = (),
        label_help: Sequence[str] = (),
        columns: Sequence[str] = (),
        rounds: Sequence[dict] = (),
        batches: int = 0,
        validation_rows: int = 0,
        kept: Collection[str] = (),
        goes_on: bool = False,
        left_to_others: Callable[[], str] | None = None,
        embed: Callable[[Sequence[str]], Any] | None = None,
    ):
        if not require_reason:  # the adjudicator gives one
            check_person(annotator)
        if not 1 <= page <= 50:
            raise UserError(f"Parameter page={page!r} must be a number of texts from 1 to 50.")
        self.lock = threading.RLock()  # the batch thread and the kernel's subshells come in beside the main thread
        self.layer = Keys(page == 1)
        self.cues, self.notes = cues, notes
        self.suggestions, self.revealed = suggestions, show_suggestions
        self.context, self.require_reason = context or {}, require_reason
        self.columns, self.columns_shown, self.embed = columns, False, embed
        self.course, self.kept, self.goes_on = Course(rounds, batches, validation_rows), set(kept), goes_on
        self.left_to_others = left_to_others or str
        answers = functools.partial(KINDS[kind], names=label_names, explanations=label_help)
        self.single = page == 1
        self.rows = [Row(self, number, answers, labels) for number in range(page)]
        self.now, self.steps = self.rows[0], Steps(self)
        answer = self.now.answer
        self.session = Session(records, folder, annotator, guideline, answer.fits, answer.category)
        self.feeder = next_batch and Feeder(next_batch, self._arrived, self.lock, len(self.session.records))
        self.controls, self.evidence, self.search = Controls(self, guideline), Evidence(self), Review(self)
        self.controls.note.on_typed(self.steps.save_note)
        for field in (self.evidence.phrase, self.controls.reason, self.search.query):
            field.on_typed(lambda _: self.command(lambda: None))  # tells the key layer that the text is here
        self.layer.on_msg(self._from_browser)
        layout = self._layout()
        super().__init__([part for part in layout if part is not self.layer])
        self.children = layout  # the key layer's module may be slow or missing: by now the rest is on the page
        self.add_class("ambo-panel")
        if self.single:
            self.add_class("ambo-single")
        with self.lock:
            self.feed()
            self.open_page(self.next_places())
        self._report_misfits()

    def _layout(self) -> list[widgets.Widget]:
        controls, evidence = self.controls, self.evidence
        parts = [widgets.VBox([row.box for row in self.rows])]
        if controls.together:
            parts.append(controls.together_line)
        if self.require_reason:
            parts.append(flow(controls.reason))
        parts.append(flow(controls.save, controls.undo, controls.skip, controls.flag, controls.note))
        tools = [evidence.phrase, evidence.add, evidence.remove]
        if self.cues:
            tools.append(evidence.cues)
        if self.suggestions is not None:
            tools.append(controls.reveal)
        if self.columns:
            tools.append(controls.columns)
        parts += [flow(*tools), self.search.box]
        *guideline, instructions = controls.folds
        if guideline:  # beside the text where there is room
            columns = widgets.Box([widgets.VBox(parts), *guideline])
            columns.add_class("ambo-columns")
            parts = [columns]
        return [sheet(), controls.progress, controls.go_on, *parts, self.layer, instructions]

    def _report_misfits(self) -> None:
        """Say which events of the log this panel cannot show: labels of a removed class, texts outside the list."""
        sentences = []
        if n := self.session.misfits:
            what = "fits no class of this panel" if n == 1 else "fit no class of this panel"
            sentences.append(f"{plural(n, 'label')} in the log {what} (was one removed?): to be labelled again.")
        name, n = self.session.annotator, len(self.session.unlisted - self.kept)
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

    def open_page(self, places: list[int]) -> None:
        """Show these items; with none, say whether all is done or the next texts are being chosen."""
        for i, row in enumerate(self.rows):
            row.fill(places[i] if i < len(places) else None)
        self.select(self.rows[0])
        if not places:
            self.now.say(self._no_text())
        self.layer.serial += 1
        self.controls.show_progress(self.session)

    def _no_text(self) -> str:
        if self.feeder and self.feeder.busy:
            return "Choosing the next texts …"
        if self.feeder and not self.feeder.ended:
            return f"No text is waiting: “{self.controls.save.description}” asks for more."
        then = " Run all cells again, or give the same ambo run command again: the run goes on from your labels, and asks for"
        then += " more if a batch is left."
        if self.goes_on and (left := self.left_to_others()):
            return f"Your texts are done. Thank you. {left}"
        return "All texts are done. Thank you." + (then if self.goes_on else "")

    @property
    def all_done(self) -> bool:
        """Whether nothing is open and no more texts are to come."""
        return not self.session.open and not (self.feeder and (self.feeder.busy or not self.feeder.ended))

    def text_of(self, event: dict | None) -> str:
        """The standing answer as a person reads it: its label, `skipped`, or nothing."""
        if event is None:
            return ""
        return "skipped" if event["event"] == "skip" else shortened(self.now.answer.caption(event["label"]))

    def next_places(self, after: int = -1) -> list[int]:
        """The open items to show next."""
        return self._page_of(self.session.next_open(after, 1 if len(self.rows) == 1 else WINDOW))

    def _page_of(self, places: list[int]) -> list[int]:
        """The first of the places and, on a page of several, those of the others that resemble it most."""
        size = len(self.rows)
        if size == 1 or len(places) <= size:
            return places[:size]
        keys = self.session.keys
        places = [p for p in places if keys[p][1] == keys[places[0]][1]]  # no text beside its second showing
        texts = [self.session.records[p]["text"] for p in places]
        return [places[i] for i in most_similar(texts, size, self.embed)]

    def select(self, row: Row) -> None:
        """Make a row the one that keys and buttons act on."""
        if len(self.rows) > 1:
            self.now.box.remove_class("ambo-now")
            row.box.add_class("ambo-now")
        controls, self.now = self.controls, row
        controls.note.fill(self.session.note(row.place) if row.place is not None else "")
        controls.reason.fill((row.event or {}).get("reason") or "")
        self.evidence.phrase.fill("")
        self.show_toggles()

    def show_toggles(self) -> None:
        flagged = self.now.place is not None and self.session.flagged(self.now.place)
        self.controls.flag.description = "⚑ Unflag" if flagged else "Flag"
        self.controls.reveal.description = f"{'Hide' if self.revealed else 'Show'} the model's suggestion"
        self.controls.columns.description = f"{'Hide' if self.columns_shown else 'Show'} columns"

    def go_to(self, place: int) -> None:
        """Show the item at `place` of the list, done or not."""
        others = self.session.next_open(place, WINDOW) if len(self.rows) > 1 else []
        self.open_page(self._page_of([place, *(p for p in others if p != place)]))

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
                self.search.follow()
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
                self.select(row)
            self.command(functools.partial(self.steps.label, row) if complete else row.draw)

    def toggle_reveal(self) -> None:
        self.revealed = not self.revealed
        self._draw_toggled()

    def toggle_columns(self) -> None:
        self.columns_shown = not self.columns_shown
        self._draw_toggled()

    def _draw_toggled(self) -> None:
        for row in self.rows:
            if row.place is not None:
                row.draw()
        self.show_toggles()

    def current(self) -> Row:
        """The row to act on; raises UserError when it is empty."""
        if self.now.place is None:
            raise UserError("There is no text to act on.")
        return self.now

    # --- the next texts ---

    def feed(self, ask: bool = False) -> None:
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
            self.open_page(self.next_places())
        else:
            self.controls.show_progress(self.session)

    def _from_browser(self, _: Any, message: dict, __: Any) -> None:
        """Act on a key or on the mouse, unless the text it was meant for is no longer shown."""
        do, row = message.get("do"), message.get("row")
        start, end = (n if isinstance(n := message.get(name), int) else 0 for name in ("start", "end"))
        actions = {name: getattr(self.steps, name) for name in ("next", "undo", "skip", "flag")}
        actions["row"] = lambda: None
        actions["digit"] = lambda: self.now.answer.press(start)
        actions["all"] = lambda: self.controls.press_all(start)
        actions["mark"] = lambda: self.evidence.mark_words(start, end)
        actions["unmark"] = lambda: self.evidence.unmark(start)
        actions["early"] = lambda: self._say_early(start)
        with self.lock:
            if do not in actions:
                return
            if do not in ("undo", "early") and message.get("serial") != self.layer.serial:
                self.command(lambda: self._say_early(1))
                return
            if isinstance(row, int) and 0 <= row < len(self.rows) and self.rows[row] is not self.now:
                self.select(self.rows[row])
            self.command(actions[do])

    def _say_early(self, n: int) -> None:
        """Say how many keys did nothing because the text they were meant for could not be read yet."""
        self.controls.say(f"Too fast: {plural(n, 'key')} came before the text could be read and saved nothing.")
