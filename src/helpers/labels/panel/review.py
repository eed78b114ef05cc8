"""Finding texts again: by their words, the latest done, and the lists that a second look starts from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import ipywidgets as widgets

from helpers.env import UserError
from helpers.labels.panel import html
from helpers.labels.panel.kinds import flow
from helpers.labels.panel.parts import Field, shortened
from helpers.text import plural, searchable

MOST = 200  # texts in a list: the page gets them anew at every label


class Review:
    """A list of texts of the session; choosing one shows it, and a label that changes changes the list."""

    def __init__(self, panel: Any):
        self.panel = panel
        kinds = [("all texts", ""), ("flagged", "flagged"), ("skipped", "skipped")]
        if panel.suggestions is not None:
            low = f"confidence of the model below {self._doubt:.0%}"
            kinds += [("the model disagrees", "disagrees"), (low, "doubtful")]
        classes = [(f"labelled {name}", f"class {name}") for name in panel.now.answer.categories]
        self.kind = widgets.Dropdown(options=[*kinds, *classes], tooltip="Which texts", layout={"width": "auto"})
        self.query = Field("words of a text, to go back to it")
        self.button = panel.button("Search", self._search, "Search; of all texts without words: the latest done")
        hidden = widgets.Layout(width="100%", display="none")
        self.results = widgets.Select(options=[], rows=6, layout=hidden, tooltip="Texts found")
        self.results.observe(self._choose, "value")
        self.kind.observe(lambda _: panel.command(self._search), "value")
        self.count = widgets.HTML()
        self.box = widgets.VBox([flow(self.kind, self.query, self.button), self.count, self.results])

    def follow(self) -> None:
        """Bring a list that is shown up to the labels of now; one found by words keeps its texts."""
        if self.results.layout.display == "none":
            return
        if self.kind.value:
            self._list(self._places())
        else:
            self._draw([place for _, place in self.results.options])

    def _search(self) -> None:
        self._list(self._places())
        if not self.results.options:
            query = self.query.value.strip()
            if self.kind.value:
                raise UserError(
                    "No text is in this list." if not query else f"No text of this list contains “{query}”."
                )
            raise UserError(f"No text contains “{query}”." if query else "Nothing is done yet.")

    def _places(self) -> Iterable[int]:
        session, kind, query = self.panel.session, self.kind.value, self.query.value.strip()
        if not kind:
            return session.search(query)
        places = self._doubtful() if kind == "doubtful" else filter(self._belongs, session.touched())
        words = searchable(query)
        return (p for p in places if words in searchable(session.records[p]["text"]))

    def _belongs(self, place: int) -> bool:
        session, kind = self.panel.session, self.kind.value
        if kind == "flagged":
            return session.flagged(place)
        event = session.answer(place)
        if event is None or event["event"] == "skip":
            return kind == "skipped" and event is not None
        if kind == "disagrees":
            suggestion = self.panel.suggestions.get(session.records[place]["id"])
            return suggestion is not None and suggestion["label"] != event["label"]
        return kind == f"class {session.category(event['label'])}"

    @property
    def _doubt(self) -> float:
        """Confidence below which the model is in doubt: a fifth of the way from chance to certainty, .6 of two classes."""
        chance = 1 / len(self.panel.now.answer.labels)
        return chance + (1 - chance) / 5

    def _doubtful(self) -> list[int]:
        """Places of the texts that the model is in doubt about, the least sure first; the first showing of each."""
        place = self.panel.session.place
        sure = {
            place[i, False]: s.get("confidence") for i, s in list(self.panel.suggestions.items()) if (i, False) in place
        }
        return sorted((p for p, share in sure.items() if share is not None and share < self._doubt), key=sure.get)

    def _list(self, places: Iterable[int]) -> None:
        """Show the first places, and say how many there are."""
        places = list(places)
        line = plural(len(places), "text")
        if len(places) > MOST:
            line += f", of which the first {MOST} are listed: words of a text, above, find the others"
        self.count.value = html.small(line) if places else ""
        self._draw(places[:MOST])

    def _draw(self, places: list[int]) -> None:
        session, options = self.panel.session, []
        for place in places:
            text = " ".join(session.records[place]["text"].split())
            answer = self.panel.text_of(session.answer(place)) or "open"
            flag = " · ⚑" if session.flagged(place) else ""
            options.append((f"{place + 1} · {answer}{flag} · {shortened(text, 80)}", place))
        if list(self.results.options) == options:
            return
        chosen = self.results.value
        self.results.unobserve(self._choose, "value")  # new options select the first of them
        self.results.options = options
        self.results.value = chosen if chosen in {place for _, place in options} else None
        self.results.observe(self._choose, "value")
        self.results.layout.display = None if options else "none"

    def _choose(self, change: dict) -> None:
        if change["new"] is not None:
            self.panel.command(lambda: self._show(change["new"]))

    def _show(self, place: int) -> None:
        self.panel.go_to(place)
        if self.kind.value == "disagrees":  # being in this list tells what the model says
            self.panel.now.told = True
            self.panel.now.draw()
