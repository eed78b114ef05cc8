"""How far annotators agree: Krippendorff's alpha, Cohen's kappa, self-consistency, and the report of them.

Most functions take the table of labels that `table` gives: one row a record, one column an annotator, None where there is
no label. A figure that is undefined is NaN with the reason beside it, never NaN alone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from helpers.env import UserError
from helpers.labels.log import ADJUDICATOR

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
