"""How far annotators agree, which records they differ on, and what their labels come to together.

Most functions take the table of labels that `table` gives: one row a record, one column an annotator, None where there is
no label. A figure that is undefined is NaN with the reason beside it, never NaN alone.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from helpers.env import UserError
from helpers.labels import ADJUDICATOR

COLUMNS = ["measure", "subset", "value", "low", "high", "n", "reason"]


def table(annotations: dict[str, dict[str, dict]], field: str | None = None) -> pd.DataFrame:
    """Labels as record id × annotator from `labels.annotations`, the adjudicator left out; None where there is none.

    `field` takes one field of labels with several; without it such a label counts as a whole. Labels of several choices
    are joined in sorted order.
    """
    columns = {
        name: {record: comparable(s["label"], field) for record, s in answers.items() if s["label"] is not None}
        for name, answers in annotations.items()
        if name != ADJUDICATOR
    }
    if field is not None:
        columns = {
            name: {r: label for r, label in given.items() if label is not None} for name, given in columns.items()
        }
        if not any(columns.values()):
            raise UserError(f"No label has a field {field!r}: leave the field out, or check its name in the task.")
    ids = list(dict.fromkeys(record for column in columns.values() for record in column))
    place = {record: i for i, record in enumerate(ids)}
    cells = np.full((len(ids), len(columns)), None, dtype=object)
    for j, column in enumerate(columns.values()):
        for record, label in column.items():
            cells[place[record], j] = label
    return pd.DataFrame(cells, index=pd.Index(ids, name="id"), columns=list(columns), dtype=object)


def comparable(label: Any, field: str | None = None) -> str | None:
    """A label as one string, so that labels of every kind compare."""
    if field is not None:
        label = label.get(field) if isinstance(label, dict) else None
    if label is None:
        return None
    if isinstance(label, list):
        return " + ".join(sorted(map(str, label))) or "(none)"
    return json.dumps(label, ensure_ascii=False, sort_keys=True) if isinstance(label, dict) else str(label)


def counts(answers: pd.DataFrame, order: Sequence[str] | None = None) -> tuple[np.ndarray, list[str]]:
    """(records × classes) numbers of labels, and the classes in `order` or sorted."""
    codes, classes = pd.factorize(answers.to_numpy(dtype=object).ravel(), sort=order is None)
    classes = list(classes)
    if order is not None:
        if missing := [c for c in classes if c not in order]:
            raise UserError(f"Label {missing[0]!r} is not in the order given ({', '.join(order)}).")
        codes = np.array([*(list(order).index(c) for c in classes), -1])[codes]
        classes = list(order)
    rows = np.repeat(np.arange(len(answers)), answers.shape[1])
    size, given = len(classes), codes >= 0
    flat = np.bincount(rows[given] * size + codes[given], minlength=len(answers) * size)
    return flat.reshape(len(answers), size), classes


# --- Krippendorff's alpha --------------------------------------------------------------------------------------------


def alpha(answers: pd.DataFrame, order: Sequence[str] | None = None, draws: int = 500, seed: int = 0) -> dict:
    """Krippendorff's α of the table: value, low, high (95 % bootstrap over records), n (records labelled twice), reason.

    Nominal; ordinal where `order` gives the classes from lowest to highest.
    """
    numbers, classes = counts(answers, order)
    people = int((answers.notna().to_numpy().sum(0) > 0).sum())
    return alpha_of_counts(numbers, classes, people, ordinal=order is not None, draws=draws, seed=seed)


def alpha_of_counts(
    numbers: np.ndarray, classes: Sequence[str], people: int = 2, ordinal: bool = False, draws: int = 500, seed: int = 0
) -> dict:
    """As `alpha`, from (records × classes) numbers of labels; a record with fewer than two says nothing."""
    shared = numbers[numbers.sum(1) >= 2]
    result = {"value": np.nan, "low": np.nan, "high": np.nan, "n": len(shared), "reason": ""}
    if not numbers.sum():
        return result | {"reason": "no labels"}
    if people < 2:
        return result | {"reason": "only one annotator"}
    if not len(shared):
        return result | {"reason": "no record was labelled by two annotators"}
    used = np.flatnonzero(shared.sum(0))
    if len(used) == 1:
        return result | {
            "reason": f"every shared label is {classes[used[0]]!r}: agreement beyond chance has no meaning"
        }
    # Records with the same numbers are alike: a draw of records is a draw of how often each pattern comes.
    patterns, times = np.unique(shared, axis=0, return_counts=True)
    result["value"] = float(_alphas(patterns, times[None], ordinal)[0])
    if len(shared) == 1:
        return result | {"reason": "one shared record: no interval"}
    drawn = _alphas(patterns, np.random.default_rng(seed).multinomial(len(shared), times / times.sum(), draws), ordinal)
    drawn = drawn[~np.isnan(drawn)]  # a draw may hit one class only
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (np.nan, np.nan)
    return result | {"low": float(low), "high": float(high), "reason": "" if len(drawn) else "too few for an interval"}


def _alphas(patterns: np.ndarray, times: np.ndarray, ordinal: bool) -> np.ndarray:
    """α for every row of `times` (draws × patterns), by the coincidence matrix; NaN where only one class comes."""
    size = patterns.shape[1]
    pairs = patterns[:, :, None] * patterns[:, None, :] - patterns[:, :, None] * np.eye(size)
    coincidences = pairs / (patterns.sum(1) - 1)[:, None, None]
    observed = (times @ coincidences.reshape(len(patterns), -1)).reshape(-1, size, size)
    margin = observed.sum(2)
    if ordinal:
        below = np.cumsum(margin, 1) - margin / 2  # ranks: half of one's own class lies below
        distance = (below[:, :, None] - below[:, None, :]) ** 2
    else:
        distance = 1 - np.eye(size)[None]
    disagreement = (observed * distance).sum((1, 2))
    by_chance = (margin[:, :, None] * margin[:, None, :] * distance).sum((1, 2)) / (margin.sum(1) - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(by_chance > 0, 1 - disagreement / by_chance, np.nan)


# --- pairs and oneself -----------------------------------------------------------------------------------------------


def kappas(answers: pd.DataFrame) -> pd.DataFrame:
    """Cohen's κ of every two annotators: columns a, b, kappa, n (shared records), reason where κ is undefined."""
    cells = answers.to_numpy(dtype=object)
    given = answers.notna().to_numpy().astype(float)
    shared = given.T @ given
    equal, by_chance = np.zeros_like(shared), np.zeros_like(shared)
    for name in pd.unique(cells[given > 0]):  # all pairs in one product: hundreds of annotators take no longer than two
        chosen = (cells == name).astype(float)
        equal += chosen.T @ chosen
        said = chosen.T @ given  # how often the one said it where the other answered too
        by_chance += said * said.T
    rows = []
    for i, j in zip(*np.triu_indices(answers.shape[1], 1), strict=True):
        n, reason, kappa = int(shared[i, j]), "", np.nan
        if not n:
            reason = "no record labelled by both"
        elif by_chance[i, j] == n * n:
            reason = "every shared label is the same one"
        else:
            kappa = (equal[i, j] / n - by_chance[i, j] / n**2) / (1 - by_chance[i, j] / n**2)
        rows.append((answers.columns[i], answers.columns[j], kappa, n, reason))
    return pd.DataFrame(rows, columns=["a", "b", "kappa", "n", "reason"])


