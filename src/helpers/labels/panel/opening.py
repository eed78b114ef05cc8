"""How a panel opens: for one annotator or several, for the adjudicator, and the line that stands where none is open."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import ipywidgets as widgets
from IPython.display import HTML, display, update_display

from helpers import env
from helpers.env import UserError
from helpers.labels import seats
from helpers.labels.log import ADJUDICATOR
from helpers.labels.panel import html
from helpers.labels.panel.kinds import button, flow
from helpers.labels.panel.panel import Panel
from helpers.labels.panel.parts import sheet, shortened
from helpers.run import Run


def top_line(here: Run) -> None:
    """Keep a line free near the top of a page, in which `show` says that the run waits."""
    display(HTML(""), display_id=f"ambo-{here.stage}")


def show(panel: widgets.Widget, here: Run | None = None, purpose: str = "to label", waits_for: str = "labels") -> None:
    """Display a panel under a line that says how to open it, and for what purpose.

    With `here`, the `top_line` of the run's page says it, too, and what the run `waits_for`. The lines are what a page shows
    that no kernel stands behind: one executed in batch, or reloaded after its kernel ended. While the panel is open, its
    sheet hides them.
    """
    how = f"Run all cells {purpose} (Run ▸ Run All Cells, in Colab Ctrl+F9): the panel opens"
    if here:
        update_display(HTML(html.waits(waits_for, how)), display_id=f"ambo-{here.stage}")
    display(HTML(html.closed(how)))
    display(panel)


def show_next(here: Run, disputed: int = 0) -> None:
    """Display what to do now that nothing is left to label: the command that stopped here again, or the next notebook.

    `disputed` is the number of texts that a panel above still wants decided.
    """
    following = f"{here.following}.ipynb"
    place = env.root() / "notebooks" / following
    page = here.folder if env.frontend() == "batch" else Path.cwd()  # a link is read from where the page lies
    try:
        address = Path(os.path.relpath(place, page)).as_posix()
    except ValueError:  # on another drive of a Windows machine
        address = place.as_uri()
    names = f"task = {here.params['task']!r} and run_id = {here.params['run_id']!r}"
    display(HTML(html.done(here.notes.get("command", ""), following, quote(address), names, disputed)))


class Desk(widgets.VBox):
    """Where a person first chooses her name, and then has her panel."""

    def __init__(self, open_panel, own: Mapping[str, list[str]], folder: Path | str):
        options = [("choose your name", ""), *((name, name) for name in own)]
        chooser = widgets.Dropdown(description="Annotator", options=options, value="")
        place, nobody = widgets.VBox(), widgets.HTML()

        def choose(name: str) -> None:
            if name:
                place.children = [open_panel(name), About(folder, name)]
                return
            waiting = seats.pending(Path(folder), dict(own))
            left = html.waiting(waiting) if any(waiting.values()) else "All are labelled: you may look at yours."
            words = f"Choose your name above: your texts, and the buttons to label them, open here. {left}"
            nobody.value = html.message(words, error=False)
            place.children = [nobody]

        choose("")
        chooser.observe(lambda change: choose(change["new"]), "value")
        super().__init__([chooser, place, sheet()])
        self.add_class("ambo-desk")

    def __repr__(self) -> str:
        return "(the labelling panel)"


def desk(
    own: Mapping[str, list[str]], rows: Mapping[str, dict], labels: Sequence[str] = (), **options: Any
) -> widgets.Widget:
    """The panel of the one annotator, or of several: then a person first chooses her name.

    `own` maps annotators to record ids, as `seats.assign` gives them; `rows` maps record ids to records; `options` are
    keyword arguments of `Panel`, of which `folder` is required.
    """

    def open_panel(annotator: str) -> Panel:
        def left_to_others() -> str:
            waiting = seats.pending(Path(options["folder"]), dict(own))
            return html.waiting({name: ids for name, ids in waiting.items() if ids and name != annotator})

        more = {"left_to_others": left_to_others} if len(own) > 1 else {}
        return Panel([rows[i] for i in own[annotator]], labels, annotator=annotator, **more, **options)

    if len(own) == 1:  # with nobody to compare her with, the person is not asked about herself
        return open_panel(*own)
    return Desk(open_panel, own, options["folder"])


def adjudication_panel(disagreements: list[dict], labels: Sequence[str], **options: Any) -> Panel:
    """A panel over the rows of `decisions.disagreements`, in which a decision needs a reason.

    Under a text stand every annotator's label, evidence and note. `options` are keyword arguments
    of `Panel`, of which `folder` is required.
    """
    names = dict(zip(labels, options.get("label_names") or (), strict=False))
    context = {}
    for row in disagreements:
        lines = context[row["id"]] = []
        for annotator, label in row["labels"].items():
            parts = [shortened(names.get(label, label))]
            if spans := row["spans"].get(annotator):
                parts.append("evidence " + ", ".join(f"“{row['text'][start:end]}”" for start, end in spans))
            if note := row["notes"].get(annotator):
                parts.append(f"note: {note}")
            lines.append(f"{annotator}: " + " · ".join(parts))
    options |= {"annotator": ADJUDICATOR, "context": context, "require_reason": True}
    return Panel(disagreements, labels, **options)


class About(widgets.VBox):
    """A closed box for what a person chooses to say about herself, one `name: value` a line; an empty one is forgotten."""

    def __init__(self, folder: Path | str, annotator: str):
        self.folder, self.annotator = Path(folder), annotator
        facts = seats.attributes(self.folder).get(annotator, {})
        self.message = widgets.HTML()
        self.lines = widgets.Textarea(
            "\n".join(f"{name}: {value}" for name, value in facts.items()),
            placeholder="mother tongue: Italian\nworks in: recruiting",
            tooltip="About me: name: value on every line",
            layout=widgets.Layout(width="100%"),
        )
        self._say("Only what you want to say. It stays in this folder and is never exported.")
        content = [self.message, self.lines, flow(button("Save about me", self._save))]
        self.content = widgets.VBox(content, layout=widgets.Layout(display="none"))
        super().__init__([flow(button("About me (optional)", self._toggle)), self.content])
        self.add_class("ambo-about")

    def _say(self, text: str, error: bool = False) -> None:
        self.message.value = html.message(text, error)

    def _toggle(self) -> None:
        self.content.layout.display = None if self.content.layout.display else "none"

    def _save(self) -> None:
        try:
            facts = dict(map(_fact, filter(str.strip, self.lines.value.splitlines())))
            seats.set_attributes(self.folder, self.annotator, facts)
            self._say("Saved." if facts else "Nothing is stored about you.")
        except UserError as error:
            self._say(str(error), error=True)


def _fact(line: str) -> tuple[str, str]:
    name, _, value = (part.strip() for part in line.partition(":"))
    if not (name and value):
        raise UserError(f"“{name}” has no value: write name: value on every line.")
    return name, value
