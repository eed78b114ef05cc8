"""How good a detector is: scores with intervals, by group, calibration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, f1_score

from helpers.evaluation.intervals import bootstrap_interval
from helpers.task import Task
from helpers.text import quoted


def macro_f1(truth: np.ndarray, predicted: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean F1 over the classes that occur in the truth or the predictions.

    `truth` and `predicted` are class indices, with rows along `axis`. scikit-learn scores one sample
    at a time; this formula scores all the draws of a bootstrap at once.
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    scores = []
    for label in np.union1d(truth, predicted):
        true, positive = truth == label, predicted == label
        count = true.sum(axis) + positive.sum(axis)
        f1 = 2 * (true & positive).sum(axis) / np.maximum(count, 1)
        scores.append(np.where(count > 0, f1, np.nan))  # a draw may lack a class
    return np.nanmean(scores, axis=0)


def score_with_interval(truth: np.ndarray, answers: np.ndarray, draws: int = 300) -> dict[str, float]:
    """Macro-F1 with the bounds of its 95 % bootstrap interval over rows."""
    low, high = bootstrap_interval(macro_f1, truth, answers, draws=draws)
    return {"macro_f1": float(macro_f1(truth, answers)), "low": low, "high": high}


def paired_difference(
    truth: np.ndarray, first: np.ndarray, second: np.ndarray, draws: int = 1000, seed: int = 0
) -> dict[str, float]:
    """Macro-F1 of `first` minus that of `second` on the same rows, with its 95 % paired bootstrap interval."""

    def difference(truth, first, second, axis=-1):
        return macro_f1(truth, first, axis) - macro_f1(truth, second, axis)

    low, high = bootstrap_interval(difference, truth, first, second, draws=draws, seed=seed)
    return {"difference": float(difference(truth, first, second)), "low": low, "high": high}


def compare_models(
    predictions: dict[str, np.ndarray], truth: np.ndarray, task: Task, draws: int = 1000
) -> pd.DataFrame:
    """One row per model: macro-F1 with its interval, F1 of the positive class, accuracy, count of rows.

    `predictions` has the classes that each model predicts, as int array (rows,).
    """
    positive, rows = task.labels.index(task.positive), []
    for name, predicted in predictions.items():
        f1 = f1_score(truth == positive, predicted == positive, zero_division=0)
        others = {f"f1_{task.positive}": f1, "accuracy": accuracy_score(truth, predicted), "count": len(truth)}
        rows.append({"model": name} | score_with_interval(truth, predicted, draws) | others)
    return pd.DataFrame(rows)


def compare_on_set(name: str, rows: list[dict], models: dict, task: Task) -> pd.DataFrame:
    """`compare_models` on the records of a further test set, whose name fills the first column."""
    truth, texts = np.array(task.index([r["label"] for r in rows])), [r["text"] for r in rows]
    answers = {model: learner.predict_proba(texts).argmax(1) for model, learner in models.items()}
    table = compare_models(answers, truth, task)
    table.insert(0, "set", name)
    return table


def group_table(truth: np.ndarray, predicted: np.ndarray, groups: Sequence[str], task: Task) -> pd.DataFrame:
    """Scores and rates of the positive class by group, lowest accuracy first.

    Computed by fairlearn's MetricFrame. A rate over no row is NaN, such as the false-positive rate
    of a group that has only positives. An empty name of a group reads "(none)".
    """
    from fairlearn.metrics import MetricFrame, count

    positive = task.labels.index(task.positive)
    frame = MetricFrame(
        metrics={
            "count": count,
            "positives": lambda t, p: int((t == positive).sum()),
            "macro_f1": macro_f1,
            "accuracy": accuracy_score,
            "selection_rate": lambda t, p: float((p == positive).mean()),
            # A mean by pandas is NaN over no row, where fairlearn's own rates would be 0.
            "false_positive_rate": lambda t, p: pd.Series((p == positive)[t != positive]).mean(),
            "false_negative_rate": lambda t, p: pd.Series((p != positive)[t == positive]).mean(),
        },
        y_true=truth,
        y_pred=predicted,
        sensitive_features=pd.Series(list(groups), name="group").replace("", "(none)"),
    )
    table = frame.by_group.reset_index().astype({"count": int, "positives": int})
    return table.sort_values("accuracy", kind="stable", ignore_index=True)


def group_gaps(table: pd.DataFrame, smallest: int = 10) -> dict[str, float | str]:
    """The worst group of a `group_table` and the largest differences between groups.

    Groups under `smallest` rows are not compared. `equalized_odds_difference` is the larger of the
    gaps in false-positive and false-negative rate (Hardt et al. 2016).
    """
    table = table[table["count"] >= smallest]
    if table.empty:
        return {"worst_group": "", "worst_accuracy": float("nan")}
    rates = ["false_positive_rate", "false_negative_rate"]
    gaps = table[["accuracy", *rates]].max() - table[["accuracy", *rates]].min()
    worst = table.loc[table.accuracy.idxmin()]
    return {
        "worst_group": str(worst["group"]) if gaps.accuracy else "(all alike)",
        "worst_accuracy": float(worst["accuracy"]),
        "accuracy_difference": float(gaps.accuracy),
        "equalized_odds_difference": float(gaps[rates].fillna(0).max()),
        "groups_compared": len(table),
    }


def calibration(truth: np.ndarray, probabilities: np.ndarray) -> tuple[pd.DataFrame, float]:
    """Confidence against accuracy in ten bins, and the expected calibration error (Guo et al. 2017).

    `probabilities` is a float array (rows, classes). The table has a row per bin that is not empty.
    """
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == truth
    edges = np.linspace(1 / probabilities.shape[1], 1, 11)  # the likeliest of k classes has at least 1/k
    bins = np.digitize(confidence, edges[1:-1])
    rows = pd.DataFrame({"confidence": confidence, "accuracy": correct, "count": 1}).groupby(bins)
    table = rows.agg({"confidence": "mean", "accuracy": "mean", "count": "sum"}).reset_index(drop=True)
    error = np.average((table.confidence - table.accuracy).abs(), weights=table["count"])
    return table, float(error)


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
