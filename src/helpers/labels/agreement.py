"""How far annotators agree: Krippendorff's alpha, Cohen's kappa, self-consistency, and the report of them.

Most functions take the DataFrame that `table` returns: one row a record, one column an annotator, None where there is no
label. An undefined figure is NaN and has its reason beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from helpers.env import UserError
from helpers.labels.log import ADJUDICATOR

FEWEST = 10  # shared records below which a bootstrap over them says nothing


def table(annotations: dict[str, dict[str, dict]]) -> pd.DataFrame:
    """Labels as text by record and annotator, None where there is none; without the adjudicator."""
    people = [name for name in annotations if name != ADJUDICATOR]
    labels = {
        (record_id, name): str(state["label"])
        for name in people
        for record_id, state in annotations[name].items()
        if state["label"] is not None
    }
    ids = list(dict.fromkeys(record_id for record_id, _ in labels))
    cells = [[labels.get((record_id, name)) for name in people] for record_id in ids]
    return pd.DataFrame(cells, index=pd.Index(ids, name="id"), columns=people, dtype=object)


def counts(answers: pd.DataFrame, order: Sequence[str] | None = None) -> tuple[np.ndarray, list[str]]:
    """How often each record got each class, an int array (records, classes), and the classes in `order` or sorted."""
    cells = answers.to_numpy(dtype=object)
    used = sorted(set(cells[pd.notna(cells)]))
    classes = used if order is None else list(order)
    if missing := sorted(set(used).difference(classes)):
        raise UserError(f"Label {missing[0]!r} is not in the order given ({', '.join(classes)}).")
    places, has_label = {label: i for i, label in enumerate(classes)}, pd.notna(cells)
    numbers = np.zeros((len(answers), len(classes)), dtype=int)
    np.add.at(numbers, (np.nonzero(has_label)[0], [places[label] for label in cells[has_label]]), 1)
    return numbers, classes


def alpha(answers: pd.DataFrame, order: Sequence[str] | None = None, draws: int = 500) -> dict:
    """Krippendorff's α (2011) of the table, with a 95 % bootstrap interval over records.

    With `order`, the classes from lowest to highest, α is ordinal; without it, nominal. The dict has `value`, `low`,
    `high`, `n` (records labelled at least twice) and `reason` (why a figure is undefined).
    """
    numbers, classes = counts(answers, order)
    shared = numbers[numbers.sum(1) >= 2]
    result = {"value": np.nan, "low": np.nan, "high": np.nan, "n": len(shared), "reason": ""}
    if not numbers.sum():
        return result | {"reason": "no labels"}
    if answers.notna().any().sum() < 2:
        return result | {"reason": "only one annotator"}
    if not len(shared):
        return result | {"reason": "no record was labelled by two annotators"}
    used = np.flatnonzero(shared.sum(0))
    if len(used) == 1:
        only = classes[used[0]]
        return result | {"reason": f"every shared label is {only!r}: agreement beyond chance has no meaning"}
    # Records with the same counts are alike, so a bootstrap sample is a multinomial draw over these patterns: all
    # samples at once, where scipy.stats.bootstrap would resample the records and give NaN for any one-class sample.
    patterns, times = np.unique(shared, axis=0, return_counts=True)
    result["value"] = float(_alphas(patterns, times[None], order is not None)[0])
    if len(shared) < FEWEST:
        return result | {"reason": f"fewer than {FEWEST} shared records: no interval"}
    samples = np.random.default_rng(0).multinomial(len(shared), times / times.sum(), draws)
    values = _alphas(patterns, samples, order is not None)
    values = values[~np.isnan(values)]
    if not len(values):
        return result | {"reason": "too few for an interval"}
    low, high = np.quantile(values, [0.025, 0.975])
    return result | {"low": float(low), "high": float(high)}


def _alphas(patterns: np.ndarray, times: np.ndarray, ordinal: bool) -> np.ndarray:
    """α for every row of `times` (samples, patterns); NaN where only one class occurs.

    Sums of squares stand for the matrix of coincidences, which would have the square of the number of classes.
    """
    patterns = patterns.astype(float)
    labels = patterns.sum(1)
    margin = times @ patterns
    total = margin.sum(1)
    if ordinal:  # a distance is the square of a difference of ranks
        ranks = np.cumsum(margin, 1) - margin / 2 - total[:, None] / 2  # mean rank of a class, from the middle
        apart = labels * (ranks**2 @ patterns.T) - (ranks @ patterns.T) ** 2
        by_chance = total * (margin * ranks**2).sum(1)
    else:
        apart = (labels**2 - (patterns**2).sum(1)) / 2
        by_chance = (total**2 - (margin**2).sum(1)) / 2
    disagreement = (times * apart / (labels - 1)).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = 1 - disagreement * (total - 1) / by_chance
    return np.where((margin > 0).sum(1) > 1, values, np.nan)


def kappas(answers: pd.DataFrame) -> pd.DataFrame:
    """Cohen's κ of every two annotators: columns a, b, kappa, n (shared records), reason where κ is undefined."""
    cells = answers.to_numpy(dtype=object)
    labelled = answers.notna().to_numpy().astype(float)
    shared = labelled.T @ labelled
    equal, by_chance = np.zeros_like(shared), np.zeros_like(shared)
    for label in pd.unique(cells[labelled > 0]):  # all pairs in one product: hundreds of annotators take as long as two
        has_label = (cells == label).astype(float)
        equal += has_label.T @ has_label
        marginal = has_label.T @ labelled  # how often the one gave it where the other labelled too
        by_chance += marginal * marginal.T
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


