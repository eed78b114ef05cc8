"""What a person does to a text: label it, skip it, flag it, note something, take a step back.

Every step is one event in the log, on the disk before the panel moves on.
"""

from __future__ import annotations

import functools
import os
import time
from typing import Any

from helpers.env import UserError
from helpers.labels.panel.parts import Row
from helpers.text import plural


class Steps:
    """Writes the steps of the panel that it belongs to, each of which `Panel.command` runs."""

    def __init__(self, panel: Any):
        self.panel = panel

    def next(self) -> None:
        panel = self.panel
        row = panel.now
        if row.place is None:
            panel.feed(ask=True)
            panel.open_page(panel.next_places())
        elif row.answer.read() is not None:
            self.label(row)
        elif row.spans:
            raise UserError("Choose a label first: the marked evidence is saved with it.")
        else:
            self._move_on(row)

    def undo(self) -> None:
        panel = self.panel
        result = panel.session.undo()
        if result is None:
            raise UserError("There is nothing to undo.")
        place, event = result
        count = 1
        while event.get("together") and (latest := panel.session.latest()):
            if latest[1].get("together") != event["together"]:
                break
            place, event = panel.session.undo()  # what one key gave, one key takes back
            count += 1
        row = next((r for r in panel.rows if r.place == place), None)
        if row is None or count > 1:  # the whole page is open again
            panel.go_to(place)
            row = panel.now
        row.fill(place, event if event["event"] in ("label", "skip") else None)
        panel.select(row)
        panel.controls.show_progress(panel.session)
        what = f"label {panel.text_of(event)}" if event["event"] == "label" else event["event"]
        panel.controls.say(f"Taken back: {what}{f' of {count} texts' if count > 1 else ''}.")

    def skip(self) -> None:
        panel = self.panel
        row = panel.current()
        self._write(row, "skip", **({"spans": row.spans} if row.spans else {}))
        self._move_on(row)

    def flag(self) -> None:
        panel = self.panel
        row = panel.current()
        self._write(row, "flag")
        row.draw()
        panel.show_toggles()

    def set_spans(self, row: Row, spans: list[list[int]]) -> None:
        """Change the evidence of a text; where its answer is saved already, save this too."""
        panel = self.panel
        event = row.event or {}
        if event.get("event") == "label" and event["label"] == row.answer.read():
            facts = {"reason": event["reason"]} if event.get("reason") else {}
            self._write(row, "label", label=event["label"], spans=spans, shown=sorted(row.visible_hints), **facts)
            panel.controls.say("Evidence saved.")
        row.spans = spans
        row.draw()

    def label(self, row: Row) -> None:
        panel = self.panel
        label, reason = row.answer.read(), panel.controls.reason.value.strip()
        if panel.require_reason and not reason:
            row.show_answer(label)
            raise UserError(f"A decision needs a reason: write one, then press “{panel.controls.save.description}”.")
        facts = {"label": label, "spans": row.spans, "shown": sorted(row.visible_hints)}
        facts["guideline"] = panel.session.guideline
        if panel.require_reason:
            facts["reason"] = reason
        before = row.event or {}
        if any(before.get(name) != value for name, value in facts.items()):  # Enter on a done text changes nothing
            self._write(row, "label", seconds=round(time.monotonic() - row.start_time, 2), **facts)
        self._move_on(row)

    def save_note(self, text: str) -> None:
        panel = self.panel
        row, text = panel.now, text.strip()
        if row.place is not None and text != panel.session.note(row.place):
            panel.command(functools.partial(self._write_note, row, text))

    def _write_note(self, row: Row, text: str) -> None:
        panel = self.panel
        self._write(row, "note", text=text)
        panel.controls.say("Note saved." if text else "Note removed.")

    def _write(self, row: Row, event: str, **facts: Any) -> None:
        panel = self.panel
        other_answer = panel.text_of(row.event) if panel.session.catch_up() else ""
        try:
            panel.session.write(event, row.place, **facts)
        except UserError:
            if not row.answer.saves:  # it must not look as if the label were saved
                row.show_answer((row.event or {}).get("label"))
            raise
        if event == "label" and panel.feeder and not panel.session.keys[row.place][1]:
            panel.feeder.label(row.record["id"], facts["label"])
        if other_answer:
            panel.controls.say(
                f"Text {row.place + 1} was answered in another window too ({other_answer}); yours came later."
            )

    def _move_on(self, row: Row) -> None:
        """To the next open item of the page, else to the next page; ask for more texts when few are left."""
        panel = self.panel
        panel.feed()
        others = panel.rows[row.number + 1 :] + panel.rows[: row.number]
        following = next((other for other in others if other.place is not None and other.event is None), None)
        if following is None:
            panel.open_page(panel.next_places(row.place))
            return
        row.fill(row.place)
        following.start_time = time.monotonic()
        panel.select(following)
        panel.controls.show_progress(panel.session)

    def label_page(self, label: str) -> None:
        """Give every open text of the page this label, each by an event of its own."""
        panel = self.panel
        rows = [row for row in panel.rows if row.place is not None and row.event is None]
        if not rows:
            raise UserError("No text of this page is open.")
        if panel.require_reason:
            raise UserError("A decision needs a reason: decide one text at a time.")
        token = os.urandom(4).hex() if len(rows) > 1 else ""
        since = max(row.start_time for row in panel.rows)  # the page came up, or a text of it was labelled
        seconds = round((time.monotonic() - since) / len(rows), 2)
        for row in rows:
            facts = {"spans": row.spans, "shown": sorted(row.visible_hints), "seconds": seconds}
            self._write(row, "label", label=label, **facts, **({"together": token} if token else {}))
            row.fill(row.place)
        self._move_on(rows[-1])
        panel.controls.say(
            f"{plural(len(rows), 'text')} labelled {panel.now.answer.caption(label)}: Undo takes all back."
        )
