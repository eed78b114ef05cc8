"""The parts of the labelling panel around its texts: buttons, fields, progress, messages, folds, and the key layer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import traitlets

from helpers import env
from helpers.labels.panel import html
from helpers.labels.panel.kinds import button
from helpers.labels.session import Session

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


class Field(widgets.Text):
    """A text field that hands over what was typed when it is left, or at Enter."""

    def __init__(self, purpose: str):
        super().__init__(placeholder=purpose, tooltip=purpose, continuous_update=False)
        self.layout.width = "auto"
        self.add_class("ambo-field")
        self._filling = False

    def fill(self, text: str) -> None:
        """Put a text in that nobody typed."""
        self._filling, self.value, self._filling = True, text, False

    def on_typed(self, do: Callable[[str], None]) -> None:
        self.observe(lambda change: self._filling or do(change["new"]), "value")


class Controls:
    """Widgets only: what they do is given as `act`, command name → function."""

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
        self.folds.append(_fold("Help", html.plain(HELP + KEYS * bool(layer))))

    def say(self, text: str, error: bool = False) -> None:
        self.message.value = html.message(text, error)

    def show_progress(self, session: Session) -> None:
        s = session
        self.progress.value = html.progress(s.done, len(s.records), s.skipped, s.counts, s.a_minute())

    def show_toggles(self, flagged: bool, revealed: bool) -> None:
        self.flag.description = "⚑ Unflag" if flagged else "Flag"
        self.reveal.description = f"{'Hide' if revealed else 'Show'} the model's suggestion"


def style() -> widgets.HTML:
    """The panel's style sheet; it stands in the page even where no anywidget can bring it."""
    sheet = (HERE / "panel.css").read_text(encoding="utf-8")
    return widgets.HTML(f"<style>{sheet}</style>", layout=widgets.Layout(display="none"))


def key_layer(single: bool) -> Any:
    """The anywidget for keys and mouse selections; None where anywidget is not installed."""
    made = _key_layer_class()
    if made and env.in_colab():  # Colab shows third-party widgets only when asked to
        from google.colab import output

        output.enable_custom_widget_manager()
    return made and made(single=single)


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


def _fold(title: str, body: str) -> widgets.HTML:
    made = widgets.HTML(html.fold(title, body))
    made.add_class(f"ambo-{title.lower()}")
    return made