def self_consistency(annotations: dict[str, dict[str, dict]]) -> pd.DataFrame:
    """Annotators against themselves on repeated records: columns annotator, share (of equal labels), kappa, n, reason."""
    rows = []
    for name, answers in annotations.items():
        labelled = [state for state in answers.values() if state["label"] is not None]
        pairs = [(str(state["label"]), str(again)) for state in labelled for again in state["repeats"]]
        if pairs:
            both = pd.DataFrame(pairs, columns=["first", "again"], dtype=object)
            share = float((both["first"] == both["again"]).mean())
            rows.append({"annotator": name, "share": share} | kappas(both).to_dict("records")[0])
    return pd.DataFrame(rows, columns=["annotator", "share", "kappa", "n", "reason"])


def summary(
    annotations: dict[str, dict[str, dict]],
    records: list[dict] | None = None,
    groups: Sequence[str] = (),
    order: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The agreement report: α, the share of records with different labels, κ per pair, self-consistency.

    α is computed over all records, per class (one against the rest) and per value of each group column of `records`: a
    group on which annotators differ is itself a finding. With `order`, the classes from lowest to highest, also ordinal
    α. Columns: measure, subset, value, low, high, n, reason.
    """
    answers = table(annotations)
    overall, classes = alpha(answers), counts(answers, order)[1]
    subsets = _group_masks(answers.index, records or [], groups)
    if not overall["n"]:
        subsets, classes = [], []  # the first row gives the reason once
    rows = [{"measure": "alpha", "subset": "all"} | overall]
    if order is not None:
        rows.append({"measure": "alpha (ordinal)", "subset": "all"} | alpha(answers, order))
    rows += [{"measure": "alpha", "subset": name} | alpha(answers[mask]) for name, mask in subsets]
    for name in classes:
        against_rest = answers.where(answers.isna() | (answers == name), f"not {name}")
        rows.append({"measure": "alpha", "subset": f"label={name}"} | alpha(against_rest))
    for name, mask in [("all", slice(None)), *subsets]:
        rows.append({"measure": "records that differ", "subset": name} | _differing(answers[mask]))
    pairs = kappas(answers).rename(columns={"kappa": "value"})
    pairs = pairs.assign(measure="kappa", subset=pairs["a"] + " – " + pairs["b"])
    rows += pairs[pairs["n"] > 0].to_dict("records")
    for row in self_consistency(annotations).to_dict("records"):
        facts = {"subset": row["annotator"], "n": row["n"]}
        rows.append({"measure": "self-consistency", "value": row["share"], "reason": ""} | facts)
        rows.append({"measure": "self-kappa", "value": row["kappa"], "reason": row["reason"]} | facts)
    return pd.DataFrame(rows, columns=["measure", "subset", "value", "low", "high", "n", "reason"])


def _group_masks(ids: pd.Index, records: list[dict], groups: Sequence[str]) -> list[tuple[str, np.ndarray]]:
    """(`column=value`, mask over the ids) of every value of every group column, the commonest first."""
    by_id = {row["id"]: row for row in records}
    masks = []
    for group in groups:
        values = np.array([str(by_id.get(i, {}).get(group, "") or "(none)") for i in ids], dtype=object)
        masks += [(f"{group}={value}", values == value) for value, _ in Counter(values).most_common()]
    return masks


def _differing(answers: pd.DataFrame) -> dict:
    """Share of the records with two labels or more whose labels differ, with Wilson's 95 % interval."""
    from scipy.stats import binomtest  # slow to import

    numbers, _ = counts(answers)
    shared = numbers[numbers.sum(1) >= 2]
    if not len(shared):
        return {"value": np.nan, "n": 0, "reason": "no record was labelled by two annotators"}
    differ = int(((shared > 0).sum(1) > 1).sum())
    low, high = binomtest(differ, len(shared)).proportion_ci(method="wilson")
    return {"value": differ / len(shared), "low": low, "high": high, "n": len(shared), "reason": ""}
