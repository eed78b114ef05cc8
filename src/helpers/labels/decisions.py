"""One label from those of several annotators: majority, Dawid and Skene, what to adjudicate, what to label next.

Functions take the state of `log.annotations`, or the table of labels that `agreement.table` makes of it.
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from helpers.labels.agreement import table
from helpers.labels.log import ADJUDICATOR, MACHINES


def decisions(annotations: dict[str, dict[str, dict]]) -> dict[str, dict]:
    """Decide on every record by the adjudicator, else by majority.

    Record id → `label` (None where undecided), `decided` (`adjudicator`, `majority`, `only one`, `tie`, or '' where nobody
    gave a label; a skip is no label), `labels` (by annotator), `votes` (for the commonest label).
    """
    labels: dict[str, dict[str, Any]] = {}
    for name, answers in annotations.items():
        for record_id, state in answers.items():
            own = labels.setdefault(record_id, {})
            if state["label"] is not None:
                own[name] = state["label"]
    return {record_id: _decide(own) for record_id, own in labels.items()}


def _decide(labels: dict[str, Any]) -> dict:
    by_adjudicator = labels.pop(ADJUDICATOR, None)
    votes = Counter(map(str, labels.values())).most_common(2)
    result = {"label": None, "decided": "", "labels": labels, "votes": votes[0][1] if votes else 0}
    if by_adjudicator is not None:
        return result | {"label": by_adjudicator, "decided": ADJUDICATOR}
    if not votes:
        return result
    if len(votes) == 2 and votes[0][1] == votes[1][1]:
        return result | {"decided": "tie"}
    label = next(label for label in labels.values() if str(label) == votes[0][0])
    return result | {"label": label, "decided": "majority" if len(labels) > 1 else "only one"}


def disagreements(annotations: dict[str, dict[str, dict]], records: list[dict] | None = None) -> list[dict]:
    """Records with different labels and no decision by the adjudicator, most contested first.

    A row has `id`, `text`, `labels`, `spans` and `notes` (by annotator), `flags` (who flagged it), and `contested`, the
    share of labels other than the commonest.
    """
    texts = {row["id"]: row["text"] for row in records or []}
    rows = []
    for record_id, decision in decisions(annotations).items():
        labels = decision["labels"]
        if decision["decided"] != ADJUDICATOR and decision["votes"] < len(labels):
            row = {"id": record_id, "text": texts.get(record_id, ""), "labels": labels}
            rows.append(row | remarks(annotations, record_id) | {"contested": 1 - decision["votes"] / len(labels)})
    return sorted(rows, key=lambda row: (-row["contested"], -len(row["labels"])))


def remarks(annotations: dict[str, dict[str, dict]], record_id: str) -> dict[str, Any]:
    """`spans` and `notes` of a record by annotator, and `flags`, who flagged it; the adjudicator's are left out."""
    people = {name: answers for name, answers in annotations.items() if name != ADJUDICATOR}
    states = {name: answers[record_id] for name, answers in people.items() if record_id in answers}
    return {
        "spans": {name: state["spans"] for name, state in states.items() if state["spans"]},
        "notes": {name: state["note"] for name, state in states.items() if state["note"]},
        "flags": [name for name, state in states.items() if state["flagged"]],
    }


def dawid_skene(answers: pd.DataFrame) -> pd.DataFrame:
    """Probabilities (records, classes), with annotators weighed by how reliable they turn out (Dawid and Skene 1979).

    Two careful annotators can so outvote three careless ones.
    """
    from crowdkit.aggregation import DawidSkene

    long = answers.stack().dropna().reset_index()
    long.columns = ["task", "worker", "label"]
    return DawidSkene(n_iter=100).fit_predict_proba(long.astype(str)).reindex(answers.index)


def worth_labelling(
    annotations: dict[str, dict[str, dict]], known: list[dict], pool: list[dict], classes: Sequence[str], learner: Any
) -> pd.DataFrame:
    """Texts of the pool in the order in which one more label gains most, by ActiveLab (Goh and Mueller 2023).

    Texts that everybody labelled are left out: they are the adjudicator's. The learner has `fit(records)` and
    `predict_proba(texts)`; it is fitted on the labelled rows `known` and on what annotators decided, and scores a labelled
    text by a fit on the other four fifths. Columns: `label` (`again`, by somebody who has not labelled it, or `new`),
    `score` (lowest first), `so_far` (the labels there are), `text`.
    """
    from cleanlab.multiannotator import get_active_learning_scores

    texts = {row["id"]: row["text"] for row in pool}
    answers = table(annotations)
    answers = answers.where(answers.isin(list(classes)), None)
    answers = answers[answers.notna().any(axis=1) & answers.index.isin(list(texts))]
    if answers.empty:
        return pd.DataFrame(columns=["label", "score", "so_far", "text"])
    labels = {i: decision["label"] for i, decision in decisions(annotations).items() if i in texts}
    rows = [{"id": i, "text": texts[i], "label": label} for i, label in labels.items() if label in classes]
    probabilities = np.zeros((len(answers), len(classes)))
    for fold in range(min(5, len(answers))):
        held_out = answers.index[fold::5]
        learner.fit([*known, *(row for row in rows if row["id"] not in held_out)])
        probabilities[fold::5] = learner.predict_proba([texts[i] for i in held_out])
    learner.fit([*known, *rows])
    labelled = {row["id"] for row in rows}.union(answers.index)
    open_texts = [text for i, text in texts.items() if i not in labelled]
    codes = answers.map({label: float(i) for i, label in enumerate(classes)}.get).to_numpy(dtype=float)
    codes = codes[:, ~np.isnan(codes).all(0)]  # annotators without a label here
    with contextlib.redirect_stdout(io.StringIO()):  # cleanlab prints about annotators by number
        again, new = get_active_learning_scores(codes, probabilities, learner.predict_proba(open_texts))
    so_far = [", ".join(f"{name}: {label}" for name, label in row.dropna().items()) for _, row in answers.iterrows()]
    more = pd.DataFrame({"label": "again", "score": again, "so_far": so_far, "text": [texts[i] for i in answers.index]})
    more = more[answers.isna().any(axis=1).to_numpy()]  # somebody has not labelled it yet
    others = pd.DataFrame({"label": "new", "score": new, "so_far": "", "text": open_texts})
    return pd.concat([more, others]).sort_values("score", kind="stable", ignore_index=True)


def labellers(states: Iterable[dict[str, dict[str, dict]]]) -> tuple[dict[str, str], int]:
    """(record id → who labelled it, `oracle`, `teacher` or `person`; number of people), from the states of several folders.

    Nobody's name is in it. Where a person and a machine both labelled a record, it counts as the person's.
    """
    who: dict[str, str] = {}
    people: set[str] = set()
    for state in states:
        for name, answers in sorted(state.items(), key=lambda item: item[0] not in MACHINES):
            labelled = [record_id for record_id, answer in answers.items() if answer["label"] is not None]
            who |= dict.fromkeys(labelled, name if name in MACHINES else "person")
            if labelled and name not in MACHINES:
                people.add(name)
    return who, len(people)
