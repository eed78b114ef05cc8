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
from scipy.special import expit, logit

from helpers import env
from helpers.core import attribution, parts
from helpers.core.qlora import QLoRA
from helpers.env import UserError
from helpers.files import digest, sha256, write_json
from helpers.progress import Bar
from helpers.run import refuse_changed_adapter
from helpers.text import word_places

EXPLAINED = 60_000  # characters of the texts that are explained at once
SHOWN = 5  # words of an explanation
LEAST, SHARE = 0.1, 0.3  # of the log-odds that a word has to move, and of what the strongest moves
HALF = re.compile("[\ud800-\udfff]")  # of a text that was cut inside an emoji; no tokenizer reads it
CERTAIN = 1e-6  # how near to 0 or 1 a probability is taken to be at most


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
            before = sha256(adapter)
            detector = Detector(QLoRA.load(adapter, **changes), adapter)
            if detector.digest != before:
                raise UserError(f"{adapter} was replaced while it was loaded: give the command again.")
            return detector
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
        self.digest = sha256(adapter) if adapter else ""  # of what was loaded, whatever stands there later
        self.labels, self.positive = learner.task.labels, learner.task.positive
        self.kinds = kinds.names if (kinds := getattr(learner, "kinds", None)) else ()
        self.width = len(self.labels) + len(self.kinds)  # numbers that answer one text
        self.columns = [
            "answer",
            "confidence",
            *(f"p_{label}" for label in self.labels),
            *(["kinds"] if self.kinds else []),
        ]

    def predict(self, texts: Sequence[str]) -> pd.DataFrame:
        """One row a text: `answer`, its probability as `confidence`, and `p_<class>` of every class.

        A detector that has learned kinds of exclusion adds `kinds`: those it sees in a text of the class looked for, joined
        by "; " ('' where it sees none). The probabilities are calibrated. An empty text has no answer. Raises UserError
        where `texts` is one text, or has something else in it.
        """
        _refuse_no_texts(texts)
        return self.table(self._scores(texts))

    def count_long(self, texts: Sequence[str]) -> int:
        """The number of texts that are read in several windows; 0 for a learner that has none."""
        encoding = getattr(self.learner, "encoding", None)
        return encoding.count_long(texts) if encoding else 0

    def table(self, scores: np.ndarray) -> pd.DataFrame:
        """The table of `predict` from what `_scores` gives; rows of NaN have no answer."""
        probabilities, kinds = np.split(scores, [len(self.labels)], axis=1)
        answered = ~np.isnan(probabilities).any(1)
        best = np.nan_to_num(probabilities, nan=-1).argmax(1)
        answers = [self.labels[i] if known else None for i, known in zip(best, answered, strict=True)]
        table = pd.DataFrame({"answer": pd.Series(answers, dtype=object)})
        table["confidence"] = np.where(answered, probabilities.max(1, initial=0), np.nan)
        for name, column in zip(self.columns[2 : 2 + len(self.labels)], probabilities.T, strict=True):
            table[name] = column
        if self.kinds:
            seen = [[name for name, p in zip(self.kinds, row, strict=True) if p >= 0.5] for row in kinds]
            cells = [
                "; ".join(own) if answer == self.positive else "" for own, answer in zip(seen, answers, strict=True)
            ]
            table["kinds"] = pd.Series(cells, dtype=object).where(answered, None)
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
        own = {"adapter": self.digest} | {name: getattr(self.learner, name, None) for name in ("base", "rules")}
        facts = facts | own
        with parts.hold_place(folder, facts["source"], facts["texts"]) as place:
            partial, key = parts.parts_file(place), digest([*own.values(), self.labels, explain])
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
                table = np.array([row for row, _ in rows], dtype=float).reshape(-1, self.width)
                return self.table(table), [spans for _, spans in rows]

            yield following, place
            write_json(place.with_suffix(".json"), facts)
            partial.unlink(missing_ok=True)

    def _rows(self, texts: Sequence[str], explain: int) -> list[list]:
        """(probabilities of classes and kinds, spans) of every text; spans of the first `explain` texts alone."""
        scores, explained = self._scores(texts), texts[: max(0, explain)]
        answers = list(self.table(scores[: len(explained)])["answer"])
        spans = (self.explain(explained, answers) if explained else []) + [[]] * (len(texts) - len(explained))
        return [list(row) for row in zip(scores.tolist(), spans, strict=True)]

    @property
    def methods(self) -> tuple[str, ...]:
        """What `explain` can be asked for, the default first."""
        return attribution.methods(self.learner)

    def explain(
        self, texts: Sequence[str], answers: Sequence[str | None], method: str = ""
    ) -> list[list[tuple[int, int, float]]]:
        """The words that speak for a text's answer, those that move it most first.

        Of a text longer than `max_length` only the window is explained from which its answer comes, the worst one.

        Parameters
        ----------
        texts : strings
        answers : labels
            Whose words are looked for; None explains nothing.
        method : str, optional
            One of `methods`: `leave_one_out` of any learner, for a trained classifier also `gradient` (gradient × input)
            and, with pooling `evidence`, the head's own `evidence`. By default the first of them; the head has no evidence
            for the class of texts without any, so there it is `leave_one_out`.

        Returns
        -------
        list of lists
            (start, end, loss of probability without the word) of at most SHOWN words of every text: those whose log-odds
            are at least SHARE of the strongest word's, and LEAST.

        Raises
        ------
        UserError
            Where the learner does not allow the method.
        """
        if not method and self.methods[0] == attribution.EVIDENCE:
            absent = self.labels[self.learner.module.absent]
            found = self.explain(texts, [None if a == absent else a for a in answers], attribution.EVIDENCE)
            left_out = self.explain(texts, [a if a == absent else None for a in answers], attribution.LEAVE_ONE_OUT)
            return [own or other for own, other in zip(found, left_out, strict=True)]
        _refuse_no_texts(texts)
        method = method or self.methods[0]
        if method not in self.methods:
            raise UserError(f"Method {method!r} does not fit this model: choose one of {', '.join(self.methods)}.")
        if strange := [answer for answer in answers if answer is not None and answer not in self.labels]:
            raise UserError(f"Answer {strange[0]!r} is none of the labels ({', '.join(self.labels[:10])}).")
        asked = [i for i, answer in enumerate(answers) if answer is not None and texts[i].strip()]
        classes = [self.labels.index(answers[i]) for i in asked]
        places = self._read_places([texts[i] for i in asked])
        parts = [texts[i][start:end] for i, (start, end) in zip(asked, places, strict=True)]
        shares = self._probabilities(parts)[np.arange(len(parts)), classes] if parts else np.zeros(0)
        falls = self._falls(method, parts, classes, _log_odds(shares))
        explained: list[list[tuple[int, int, float]]] = [[] for _ in texts]
        for i, (first, _), part, share, fall in zip(asked, places, parts, shares, falls, strict=True):
            words, least = word_places(part), max(LEAST, SHARE * fall.max(initial=0))
            order = [k for k in np.argsort(-fall, kind="stable")[:SHOWN] if fall[k] >= least]
            losses = share - expit(_log_odds(share) - fall)
            explained[i] = [(first + words[k][0], first + words[k][1], round(float(losses[k]), 4)) for k in order]
        return explained

    def _falls(self, method: str, texts: list[str], classes: list[int], whole: np.ndarray) -> list[np.ndarray]:
        """By how much the log-odds of each text's class, `whole`, fall without each of its words."""
        if method == attribution.GRADIENT:
            return attribution.gradient_times_input(self.learner, texts, classes)
        if method == attribution.EVIDENCE:
            return attribution.head_evidence(self.learner, texts, classes)

        def log_odds(variants: list[str], owners: list[int]) -> np.ndarray:
            columns = np.array(classes, dtype=int)[owners]
            # What is empty without its only word has no answer left.
            return _log_odds(np.nan_to_num(self._probabilities(variants)[np.arange(len(variants)), columns]))

        return attribution.leave_one_out(texts, whole, log_odds)

    def _read_places(self, texts: list[str]) -> list[tuple[int, int]]:
        """(start, end) of what each answer comes from: the whole text, or the worst window of a long one."""
        find = getattr(self.learner, "worst_places", None)
        return find(texts) if find else [(0, len(text)) for text in texts]

    def _probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Float array (texts, labels); NaN for an empty text. Equal texts are read once."""
        return self._read(texts, self.learner.predict_proba, len(self.labels))

    def _scores(self, texts: Sequence[str]) -> np.ndarray:
        """As `_probabilities`, with the kinds' probabilities behind: (texts, labels + kinds)."""
        read = self.learner.predict_kinds if self.kinds else self.learner.predict_proba
        return self._read(texts, read, self.width)

    def _read(self, texts: Sequence[str], read: Callable[[list[str]], np.ndarray], width: int) -> np.ndarray:
        known = {text: i for i, text in enumerate(dict.fromkeys(t for t in texts if t.strip()))}
        scores = read(list(known)) if known else np.zeros((0, width))
        rows = np.full((len(texts), width), np.nan)
        for i, text in enumerate(texts):
            if text in known:
                rows[i] = scores[known[text]]
        return rows


def _refuse_no_texts(texts: Any) -> None:
    """Raise UserError where `texts` is no list of texts that a tokenizer can read."""
    if isinstance(texts, str):
        raise UserError("predict takes a list of texts, not one text: put it in brackets.")
    if hasattr(texts, "columns") or isinstance(texts, dict):  # of which one would read the names
        raise UserError('predict takes a list of texts, not a table: give a column of it, as in table["text"].')
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise UserError(f"Text {number} of the list is {type(text).__name__}, not a text: leave it out or give ''.")
        if HALF.search(text):
            raise UserError(f"Text {number} of the list holds half a character: helpers.text.clean takes it out.")


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


def _log_odds(probabilities: np.ndarray) -> np.ndarray:
    return logit(np.clip(probabilities, CERTAIN, 1 - CERTAIN))


def spanned_words(texts: Sequence[str], spans: Sequence[Sequence[Sequence[float]]]) -> list[str]:
    """The words of every text at its spans, as a cell of a table."""
    return ["; ".join(text[s[0] : s[1]] for s in own) for text, own in zip(texts, spans, strict=True)]
