"""What is learned: labels, prompt and groups, read from the flat parameters of `params/tasks/*.yaml`."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.env import UserError
from helpers.files import read_json
from helpers.parameters import check_label_lists, check_value
from helpers.text import quoted

TEXT = "{text}"  # where a prompt takes the text

ABOUT_AS_FREQUENT = 0.8  # of the other class's rows, from which on the rarer of two is no guess


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
    hints: str = ""  # italian: the head of a detector also reads which words the cue rules of `helpers.italian` mark
    scope: str = ""  # of the hints: whose forms the rules mark

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
        if self.hints not in ("", "italian"):
            raise UserError(f"Parameter hints={self.hints!r} must be italian, or '' for none.")
        if self.hints:
            check_value("scope", self.scope)
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


def make_task(params: dict[str, Any], labels_in_data: Sequence[str] = ()) -> Task:
    """Make the task that a notebook's parameters describe; raises UserError where they do not fit each other.

    `labels_in_data` are the labels of the rows. Where the parameter `labels` is empty, they are the task's, sorted.
    """
    prompt, groups = params.get("prompt") or f"{TEXT}\n", tuple(params["group_columns"])
    if params.get("kind") == "generation":
        output, draft = params.get("output", "text"), params.get("draft", "")
        task = Task(params["task"], (), "", (), prompt, groups, output, draft)
    else:
        labels = params["labels"] or sorted(set(labels_in_data))
        if len(labels) < 2:
            raise UserError(f"Parameter labels={labels!r} needs at least two labels, all different.")
        words = params.get("label_words") or [f" {label}" for label in labels]
        positive, _ = looked_for(params, labels_in_data)
        check_label_lists(params, labels)
        hints = params.get("hints", "")
        scope = params["scope"] if hints else ""
        task = Task(params["task"], tuple(labels), positive, tuple(words), prompt, groups, hints=hints, scope=scope)
    task.check()
    return task


def looked_for(params: dict[str, Any], labels_in_data: Sequence[str]) -> tuple[str, str]:
    """(the class to detect, why this one): the parameter, the last of the task's labels, or the rarer of the data's two.

    Raises UserError where the data have more than two and no parameter says which is meant.
    """
    if params["positive_label"]:
        return params["positive_label"], "as positive_label says"
    if params["labels"]:
        return params["labels"][-1], "the last of labels, because positive_label is empty"
    if params.get("label_threshold"):
        return threshold_classes(params)[0], f"from label_threshold={params['label_threshold']} on"
    counts = Counter(labels_in_data)
    classes = sorted(counts)
    if len(classes) > 2:
        names = ", ".join(map(quoted, classes[:10])) + (", …" if len(classes) > 10 else "")
        problem = f"the data have {len(classes)} classes ({names}) and none is said to be looked for"
        remedy = "set positive_label to one of them"
        if sum(map(is_number, classes)) > len(classes) / 2:
            remedy += ", or label_threshold to the number from which on a text counts"
        raise UserError(f"Parameter positive_label is empty: {problem}; {remedy}.")
    rarer = min(reversed(classes), key=counts.__getitem__)
    if counts[rarer] > ABOUT_AS_FREQUENT * max(counts.values()):
        return rarer, "a guess, because both are about as frequent: if it is the other one, set positive_label"
    return rarer, "the rarer of two, because positive_label is empty"


def guess_remark(params: dict[str, Any], labels_in_data: Sequence[str]) -> str:
    """A sentence on the class to detect where no parameter says which it is; '' where one does."""
    if any(params.get(name) for name in ("positive_label", "labels", "label_threshold")):
        return ""
    positive, reason = looked_for(params, labels_in_data)
    names = dict(zip(sorted(set(labels_in_data)), params.get("label_names") or (), strict=False))
    called = quoted(names.get(positive, positive))
    return f"Nobody said which class is looked for: {called} was taken ({reason})."


def is_number(label: str) -> bool:
    """Whether a label is written as a number, with a point or a comma, perhaps with an exponent."""
    return bool(re.fullmatch(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?", label))


def threshold_classes(params: dict[str, Any]) -> tuple[str, str]:
    """(class from `label_threshold` on, class below it): two labels of the task, or yes and no.

    Raises UserError where the threshold is no number, or the task has not two labels.
    """
    threshold, labels = params["label_threshold"], params["labels"]
    try:
        is_number = math.isfinite(float(threshold))
    except ValueError:
        is_number = False
    if not is_number:
        raise UserError(f"Parameter label_threshold={threshold!r} is no number: write it as in 0.5.")
    if len(labels) not in (0, 2):
        problem = f"makes two classes, but labels names {len(labels)}"
        raise UserError(f"Parameter label_threshold={threshold!r} {problem}: name two, or set labels to [].")
    positive = params["positive_label"] or (labels[-1] if labels else "yes")
    others = [label for label in labels if label != positive]
    negative = others[0] if others else "no"
    if len(others) > 1 or positive == negative:
        remedy = "set positive_label to one of the labels" if labels else "choose another positive_label"
        raise UserError(f"Parameter label_threshold={threshold!r} needs two different classes: {remedy}.")
    return positive, negative


def load_task(params: dict[str, Any], path: Path) -> Task:
    """Make the task of a later notebook from its parameters and 01's `task.json`; raises UserError where they differ."""
    saved = read_json(path)
    if params["labels"] and params["labels"] != saved["labels"]:
        raise UserError(f"Parameter labels={params['labels']!r} differs from the labels of 01 ({saved['labels']!r}).")
    positive = params["positive_label"] or saved["positive_label"]
    return make_task(params | {"labels": saved["labels"], "positive_label": positive})


def refuse_one_class(classes: Sequence[int]) -> None:
    """Raise UserError where the labels, as indices of classes, are all of one class: nothing can be learned from them."""
    if len(set(classes)) < 2:
        remedy = "label more rows before training; a larger seed_size in 01 asks for them"
        raise UserError(f"The labels so far are all of one class: {remedy}.")
