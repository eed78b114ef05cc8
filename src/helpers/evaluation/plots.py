"""Figures from saved tables, with titles, units, plain names and a legend beside the data."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from functools import lru_cache
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import MaxNLocator, PercentFormatter

from helpers.evaluation.report import plain_name
from helpers.files import replacing
from helpers.text import visible

STYLE = {"axes.spines.right": False, "axes.spines.top": False, "figure.constrained_layout.use": True}
STYLE["text.parse_math"] = False  # a "$" in a group or a label is a dollar, not mathematics
# The font that matplotlib brings: a figure looks the same on every machine, and `_drawable` knows its glyphs.
sns.set_theme(style="whitegrid", palette="colorblind", font="DejaVu Sans", rc=STYLE)
BLUE, ORANGE = sns.color_palette()[:2]
GREY = "0.7"
MOST_CLASSES = 30  # that a confusion picture shows: 200 of them would take 28,000 pixels
MOST_GROUPS = 30  # that a figure shows of a column
LONGEST = 40  # characters of a name in a figure; of a longer one the middle is cut
SHORT = 14  # characters of a name that stands straight under a column of a heatmap
PAGE = 5.2  # inches across of a figure in a report: on a phone its letters are still read
LARGEST = 40  # inches on either side of a figure
DASHED = {"color": "0.4", "linestyle": "--", "linewidth": 1}


def save(figure: Figure, path: Path) -> Path:
    """Save as PNG, cropped to its content, and close, so that a notebook shows the figure once."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, bbox_inches="tight")
    plt.close(figure)
    return path


def coverage(points: pd.DataFrame) -> Figure:
    """Pool and seed in two dimensions: columns x, y, seed (bool)."""
    figure, axis = plt.subplots(figsize=(7, 4.5))
    pool, seed = points[~points.seed], points[points.seed]
    axis.scatter(pool.x, pool.y, s=6, alpha=0.25, color="0.55", linewidths=0, label=f"pool ({len(pool):,})")
    axis.scatter(seed.x, seed.y, s=24, color=ORANGE, label=f"seed ({len(seed):,})")
    axis.set(xlabel="first principal component", ylabel="second principal component")
    axis.set_title("Texts of pool and seed in the plane of their embeddings")
    for handle in _with_legend(figure).legends[0].legend_handles:
        handle.set(alpha=1, sizes=[24])  # a point that can be seen alone
    return figure


def balance(table: pd.DataFrame, name: str) -> Figure:
    """Share of the rows by the values of the group column `name`, at most MOST_GROUPS: columns value, pool, seed."""
    of_all = _of_all(len(table), "values")
    table = table[:MOST_GROUPS]
    figure, axis = plt.subplots(figsize=_size(7, 0.8 + 0.36 * len(table)))
    for shift, part, colour in ((-0.2, "pool", GREY), (0.2, "seed", ORANGE)):
        axis.barh(np.arange(len(table)) + shift, table[part], height=0.4, color=colour, label=part)
    _name_rows(axis, table["value"])
    axis.set(xlabel="share of the rows", title=f"Rows of pool and seed by {_name(name)}{of_all}")
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return _with_legend(figure)


def acceptance(table: pd.DataFrame) -> Figure:
    """What each filter accepts, by method: columns filter, method, candidates, accepted, acceptance."""
    order = {"index": table["filter"].unique(), "columns": table["method"].unique()}
    table = table.assign(counts=table.accepted.astype(str) + "/" + table.candidates.astype(str))
    table = table.set_index(["filter", "method"])
    wide = (table[values].unstack("method").reindex(**order) for values in ("acceptance", "counts"))
    share, counts = (part.rename(index=_name, columns=_name) for part in wide)
    size = _heatmap_size(2.4 + 1.2 * share.shape[1], 1.2 + 0.4 * len(share), share)
    figure, axis = plt.subplots(figsize=size)
    _heatmap(axis, share, counts.fillna(""), vmin=0, vmax=1)
    axis.set_title("Accepted of the candidates that reached each filter")
    return figure


