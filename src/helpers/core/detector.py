"""A trained detector put to work: answers to texts as a table, and the words that moved them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from helpers import env
from helpers.core import parts
from helpers.core.qlora import QLoRA
from helpers.env import UserError
from helpers.files import digest, sha256, write_json
from helpers.progress import Bar
from helpers.run import refuse_changed_adapter

EXPLAINED = 60_000  # characters of the texts that are explained at once
UNITS = 60  # words, or groups of words of a longer text, that an explanation leaves out one by one
SHOWN, LEAST = 5, 0.02  # words of an explanation, and how much of the probability each has to move


def load_detector(place: str | Path, **changes: Any) -> Detector:
    """The detector in the folder of a run, of its stage 03, or of its adapter.

    Parameters
    ----------
    place : str or Path
    **changes
        Fields of the recipe to replace, such as `model` where the base is in another folder.

    Raises
    ------
    UserError
        Where there is no detector, or its files do not fit each other.
    """
    folder = env.resolve(place)
    places = (folder, folder / "adapter", folder / "03_active_learning" / "adapter")
    for adapter in places:
        if (adapter / "learner.json").is_file():
            if (adapter.parent / "manifest.json").exists():  # in the folder of a run
                refuse_changed_adapter(adapter.parent)
            return Detector(QLoRA.load(adapter, **changes), adapter)
    raise UserError(f"{folder} holds no detector: give the folder of a run that has finished 03_active_learning.")


class Detector:
    """A trained learner that answers with tables.

    Parameters
    ----------
    learner : QLoRA
        Or any learner with `task` and `predict_proba`.
    adapter : Path, optional
        Where it was loaded from.
    """

    def __init__(self, learner: Any, adapter: Path | None = None):
        if not learner.task.labels:
            raise UserError("This adapter writes texts and has no classes: load it with Writer.load.")
        self.learner, self.adapter = learner, adapter
        self.labels, self.positive = learner.task.labels, learner.task.positive
        self.columns = ["answer", "confidence", *(f"p_{label}" for label in self.labels)]

    def predict(self, texts: Sequence[str]) -> pd.DataFrame:
        """One row a text: `answer`, its probability as `confidence`, and `p_<class>` of every class.

        The probabilities are calibrated. An empty text has no answer. Raises UserError where `texts` is one text, or
        has something else in it.
        """
        if isinstance(texts, str):
            raise UserError("predict takes a list of texts, not one text: put it in brackets.")
        for number, text in enumerate(texts):
            if not isinstance(text, str):
                raise UserError(
                    f"Text {number} of the list is {type(text).__name__}, not a text: leave it out or give ''."
                )
        return self.table(self._probabilities(texts))

    def count_long(self, texts: Sequence[str]) -> int:
        """The number of texts that are read in several windows; 0 for a learner that has none."""
        encoding = getattr(self.learner, "encoding", None)
        return encoding.count_long(texts) if encoding else 0

    def table(self, probabilities: np.ndarray) -> pd.DataFrame:
        """The table of `predict` from probabilities (texts, labels); rows of NaN have no answer."""
        answered = ~np.isnan(probabilities).any(1)
        best = np.nan_to_num(probabilities, nan=-1).argmax(1)
        answers = [self.labels[i] if known else None for i, known in zip(best, answered, strict=True)]
        table = pd.DataFrame({"answer": pd.Series(answers, dtype=object)})
        table["confidence"] = np.where(answered, probabilities.max(1, initial=0), np.nan)
        for name, column in zip(self.columns[2:], probabilities.T, strict=True):
            table[name] = column
        return table

    @contextlib.contextmanager
    def predict_recorded(
        self, batches: Callable[[], Iterable[Sequence[str]]], facts: dict[str, Any], folder: Path, explain: int = 0
    ) -> Iterator[tuple[Callable[[int], tuple[pd.DataFrame, list]], Path]]:
        """Answer the texts under a progress bar; yield a function with their answers, and the place in `folder` that is theirs.

        What is done is kept, and a call that was cut off goes on there, until the block has ended well: where it cannot
        write the answers, they are there the next time. Then `<place>.json` says what they were made from.

        Parameters
        ----------
        batches : function
            Yields the texts in lists, the same at every call. One is answered at a time.
        facts : dict
            `source`, where the texts come from (see `parts.hold_place`), their number `rows`, and `texts`, their digest.
        folder : Path
        explain : int
            The number of texts, from the first on, for which `explain` finds words.

        Yields
        ------
        function, Path
            Called with a number of texts, the next ones in turn, it returns the table of `predict` and their words.

        Raises
        ------
        UserError
            Where a prediction of this source is running.
        """
        facts = facts | {"adapter": sha256(self.adapter), "base": getattr(self.learner, "base", None)}
        with parts.hold_place(folder, facts["source"], facts["texts"]) as place:
            partial, key = parts.parts_file(place), digest([facts["adapter"], facts["base"], self.labels, explain])
            done, start = parts.resume(partial, key, _pieces(batches(), explain)), 0
            with Bar(facts["rows"], "answering") as bar:
                bar.n = bar.last_print_n = bar.initial = done  # what is left takes as long as what is new
                for texts in _pieces(batches(), explain):
                    if start >= done:
                        parts.append(partial, key, start, texts, self._rows(texts, explain - start))
                        bar.update(len(texts))
                    start += len(texts)
            answers = parts.read(partial, key)

            def following(count: int) -> tuple[pd.DataFrame, list]:
                rows = list(islice(answers, count))
                if len(rows) < count:  # somebody else wrote there
                    raise UserError(f"{partial} lacks answers that were in it: give the command again.")
                table = np.array([row for row, _ in rows], dtype=float).reshape(-1, len(self.labels))
                return self.table(table), [spans for _, spans in rows]

            yield following, place
            write_json(place.with_suffix(".json"), facts)
            partial.unlink(missing_ok=True)

    def _rows(self, texts: Sequence[str], explain: int) -> list[list]:
        """(probabilities, spans) of every text; spans of the first `explain` texts alone."""
        probabilities, explained = self._probabilities(texts), texts[: max(0, explain)]
        answers = list(self.table(probabilities[: len(explained)])["answer"])
        spans = (self.explain(explained, answers) if explained else []) + [[]] * (len(texts) - len(explained))
        return [list(row) for row in zip(probabilities.tolist(), spans, strict=True)]

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
        """Float array (texts, labels); NaN for an empty text. Equal texts are read once."""
        known = {text: i for i, text in enumerate(dict.fromkeys(t for t in texts if t.strip()))}
        scores = self.learner.predict_proba(list(known)) if known else np.zeros((0, len(self.labels)))
        rows = np.full((len(texts), len(self.labels)), np.nan)
        for i, text in enumerate(texts):
            if text in known:
                rows[i] = scores[known[text]]
        return rows


def _pieces(batches: Iterable[Sequence[str]], explain: int) -> Iterator[Sequence[str]]:
    """The batches; while texts are explained, which reads each of them again and again, in lists of EXPLAINED characters."""
    start = 0
    for texts in batches:
        first = size = 0
        for place, text in enumerate(texts if start < explain else [], 1):
            size += len(text)
            if size >= EXPLAINED:
                yield texts[first:place]
                first, size = place, 0
        if first < len(texts):
            yield texts[first:]
        start += len(texts)


def _units(text: str) -> list[tuple[int, int]]:
    """Places of the words of a text, or of UNITS groups of neighbours."""
    words = [match.span() for match in re.finditer(r"\w+", text)]
    size = -(-len(words) // UNITS) if words else 1
    groups = [words[k : k + size] for k in range(0, len(words), size)]
    return [(group[0][0], group[-1][1]) for group in groups]


def spanned_words(texts: Sequence[str], spans: Sequence[Sequence[Sequence[float]]]) -> list[str]:
    """The words of every text at its spans, as a cell of a table."""
    return ["; ".join(text[s[0] : s[1]] for s in own) for text, own in zip(texts, spans, strict=True)]
