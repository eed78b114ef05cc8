"""How good a detector is: scores with intervals, by group, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, f1_score

from helpers.evaluation.groups import large_groups
from helpers.evaluation.intervals import bootstrap_interval, f1_otherwise, rate_difference, wilson_interval
from helpers.task import Task
from helpers.text import quoted


def macro_f1(truth: np.ndarray, predicted: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean F1 over the classes that occur in the truth or the predictions.

    `truth` and `predicted` are class indices, with rows along `axis`. scikit-learn scores one sample
    at a time; this counts all the draws of a bootstrap at once, for as many classes as there are.
    """
    truth, predicted = (np.moveaxis(np.asarray(values), axis, -1) for values in (truth, predicted))
    draws, classes = truth.shape[:-1], int(max(truth.max(), predicted.max())) + 1
    first = classes * np.arange(np.prod(draws, dtype=int)).reshape(*draws, 1)  # each draw has counters of its own

    def count(values: np.ndarray) -> np.ndarray:
        return np.bincount(values.ravel(), minlength=first.size * classes).reshape(*draws, classes)

    total = count(truth + first) + count(predicted + first)
    f1 = 2 * count((truth + first)[truth == predicted]) / np.maximum(total, 1)
    return f1.sum(-1) / (total > 0).sum(-1)  # a draw may lack a class


def macro_f1_interval(
    truth: np.ndarray, predicted: np.ndarray, draws: int = 300, clusters: Sequence | None = None
) -> tuple[float, float]:
    """95 % bootstrap interval of macro-F1 over rows; of a model without an error that of `_macro_f1_otherwise`."""
    otherwise = partial(_macro_f1_otherwise, truth, predicted)
    return bootstrap_interval(macro_f1, truth, predicted, draws=draws, clusters=clusters, otherwise=otherwise)


def _macro_f1_otherwise(truth: np.ndarray, predicted: np.ndarray, share: float) -> tuple[float, float]:
    """Lowest and highest macro-F1 if a share of the rows were answered otherwise, as far as one class has them.

    The lowest is that with all these errors in the class, and towards the class, where they cost most: of a rare class that
    is more than of accuracy.
    """
    classes = np.unique([truth, predicted])
    own, named = ((values == classes[:, None]).sum(1) for values in (truth, predicted))
    hits = ((truth == predicted) & (truth == classes[:, None])).sum(1)
    total, rest = own + named, 2 * hits / (own + named)
    worse, better, lost = f1_otherwise(hits, own, total, share * len(truth))
    received = rest - 2 * hits / (total + lost[:, None])  # what each class (columns) loses by the errors of each other
    np.fill_diagonal(received, 0)
    worst = (rest - worse + received.max(1)).max() / len(classes)
    return float(rest.mean() - worst), float(rest.mean() + (better - rest).max() / len(classes))


def sources(rows: Sequence[dict]) -> list[str]:
    """The text that each row was made from, by id: rows with the same one are no independent evidence."""
    return [r.get("parent_id") or r["id"] for r in rows]


def score_with_interval(
    truth: np.ndarray, answers: np.ndarray, draws: int = 300, clusters: Sequence | None = None
) -> dict[str, float]:
    """Macro-F1 with the bounds of its 95 % interval over rows (`macro_f1_interval`)."""
    low, high = macro_f1_interval(truth, answers, draws, clusters)
    return {"macro_f1": float(macro_f1(truth, answers)), "low": low, "high": high}


def paired_difference(
    truth: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    draws: int = 1000,
    seed: int = 0,
    clusters: Sequence | None = None,
) -> dict[str, float]:
    """Macro-F1 of `first` minus that of `second` on the same rows, with its 95 % paired bootstrap interval.

    Where both have given the same answers, it is what an answer of either to other rows may change.
    """

    def difference(truth, first, second, axis=-1):
        return macro_f1(truth, first, axis) - macro_f1(truth, second, axis)

    def otherwise(share: float) -> tuple[float, float]:
        score, gap = float(macro_f1(truth, first)), float(difference(truth, first, second))
        reach = max(abs(bound - score) for bound in _macro_f1_otherwise(truth, first, share))
        return gap - reach, gap + reach

    samples = truth, first, second
    low, high = bootstrap_interval(difference, *samples, draws=draws, seed=seed, clusters=clusters, otherwise=otherwise)
    return {"difference": float(difference(truth, first, second)), "low": low, "high": high}


def leads(
    predictions: dict[str, np.ndarray], truth: np.ndarray, draws: int = 1000, clusters: Sequence | None = None
) -> pd.DataFrame:
    """How far the first model is ahead of every other one: columns against, difference, low, high."""
    ours, *rivals = predictions
    rows = [
        {"against": name} | paired_difference(truth, predictions[ours], predictions[name], draws, clusters=clusters)
        for name in rivals
    ]
    return pd.DataFrame(rows, columns=["against", "difference", "low", "high"])


