"""A trained detector put to work: answers to texts as a table, and the words that moved them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from helpers import env
from helpers.core.qlora import QLoRA
from helpers.env import UserError
from helpers.files import digest

CHUNK = 1024  # texts between two writings of a long prediction
UNITS = 60  # words, or groups of words of a longer text, that an explanation leaves out one by one
SHOWN, LEAST = 5, 0.02  # words of an explanation, and how much of the probability each has to move


def load_detector(place: str | Path) -> Detector:
    """The detector in the folder of a run, of its stage 03, or of its adapter.

    Raises UserError where there is none, or its files do not fit each other.
    """
    folder = env.resolve(place)
    places = (folder, folder / "adapter", folder / "03_active_learning" / "adapter")
    for adapter in places:
        if (adapter / "learner.json").is_file():
            return Detector(QLoRA.load(adapter))
    raise UserError(f"{folder} holds no detector: give the folder of a run that has finished 03_active_learning.")


class Detector:
    """A trained learner that answers with tables.

    Parameters
    ----------
    learner : QLoRA
        Or any learner with `task` and `predict_proba`.
    """

    def __init__(self, learner: Any):
        if not learner.task.labels:
            raise UserError("This adapter writes texts and has no classes: load it with Writer.load.")
        self.learner, self.labels, self.positive = learner, learner.task.labels, learner.task.positive

    def predict(self, texts: Sequence[str]) -> pd.DataFrame:
        """One row a text: `answer`, its probability as `confidence`, and `p_<class>` of every class.

        The probabilities are calibrated. A text without a letter or digit has no answer.
        """
        return self.table(self._probabilities(texts))

    def table(self, probabilities: np.ndarray) -> pd.DataFrame:
        """The table of `predict` from probabilities (texts, labels); rows of NaN have no answer."""
        answered = ~np.isnan(probabilities).any(1)
        best = np.nan_to_num(probabilities, nan=-1).argmax(1)
        answers = [self.labels[i] if known else None for i, known in zip(best, answered, strict=True)]
        table = pd.DataFrame({"answer": pd.Series(answers, dtype=object)})
        table["confidence"] = np.where(answered, probabilities.max(1, initial=0), np.nan)
        for i, label in enumerate(self.labels):
            table[f"p_{label}"] = probabilities[:, i]
        return table

    def predict_resumed(
        self, texts: Sequence[str], partial: Path, basis: Any, report: Callable[[int], None] = lambda count: None
    ) -> pd.DataFrame:
        """As `predict`, keeping what is done in a file, from which a call that was cut off goes on.

        Parameters
        ----------
        texts : strings
        partial : Path
            Deleted at the end.
        basis : JSON value
            What determines the answers; the file of another basis is not used.
        report : function, optional
            Called with the number of texts after every part.
        """
        key = digest([basis, self.labels, len(texts)])
        done = _read_parts(partial, key)
        if not done:
            partial.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(key) + "\n", encoding="utf-8")
        report(len(done))
        with partial.open("a", encoding="utf-8") as stream:
            for start in range(len(done), len(texts), CHUNK):
                part = self._probabilities(texts[start : start + CHUNK]).tolist()
                stream.write(json.dumps(part) + "\n")
                stream.flush()
                done += part
                report(len(part))
        partial.unlink()
        return self.table(np.array(done, dtype=float).reshape(-1, len(self.labels)))

    def explain(self, texts: Sequence[str], answers: Sequence[str | None]) -> list[list[tuple[int, int, float]]]:
        """The words without which a text's answer would be less probable, those that move it most first.

        Each word is left out in turn (representation erasure, Li et al. 2016, arXiv 1612.08220); of a
        text of more than UNITS words, as many groups of neighbours.

        Returns
        -------
        list of lists
            (start, end, loss of probability) of at most SHOWN words of every text; none of a text without an answer.
        """
        spans, variants, owners = [], [], []
        for i, (text, answer) in enumerate(zip(texts, answers, strict=True)):
            own = _units(text) if answer is not None else []
            spans.append(own)
            variants += [text, *(text[:start] + text[end:] for start, end in own)] if own else []
            owners += [i] * (len(own) + 1) if own else []
        probabilities, owners = self._probabilities(variants), np.array(owners)
        explained = []
        for i, own in enumerate(spans):
            column = probabilities[owners == i, self.labels.index(answers[i])] if own else np.zeros(1)
            losses = column[0] - np.nan_to_num(column[1:])
            order = [k for k in np.argsort(-losses, kind="stable")[:SHOWN] if losses[k] >= LEAST]
            explained.append([(*own[k], round(float(losses[k]), 4)) for k in order])
        return explained

    def _probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Float array (texts, labels); NaN for a text without a letter or digit. Equal texts are read once."""
        known = {text: i for i, text in enumerate(dict.fromkeys(t for t in texts if re.search(r"\w", t)))}
        scores = self.learner.predict_proba(list(known)) if known else np.zeros((0, len(self.labels)))
        rows = np.full((len(texts), len(self.labels)), np.nan)
        for i, text in enumerate(texts):
            if text in known:
                rows[i] = scores[known[text]]
        return rows


def _units(text: str) -> list[tuple[int, int]]:
    """Places of the words of a text, or of UNITS groups of neighbours."""
    words = [match.span() for match in re.finditer(r"\w+", text)]
    size = -(-len(words) // UNITS) if words else 1
    groups = [words[k : k + size] for k in range(0, len(words), size)]
    return [(group[0][0], group[-1][1]) for group in groups]


def _read_parts(partial: Path, key: str) -> list[list[float]]:
    """The whole parts that a call with the same key has left; a torn last line is cut off the file."""
    if not partial.exists():
        return []
    lines, rows = partial.read_text(encoding="utf-8").split("\n"), []
    if lines[0] != json.dumps(key):
        return []
    whole = lines[:-1]  # what stands behind the last line end is torn
    for line in whole[1:]:
        rows += json.loads(line)
    partial.write_text("".join(line + "\n" for line in whole), encoding="utf-8")
    return rows
