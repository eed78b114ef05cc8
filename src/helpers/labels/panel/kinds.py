"""What a label can be: one choice, several choices, an edited text, several fields. One class per kind.

To add a kind, write a class with these members and add it to `KINDS`:

- `widget` and `buttons`
- `show(record, label)` shows a label, None for none
- `read()` returns the label, None while nothing is chosen
- `press(n)` acts on a digit key
- `picture(record, marks, row)` returns the text as HTML
- `fits(label)` tells whether a label of the log is one that this kind can give
- `classes(label)` names what the label counts as
- `saves` tells whether the kind needs a Save button
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import ipywidgets as widgets

from helpers.env import UserError
from helpers.labels.panel import html

OnChange = Callable[[bool], None]  # called when the person changed the answer, with whether it is complete


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


class Options:
    """Buttons of which some are on, shown by a tick and a frame and not by colour alone."""

    def __init__(self, names: Collection[str], on_press: Callable[[str], None], digit: int | None):
        """`digit` is the key of the first button, None where there are no keys."""
        self.buttons, self.texts = {}, {}
        for i, name in enumerate(names):
            number = None if digit is None or digit + i > 10 else (digit + i) % 10  # the tenth has the key 0
            self.texts[name] = name if number is None else f"{number}  {name}"
            self.buttons[name] = button(self.texts[name], lambda name=name: on_press(name), name)
        self.widget = flow(*self.buttons.values())
        self.widget.add_class("ambo-options")
        self.on: frozenset[str] = frozenset()

    def show(self, on: Collection[str]) -> None:
        for name in self.on.symmetric_difference(on):
            widget = self.buttons[name]
            if name in on:
                widget.description = f"✓ {self.texts[name]}"
                widget.add_class("ambo-on")
            else:
                widget.description = self.texts[name]
                widget.remove_class("ambo-on")
        self.on = frozenset(on)


class Choice:
    """One label out of a list: a click answers."""

    saves = False

    def __init__(self, labels: Any, on_change: OnChange, digits: bool):
        self.labels, self.on_change, self.value = check_names(labels, "labels"), on_change, None
        self.options = Options(self.labels, self._press, 1 if digits else None)
        self.buttons, self.widget = self.options.buttons, self.options.widget
        self.widget.add_class("ambo-moves")  # the key layer swallows the second half of a double click

    def _press(self, label: str) -> None:
        self.value = label
        self.on_change(True)

    def show(self, record: dict, label: str | None) -> None:
        self.value = label
        self.options.show({label} if label else ())

    def read(self) -> str | None:
        return self.value

    def press(self, n: int) -> None:
        if n < len(self.labels):
            self._press(self.labels[n])

    def picture(self, record: dict, marks: list, row: int) -> str:
        return html.text_box(record["text"], marks, row)

    def fits(self, label: Any) -> bool:
        return label in self.labels

    def classes(self, label: str) -> list[str]:
        return [label]


class Choices(Choice):
    """Any number of labels out of a list, none included."""

    saves = True

    def __init__(self, labels: Any, on_change: OnChange, digits: bool):
        super().__init__(labels, on_change, digits)
        self.widget.remove_class("ambo-moves")
        self.value: list[str] = []

    def _press(self, label: str) -> None:
        choices = set(self.value) ^ {label}
        self.value = [name for name in self.labels if name in choices]
        self.options.show(self.value)
        self.on_change(False)

    def show(self, record: dict, label: list[str] | None) -> None:
        self.value = list(label or [])
        self.options.show(self.value)

    def fits(self, label: Any) -> bool:
        return isinstance(label, list) and all(name in self.labels for name in label)

    def classes(self, label: list[str]) -> list[str]:
        return label or ["none"]


class Edit(Choice):
    """A rewrite to accept, to edit or to reject; the label is the final text, empty when rejected."""

    saves = True

    def __init__(self, labels: Any, on_change: OnChange, digits: bool):
        self.on_change, self.record = on_change, {"proposal": ""}
        self.options = Options(["accept", "reject"], self._press, 1 if digits else None)
        self.buttons, self.labels = self.options.buttons, ["accept", "reject"]
        described = {
            "placeholder": "the rewrite",
            "tooltip": "The rewrite",
        }  # without a name a screen reader says "edit"
        self.area = widgets.Textarea(continuous_update=False, rows=4, layout=widgets.Layout(width="100%"), **described)
        self.area.add_class("ambo-area")
        self.area.observe(lambda _: on_change(False), "value")
        self.widget = widgets.VBox([self.area, self.options.widget])

    def _press(self, name: str) -> None:
        rewrite = self.area.value if self.area.value.strip() else self.record["proposal"]
        self.area.value = rewrite if name == "accept" else ""
        self.on_change(True)

    def show(self, record: dict, label: str | None) -> None:
        if not isinstance(record.get("proposal"), str):
            raise UserError(f"Record {record['id']!r} has no `proposal` that is text: kind edit needs one.")
        self.record = record
        self.area.value = record["proposal"] if label is None else label
        self.options.show({"reject"} if label == "" else ())

    def read(self) -> str:
        return self.area.value

    def picture(self, record: dict, marks: list, row: int) -> str:
        return html.side_by_side(record["text"], self.area.value, marks, row)

    def fits(self, label: Any) -> bool:
        return isinstance(label, str)

    def classes(self, label: str) -> list[str]:
        return ["kept" if label.strip() else "rejected"]


class Fields(Choice):
    """Several questions about one text: `{"offensive": ["yes", "maybe", "no"], "group": []}`, [] for free text."""

    saves = True

    def __init__(self, labels: Any, on_change: OnChange, digits: bool):
        if not isinstance(labels, dict) or not labels:
            raise UserError('Parameter labels needs a dict for kind fields, such as {"offensive": ["yes", "no"]}.')
        self.on_change, self.value = on_change, {}
        self.options: dict[str, Options] = {}
        self.texts: dict[str, widgets.Text] = {}
        self.order: list[tuple[str, str]] = []  # what the digits mean
        lines = []
        for name, names in labels.items():
            if names:
                check_names(names, f"labels[{name!r}]")
                first = len(self.order) + 1 if digits else None
                self.options[name] = Options(names, lambda option, name=name: self._press(name, option), first)
                self.order += [(name, option) for option in names]
                answer = self.options[name].widget
            else:
                answer = self.texts[name] = widgets.Text(placeholder=name, tooltip=name, continuous_update=False)
                answer.observe(lambda change, name=name: self._typed(name, change["new"]), "value")
            caption = widgets.Label(name)
            caption.add_class("ambo-caption")
            lines.append(flow(caption, answer))
        self.buttons = {(f, o): b for f, options in self.options.items() for o, b in options.buttons.items()}
        self.widget = widgets.VBox(lines)

    def _press(self, name: str, option: str) -> None:
        self.value[name] = option
        self.options[name].show({option})
        self.on_change(False)

    def _typed(self, name: str, text: str) -> None:
        self.value[name] = text
        self.on_change(False)

    def show(self, record: dict, label: dict | None) -> None:
        self.value = dict(label or {})
        for name, options in self.options.items():
            options.show({self.value[name]} if name in self.value else ())
        for name, text in self.texts.items():
            text.value = self.value.setdefault(name, "")

    def read(self) -> dict[str, str]:
        missing = [name for name in self.options if name not in self.value]
        if missing:
            raise UserError(f"The field {missing[0]!r} has no answer yet: choose one, or skip the text.")
        return {name: self.value[name] for name in [*self.options, *self.texts]}

    def press(self, n: int) -> None:
        if n < len(self.order):
            self._press(*self.order[n])

    def fits(self, label: Any) -> bool:
        return (
            isinstance(label, dict)
            and label.keys() == self.options.keys() | self.texts.keys()
            and all(label[name] in options.buttons for name, options in self.options.items())
        )

    def classes(self, label: dict) -> list[str]:
        return [f"{name}: {label[name]}" for name in self.options]


KINDS = {"choice": Choice, "choices": Choices, "edit": Edit, "fields": Fields}


def check_names(names: Any, parameter: str) -> list[str]:
    """The names of buttons as a list; raises UserError unless they are different texts."""
    names = [names] if isinstance(names, str) else list(names)
    if not names or not all(isinstance(n, str) and n.strip() for n in names) or len(set(names)) != len(names):
        raise UserError(f"Parameter {parameter}={names!r} needs one or more texts, all different.")
    return names