def compare_models(
    predictions: dict[str, np.ndarray],
    truth: np.ndarray,
    task: Task,
    draws: int = 1000,
    clusters: Sequence | None = None,
) -> pd.DataFrame:
    """One row per model: macro-F1 with its interval, F1 of the positive class, accuracy, count of rows.

    `predictions` has the classes that each model predicts, as int array (rows,).
    """
    positive, rows = task.labels.index(task.positive), []
    for name, predicted in predictions.items():
        f1 = f1_score(truth == positive, predicted == positive, zero_division=0)
        others = {f"f1_{task.positive}": f1, "accuracy": accuracy_score(truth, predicted), "count": len(truth)}
        rows.append({"model": name} | score_with_interval(truth, predicted, draws, clusters) | others)
    return pd.DataFrame(rows)


def compare_on_set(name: str, rows: list[dict], models: dict, task: Task) -> pd.DataFrame:
    """`compare_models` on the records of a further test set, whose name fills the first column."""
    truth, texts = np.array(task.index([r["label"] for r in rows])), [r["text"] for r in rows]
    answers = {model: learner.predict_proba(texts).argmax(1) for model, learner in models.items()}
    table = compare_models(answers, truth, task, clusters=sources(rows))
    table.insert(0, "set", name)
    return table


RATES = ("accuracy", "false_positive_rate", "false_negative_rate")
MEASURES = ("macro_f1", *RATES)  # of a group, each with the columns _low and _high
GROUP_COLUMNS = ["group", "count", "positives", "macro_f1", "accuracy", "selection_rate", *RATES[1:]]
GROUP_COLUMNS += [*(f"{name}_{end}" for name in MEASURES for end in ("low", "high")), "too_few"]


def group_table(
    truth: np.ndarray,
    predicted: np.ndarray,
    groups: Sequence[str],
    task: Task,
    smallest: int = 10,
    draws: int = 300,
    clusters: Sequence | None = None,
) -> pd.DataFrame:
    """Scores and rates of the positive class by group, each with its 95 % interval, lowest accuracy first.

    Computed by fairlearn's MetricFrame. What a group cannot have is NaN: a false-positive rate without
    a negative row, a macro-F1 of rows that are all of one class. `too_few` marks the groups under
    `smallest` rows, which stand last. Intervals of rates are Wilson's, those of macro-F1 bootstrapped.
    An empty name of a group reads "(none)".
    """
    from fairlearn.metrics import MetricFrame, count

    positive = task.labels.index(task.positive)
    frame = MetricFrame(
        metrics={
            "count": count,
            "positives": lambda t, p: int((t == positive).sum()),
            "macro_f1": lambda t, p: float(macro_f1(t, p)) if len(set(t)) > 1 else float("nan"),
            "accuracy": accuracy_score,
            "selection_rate": lambda t, p: float((p == positive).mean()),
            # A mean by pandas is NaN over no row, where fairlearn's own rates would be 0.
            "false_positive_rate": lambda t, p: pd.Series((p == positive)[t != positive]).mean(),
            "false_negative_rate": lambda t, p: pd.Series((p != positive)[t == positive]).mean(),
        },
        y_true=truth,
        y_pred=predicted,
        sensitive_features=(names := pd.Series(list(groups), name="group").replace("", "(none)")),
    )
    table = frame.by_group.reset_index().astype({"count": int, "positives": int})
    clusters = np.arange(len(truth)) if clusters is None else np.asarray(clusters)
    for i, name in table["group"].items():
        of = (names == name).to_numpy()
        low, high = float("nan"), float("nan")
        if len(set(truth[of])) > 1:
            low, high = macro_f1_interval(truth[of], predicted[of], draws, clusters[of])
        table.loc[i, ["macro_f1_low", "macro_f1_high"]] = low, high
        for rate, (hits, among) in _rates(truth, predicted, positive).items():
            bounds = wilson_interval(hits[of & among], clusters[of & among])
            table.loc[i, [f"{rate}_low", f"{rate}_high"]] = bounds
    table["too_few"] = table["count"] < smallest
    return table.sort_values(["too_few", "accuracy"], kind="stable", ignore_index=True)[GROUP_COLUMNS]


