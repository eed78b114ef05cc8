"""The labelling panel: ipywidgets over a `labelling.Session`, and an optional `anywidget` layer for keys and the mouse.

    Panel(records, ["inclusive", "not_inclusive"], folder=here.path("labels"), annotator="anna", cues=italian.cues)

Everything can be done with the buttons, by hand or with `button.click()`. `panel.js` adds the keys and the marking of
evidence with the mouse; it draws no text: all of that is escaped in `panel_html`.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from helpers.env import UserError
from helpers.labels.log import ADJUDICATOR
from helpers.labels.panel.controls import Controls, key_layer, style
from helpers.labels.panel.html import plural
from helpers.labels.panel.kinds import KINDS, flow
from helpers.labels.panel.row import Hints, Row, said, words
from helpers.labels.panel.tools import Evidence, Search, about
from helpers.labels.session import Feeder, Session


class Panel(widgets.VBox):
    """Labels texts one at a time, or `page` at a time, and writes every step to `annotator`'s log in `folder`.

    `labels` are the classes; for kind "fields" a dict from field to its options ([] is free text); for kind "edit"
    nothing: its records have a `proposal`. `cues(text)` gives objects with start and end to highlight; `suggestions`
    maps record ids to dicts with `label` and, if known, `spans`: hidden until the person asks for them. `next_batch` is
    described at `labelling.Feeder`. `context` maps record ids to lines shown under the text.
    """

    def __init__(
        self,
        records: Iterable[dict],
        labels: Any = (),
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
        keys: bool = True,
    ):
        _check(kind, page)
        self.lock = threading.RLock()  # the batch thread and the kernel's subshells come in beside the main thread
        self.layer = key_layer(page == 1) if keys else None
        self.hints, self.require_reason = Hints(cues, suggestions, context, show_suggestions), require_reason
        digits = bool(self.layer)
        self.rows = [Row(i, lambda: self.session, self.hints, kind, labels, digits, self.touch) for i in range(page)]
        self.now = self.rows[0]
        self.session = Session(records, folder, annotator, guideline, self.now.answer.fits, self.now.answer.classes)
        self.feeder = next_batch and Feeder(next_batch, self._arrived, self.lock, len(self.session.records))
        self._furnish(guideline)
        layout = self._layout()
        super().__init__([part for part in layout if part is not self.layer])
        self.children = layout  # its module may be slow or missing: by now all the rest can be shown
        self.add_class("ambo-panel")
        if page == 1:
            self.add_class("ambo-single")
        with self.lock:
            self._feed()
            self._open_page(self.session.next_open(count=page))
        self._tell_misfits()

    def _furnish(self, guideline: str) -> None:
        """Make the controls and tools, and say what each of them does."""
        steps = {"next": self._next, "undo": self._undo, "skip": self._skip, "flag": self._flag}
        self._steps = steps | {"reveal": self._toggle_reveal}
        self.evidence = Evidence(self._current, self._set_spans, self.hints, self.command)
        self.search = Search(self.session, self.go_to, self.command)
        act = {name: functools.partial(self.command, step) for name, step in self._steps.items()}
        self.controls = Controls(act, self.now.answer.saves, guideline, self.layer)
        self.controls.note.on_typed(self._noted)
        for field in (self.evidence.phrase, self.controls.reason, self.search.query):
            field.on_typed(lambda _: self.command(lambda: None))  # tells the key layer that the text is here
        if self.layer:
            self.layer.on_msg(self._from_browser)

    def _layout(self) -> list[widgets.Widget]:
        c, e = self.controls, self.evidence
        tools = [e.phrase, e.add, e.remove, *[e.cues] * bool(self.hints.cues)]
        return [
            style(),
            c.progress,
            widgets.VBox([row.box for row in self.rows]),
            *[flow(c.reason)] * self.require_reason,
            flow(c.save, c.undo, c.skip, c.flag, c.note),
            flow(*tools, *[c.reveal] * (self.hints.suggestions is not None)),
            self.search.box,
            *[self.layer] * bool(self.layer),
            *c.folds,
        ]

    def _tell_misfits(self) -> None:
        """Say what of the log has no place here: labels of a removed class, texts that left the list."""
        told = []
        if n := self.session.misfits:
            what = "fits no class of this panel" if n == 1 else "fit no class of this panel"
            told.append(f"{plural(n, 'label')} in the log {what} (was one removed?): to be labelled again.")
        name, n = self.session.annotator, self.session.strangers
        if n and self.session.records and name != ADJUDICATOR:  # whose list holds only what is still open
            why = "another batch, gone from the pool, or another task's folder"
            told.append(f"In the log of {name} but not in this list: {plural(n, 'text')} ({why}).")
        if told:
            self.controls.say(" ".join(told))

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
        if self.layer:
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
        c = self.controls
        if c.message not in row.box.children:  # below a page of ten nobody would see it
            self.now.hold()
            row.hold(c.message)
        self.now = row
        c.note.fill(self.session.note(row.place) if row.place is not None else "")
        c.reason.fill((row.event or {}).get("reason") or "")
        self.evidence.phrase.fill("")
        self._show_toggles()

    def _show_toggles(self) -> None:
        flagged = self.now.place is not None and self.session.flagged(self.now.place)
        self.controls.show_toggles(flagged, self.hints.reveal)

    def go_to(self, place: int) -> None:
        """Show the item at `place` of the list, done or not."""
        others = [p for p in self.session.next_open(place, len(self.rows)) if p != place]
        self._open_page([place, *others[: len(self.rows) - 1]])

    # --- commands ---

    def command(self, action: Callable[[], None]) -> None:
        """Run one step under the lock; what the person can mend is shown in red instead of raised."""
        with self.lock:
            try:
                self.controls.say("")
                action()
            except UserError as error:
                self.controls.say(str(error), error=True)
            except Exception as error:  # raised in a callback it would reach a log that nobody sees
                self.controls.say(f"This step failed ({type(error).__name__}: {error}).", error=True)
                raise
            finally:
                if self.layer:
                    self.layer.turn += 1

    def touch(self, row: Row, complete: bool) -> None:
        """The person changed a row's answer; called by the answer itself."""
        with self.lock:
            if row.place is None:
                return
            if row is not self.now:
                self._select(row)
            self.command(functools.partial(self._label, row) if complete else row.draw)

    def _label(self, row: Row) -> None:
        label, reason = row.answer.read(), self.controls.reason.value.strip()
        if self.require_reason and not reason:
            row.show_answer(label)
            raise UserError(f"A decision needs a reason: write one, then press “{self.controls.save.description}”.")
        facts = {"label": label, "spans": row.spans, "shown": sorted(row.shown), "guideline": self.session.guideline}
        facts |= {"reason": reason} if self.require_reason else {}
        before = row.event or {}
        if any(before.get(name) != value for name, value in facts.items()):  # Enter on a done text changes nothing
            self._write(row, "label", seconds=round(time.monotonic() - row.since, 2), **facts)
        self._move_on(row)

    def _write(self, row: Row, event: str, **facts: Any) -> None:
        meanwhile = said(row.event) if self.session.catch_up() else ""
        try:
            self.session.write(event, row.place, **facts)
        except UserError:
            if not row.answer.saves:  # it must not look as if the choice were made
                row.show_answer((row.event or {}).get("label"))
            raise
        if event == "label" and self.feeder and not self.session.keys[row.place][1]:
            self.feeder.label(row.record["id"], facts["label"])
        if meanwhile:
            self.controls.say(
                f"Text {row.place + 1} was answered in another window too ({meanwhile}); yours came later."
            )

    def _move_on(self, row: Row) -> None:
        """To the next open item of the page, else to the next page; ask for more texts when few are left."""
        self._feed()
        rest = [r for r in self.rows[row.number + 1 :] + self.rows[: row.number] if r.place is not None]
        following = next((r for r in rest if r.event is None), None)
        if following is None:
            self._open_page(self.session.next_open(row.place, len(self.rows)))
            return
        row.fill(row.place)
        following.since = time.monotonic()
        self._select(following)
        self.controls.show_progress(self.session)

    def _current(self) -> Row:
        if self.now.place is None:
            raise UserError("There is no text to act on.")
        return self.now

    def _next(self) -> None:
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

    def _undo(self) -> None:
        undone = self.session.undo()
        if undone is None:
            raise UserError("There is nothing to undo.")
        place, event = undone
        row = next((r for r in self.rows if r.place == place), None)
        if row is None:
            self.go_to(place)
            row = self.now
        row.fill(place, event if event["event"] == "label" else None)
        self._select(row)
        self.controls.show_progress(self.session)
        self.controls.say(f"Taken back: {f'label {said(event)}' if event['event'] == 'label' else event['event']}.")

    def _skip(self) -> None:
        row = self._current()
        self._write(row, "skip")
        self._move_on(row)

    def _flag(self) -> None:
        row = self._current()
        self._write(row, "flag")
        row.draw()
        self._show_toggles()

    def _noted(self, text: str) -> None:
        row, text = self.now, text.strip()
        if row.place is not None and text != self.session.note(row.place):
            self.command(lambda: self._write(row, "note", text=text))

    # --- evidence and suggestions ---

    def _set_spans(self, row: Row, spans: list[list[int]]) -> None:
        event = row.event or {}
        if event.get("event") == "label" and event["label"] == row.answer.read():  # done already: saved at once
            facts = {"reason": event["reason"]} if event.get("reason") else {}
            self._write(row, "label", label=event["label"], spans=spans, shown=sorted(row.shown), **facts)
            self.controls.say("Evidence saved.")
        row.spans = spans
        row.draw()

    def _toggle_reveal(self) -> None:
        self.hints.reveal = not self.hints.reveal
        for row in self.rows:
            if row.place is not None:
                row.draw()
        self._show_toggles()

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

    # --- what the key layer sends ---

    def _from_browser(self, _: Any, message: dict, __: Any) -> None:
        """Act on a key or on the mouse, unless the text it was meant for has gone."""
        do, row = message.get("do"), message.get("row")
        start, end = (n if isinstance(n := message.get(name), int) else 0 for name in ("start", "end"))
        actions = self._steps | {
            "digit": lambda: self.now.answer.press(start),
            "mark": lambda: self.evidence.mark(start, end),
            "unmark": lambda: self.evidence.unmark(start),
            "row": lambda: None,
        }
        with self.lock:
            if do not in actions or (do != "undo" and message.get("serial") != self.layer.serial):
                return
            if isinstance(row, int) and 0 <= row < len(self.rows) and self.rows[row] is not self.now:
                self._select(self.rows[row])
            if do == "digit":  # the answer runs the command itself
                actions[do]()
            else:
                self.command(actions[do])


