"""What the labels of several annotators come to together: majority, Dawid and Skene, what to settle, what to label next.

Functions take the state of `labels.annotations`, or the table of labels that `agreement.table` makes of it.
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
    """Record id → `label` (None where undecided), `decided` (how), `labels` (by annotator) and `votes` (of the commonest).

    `decided` is `adjudicator`, `majority`, `only one`, `tie`, or '' where nobody gave a label. A skip is no label.
    """
    given: dict[str, dict[str, Any]] = {}
    for name, answers in annotations.items():
        for record, state in answers.items():
            own = given.setdefault(record, {})
            if comparable(state["label"], field) is not None:
                own[name] = state["label"]
    return {record: _decide(own, field) for record, own in given.items()}


def _decide(own: dict[str, Any], field: str | None) -> dict:
    settled = own.pop(ADJUDICATOR, None)
    first = {
        comparable(label, field): label for label in reversed(own.values())
    }  # labels that compare as equal are one
    votes = Counter(comparable(label, field) for label in own.values()).most_common(2)
    result = {"label": None, "decided": "", "labels": own, "votes": votes[0][1] if votes else 0}
    if settled is not None:
        return result | {"label": settled, "decided": ADJUDICATOR}
    if not votes:
        return result
    if len(votes) == 2 and votes[0][1] == votes[1][1]:
        return result | {"decided": "tie"}
    return result | {"label": first[votes[0][0]], "decided": "majority" if len(own) > 1 else "only one"}


def disagreements(
    annotations: dict[str, dict[str, dict]], records: list[dict] | None = None, field: str | None = None
) -> list[dict]:
    """Records that got different labels and no decision of the adjudicator yet, most contested first.

    Each has id, text, labels, spans, notes (by annotator), flags (who flagged it) and contested (share of labels that are
    not the commonest one).
    """
    texts = {r["id"]: r["text"] for r in records or []}
    found = []
    for record, one in decisions(annotations, field).items():
        if one["decided"] != ADJUDICATOR and one["votes"] < len(one["labels"]):
            row = {"id": record, "text": texts.get(record, ""), "labels": one["labels"]}
            found.append(row | remarks(annotations, record) | {"contested": 1 - one["votes"] / len(one["labels"])})
    return sorted(found, key=lambda row: (-row["contested"], -len(row["labels"])))


def remarks(annotations: dict[str, dict[str, dict]], record: str) -> dict[str, Any]:
    """What annotators left with a record beside the label: spans and notes by annotator, flags (who)."""
    own = {name: answers[record] for name, answers in annotations.items() if name != ADJUDICATOR and record in answers}
    return {
        "spans": {name: state["spans"] for name, state in own.items() if state["spans"]},
        "notes": {name: state["note"] for name, state in own.items() if state["note"]},
        "flags": [name for name, state in own.items() if state["flagged"]],
    }


def dawid_skene(answers: pd.DataFrame, rounds: int = 100) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(probability of every class for every record, error matrices by annotator and given label) of Dawid and Skene (1979).

    Annotators count by how reliable they turn out to be, so two careful ones can outvote three careless ones.
    """
    from crowdkit.aggregation import DawidSkene

    long = answers.stack().dropna().reset_index()
    long.columns = ["task", "worker", "label"]
    if long.empty:
        raise UserError("There are no labels to aggregate: label first, or name the folder with the .jsonl logs.")
    model = DawidSkene(n_iter=rounds)
    probabilities = model.fit_predict_proba(long.astype(str))
    return probabilities.reindex(answers.index), model.errors_


def label_next(
    answers: pd.DataFrame, probabilities: np.ndarray, classes: Sequence[str], unlabelled: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """ActiveLab scores, lowest first to be labelled: of the table's records (again) and of unlabelled ones (anew).

    `probabilities` (records × classes) and `unlabelled` are the model's, columns in the order of `classes`; every record
    of the table needs at least one label. Goh and Mueller (2023), by cleanlab.
    """
    from cleanlab.multiannotator import get_active_learning_scores

    if answers.isna().all(axis=1).any():
        raise UserError(
            f"Record {answers.index[answers.isna().all(axis=1)][0]!r} has no label: leave it out of the table."
        )
    place = {label: float(i) for i, label in enumerate(classes)}
    if unknown := {label for label in answers.to_numpy(dtype=object).ravel() if pd.notna(label)} - place.keys():
        raise UserError(f"Label {sorted(unknown)[0]!r} is not in the task's labels ({', '.join(classes)}).")
    codes = answers.map(lambda label: place.get(label, np.nan)).to_numpy(dtype=float)
    with contextlib.redirect_stdout(io.StringIO()):  # it talks of annotators by number
        return get_active_learning_scores(codes[:, ~np.isnan(codes).all(0)], probabilities, unlabelled)


def worth_labelling(
    annotations: dict[str, dict[str, dict]], known: list[dict], pool: list[dict], classes: Sequence[str], learner: Any
) -> pd.DataFrame:
    """Texts of the pool in the order in which one more label is worth most: columns label, score, so_far, text.

    `label` is `again` (by somebody who has not labelled it) or `new`. `learner` is fitted on the labelled rows `known`
    and on what annotators decided; a labelled text is judged by a fit that has not seen its fifth of them. Texts that
    everybody labelled are the adjudicator's and left out. Scores as in `label_next`, lowest first.
    """
    texts = {r["id"]: r["text"] for r in pool}
    answers = table(annotations)
    answers = answers.where(answers.isin(list(classes)), None)
    answers = answers[answers.notna().any(axis=1) & answers.index.isin(list(texts))]
    if answers.empty:
        return pd.DataFrame(columns=["label", "score", "so_far", "text"])
    decided = {i: one["label"] for i, one in decisions(annotations).items() if one["label"] in classes and i in texts}
    rows = [{"id": i, "text": texts[i], "label": label} for i, label in decided.items()]
    probabilities = np.zeros((len(answers), len(classes)))
    fold = np.arange(len(answers)) % 5
    for k in range(min(5, len(answers))):
        held = set(answers.index[fold == k])
        learner.fit([*known, *(r for r in rows if r["id"] not in held)])
        probabilities[fold == k] = learner.predict_proba([texts[i] for i in answers.index[fold == k]])
    learner.fit([*known, *rows])
    fresh = [i for i in texts if i not in decided and i not in answers.index]
    again, new = label_next(answers, probabilities, classes, learner.predict_proba([texts[i] for i in fresh]))
    so_far = [
        ", ".join(f"{name}: {label}" for name, label in row.items() if label) for row in answers.to_dict("records")
    ]
    left = answers.isna().any(axis=1).to_numpy()
    found = pd.DataFrame(
        {"label": "again", "score": again, "so_far": so_far, "text": [texts[i] for i in answers.index]}
    )
    others = pd.DataFrame({"label": "new", "score": new, "so_far": "", "text": [texts[i] for i in fresh]})
    return pd.concat([found[left], others]).sort_values("score", kind="stable", ignore_index=True)
