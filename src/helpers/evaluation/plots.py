"""Seaborn figures, drawn only from saved tables."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from helpers.files import replacing

sns.set_theme(
    style="whitegrid",
    context="notebook",
    palette="colorblind",
    rc={"axes.spines.right": False, "axes.spines.top": False},
)


def save(figure: Figure, path: Path) -> Path:
    """PNG at 150 dpi, cropped to its content; closed, so that a notebook shows it once, where it is displayed."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, bbox_inches="tight")
    plt.close(figure)
    return path


def coverage(points: pd.DataFrame) -> Figure:
    """Pool and seed in two dimensions: columns x, y, seed (bool)."""
    figure, axis = plt.subplots(figsize=(7, 4.5))
    rest, seed = points[~points.seed], points[points.seed]
    axis.scatter(rest.x, rest.y, s=6, alpha=0.25, color="0.55", linewidths=0, label=f"pool ({len(rest):,})")
    axis.scatter(seed.x, seed.y, s=24, color=sns.color_palette()[1], label=f"seed ({len(seed):,})")
    axis.set(xlabel="first principal component", ylabel="second principal component", title="Pool and seed")
    # Beside the points, which fill the field, and in points that can be seen alone.
    for handle in axis.legend(loc="upper left", bbox_to_anchor=(1, 1)).legend_handles:
        handle.set(alpha=1, sizes=[24])
    return figure


def balance(table: pd.DataFrame, name: str) -> Figure:
    """Share of the rows in pool and seed by group value: columns value, pool, seed."""
    long = table.melt(id_vars="value", value_vars=["pool", "seed"], var_name="set", value_name="share")
    figure, axis = plt.subplots(figsize=(7, 0.8 + 0.36 * len(table)))
    sns.barplot(long, y="value", x="share", hue="set", ax=axis, palette=["0.7", sns.color_palette()[1]])
    axis.set(xlabel="share of the rows", ylabel="", title=f"Pool and seed by {name.replace('_', ' ')}")
    axis.xaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1, decimals=0))
    axis.legend(title="", loc="upper left", bbox_to_anchor=(1, 1))  # beside the bars, which may fill the field
    return figure


def acceptance(table: pd.DataFrame) -> Figure:
    """Share that each filter lets through, by method: columns filter, method, candidates, accepted, acceptance."""
    order = {"index": table["filter"].unique(), "columns": table["method"].unique()}
    share = table.pivot(index="filter", columns="method", values="acceptance").reindex(**order)
    counts = (table.accepted.astype(str) + "/" + table.candidates.astype(str)).rename("counts")
    notes = table.assign(counts=counts).pivot(index="filter", columns="method", values="counts").reindex(**order)
    figure, axis = plt.subplots(figsize=(2.4 + 1.2 * share.shape[1], 1.2 + 0.4 * len(share)))
    sns.heatmap(share, vmin=0, vmax=1, cmap="Blues", annot=notes.fillna(""), fmt="", ax=axis, cbar=False, linewidths=1)
    axis.set(xlabel="", ylabel="", title="Accepted of what reached each filter")
    axis.tick_params(axis="x", rotation=30)
    return figure


def vocabulary(table: pd.DataFrame) -> Figure:
    """Different words against words read (Heaps' curve): columns set, words, vocabulary."""
    figure, axis = plt.subplots(figsize=(6, 3.4))
    sns.lineplot(table, x="words", y="vocabulary", hue="set", ax=axis)
    axis.set(xlabel="words", ylabel="different words", title="Vocabulary growth")
    axis.legend(title="")
    return figure


def learning_curve(rounds: pd.DataFrame, full: float | None = None) -> Figure:
    """Macro-F1 on the validation rows against labels: columns strategy, labels, macro_f1, low, high."""
    figure, axis = plt.subplots(figsize=(7, 4.2))
    for colour, (name, curve) in zip(sns.color_palette(), rounds.groupby("strategy", sort=False), strict=False):
        axis.plot(curve.labels, curve.macro_f1, marker="o", color=colour, label=name.replace("_", " "))
        axis.fill_between(curve.labels, curve.low, curve.high, color=colour, alpha=0.12, linewidth=0)
    if full is not None:
        axis.axhline(full, color="0.4", linestyle="--", linewidth=1, label="TF-IDF + LR, every label")
    axis.set(xlabel="labels", ylabel="macro-F1 on validation rows", title="Learning curve")
    axis.legend(frameon=True)
    return figure


