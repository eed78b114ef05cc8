"""A learner that rewrites by tagging words with edits (LaserTagger, Malmi et al. 2019) without a language model.

Logistic regression says which words are edited, naive Bayes how; what it can write is what its training rows changed. It trains
in a second, and so it is a baseline and a model of another family beside `writer`, with the same verbs `fit`, `write`, `nll`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from helpers.edits import shared_prefix
from helpers.env import UserError

KEEP = "0+"
DROP = "-"
FLOOR = 1e-4  # probability of an edit that was never seen


def tokens(text: str) -> list[str]:
    """Words and single other signs, each with the blanks before it: joined they are the text."""
    return re.findall(r"\s*\w+|\s*[^\w\s]|\s+\Z", text)


def tag(old: str, new: str) -> str:
    """The edit from `old` to `new` as letters cut from the end and letters put there: *impiegato* → *impiegato/a* is `0+/a`."""
    if not new:
        return DROP
    shared = shared_prefix(old, new)
    return f"{len(old) - shared}+{new[shared:]}" if shared > len(old) - len(old.lstrip()) else f"*+{new}"


def apply(old: str, edit: str) -> str:
    """`old` after the edit; a word shorter than the cut stays as it is."""
    if edit == DROP:
        return ""
    cut, _, added = edit.partition("+")
    if cut == "*":
        return added
    return old[: len(old) - int(cut)] + added if int(cut) < len(old) else old


def tags(source: str, target: str) -> tuple[list[str], list[str]]:
    """(tokens of the source with an empty one before them, an edit for each): applied and joined they give the target."""
    old, new = ["", *tokens(source)], ["", *tokens(target)]
    written = [""] * len(old)
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            written[a:b] = old[a:b]
        elif kind == "insert":
            written[a - 1] += "".join(new[c:d])
        elif kind == "replace":  # word by word, the rest at the last one
            for i in range(a, b):
                written[i] = new[c + i - a] if c + i - a < d else ""
            written[b - 1] += "".join(new[c + b - a : d])
    return old, [tag(o, w) if o or w else KEEP for o, w in zip(old, written, strict=True)]


class EditTagger:
    """Says for every word whether it is edited, then how, from the words and endings around it."""

    def __init__(self, seed: int = 0):
        self.seed, self.tokens_read = seed, 0

    def fit(self, records: Sequence[dict], seed: int | None = None) -> dict[str, Any]:
        """Learn from records with `text` and `target`. Raises UserError when no target differs from its source."""
        rows = [tags(r["text"], r["target"]) for r in records]
        contexts = [c for words, _ in rows for c in features(words)]
        edits = np.array([e for _, row in rows for e in row], object)
        changed = edits != KEEP
        if not changed.any():
            raise UserError("No target differs from its source: rewriting needs at least one row that is changed.")
        self.where = make_pipeline(DictVectorizer(), LogisticRegression(C=10.0, max_iter=500)).fit(contexts, changed)
        # Hundreds of kinds of edit, most seen once or twice: naive Bayes errs 3 % more often than regression, 300 times as fast.
        self.what = make_pipeline(DictVectorizer(), MultinomialNB(alpha=0.05))
        self.what.fit([contexts[i] for i in np.flatnonzero(changed)], edits[changed].astype(str))
        return {"train_rows": len(rows), "edits": int(changed.sum()), "kinds_of_edit": len(set(edits[changed]))}

    def write(self, texts: Sequence[str]) -> list[str]:
        """The texts with every edit that is more likely than none."""
        rows = [["", *tokens(t)] for t in texts]
        contexts = [c for words in rows for c in features(words)]
        self.tokens_read += len(contexts)
        chosen = np.full(len(contexts), KEEP, object)
        asked = np.flatnonzero(self.where.predict(contexts)) if contexts else []
        if len(asked):
            chosen[asked] = self.what.predict([contexts[i] for i in asked])
        edits = iter(chosen)
        return ["".join(apply(word, next(edits)) for word in words).strip() for words in rows]

    def nll(self, texts: Sequence[str], outputs: Sequence[str]) -> np.ndarray:
        """Mean negative log-likelihood of a word's edit on the way from text to output, nats, float64 (texts,)."""
        rows = [tags(text, output) for text, output in zip(texts, outputs, strict=True)]
        if not rows:
            return np.zeros(0)
        contexts = [c for words, _ in rows for c in features(words)]
        self.tokens_read += len(contexts)
        edited, kinds = self.where.predict_proba(contexts)[:, 1], self.what.predict_proba(contexts)
        place = {edit: i for i, edit in enumerate(self.what.classes_)}
        wanted = [edit for _, row in rows for edit in row]
        p = [
            1 - e if edit == KEEP else e * (row[place[edit]] if edit in place else 0.0)
            for edit, e, row in zip(wanted, edited, kinds, strict=True)
        ]
        losses = -np.log(np.maximum(p, FLOOR))
        return np.array([part.mean() for part in np.split(losses, np.cumsum([len(w) for w, _ in rows])[:-1])])


def features(words: Sequence[str]) -> list[dict[str, float]]:
    """What is known of every token: itself, its endings, its shape, and the two tokens on either side with their endings."""
    low = [w.strip().lower() for w in words]
    out = []
    for i, word in enumerate(low):
        known = {"w=" + word: 1.0, "first": float(i <= 1), "capital": float(words[i].strip()[:1].isupper())}
        known |= {f"s{n}={word[-n:]}": 1.0 for n in range(1, 5) if len(word) > n}
        for step in (-2, -1, 1, 2):
            near = low[i + step] if 0 <= i + step < len(low) else "<>"
            known |= {f"{step}={near}": 1.0, f"{step}s={near[-2:]}": 1.0}
        known[f"-1,0={low[i - 1] if i else '<>'} {word[-2:]}"] = 1.0
        known[f"0,1={word[-2:]} {low[i + 1] if i + 1 < len(low) else '<>'}"] = 1.0
        out.append(known)
    return out
