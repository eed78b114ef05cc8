"""One label from those of several annotators: majority, Dawid and Skene, what to adjudicate, what to label next.

Functions take the state of `log.annotations`, or the table of labels that `agreement.table` makes of it.
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from helpers.env import UserError
from helpers.labels.agreement import comparable, table
from helpers.labels.log import ADJUDICATOR


def decisions(annotations: dict[str, dict[str, dict]], field: str | None = None) -> dict[str, dict]:
    """Decide on every record by the adjudicator, else by majority.

    Parameters
    ----------
    annotations : dict of dicts of dicts
        The state of `log.annotations`.
    field : str, optional
        Compare one field of labels that have several.

    Returns
    -------
    dict of dicts
        Record id → `label` (None where undecided), `decided` (`adjudicator`, `majority`, `only one`, `tie`, or ''
        where nobody gave a label; a skip is no label), `labels` (by annotator), `votes` (for the commonest label).
    """
    labels: dict[str, dict[str, Any]] = {}
    for name, answers in annotations.items():
        for record_id, state in answers.items():
            own = labels.setdefault(record_id, {})
            if comparable(state["label"], field) is not None:
                own[name] = state["label"]
    return {record_id: _decide(own, field) for record_id, own in labels.items()}


def _decide(labels: dict[str, Any], field: str | None) -> dict:
    """The decision on one record from its labels by annotator."""
    by_adjudicator = labels.pop(ADJUDICATOR, None)
    first = {comparable(label, field): label for label in reversed(labels.values())}  # of labels that compare as equal
    votes = Counter(comparable(label, field) for label in labels.values()).most_common(2)
    result = {"label": None, "decided": "", "labels": labels, "votes": votes[0][1] if votes else 0}
    if by_adjudicator is not None:
        return result | {"label": by_adjudicator, "decided": ADJUDICATOR}
    if not votes:
        return result
    if len(votes) == 2 and votes[0][1] == votes[1][1]:
        return result | {"decided": "tie"}
    return result | {"label": first[votes[0][0]], "decided": "majority" if len(labels) > 1 else "only one"}


def disagreements(
    annotations: dict[str, dict[str, dict]], records: list[dict] | None = None, field: str | None = None
) -> list[dict]:
    """Records with different labels and no decision by the adjudicator, most contested first.

    Returns
    -------
    list of dicts
        `id`, `text`, `labels`, `spans` and `notes` (by annotator), `flags` (who flagged it), and `contested`, the share
        of labels other than the commonest.
    """
    texts = {row["id"]: row["text"] for row in records or []}
    rows = []
    for record_id, decision in decisions(annotations, field).items():
        labels = decision["labels"]
        if decision["decided"] != ADJUDICATOR and decision["votes"] < len(labels):
            row = {"id": record_id, "text": texts.get(record_id, ""), "labels": labels}
            rows.append(row | remarks(annotations, record_id) | {"contested": 1 - decision["votes"] / len(labels)})
    return sorted(rows, key=lambda row: (-row["contested"], -len(row["labels"])))


def remarks(annotations: dict[str, dict[str, dict]], record_id: str) -> dict[str, Any]:
    """`spans` and `notes` of a record by annotator, and `flags`, who flagged it; the adjudicator's are left out."""
    states = {
        name: answers[record_id]
        for name, answers in annotations.items()
        if name != ADJUDICATOR and record_id in answers
    }
    return {
        "spans": {name: state["spans"] for name, state in states.items() if state["spans"]},
        "notes": {name: state["note"] for name, state in states.items() if state["note"]},
        "flags": [name for name, state in states.items() if state["flagged"]],
    }


def dawid_skene(answers: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Weigh annotators by how reliable they turn out to be (Dawid and Skene 1979).

    Two careful annotators can so outvote three careless ones.

    Returns
    -------
    probabilities : DataFrame (records, classes)
    errors : DataFrame
        Error matrices, by annotator and label.
    """
    from crowdkit.aggregation import DawidSkene

    long = answers.stack().dropna().reset_index()
    long.columns = ["task", "worker", "label"]
    if long.empty:
        raise UserError("There are no labels to aggregate: label first, or name the folder with the .jsonl logs.")
    model = DawidSkene(n_iter=100)
    probabilities = model.fit_predict_proba(long.astype(str))
    return probabilities.reindex(answers.index), model.errors_


def worth_labelling(
    annotations: dict[str, dict[str, dict]], known: list[dict], pool: list[dict], classes: Sequence[str], learner: Any
) -> pd.DataFrame:
    """Texts of the pool in the order in which one more label gains most, by ActiveLab (Goh and Mueller 2023).

    Texts that everybody labelled are left out: they are the adjudicator's.

    Parameters
    ----------
    known : list of dicts
        Labelled rows on which the learner is fitted, beside what annotators decided.
    learner
        Has `fit(records)` and `predict_proba(texts)`. A labelled text is scored by a fit on the other four fifths.

    Returns
    -------
    DataFrame
        Columns `label` (`again`, by somebody who has not labelled it, or `new`), `score` (lowest first), `so_far` (the labels
        there are), `text`.
    """
    from cleanlab.multiannotator import get_active_learning_scores

    texts = {row["id"]: row["text"] for row in pool}
    answers = table(annotations)
    answers = answers.where(answers.isin(list(classes)), None)
    answers = answers[answers.notna().any(axis=1) & answers.index.isin(list(texts))]
    if answers.empty:
        return pd.DataFrame(columns=["label", "score", "so_far", "text"])
    rows = [
        {"id": i, "text": texts[i], "label": decision["label"]}
        for i, decision in decisions(annotations).items()
        if decision["label"] in classes and i in texts
    ]
    probabilities = _cross_fitted(answers.index, known, rows, texts, classes, learner)
    learner.fit([*known, *rows])
    labelled = {row["id"] for row in rows}.union(answers.index)
    open_ids = [i for i in texts if i not in labelled]
    open_probabilities = learner.predict_proba([texts[i] for i in open_ids])
    codes = answers.map({label: float(i) for i, label in enumerate(classes)}.get).to_numpy(dtype=float)
    codes = codes[:, ~np.isnan(codes).all(0)]  # annotators without a label here
    with contextlib.redirect_stdout(io.StringIO()):  # cleanlab prints about annotators by number
        again, new = get_active_learning_scores(codes, probabilities, open_probabilities)
    so_far = [
        ", ".join(f"{name}: {label}" for name, label in row.items() if label) for row in answers.to_dict("records")
    ]
    labelled_texts = [texts[i] for i in answers.index]
    more = pd.DataFrame({"label": "again", "score": again, "so_far": so_far, "text": labelled_texts})
    more = more[answers.isna().any(axis=1).to_numpy()]  # somebody has not labelled it yet
    others = pd.DataFrame({"label": "new", "score": new, "so_far": "", "text": [texts[i] for i in open_ids]})
    return pd.concat([more, others]).sort_values("score", kind="stable", ignore_index=True)


def _cross_fitted(
    ids: pd.Index,
    known: list[dict],
    rows: list[dict],
    texts: dict[str, str],
    classes: Sequence[str],
    learner: Any,
) -> np.ndarray:
    """(records × classes) probabilities, each record's from a fit that has not seen its fifth of the records."""
    probabilities = np.zeros((len(ids), len(classes)))
    fold = np.arange(len(ids)) % 5
    for k in range(min(5, len(ids))):
        held_out = set(ids[fold == k])
        learner.fit([*known, *(row for row in rows if row["id"] not in held_out)])
        probabilities[fold == k] = learner.predict_proba([texts[i] for i in ids[fold == k]])
    return probabilities