def _rates(truth: np.ndarray, predicted: np.ndarray, positive: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Each of RATES: the rows that it counts, and those it is a share of."""
    is_positive = truth == positive
    return {
        "accuracy": (predicted == truth, np.ones(len(truth), bool)),
        "false_positive_rate": (predicted == positive, ~is_positive),
        "false_negative_rate": (predicted != positive, is_positive),
    }


def equalized_odds(
    truth: np.ndarray,
    predicted: np.ndarray,
    groups: dict[str, Sequence[str]],
    task: Task,
    smallest: int = 10,
    clusters: Sequence | None = None,
) -> pd.DataFrame:
    """By column of `groups`: the larger of the gaps in false-positive and false-negative rate (Hardt et al. 2016).

    Compared are the groups with at least `smallest` rows of the positive class and as many others; a
    column without two of them has no row. The row names the rate, the groups with its highest and
    lowest value, and the gap with its 95 % interval, which allows for the choice among all pairs.
    """
    clusters, rows = np.arange(len(truth)) if clusters is None else np.asarray(clusters), []
    rates = _rates(truth, predicted, task.labels.index(task.positive))
    rates = {name: rates[name] for name in RATES[1:]}
    for column, names in groups.items():
        members = large_groups(names, smallest)
        members = {n: of for n, of in members.items() if all((of & a).sum() >= smallest for _, a in rates.values())}
        gaps = []
        for rate, (hits, among) in rates.items():
            ordered = sorted(members, key=lambda name: hits[members[name] & among].mean())
            if len(ordered) > 1:
                high, low = (members[name] & among for name in (ordered[-1], ordered[0]))
                tests = len(ordered) * (len(ordered) - 1)  # pairs of groups, for both rates
                difference = rate_difference(hits[high], hits[low], (clusters[high], clusters[low]), tests)
                gaps.append([column, len(members), rate, ordered[-1], ordered[0], *difference])
        rows += [max(gaps, key=lambda gap: gap[5])] if gaps else []
    columns = ["group_column", "groups_compared", "rate", "highest", "lowest", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def calibration(truth: np.ndarray, probabilities: np.ndarray) -> tuple[pd.DataFrame, float]:
    """Confidence against accuracy in ten bins, and the expected calibration error (Guo et al. 2017).

    `probabilities` is a float array (rows, classes). The table has a row per bin that is not empty.
    """
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == truth
    bins = _confidence_bins(probabilities)
    rows = pd.DataFrame({"confidence": confidence, "accuracy": correct, "count": 1}).groupby(bins)
    table = rows.agg({"confidence": "mean", "accuracy": "mean", "count": "sum"}).reset_index(drop=True)
    error = np.average((table.confidence - table.accuracy).abs(), weights=table["count"])
    return table, float(error)


def calibration_summary(
    truth: np.ndarray, probabilities: np.ndarray, draws: int = 1000, seed: int = 0
) -> dict[str, float]:
    """The expected calibration error beside what chance alone gives on so many rows.

    `by_chance` is the 95 % quantile of the error where every answer is right with exactly the
    probability that its confidence states (consistency resampling, Bröcker and Smith 2007). An error
    beyond it is miscalibration; under it, none is proven.
    """
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == truth
    bins = _confidence_bins(probabilities)
    occurs = np.eye(10)[bins]  # (rows, bins)
    simulated = np.random.default_rng(seed).random((draws, len(truth))) < confidence
    errors = np.abs((simulated - confidence) @ occurs).sum(1) / len(truth)
    return {
        "calibration_error": float(np.abs((correct - confidence) @ occurs).sum() / len(truth)),
        "by_chance": float(np.quantile(errors, 0.95)),
        "mean_confidence": float(confidence.mean()),
        "accuracy": float(correct.mean()),
    }


def _confidence_bins(probabilities: np.ndarray) -> np.ndarray:
    """The bin (rows,), 0 to 9, of each row's confidence."""
    edges = np.linspace(1 / probabilities.shape[1], 1, 11)  # the likeliest of k classes has at least 1/k
    return np.digitize(probabilities.max(1), edges[1:-1])


def worst_pairs(counts: np.ndarray, labels: Sequence[str], rows: int = 30) -> pd.DataFrame:
    """The most frequent confusions, commonest first: columns label, answer, count.

    `counts` has the number of rows by true label (rows) and answer (columns).
    """
    wrong = np.where(np.eye(len(labels), dtype=bool), 0, counts)
    order = np.argsort(-wrong, axis=None, kind="stable")[: min(rows, np.count_nonzero(wrong))]
    truth, answers = np.unravel_index(order, wrong.shape)
    named = np.array(labels, dtype=object)
    return pd.DataFrame({"label": named[truth], "answer": named[answers], "count": wrong[truth, answers]})


def untrained(training: list[dict], task: Task) -> str:
    """A sentence on the labels that no training row has; '' where each has one."""
    absent = [label for label in task.labels if label not in {r["label"] for r in training}]
    if not absent:
        return ""
    names = ", ".join(map(quoted, absent[:10])) + (", …" if len(absent) > 10 else "")
    return f"No training row has the label {names}: the models below have never seen it, label some texts of it in 03."


def prediction_table(rows: list[dict], probabilities: np.ndarray, task: Task) -> pd.DataFrame:
    """One row per record: id (and the data's own), text, label, the model's answer and its confidence."""
    answers = [task.labels[i] for i in probabilities.argmax(1)]
    own = ["own_id"] if any(r.get("own_id") for r in rows) else []
    table = pd.DataFrame(rows, columns=["id", *own, "text", "label"])
    return table.assign(answer=answers, confidence=probabilities.max(1))