def vocabulary(table: pd.DataFrame) -> Figure:
    """Different words against words read (Heaps' curve): columns set, words, vocabulary."""
    figure, axis = plt.subplots(figsize=(6, 3.4))
    for name, part in table.groupby("set", sort=False):
        axis.plot(part.words, part.vocabulary, label=_name(name))
    axis.set(xlabel="words read", ylabel="different words", title="Vocabulary growth by words read")
    _count_in_whole_numbers(axis.xaxis, axis.yaxis)
    return _with_legend(figure)


def learning_curve(rounds: pd.DataFrame, full: float | None = None, band: pd.DataFrame | None = None) -> Figure:
    """Macro-F1 on the validation rows against labels: columns strategy, labels, macro_f1, low, high.

    `full` is the macro-F1 of TF-IDF with every label; `band` from `curves.seed_band` lies behind the run.
    """
    figure, axis = plt.subplots(figsize=(7, 4.2))
    _band(axis, band)
    _curves(axis, rounds, "labels", ["macro_f1", "low", "high"], ["o-"])
    if full is not None:
        axis.axhline(full, label="TF-IDF + LR, every label", **DASHED)
    axis.set(xlabel="labels", ylabel="macro-F1, 95 % interval", title="Macro-F1 by number of labels, validation rows")
    return _with_legend(figure)


