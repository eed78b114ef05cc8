"""What a label can be: one choice, or an edited text. One class per kind.

To add a kind, write a class with these members and add it to `KINDS`:

- `widget` and `buttons`
- `show(record, label)` shows a label, None for none
- `read()` returns the label, None while nothing is chosen
- `press(n)` acts on a digit key
- `picture(record, marks, row)` returns the text as HTML
- `fits(label)` tells whether a label of the log is one that this kind can give
- `category(label)` names what the label counts as, as people read it; `categories` are all such names
- `caption(label)` is the label as people read it
- `saves` tells whether the kind needs a Save button
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets

from helpers.env import UserError
from helpers.labels.panel import html
from helpers.text import clean


def button(text: str, on_press: Callable[[], None], tooltip: str = "") -> widgets.Button:
    """A button as wide as its text."""
    widget = widgets.Button(description=text, tooltip=tooltip or text, layout=widgets.Layout(width="auto"))
    widget.on_click(lambda _: on_press())
    return widget


def flow(*children: widgets.Widget) -> widgets.Box:
    """Children side by side that wrap where the place is narrow."""
    box = widgets.Box(children)
    box.add_class("ambo-flow")
    return box


class Choice:
    """One label out of a list: a click answers. The chosen one has a tick and a frame, not a colour alone."""

    saves = False

    def __init__(
        self,
        labels: Sequence[str],
        on_change: Callable[[bool], None],
        names: Sequence[str] = (),
        explanations: Sequence[str] = (),
    ):
        """`on_change` gets whether the changed answer is complete; names and explanations are in the labels' order."""
        self.labels = list(labels)
        is_text = all(isinstance(label, str) and label.strip() for label in self.labels)
        if not self.labels or not is_text or len(set(self.labels)) < len(self.labels):
            raise UserError(f"Parameter labels={self.labels!r} needs one or more texts, all different.")
        for parameter, given in (("label_names", names), ("label_help", explanations)):
            if given and len(given) != len(self.labels):
                raise UserError(f"Parameter {parameter}={list(given)!r} needs one for each of {self.labels!r}.")
        self.on_change, self.value = on_change, None
        self.names = dict(zip(self.labels, names or map(_plain, self.labels), strict=True))
        if len(set(self.names.values())) < len(self.names):
            self.names = {label: label for label in self.labels}
        self.explanations = dict(zip(self.labels, explanations, strict=False))
        self.captions = dict(self.names)
        # Keys choose the first ten labels; the tenth has the key 0.
        self.captions |= {label: f"{(i + 1) % 10}  {self.names[label]}" for i, label in enumerate(self.labels[:10])}
        self.buttons = {
            label: button(caption, functools.partial(self._press, label), self.explanations.get(label) or label)
            for label, caption in self.captions.items()
        }
        self.widget = flow(*self.buttons.values())
        self.widget.add_class("ambo-options")
        self.widget.add_class("ambo-moves")  # the key layer swallows the second half of a double click

    def _press(self, label: str) -> None:
        self.value = label
        self.on_change(True)

    def _tick(self, chosen: str | None) -> None:
        for label, widget in self.buttons.items():
            if label == chosen:
                widget.description = f"✓ {self.captions[label]}"
                widget.add_class("ambo-on")
            else:
                widget.description = self.captions[label]
                widget.remove_class("ambo-on")

    def show(self, record: dict, label: str | None) -> None:
        self.value = label
        self._tick(label)

    def read(self) -> str | None:
        return self.value

    def press(self, n: int) -> None:
        if n < len(self.labels):
            self._press(self.labels[n])

    def picture(self, record: dict, marks: list, row: int) -> str:
        return html.text_box(record["text"], marks, row)

    def fits(self, label: Any) -> bool:
        return label in self.labels

    def category(self, label: str) -> str:
        return self.caption(label)

    @property
    def categories(self) -> list[str]:
        return list(self.names.values())

    def caption(self, label: Any) -> str:
        return self.names.get(label, str(label))


def _plain(label: str) -> str:
    """`not_inclusive` as *not inclusive*; what is no machine name stays as it is."""
    return label.replace("_", " ") if re.fullmatch(r"[a-z]+(_[a-z]+)+", label) else label


class Edit(Choice):
    """A rewrite to accept, to edit or to reject; the label is the final text, empty when rejected."""

    saves = True

    def __init__(self, labels: Sequence[str], on_change: Callable[[bool], None], *_: Any, **__: Any):
        super().__init__(["accept", "reject"], on_change)
        self.record = {"proposal": ""}
        self.area = widgets.Textarea(
            placeholder="the rewrite",
            tooltip="The rewrite",  # without a name a screen reader says "edit"
            continuous_update=False,
            rows=4,
            layout=widgets.Layout(width="100%"),
        )
        self.area.add_class("ambo-area")
        self.area.observe(lambda _: on_change(False), "value")
        self.widget = widgets.VBox([self.area, self.widget])

    def _press(self, label: str) -> None:
        rewrite = self.area.value if clean(self.area.value) else self.record["proposal"]
        self.area.value = rewrite if label == "accept" else ""
        self.on_change(True)

    def show(self, record: dict, label: str | None) -> None:
        self.record = record
        self.area.value = record["proposal"] if label is None else label
        self._tick("reject" if label == "" else None)

    def read(self) -> str:
        return self.area.value

    def picture(self, record: dict, marks: list, row: int) -> str:
        return html.side_by_side(record["text"], self.area.value, marks, row)

    def fits(self, label: Any) -> bool:
        return isinstance(label, str)

    def category(self, label: str) -> str:
        return "kept" if clean(label) else "rejected"

    @property
    def categories(self) -> list[str]:
        return ["kept", "rejected"]

    def caption(self, label: Any) -> str:
        return str(label) or "rejected"


KINDS = {"choice": Choice, "edit": Edit}