def generation_curve(rounds: pd.DataFrame, copying: dict[str, float]) -> Figure:
    """Compliance and chrF of what is written for the validation rows: columns strategy, targets, and both with _low and _high.

    `copying` is what leaving the texts as they are would give.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, (column, said) in zip(axes, {"compliance": "share that complies", "chrF": "chrF"}.items(), strict=True):
        curves, styles = rounds.groupby("strategy", sort=False), ("-", "--", ":", "-.")  # equal curves stay two
        for colour, style, (name, curve) in zip(sns.color_palette(), styles, curves, strict=False):
            axis.plot(curve.targets, curve[column], style, marker="o", color=colour, label=name.replace("_", " "))
            axis.fill_between(
                curve.targets, curve[f"{column}_low"], curve[f"{column}_high"], color=colour, alpha=0.12, linewidth=0
            )
        axis.axhline(copying[column], color="0.4", linestyle="--", linewidth=1, label="texts left as they are")
        axis.set(xlabel="targets", ylabel=f"{said}, validation rows")
    axes[0].legend(frameon=True)
    return figure


def model_bars(table: pd.DataFrame) -> Figure:
    """Macro-F1 with intervals by model: columns model, macro_f1, low, high."""
    figure, axis = plt.subplots(figsize=(7, 0.8 + 0.45 * len(table)))
    colours = [sns.color_palette()[0] if i == 0 else "0.7" for i in range(len(table))]
    axis.barh(table.model, table.macro_f1, color=colours)
    errors = np.abs(table[["low", "high"]].to_numpy().T - table.macro_f1.to_numpy())
    axis.errorbar(table.macro_f1, range(len(table)), xerr=errors, fmt="none", color="0.2", capsize=3, linewidth=1)
    for y, (value, high) in enumerate(zip(table.macro_f1, table.high, strict=True)):
        axis.text(high + 0.01, y, f"{value:.3f}", va="center", fontsize=10)
    axis.set(xlim=(0, 1.05), xlabel="macro-F1, 95 % interval", title="Test rows")
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    return figure


def group_bars(table: pd.DataFrame, name: str, column: str = "accuracy") -> Figure:
    """A share by group with the number of rows: columns group, count, and `column`."""
    figure, axis = plt.subplots(figsize=(7, 0.8 + 0.32 * len(table)))
    axis.barh(table.group, table[column], color=sns.color_palette()[0])
    for y, (value, count) in enumerate(zip(table[column], table["count"], strict=True)):
        note = axis.text(value + 0.01, y, f"n = {count}", va="center", fontsize=9, color="0.3")
        note.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1})  # over the grid line
    axis.set(xlim=(0, 1.12), xlabel=column, title=f"By {name.replace('_', ' ')}")
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    return figure


def reliability(table: pd.DataFrame, error: float) -> Figure:
    """Accuracy against confidence: columns confidence, accuracy, count."""
    figure, axis = plt.subplots(figsize=(4.6, 4.4))
    low = min(0.45, float(table[["confidence", "accuracy"]].min().min()) - 0.03)
    axis.plot([low, 1], [low, 1], color="0.6", linestyle="--", linewidth=1)
    axis.scatter(table.confidence, table.accuracy, s=20 + 300 * table["count"] / table["count"].sum(), alpha=0.8)
    axis.plot(table.confidence, table.accuracy, alpha=0.5)
    axis.set(xlim=(low, 1.02), ylim=(low, 1.02), xlabel="confidence", ylabel="accuracy")
    axis.set_title(f"Calibration: expected error {error:.3f}")
    return figure


def confusion(counts: np.ndarray, labels: tuple[str, ...]) -> Figure:
    """Rows are the true labels, columns the answers."""
    names = [label.replace("_", " ") for label in labels]
    figure, axis = plt.subplots(figsize=(1.6 + 1.2 * len(names), 1.2 + 0.9 * len(names)))
    sns.heatmap(counts, annot=True, fmt="d", cmap="Blues", cbar=False, xticklabels=names, yticklabels=names, ax=axis)
    axis.set(xlabel="answer", ylabel="truth", title="Confusion")
    axis.tick_params(axis="y", rotation=0)
    return figure


def agreement(kappa: pd.DataFrame, shared: pd.DataFrame) -> Figure:
    """Cohen's κ of every two annotators, from `agreement.matrix`, with the number of records that both labelled."""
    both = kappa.where(np.tri(len(kappa), k=-1, dtype=bool)).iloc[1:, :-1]  # every pair once
    words = both.apply(lambda column: column.map("{:.2f}".format)).where(both.notna(), "–")
    notes = words + "\nn = " + shared.reindex_like(both).fillna(0).astype(int).astype(str)
    figure, axis = plt.subplots(figsize=(1.6 + 0.9 * len(both), 1.2 + 0.7 * len(both)))
    hidden = np.triu(np.ones(both.shape, bool), 1)
    colours = {"vmin": 0, "vmax": 1, "cmap": "Blues", "cbar": False, "linewidths": 1}
    sns.heatmap(both.astype(float).fillna(0), annot=notes, fmt="", mask=hidden, ax=axis, **colours)
    axis.set(xlabel="", ylabel="", title="Cohen's κ by pair")
    axis.tick_params(axis="y", rotation=0)
    axis.grid(visible=False)
    return figure