def generation_curve(rounds: pd.DataFrame, copying: dict[str, float]) -> Figure:
    """Compliance and chrF on the validation rows against targets.

    Columns strategy, targets, both scores, and these with _low and _high; `copying` has the two
    scores of texts left as they are.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10, 4))
    styles = ("o-", "o--", "o:", "o-.")  # two equal curves can be told apart
    for axis, column in zip(axes, ("compliance", "chrF"), strict=True):
        _curves(axis, rounds, "targets", [column, f"{column}_low", f"{column}_high"], styles)
        axis.axhline(copying[column], label="texts left as they are", **DASHED)
        axis.set_xlabel("targets")
    axes[0].set(ylabel="share that complies, 95 % interval", title="Compliance by targets, validation rows")
    axes[1].set(ylabel="chrF (0–100), 95 % interval", title="chrF by targets, validation rows")
    return _with_legend(figure)


def curves_by_set(mean: pd.DataFrame, full: dict[str, float], bands: dict[str, pd.DataFrame] | None = None) -> Figure:
    """Mean learning curves with intervals, one panel per set, the first strategy in grey.

    `mean` is from `curves.mean_curve`; `full` has the score with every label by set, `bands` what
    `curves.seed_band` gives for a set.
    """
    sets, names = list(mean["set"].unique()), list(mean.strategy.unique())
    colours = dict(zip(names, ["0.35", *sns.color_palette("colorblind", len(names))], strict=False))
    figure, axes = _panels(len(sets), 6, 4.4)
    for axis, of in zip(axes, sets, strict=True):
        _band(axis, (bands or {}).get(of))
        _curves(axis, mean[mean["set"] == of], "labels", ["score", "low", "high"], ["-"], colours)
        axis.axhline(0.95 * full[of], label="95 % of the full score", **DASHED)
        axis.set(xlabel="labels", ylabel=_measure(of))
        axis.set_title(_name(of), fontsize=11)
    figure.suptitle("Learning curves, mean over seeds, 95 % intervals")
    return _with_legend(figure)


def gains(table: pd.DataFrame, baseline: str) -> Figure:
    """Gain in area over the baseline with intervals, one panel per set, from `curves.compare`."""
    table = table[table.strategy != baseline]
    sets, rows = list(table["set"].unique()), table.groupby("set").size().max() if len(table) else 1
    figure, axes = _panels(max(1, len(sets)), 5.6, 1.4 + 0.3 * rows)
    for axis, of in zip(axes, sets, strict=False):
        part = table[table["set"] == of].sort_values("gain", ascending=False)
        _intervals(axis, part[["gain", "gain_low", "gain_high"]], [BLUE] * len(part))
        _name_rows(axis, part.strategy)
        axis.axvline(0, color="0.4", linewidth=1)
        axis.set(xlabel=f"gain, {_measure(of)}")
        axis.set_title(_name(of), fontsize=11)
        axis.locator_params(axis="x", nbins=5)
    figure.suptitle(f"Gain in area under the curve over {_name(baseline)}, 95 % intervals over seeds")
    return figure


def model_bars(table: pd.DataFrame) -> Figure:
    """Macro-F1 with intervals by model, the first one in colour: columns model, macro_f1, low, high."""
    figure, axis = plt.subplots(figsize=_size(PAGE, 0.8 + 0.45 * len(table)))
    axis.barh(range(len(table)), table.macro_f1, color=[BLUE, *[GREY] * (len(table) - 1)])
    _intervals(axis, table[["macro_f1", "low", "high"]], ["0.2"] * len(table), marker="")
    _note_rows(axis, table.high, table.macro_f1.map("{:.3f}".format))
    _name_rows(axis, table.model)
    axis.set(xlim=(0, 1.2), xlabel="macro-F1, 95 % interval", title="Macro-F1 by model, test rows")
    axis.set_xticks(np.arange(0, 1.1, 0.2))
    return figure


def systems(table: pd.DataFrame, columns: dict[str, str]) -> Figure:
    """Figures of several systems with intervals, the first system in colour, one panel under the other.

    `table` is from `generation.compare_systems`; `columns` maps its figures to axis labels. A figure
    that the table lacks has no panel.
    """
    columns = {name: label for name, label in columns.items() if name in table}
    size = _size(PAGE, 0.5 + (0.9 + 0.38 * len(table)) * len(columns))
    figure, axes = plt.subplots(len(columns), 1, figsize=size, squeeze=False)
    for axis, (name, label) in zip(axes.flat, columns.items(), strict=True):
        values = table[[name, f"{name} low", f"{name} high"]]
        _intervals(axis, values, [BLUE, *["0.45"] * (len(table) - 1)])
        _name_rows(axis, table.system)
        axis.set(xlabel=f"{label}, 95 % interval")
    figure.get_layout_engine().set(h_pad=0.12)  # keeps a panel's numbers apart from the next panel
    figure.suptitle("Quality of the outputs by system, test rows")
    return figure


def group_bars(table: pd.DataFrame, name: str, column: str = "accuracy") -> Figure:
    """A share of rows by group of the column `name`, at most MOST_GROUPS: columns group, count, and `column`.

    Its interval is drawn where the table has `{column}_low` and `{column}_high`; groups that a column
    `too_few` marks are grey.
    """
    of_all = _of_all(len(table), "groups")
    table = table[:MOST_GROUPS]
    few = table["too_few"] if "too_few" in table else [False] * len(table)
    figure, axis = plt.subplots(figsize=_size(PAGE, 1.2 + 0.45 * len(table)))
    axis.barh(range(len(table)), table[column], color=[GREY if pale else BLUE for pale in few])
    ends = table[column]
    if f"{column}_low" in table:
        _intervals(axis, table[[column, f"{column}_low", f"{column}_high"]], ["0.2"] * len(table), marker="")
        ends = table[f"{column}_high"]
    notes = [f"n = {n}, too few" if pale else f"n = {n}" for n, pale in zip(table["count"], few, strict=True)]
    _note_rows(axis, ends, notes)
    _name_rows(axis, table.group)
    measure = _name(column)
    title = textwrap.fill(f"{measure.capitalize()} by {_name(name)}, test rows{of_all}", 40)
    interval = ", 95 % interval" if f"{column}_low" in table else ""
    axis.set(xlim=(0, 1.2), xlabel=f"{measure}, share of rows{interval}", title=title, xticks=np.arange(0, 1.1, 0.2))
    return figure


def reliability(table: pd.DataFrame, error: float) -> Figure:
    """Accuracy against confidence: the table and the error of `detection.calibration`."""
    figure, axis = plt.subplots(figsize=(4.6, 4.4))
    low = min(0.45, float(table[["confidence", "accuracy"]].min().min()) - 0.03)
    axis.plot([low, 1], [low, 1], color="0.6", linestyle="--", linewidth=1)
    axis.scatter(table.confidence, table.accuracy, s=20 + 300 * table["count"] / table["count"].sum(), alpha=0.8)
    axis.plot(table.confidence, table.accuracy, alpha=0.5)
    axis.set(xlim=(low, 1.02), ylim=(low, 1.02), xlabel="mean confidence", ylabel="accuracy, share of rows")
    axis.set_title(f"Calibration: expected error {error:.3f}\n(larger points have more rows)", fontsize=11)
    return figure


def risk_coverage(table: pd.DataFrame, promises: Sequence[float]) -> Figure:
    """Agreement with people against the share of texts answered: the table of `selective.risk_coverage`."""
    figure, axis = plt.subplots(figsize=(PAGE, 3.6))
    axis.plot(table.coverage, table.agreement, drawstyle="steps-post")
    for promised in promises:
        axis.axhline(promised, **DASHED)
        axis.annotate(f"{promised:.0%}", (1.01, promised), xycoords=("axes fraction", "data"), va="center", fontsize=9)
    low = min([*table.agreement[table.coverage > 0.05], *promises])
    axis.set(
        xlim=(0, 1), ylim=(max(0, low - 0.05), 1.01), xlabel="share of the texts answered, the most confident first"
    )
    axis.set(ylabel="agreement with people", title="How much may it answer alone?")
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_formatter(PercentFormatter(1, decimals=0))
    return figure


def confusion(counts: np.ndarray, labels: Sequence[str]) -> Figure:
    """Number of rows by true label (rows of `counts`) and answer (columns).

    For at most MOST_CLASSES labels; beyond them `detection.worst_pairs` is read more easily.
    """
    names = [_name(label) for label in labels]
    counts = pd.DataFrame(counts, index=names, columns=names)
    size = _heatmap_size(1.6 + 1.2 * len(names), 1.2 + 0.9 * len(names), counts)
    figure, axis = plt.subplots(figsize=size)
    _heatmap(axis, counts, counts.astype(str), linewidths=0)
    axis.set(xlabel="answer", ylabel="true label", title="Test rows by true label and answer")
    return figure


def agreement(kappa: pd.DataFrame, shared: pd.DataFrame) -> Figure:
    """Cohen's κ of every two annotators, with the number of texts that both labelled."""
    pairs = kappa.where(np.tri(len(kappa), k=-1, dtype=bool)).iloc[1:, :-1]  # every pair once
    values = pairs.apply(lambda column: column.map("{:.2f}".format)).where(pairs.notna(), "–")
    notes = values + "\nn = " + shared.reindex_like(pairs).fillna(0).astype(int).astype(str)
    pairs, notes = (part.rename(index=_drawable, columns=_drawable) for part in (pairs, notes))
    size = _heatmap_size(1.6 + 0.9 * len(pairs), 1.2 + 0.7 * len(pairs), pairs)
    figure, axis = plt.subplots(figsize=size)
    hidden = np.triu(np.ones(pairs.shape, bool), 1)
    _heatmap(axis, pairs.astype(float).fillna(0), notes, vmin=0, vmax=1, mask=hidden)
    axis.set_title("Cohen's κ by pair of annotators")
    return figure


