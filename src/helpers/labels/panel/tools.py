"""Tools of the labelling panel beside the labels: marking evidence, searching the list to go back, a word about oneself."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import ipywidgets as widgets

from helpers.env import UserError
from helpers.labels import seats
from helpers.labels.panel import html
from helpers.labels.panel.controls import Field
from helpers.labels.panel.kinds import button, flow
from helpers.labels.panel.row import Hints, Row, said
from helpers.labels.session import Session, find, merge, trim

Run = Callable[[Callable[[], None]], None]  # does one step; a UserError of it is shown in the panel


class Evidence:
    """Marks stretches of a text; `save(row, spans)` keeps what changed."""

    def __init__(self, row: Callable[[], Row], save: Callable[[Row, list[list[int]]], None], hints: Hints, run: Run):
        """`row` gives the row to act on; raises UserError when it is empty."""
        self.row, self.save, self.hints = row, save, hints
        self.phrase = Field("evidence: a phrase of the text")
        self.add = button("Add", functools.partial(run, self._add), "Mark this phrase of the text as evidence")
        self.remove = button(
            "Remove", functools.partial(run, self._remove), "Remove this phrase, or the last one marked"
        )
        self.cues = button("Accept highlights", functools.partial(run, self._accept), "Take the cues as evidence")

    def mark(self, start: int, end: int) -> None:
        """Add the stretch `text[start:end]` of the current text to its evidence."""
        row = self.row()
        if span := trim(row.record["text"], start, end):
            self.save(row, merge([*row.spans, span]))

    def unmark(self, at: int) -> None:
        """Remove the evidence that covers the character `at` of the current text."""
        row = self.row()
        self.save(row, [s for s in row.spans if not s[0] <= at < s[1]])

    def _add(self) -> None:
        row, phrase = self.row(), self.phrase.value.strip()
        if not phrase:
            raise UserError("Type a phrase of the text first.")
        start = find(row.record["text"], phrase, row.spans)
        if start < 0:
            raise UserError(f"“{phrase}” does not stand in the text, or is marked already.")
        self.mark(start, start + len(phrase))
        self.phrase.fill("")

    def _remove(self) -> None:
        row, phrase = self.row(), self.phrase.value.strip().casefold()
        fitting = [(s, e) for s, e in row.spans if phrase in row.record["text"][s:e].casefold()]
        if not fitting:
            raise UserError("No marked phrase fits." if row.spans else "No phrase is marked.")
        self.unmark(fitting[-1][0])
        self.phrase.fill("")

    def _accept(self) -> None:
        row = self.row()
        cues = self.hints.cues(row.record["text"])
        if not cues:
            raise UserError("The lexicon finds no cue in this text.")
        self.save(row, merge([*row.spans, *([cue.start, cue.end] for cue in cues)]))


class Search:
    """Finds texts of the session by their words, or the latest done; choosing one calls `go_to` with its place."""

    def __init__(self, session: Session, go_to: Callable[[int], None], run: Run):
        self.session = session
        self.query = Field("words of a text, to go back to it")
        self.button = button("Search", functools.partial(run, self._search), "Search; without words: the latest done")
        hidden = widgets.Layout(width="100%", display="none")
        self.found = widgets.Select(options=[], rows=6, layout=hidden, tooltip="Texts found")
        self.box = widgets.VBox([flow(self.query, self.button), self.found])
        self.filling = False

        def chosen(change: dict) -> None:
            if not self.filling and change["new"] is not None:
                run(functools.partial(go_to, change["new"]))

        self.found.observe(chosen, "value")

    def _search(self) -> None:
        query = self.query.value.strip()
        places = self.session.search(query)
        self.filling = True  # new options choose the first of them
        self.found.options = [(self._entry(place), place) for place in places]
        self.found.value = None
        self.filling = False
        self.found.layout.display = None if places else "none"
        if not places:
            raise UserError(f"No text contains “{query}”." if query else "Nothing is done yet.")

    def _entry(self, place: int) -> str:
        text = " ".join(self.session.records[place]["text"].split())
        return f"{place + 1} · {said(self.session.answer(place)) or 'open'} · {text[:80]}"


def about(folder: Path | str, annotator: str) -> widgets.VBox:
    """A closed box in which a person may say things about herself, one `name: value` a line; emptied, they are forgotten."""
    given = seats.attributes(Path(folder)).get(annotator, {})
    lines = widgets.Textarea(
        "\n".join(f"{name}: {value}" for name, value in given.items()),
        placeholder="mother tongue: Italian\nworks in: recruiting",
        tooltip="About me: name: value on every line",
        layout=widgets.Layout(width="100%"),
    )
    said = widgets.HTML(
        html.message("Only what you want to say. It stays in this folder and is never exported.", False)
    )

    def keep() -> None:
        pairs = [line.partition(":") for line in lines.value.splitlines() if line.strip()]
        wrong = next((name for name, _, value in pairs if not (name.strip() and value.strip())), None)
        if wrong is not None:
            said.value = html.message(f"“{wrong.strip()}” has no value: write name: value on every line.", True)
            return
        try:
            seats.set_attributes(Path(folder), annotator, **{n.strip(): v.strip() for n, _, v in pairs})
            said.value = html.message("Saved." if pairs else "Nothing is kept about you.", False)
        except UserError as error:
            said.value = html.message(str(error), True)

    save = button("Save about me", keep)
    inside = widgets.VBox([said, lines, flow(save)], layout=widgets.Layout(display="none"))

    def toggle() -> None:
        inside.layout.display = None if inside.layout.display else "none"

    box = widgets.VBox([flow(button("About me (optional)", toggle)), inside])
    box.add_class("ambo-about")
    return box
