"""A learner that rewrites by tagging words with edits (LaserTagger, Malmi et al. 2019).

It has no language model: logistic regression predicts which words are edited, naive Bayes how. It
can write only edits that its training rows contain. It trains in a second and has the verbs of the
4-bit writer: `fit`, `write`, `nll`.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from helpers.edits import shared_prefix
from helpers.env import UserError
from helpers.evaluation.textstats import tokens

KEEP = "0+"
DROP = "-"
FLOOR = 1e-4  # probability of an edit that was never seen


def tag(old: str, new: str) -> str:
    """The edit that turns `old` into `new`: letters cut from its end + letters added, as in `0+/a`."""
    if not new:
        return DROP
    shared = shared_prefix(old, new)
    blanks = len(old) - len(old.lstrip())
    return f"{len(old) - shared}+{new[shared:]}" if shared > blanks else f"*+{new}"


def apply(old: str, edit: str) -> str:
    """`old` after the edit; a word shorter than the cut stays as it is."""
    if edit == DROP:
        return ""
    cut, _, added = edit.partition("+")
    if cut == "*":
        return added
    return old[: len(old) - int(cut)] + added if int(cut) < len(old) else old


def tags(source: str, target: str) -> tuple[list[str], list[str]]:
    """Tokens of the source, after an empty one, and the edit of each that gives the target.

    The empty token takes what is inserted before the first word.
    """
    old, new = ["", *tokens(source)], ["", *tokens(target)]
    result = [""] * len(old)
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            result[a:b] = old[a:b]
        elif kind == "insert":
            result[a - 1] += "".join(new[c:d])
        elif kind == "replace":  # word by word; the last one takes what remains
            for i in range(a, b):
                result[i] = new[c + i - a] if c + i - a < d else ""
            result[b - 1] += "".join(new[c + b - a : d])
    return old, [tag(o, w) if o or w else KEEP for o, w in zip(old, result, strict=True)]


class EditTagger:
    """Predicts for every word whether it is edited, then how, from the words and endings around it."""

    def fit(self, records: Sequence[dict], seed: int | None = None) -> None:
        """Learn from records with `text` and `target`; `seed` is there for the learners that need one.

        Raises UserError where no target differs from its source.
        """
        rows = [tags(r["text"], r["target"]) for r in records]
        contexts = [context for words, _ in rows for context in features(words)]
        edits = np.array([edit for _, row in rows for edit in row], object)
        is_edited = edits != KEEP
        if not is_edited.any():
            raise UserError("No target differs from its source: rewriting needs at least one row that is changed.")
        self.where = make_pipeline(DictVectorizer(), LogisticRegression(C=10.0, max_iter=500)).fit(contexts, is_edited)
        # There are hundreds of kinds of edit, most seen once or twice: naive Bayes errs 3 % more often than logistic
        # regression and is 300 times as fast.
        self.what = make_pipeline(DictVectorizer(), MultinomialNB(alpha=0.05))
        self.what.fit([contexts[i] for i in np.flatnonzero(is_edited)], edits[is_edited].astype(str))

    def write(self, texts: Sequence[str]) -> list[str]:
        """The texts with every edit that is more likely than none."""
        rows = [["", *tokens(t)] for t in texts]
        contexts = [context for words in rows for context in features(words)]
        edits = np.full(len(contexts), KEEP, object)
        positions = np.flatnonzero(self.where.predict(contexts)) if contexts else []
        if len(positions):
            edits[positions] = self.what.predict([contexts[i] for i in positions])
        remaining = iter(edits)
        return ["".join(apply(word, next(remaining)) for word in words).strip() for words in rows]

    def nll(self, texts: Sequence[str], outputs: Sequence[str]) -> np.ndarray:
        """Mean negative log-likelihood (nats) of the edits from each text to its output: (texts,)."""
        rows = [tags(text, output) for text, output in zip(texts, outputs, strict=True)]
        if not rows:
            return np.zeros(0)
        contexts = [context for words, _ in rows for context in features(words)]
        p_edited, p_kinds = self.where.predict_proba(contexts)[:, 1], self.what.predict_proba(contexts)
        column = {edit: i for i, edit in enumerate(self.what.classes_)}
        edits = [edit for _, row in rows for edit in row]
        p_kind = [row[column[edit]] if edit in column else 0.0 for edit, row in zip(edits, p_kinds, strict=True)]
        p = np.where(np.array(edits) == KEEP, 1 - p_edited, p_edited * p_kind)
        losses = -np.log(np.maximum(p, FLOOR))
        ends = np.cumsum([len(words) for words, _ in rows])
        return np.array([part.mean() for part in np.split(losses, ends[:-1])])


def features(words: Sequence[str]) -> list[dict[str, float]]:
    """Features of every token: itself, its endings, its shape, and two tokens on either side."""
    low = [w.strip().lower() for w in words]
    rows = []
    for i, word in enumerate(low):
        row = {"w=" + word: 1.0, "first": float(i <= 1), "capital": float(words[i].strip()[:1].isupper())}
        row |= {f"s{n}={word[-n:]}": 1.0 for n in range(1, 5) if len(word) > n}
        for step in (-2, -1, 1, 2):
            near = low[i + step] if 0 <= i + step < len(low) else "<>"
            row |= {f"{step}={near}": 1.0, f"{step}s={near[-2:]}": 1.0}
        row[f"-1,0={low[i - 1] if i else '<>'} {word[-2:]}"] = 1.0
        row[f"0,1={word[-2:]} {low[i + 1] if i + 1 < len(low) else '<>'}"] = 1.0
        rows.append(row)
    return rows