# --- parts that figures share ---------------------------------------------------------------------


def _name(name: object) -> str:
    """A name of the data in plain words, as a figure can show it."""
    return _drawable(plain_name(name))


def _drawable(text: object) -> str:
    """A text in one line of at most `LONGEST` characters, what the font lacks written out as in `\\u4e2d`.

    Both ends of a longer text stay: names of runs often differ at the end.
    """
    words = " ".join(visible(visible(str(text)), _no_glyph()).split())
    if len(words) > LONGEST:
        words = f"{words[: LONGEST - 12]}…{words[-11:]}"
    return words or "–"  # a row with no name at all would look like one that is missing


@lru_cache
def _no_glyph() -> re.Pattern:
    """Matches a character, other than a blank, for which the font of the figures has no glyph."""
    known = get_font(findfont(FontProperties())).get_charmap()
    return re.compile(f"[^\\s{''.join(re.escape(chr(code)) for code in known)}]")


def _size(width: float, height: float) -> tuple[float, float]:
    """Inches of a figure whose sides grow with its rows and columns: a thousand of them make no wall."""
    return min(width, LARGEST), min(height, LARGEST)


def _heatmap_size(width: float, height: float, values: pd.DataFrame) -> tuple[float, float]:
    """Inches of a heatmap that has this size beside short names: long ones get the room that they need."""
    rows, columns = (max(0, max(map(len, names), default=0) - SHORT) for names in (values.index, values.columns))
    return _size(width + 0.09 * rows, height + 0.05 * columns)


def _with_legend(figure: Figure) -> Figure:
    """The figure with one legend to the right of all panels, where it covers no data."""
    handles = {}
    for axis in figure.axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    # Beyond the figure's edge: what is saved is cropped to its content, legend included.
    place = {"loc": "upper left", "bbox_to_anchor": (1, 1)}
    figure.legend(handles.values(), handles, fontsize=10, **place)
    return figure