def matrix(pairs: pd.DataFrame, value: str = "kappa") -> pd.DataFrame:
    """Annotator × annotator from `kappas`: κ, or with value="n" the number of shared records; the diagonal is empty."""
    both = pd.concat([pairs, pairs.rename(columns={"a": "b", "b": "a"})])
    return both.pivot(index="a", columns="b", values=value).rename_axis(index=None, columns=None)


def self_consistency(annotations: dict[str, dict[str, dict]], field: str | None = None) -> pd.DataFrame:
    """Annotators against themselves on repeated records: columns annotator, share (equal), kappa, n, reason."""
    rows = []
    for name, answers in annotations.items():
        pairs = [
            (comparable(s["label"], field), comparable(again, field))
            for s in answers.values()
            for again in s["repeats"]
            if s["label"] is not None
        ]
        if pairs:
            both = pd.DataFrame(pairs, columns=["first", "again"], dtype=object)
            figures = kappas(both).to_dict("records")[0]
            share = {"annotator": name, "share": float((both["first"] == both["again"]).mean())}
            rows.append(share | {k: figures[k] for k in ("kappa", "n", "reason")})
    return pd.DataFrame(rows, columns=["annotator", "share", "kappa", "n", "reason"])


# --- what the labels come to together --------------------------------------------------------------------------------


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