def curves_by_set(mean: pd.DataFrame, full: dict[str, float]) -> Figure:
    """Mean learning curves with intervals, a panel a set, the first strategy in grey.

    Columns set, strategy, labels, score, low, high.
    """
    sets, names = list(mean["set"].unique()), list(mean.strategy.unique())
    colours = dict(zip(names, ["0.35", *sns.color_palette("colorblind", max(1, len(names) - 1))], strict=False))
    figure, axes = _panels(len(sets), 6, 4.4)
    for axis, of in zip(axes, sets, strict=True):
        for name, curve in mean[mean["set"] == of].groupby("strategy", sort=False):
            axis.plot(curve.labels, curve.score, color=colours[name], linewidth=1.8, label=name.replace("_", " "))
            axis.fill_between(curve.labels, curve.low, curve.high, color=colours[name], alpha=0.10, linewidth=0)
        axis.axhline(0.95 * full[of], color="0.4", linestyle="--", linewidth=1, label="95 % of the full score")
        measure = of.partition(": ")[2] or "macro-F1"
        axis.set(xlabel="labels", ylabel=f"{measure}, mean over seeds")
        axis.set_title(of, fontsize=11)
        axis.legend(frameon=True, fontsize=9, loc="lower right")
    return figure


def gains(table: pd.DataFrame, baseline: str) -> Figure:
    """Gain in area over the baseline with intervals, a panel a set: columns set, strategy, gain, gain_low, gain_high."""
    table = table[table.strategy != baseline]
    sets, rows = list(table["set"].unique()), table.groupby("set").size().max() if len(table) else 1
    figure, axes = _panels(max(1, len(sets)), 5.6, 1.4 + 0.3 * rows)
    for axis, of in zip(axes, sets, strict=False):
        part = table[table["set"] == of].sort_values("gain")
        bars = np.abs(part[["gain_low", "gain_high"]].to_numpy().T - part.gain.to_numpy())
        axis.errorbar(part.gain, part.strategy.str.replace("_", " "), xerr=bars, fmt="o", color=sns.color_palette()[0])
        axis.axvline(0, color="0.4", linewidth=1)
        axis.set(xlabel=f"area under the curve, gain over {baseline}")
        axis.set_title(of, fontsize=11)
        axis.locator_params(axis="x", nbins=5)
    return figure


def _panels(count: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    """A figure with `count` axes of this size in inches, three in a row, or two where that makes full rows."""
    across = 2 if count in (2, 4) else min(3, count)
    down = -(-count // across)
    figure, axes = plt.subplots(
        down, across, figsize=(width * across, height * down), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[count:]:
        axis.set_axis_off()
    return figure, axes.flat[:count]


def systems(table: pd.DataFrame, columns: dict[str, str]) -> Figure:
    """Figures of several systems with intervals, the first system in colour: a panel for each of `columns` (name → axis label).

    Columns system, and each of the names with "low" and "high" behind a blank; a name that the table lacks has no panel.
    """
    columns = {name: label for name, label in columns.items() if name in table}
    figure, axes = plt.subplots(
        1, len(columns), figsize=(2 + 3.4 * len(columns), 1.1 + 0.36 * len(table)), sharey=True, layout="constrained"
    )
    colours = [sns.color_palette()[0], *["0.45"] * (len(table) - 1)]
    for axis, (name, label) in zip(np.atleast_1d(axes), columns.items(), strict=True):
        for y, (value, low, high) in enumerate(table[[name, f"{name} low", f"{name} high"]].to_numpy(float)):
            axis.plot([low, high], [y, y], color=colours[y], linewidth=1.6)
            axis.plot(value, y, "o", color=colours[y])
        axis.set(xlabel=label, yticks=range(len(table)), yticklabels=table.system)
        axis.grid(axis="y", visible=False)
    np.atleast_1d(axes)[0].invert_yaxis()
    return figure
