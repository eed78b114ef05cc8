"""What is learned: labels, prompt and groups, read from the flat parameters of `params/tasks/*.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.env import UserError
from helpers.files import read_json

TEXT = "{text}"  # where a prompt takes the text


@dataclass(frozen=True)
class Task:
    """The labels in a fixed order and the instruction around a text; a generation task has no labels."""

    name: str
    labels: tuple[str, ...]
    positive: str
    label_words: tuple[str, ...]
    prompt: str
    groups: tuple[str, ...] = ()
    output: str = "text"  # what a generation task learns to write: the text, or the edits that lead to it
    draft: str = ""  # italian: the rules of `helpers.italian` write a first version, which the model corrects

    @property
    def prefix(self) -> str:
        """The part of the prompt before the text, the same for every text and therefore computed once."""
        return self.prompt.partition(TEXT)[0]

    @property
    def suffix(self) -> str:
        """The part of the prompt after the text."""
        return self.prompt.partition(TEXT)[2]

    def check(self) -> None:
        """Raise UserError where the fields do not fit each other."""
        if self.prompt.count(TEXT) != 1:
            raise UserError(f"Parameter prompt must contain {TEXT} exactly once.")
        if self.output not in ("text", "edits"):
            raise UserError(f"Parameter output={self.output!r} must be text or edits.")
        if self.draft not in ("", "italian"):
            raise UserError(f"Parameter draft={self.draft!r} must be italian, or '' for none.")
        if not self.labels:  # a task of generation
            return
        if len(set(self.labels)) < max(2, len(self.labels)):
            raise UserError(f"Parameter labels={list(self.labels)!r} needs at least two labels, all different.")
        if self.positive not in self.labels:
            names = ", ".join(self.labels)
            raise UserError(f"Parameter positive_label={self.positive!r} is not one of the labels ({names}).")
        if len(self.label_words) != len(self.labels) or len(set(self.label_words)) != len(self.label_words):
            words = list(self.label_words)
            raise UserError(f"Parameter label_words={words!r} needs one word for every label, all different.")

    def index(self, labels: list[str]) -> list[int]:
        """Positions of `labels` in the task's order; raises UserError on a label that the task does not have."""
        for label in labels:
            if label not in self.labels:
                raise UserError(f"Label {label!r} is not in the task's labels ({', '.join(self.labels)}).")
        return [self.labels.index(label) for label in labels]


def make_task(params: dict[str, Any], labels_in_data: list[str] | None = None) -> Task:
    """Make the task that a notebook's parameters describe; raises UserError where they do not fit each other.

    Where the parameter `labels` is empty, the labels are those of the data, sorted.
    """
    prompt, groups = params.get("prompt") or f"{TEXT}\n", tuple(params["group_columns"])
    if params.get("kind") == "generation":
        output, draft = params.get("output", "text"), params.get("draft", "")
        task = Task(params["task"], (), "", (), prompt, groups, output, draft)
    else:
        labels = params["labels"] or sorted(labels_in_data or [])
        if len(labels) < 2:
            raise UserError(f"Parameter labels={labels!r} needs at least two labels, all different.")
        words = params.get("label_words") or [f" {label}" for label in labels]
        task = Task(params["task"], tuple(labels), params["positive_label"] or labels[-1], tuple(words), prompt, groups)
    task.check()
    return task


def load_task(params: dict[str, Any], path: Path) -> Task:
    """Make the task of a later notebook from its parameters and 01's `task.json`; raises UserError where they differ."""
    saved = read_json(path)
    if params["labels"] and params["labels"] != saved["labels"]:
        raise UserError(f"Parameter labels={params['labels']!r} differs from the labels of 01 ({saved['labels']!r}).")
    positive = params["positive_label"] or saved["positive_label"]
    return make_task(params | {"labels": saved["labels"], "positive_label": positive})