# --- the report ------------------------------------------------------------------------------------------------------


def summary(
    annotations: dict[str, dict[str, dict]],
    records: list[dict] | None = None,
    groups: Sequence[str] = (),
    field: str | None = None,
    order: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Tidy rows for people: columns measure, subset, value, low, high, n, reason.

    α over all, per class (one against the rest) and per value of each group column, where a group that annotators differ
    on is itself a finding; the share of shared records with different labels likewise; κ per pair; self-consistency.
    """
    answers = table(annotations, field)
    numbers, classes = counts(answers, order)
    people = int((answers.notna().to_numpy().sum(0) > 0).sum())
    subsets = [("all", np.ones(len(answers), bool))]
    if people < 2 or not (numbers.sum(1) >= 2).any():
        groups, classes = (), []  # the reason stands in the first row, not in every one
    subsets += _group_masks(answers.index, records or [], groups)
    rows = [
        {"measure": "alpha", "subset": name} | alpha_of_counts(numbers[mask], classes, people) for name, mask in subsets
    ]
    if order is not None:
        ordinal = alpha_of_counts(numbers, classes, people, ordinal=True)
        rows.insert(1, {"measure": "alpha (ordinal)", "subset": "all"} | ordinal)
    for i, name in enumerate(classes):
        against = np.stack([numbers[:, i], numbers.sum(1) - numbers[:, i]], 1)
        label = {"measure": "alpha", "subset": f"label={name}"}
        rows.append(label | alpha_of_counts(against, [name, f"not {name}"], people))
    rows += [{"measure": "records that differ", "subset": name} | _differing(numbers[mask]) for name, mask in subsets]
    for row in kappas(answers).to_dict("records"):
        if row["n"]:
            facts = {"value": row["kappa"], "n": row["n"], "reason": row["reason"]}
            rows.append({"measure": "kappa", "subset": f"{row['a']} – {row['b']}"} | facts)
    for row in self_consistency(annotations, field).to_dict("records"):
        facts = {"subset": row["annotator"], "n": row["n"]}
        rows.append({"measure": "self-consistency", "value": row["share"], "reason": ""} | facts)
        rows.append({"measure": "self-kappa", "value": row["kappa"], "reason": row["reason"]} | facts)
    return pd.DataFrame(rows, columns=COLUMNS)


def _group_masks(ids: pd.Index, records: list[dict], groups: Sequence[str]) -> list[tuple[str, np.ndarray]]:
    by_id = {r["id"]: r for r in records}
    masks = []
    for group in groups:
        values = np.array([str(by_id.get(record, {}).get(group, "") or "(none)") for record in ids], dtype=object)
        masks += [(f"{group}={value}", values == value) for value, _ in Counter(values).most_common()]
    return masks


def _differing(numbers: np.ndarray) -> dict:
    """Share of the records with two labels or more that got different ones, with Wilson's 95 % interval."""
    from scipy.stats import binomtest

    shared = numbers[numbers.sum(1) >= 2]
    if not len(shared):
        return {"value": np.nan, "n": 0, "reason": "no record was labelled by two annotators"}
    differ = int(((shared > 0).sum(1) > 1).sum())
    low, high = binomtest(differ, len(shared)).proportion_ci(method="wilson")
    return {"value": differ / len(shared), "low": low, "high": high, "n": len(shared), "reason": ""}