def _of_all(count: int, things: str) -> str:
    """What a title says where a figure shows the first MOST_GROUPS of more rows."""
    return f": {MOST_GROUPS} of {count:,} {things}" if count > MOST_GROUPS else ""


def _count_in_whole_numbers(*axes: Axis) -> None:
    """Ticks at whole numbers alone: there is no half a row."""
    for axis in axes:
        axis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))


def _band(axis: Axes, band: pd.DataFrame | None) -> None:
    """The lowest to the highest score of several seeds, behind a single run's curve: columns labels, low, high, seeds, strategy."""
    if band is not None and len(band):
        label = f"range of {band.seeds.max()} seeds, {_name(band.strategy.iloc[0])}"
        axis.fill_between(band.labels, band.low, band.high, color="0.5", alpha=0.22, linewidth=0, label=label)


def _curves(
    axis: Axes, table: pd.DataFrame, x: str, columns: list[str], styles: Sequence[str], colours: dict | None = None
) -> None:
    """A line with a band for every strategy: `columns` are those of value, low and high."""
    for number, ((name, part), style) in enumerate(zip(table.groupby("strategy", sort=False), cycle(styles))):
        value, low, high = part[columns].to_numpy(float).T
        order = 3 - number / 100  # the first, which is the run's own strategy, lies on those it is compared with
        (line,) = axis.plot(part[x], value, style, color=colours and colours[name], label=_name(name), zorder=order)
        axis.fill_between(part[x], low, high, color=line.get_color(), alpha=0.12, linewidth=0)
    _count_in_whole_numbers(axis.xaxis)


def _intervals(axis: Axes, values: pd.DataFrame, colours: Sequence, marker: str = "o") -> None:
    """A point with its interval in each row of the panel: `values` has the columns value, low, high."""
    for y, ((value, low, high), colour) in enumerate(zip(values.to_numpy(float), colours, strict=True)):
        axis.plot([low, high], [y, y], color=colour, linewidth=1.6)
        axis.plot(value, y, marker=marker, color=colour)


def _note_rows(axis: Axes, ends: Sequence[float], texts: Sequence[str]) -> None:
    """A short text to the right of every bar, on white, so that no grid line crosses it."""
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    for y, (x, text) in enumerate(zip(ends, texts, strict=True)):
        axis.text(x + 0.015, y, text, va="center", fontsize=9, color="0.3", bbox=box)


def _name_rows(axis: Axes, names: Sequence[str]) -> None:
    """Names beside the rows of the panel, the first on top; two that read alike stay two."""
    axis.set(yticks=range(len(names)), yticklabels=[_two_lines(_name(name)) for name in names])
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)


def _two_lines(name: str) -> str:
    """A long name in two lines, so that it leaves the figure its width."""
    widths = (textwrap.wrap(name, width, break_on_hyphens=False) for width in range(22, LONGEST + 1))
    return "\n".join(next(lines for lines in widths if len(lines) < 3))


def _measure(of: str) -> str:
    """The score of a set of curves, which a generation task names behind a colon."""
    return _drawable(of.partition(": ")[2] or "macro-F1")


def _heatmap(axis: Axes, values: pd.DataFrame, notes: pd.DataFrame, **options) -> None:
    """Blue cells with a note in each."""
    sns.heatmap(values, annot=notes, fmt="", cmap="Blues", cbar=False, ax=axis, **{"linewidths": 1} | options)
    axis.set(xlabel="", ylabel="")
    axis.tick_params(axis="y", rotation=0)
    if max(map(len, values.columns), default=0) > SHORT:
        axis.set_xticklabels(axis.get_xticklabels(), rotation=30, ha="right", rotation_mode="anchor")
    axis.grid(visible=False)  # it would show where a cell is empty


def _panels(count: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    """A figure with `count` axes of this size in inches, two or three in a row."""
    across = 2 if count in (2, 4) else min(3, count)
    down = -(-count // across)
    figure, axes = plt.subplots(down, across, figsize=_size(width * across, height * down), squeeze=False)
    for axis in axes.flat[count:]:
        axis.set_axis_off()
    return figure, axes.flat[:count]
