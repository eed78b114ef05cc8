"""How good and how biased a detector is: scores with intervals, by group, under counterfactuals, calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, f1_score

from helpers.task import Task


def macro_f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Mean F1 over the classes present in the truth or the predictions; by hand, for a bootstrap asks it thousands of times."""
    classes, codes = np.unique(np.concatenate([truth, predicted]), return_inverse=True)
    ours, theirs = codes[: len(truth)], codes[len(truth) :]
    hits = np.bincount(ours[ours == theirs], minlength=len(classes))
    return float(np.mean(2 * hits / np.bincount(codes, minlength=len(classes))))


def interval(
    metric: Callable[[np.ndarray, np.ndarray], float],
    truth: np.ndarray,
    predicted: np.ndarray,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of `metric(truth, predicted)` over rows (Efron 1979)."""
    rng, n = np.random.default_rng(seed), len(truth)
    values = [metric(truth[i], predicted[i]) for i in (rng.integers(0, n, n) for _ in range(draws))]
    return float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975))


def paired_difference(
    truth: np.ndarray, first: np.ndarray, second: np.ndarray, draws: int = 1000, seed: int = 0
) -> dict[str, float]:
    """Macro-F1 of `first` minus `second` on the same rows: difference and 95 % paired bootstrap interval."""
    rng, n = np.random.default_rng(seed), len(truth)
    draw = [rng.integers(0, n, n) for _ in range(draws)]
    values = [macro_f1(truth[i], first[i]) - macro_f1(truth[i], second[i]) for i in draw]
    low, high = np.quantile(values, [0.025, 0.975])
    return {"difference": macro_f1(truth, first) - macro_f1(truth, second), "low": float(low), "high": float(high)}


def score_with_interval(truth: np.ndarray, answers: np.ndarray, draws: int = 300) -> dict[str, float]:
    """Macro-F1 with the bounds of its 95 % bootstrap interval over rows."""
    low, high = interval(macro_f1, truth, answers, draws=draws)
    return {"macro_f1": macro_f1(truth, answers), "low": low, "high": high}


def compare_models(
    predictions: dict[str, np.ndarray], truth: np.ndarray, task: Task, draws: int = 1000
) -> pd.DataFrame:
    """One row a model: macro-F1 with interval, F1 of the positive class, accuracy, and the rows they rest on."""
    positive = task.labels.index(task.positive)
    rows = []
    for name, predicted in predictions.items():
        rows.append(
            {
                "model": name,
                **score_with_interval(truth, predicted, draws),
                f"f1_{task.positive}": f1_score(truth == positive, predicted == positive, zero_division=0),
                "accuracy": accuracy_score(truth, predicted),
                "count": len(truth),
            }
        )
    return pd.DataFrame(rows)


def group_table(truth: np.ndarray, predicted: np.ndarray, groups: Sequence[str], task: Task) -> pd.DataFrame:
    """One row a group, worst first (fairlearn MetricFrame): count, positives, macro-F1, rates of the positive class.

    A rate over no row is NaN: the false-positive rate of a group that has only positives, for instance.
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
            "false_positive_rate": lambda t, p: _share((p == positive)[t != positive]),
            "false_negative_rate": lambda t, p: _share((p != positive)[t == positive]),
        },
        y_true=truth,
        y_pred=predicted,
        sensitive_features=pd.Series(list(groups), name="group").replace("", "(none)"),
    )
    table = frame.by_group.reset_index()
    return table.astype({"count": int, "positives": int}).sort_values("accuracy", kind="stable").reset_index(drop=True)


def _share(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def group_gaps(table: pd.DataFrame, smallest: int = 10) -> dict[str, float | str]:
    """Spread over groups of at least `smallest` rows: worst group and largest differences.

    `equalized_odds_difference` is the larger of the gaps in false-positive and false-negative rate (Hardt et al. 2016).
    """
    table = table[table["count"] >= smallest]
    if table.empty:
        return {"worst_group": "", "worst_accuracy": float("nan")}
    spread = {
        c: float(table[c].max() - table[c].min()) for c in ("accuracy", "false_positive_rate", "false_negative_rate")
    }
    worst = table.loc[table.accuracy.idxmin()]
    return {
        "worst_group": str(worst["group"]) if spread["accuracy"] else "(all alike)",
        "worst_accuracy": float(worst["accuracy"]),
        "accuracy_difference": spread["accuracy"],
        "equalized_odds_difference": float(
            np.nanmax([spread["false_positive_rate"], spread["false_negative_rate"], 0.0])
        ),
        "groups_compared": len(table),
    }


def calibration(truth: np.ndarray, probabilities: np.ndarray, bins: int = 10) -> tuple[pd.DataFrame, float]:
    """(table of confidence against accuracy in equal-width bins, expected calibration error) (Guo et al. 2017)."""
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == truth
    edges = np.linspace(1 / probabilities.shape[1], 1, bins + 1)
    place = np.clip(np.digitize(confidence, edges[1:-1]), 0, bins - 1)
    rows = [
        {
            "confidence": confidence[place == b].mean(),
            "accuracy": correct[place == b].mean(),
            "count": int((place == b).sum()),
        }
        for b in range(bins)
        if (place == b).any()
    ]
    table = pd.DataFrame(rows)
    error = float((table["count"] * (table.confidence - table.accuracy).abs()).sum() / table["count"].sum())
    return table, error


def compare_on_set(name: str, rows: list[dict], models: dict, task: Task) -> pd.DataFrame:
    """`compare` on a further test set, with its name in the first column."""
    truth, texts = np.array(task.index([r["label"] for r in rows])), [r["text"] for r in rows]
    answers = {model: learner.predict_proba(texts).argmax(1) for model, learner in models.items()}
    table = compare_models(answers, truth, task)
    table.insert(0, "set", name)
    return table


def prediction_table(rows: list[dict], probabilities: np.ndarray, task: Task) -> pd.DataFrame:
    """One row a text: id, text, label, answer, confidence."""
    return pd.DataFrame(
        {
            "id": [r["id"] for r in rows],
            "text": [r["text"] for r in rows],
            "label": [r["label"] for r in rows],
            "answer": [task.labels[i] for i in probabilities.argmax(1)],
            "confidence": probabilities.max(1),
        }
    )