def _check(kind: str, page: int) -> None:
    if kind not in KINDS:
        raise UserError(f"Parameter kind={kind!r} is unknown: use one of {', '.join(KINDS)}.")
    if not isinstance(page, int) or not 1 <= page <= 50:
        raise UserError(f"Parameter page={page!r} must be a number of texts from 1 to 50.")


def adjudication_panel(disagreements: list[dict], labels: Any, *, folder: Path | str, **options: Any) -> Panel:
    """A panel over `aggregation.disagreements(...)`: every annotator's label, evidence and note, and a required reason."""
    context = {}
    for row in disagreements:
        lines = []
        for annotator, label in row["labels"].items():
            spans = (row.get("spans") or {}).get(annotator) or []
            phrases = ", ".join(f"“{row['text'][start:end]}”" for start, end in spans)
            note = (row.get("notes") or {}).get(annotator)
            parts = [words(label), phrases and f"evidence {phrases}", note and f"note: {note}"]
            lines.append(f"{annotator}: " + " · ".join(part for part in parts if part))
        context[row["id"]] = lines
    options = {"annotator": ADJUDICATOR, "context": context, "require_reason": True} | options
    return Panel(disagreements, labels, folder=folder, **options)


def desk(seats: Mapping[str, list[str]], rows: Mapping[str, dict], labels: Any = (), **options: Any) -> widgets.Widget:
    """The panel over `rows[id]` for the ids of an annotator's seat; of several, for the one who chooses her name above it."""

    def sit(annotator: str) -> Panel:
        return Panel([rows[i] for i in seats[annotator]], labels, annotator=annotator, **options)

    if len(seats) == 1:  # nobody to compare with: nothing is asked about the person
        return sit(*seats)
    names = [("choose your name", None), *((a, a) for a in seats)]
    name = widgets.Dropdown(description="Annotator", options=names, value=None)
    place = widgets.VBox()

    def seated(change: dict) -> None:
        chosen = change["new"]
        place.children = [sit(chosen), about(options["folder"], chosen)] if chosen else []

    name.observe(seated, "value")
    return widgets.VBox([name, place])
