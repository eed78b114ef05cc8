"""Figures drawn and saved: plain names, legends beside the data, and any text in the data."""

import sys
import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from helpers.evaluation import plots

# Mathematics to matplotlib, broken where it is not read as text; and a machine name.
NAMES = ["not_inclusive", "$x_$", r"\\$\\frac{", "a $ b $ c"]
HOSTILE = {
    "braces": ["{", "}{^_", "\\", "${\\frac a^"],
    "very long": ["x" * 10_000, "parola " * 1_500 + "fine", "_" * 10_000, "x" * 10_000 + " 2"],
    "many lines": ["a\n" * 300, "e" + "\u0301" * 300, "\u2028" * 50 + "b", "\f\v"],
    "other scripts": ["שלום עולם", "مرحبا بالعالم", "中文", "👩‍🍳 \u202eabc"],
    "controls": ["\x1b[31m", "\0\x07", "a\rb", "\x9b"],
}


def drawn(tmp_path, figure) -> list[str]:
    """Every text of the figure, after it was saved."""
    figure.canvas.draw()
    texts = [t.get_text() for t in figure.findobj(plt.Text)]
    assert plots.save(figure, tmp_path / "f.png").stat().st_size > 5000
    return texts


def interval_columns(*names):
    return {name: [0.5, 0.6, 0.7, 0.8] for name in names}


FIGURES = {
    "balance": lambda: plots.balance(pd.DataFrame({"value": NAMES} | interval_columns("pool", "seed")), NAMES[-1]),
    "acceptance": lambda: plots.acceptance(
        pd.DataFrame({"filter": NAMES, "method": NAMES, "candidates": 4, "accepted": 3, "acceptance": 0.75})
    ),
    "vocabulary": lambda: plots.vocabulary(pd.DataFrame({"set": NAMES * 2, "words": range(8), "vocabulary": range(8)})),
    "learning_curve": lambda: plots.learning_curve(
        pd.DataFrame({"strategy": NAMES, "labels": 10} | interval_columns("macro_f1", "low", "high")), 0.9
    ),
    "generation_curve": lambda: plots.generation_curve(
        pd.DataFrame(
            {"strategy": NAMES, "targets": 10}
            | interval_columns(*(f"{c}{end}" for c in ("compliance", "chrF") for end in ("", "_low", "_high")))
        ),
        {"compliance": 0.2, "chrF": 0.3},
    ),
    "curves_by_set": lambda: plots.curves_by_set(
        pd.DataFrame({"set": NAMES, "strategy": NAMES, "labels": 10} | interval_columns("score", "low", "high")),
        dict.fromkeys(NAMES, 1.0),
    ),
    "gains": lambda: plots.gains(
        pd.DataFrame({"set": NAMES[-2], "strategy": NAMES} | interval_columns("gain", "gain_low", "gain_high")),
        NAMES[-1],
    ),
    "model_bars": lambda: plots.model_bars(
        pd.DataFrame({"model": NAMES} | interval_columns("macro_f1", "low", "high"))
    ),
    "systems": lambda: plots.systems(
        pd.DataFrame({"system": NAMES} | interval_columns("chrF", "chrF low", "chrF high")),
        {"chrF": "chrF", "strict": "share strictly right"},
    ),
    "group_bars": lambda: plots.group_bars(
        pd.DataFrame({"group": NAMES, "count": 9} | interval_columns("accuracy")), NAMES[-1]
    ),
    "confusion": lambda: plots.confusion(np.arange(16).reshape(4, 4), NAMES),
    "agreement": lambda: plots.agreement(
        pd.DataFrame(np.eye(4), NAMES, NAMES), pd.DataFrame(np.ones((4, 4)), NAMES, NAMES)
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_any_text_of_the_data_is_drawn_as_text(name, tmp_path):
    texts = drawn(tmp_path, FIGURES[name]())
    assert any("$" in text for text in texts)
    if name not in ("gains", "agreement"):  # whose names are shown whole: of annotators, of sets
        assert any("not inclusive" in text for text in texts) and "not_inclusive" not in texts


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("name", FIGURES)
def test_no_name_makes_a_warning_or_an_absurd_picture(name, kind, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "NAMES", HOSTILE[kind])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        texts = drawn(tmp_path, FIGURES[name]())
    height, width, _ = plt.imread(tmp_path / "f.png").shape
    assert max(height, width) < 4_000
    assert any("…" in text for text in texts) or kind not in ("very long", "many lines")
    assert all(ord(letter) >= 32 or letter == "\n" for text in texts for letter in text)


def test_names_that_differ_at_the_end_do_so_in_a_figure(tmp_path):
    names = ["run " + "x" * 100 + end for end in ("_seed_1", "_seed_2")] + ["中", "文"]
    table = pd.DataFrame({"group": names, "count": 9} | interval_columns("accuracy"))
    labels = [label.get_text() for label in plots.group_bars(table, "who").axes[0].get_yticklabels()]
    assert labels[0].startswith("run xx") and labels[0].endswith("x seed 1") and labels[1].endswith("x seed 2")
    assert "…" in labels[0] and len(labels[0].replace("\n", "")) == plots.LONGEST
    assert labels[2:] == [r"\u4e2d", r"\u6587"]  # two boxes could not be told apart
    plt.close("all")


@pytest.mark.parametrize("name", ["model_bars", "group_bars", "systems"])
def test_letters_of_a_figure_in_the_report_are_read_on_a_phone(name, tmp_path, monkeypatch):
    monkeypatch.setattr(
        sys.modules[__name__],
        "NAMES",
        ["a short name", "untuned base, zero-shot", "x" * 40, "a name of two lines, " * 2],
    )
    figure = FIGURES[name]()
    drawn(tmp_path, figure)
    scale = 388 / plt.imread(tmp_path / "f.png").shape[1]  # pixels across of a page of 420
    sizes = [label.get_fontsize() * 150 / 72 * scale for axis in figure.axes for label in axis.get_yticklabels()]
    assert sizes and min(sizes) > 10
    for axis in figure.axes:
        boxes = [label.get_window_extent() for label in axis.get_yticklabels()]
        assert all(one.y0 >= two.y1 - 1 for one, two in pairwise(boxes))


def test_many_classes_make_no_wall(tmp_path):
    names = [f"class {i}" for i in range(40)]
    plots.save(plots.confusion(np.zeros((40, 40), int), names), tmp_path / "f.png")
    assert max(plt.imread(tmp_path / "f.png").shape) < 7_000


def test_names_that_read_alike_keep_their_rows(tmp_path):
    table = pd.DataFrame({"group": ["a_b", "a b"], "count": [1, 2], "accuracy": [0.2, 0.9]})
    figure = plots.group_bars(table, "who")
    assert [bar.get_width() for bar in figure.axes[0].patches] == [0.2, 0.9]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a b", "a b"]


@pytest.mark.parametrize("name", FIGURES)
def test_a_legend_covers_no_data(name):
    figure = FIGURES[name]()
    figure.canvas.draw()
    for legend in figure.legends:
        assert all(legend.get_window_extent().x0 >= axis.get_window_extent().x1 for axis in figure.axes)
        labels = [text.get_text() for text in legend.get_texts()]
        assert len(labels) == len(set(labels))
    assert not any(axis.get_legend() for axis in figure.axes)
    plt.close(figure)


def test_a_band_of_seeds_lies_behind_the_curve():
    rounds = pd.DataFrame({"strategy": "bait", "labels": [50, 100], "macro_f1": 0.8, "low": 0.7, "high": 0.9})
    band = pd.DataFrame({"labels": [50, 100], "low": 0.6, "high": 0.85, "seeds": 5, "strategy": "bait"})
    mean = rounds.rename(columns={"macro_f1": "score"}).assign(set="s")
    for figure in (plots.learning_curve(rounds, 0.9, band), plots.curves_by_set(mean, {"s": 0.9}, {"s": band})):
        assert "range of 5 seeds, bait" in [t.get_text() for t in figure.legends[0].get_texts()]
        assert figure.axes[0].collections[0].get_paths()[0].get_extents().y0 == pytest.approx(0.6)
        plt.close(figure)


def test_numbers_of_rows_are_whole():
    rounds = pd.DataFrame(
        {"strategy": "bait", "labels": [20, 21]} | {name: [0.5, 0.6] for name in ("macro_f1", "low", "high")}
    )
    words = pd.DataFrame({"set": "s", "words": [1, 2, 3], "vocabulary": [1, 2, 2]})
    for figure, axes in ((plots.learning_curve(rounds), ["xaxis"]), (plots.vocabulary(words), ["xaxis", "yaxis"])):
        figure.canvas.draw()
        for axis in axes:
            ticks = [t.get_text() for t in getattr(figure.axes[0], axis).get_ticklabels()]
            assert ticks and all(float(t.replace("−", "-")) % 1 == 0 for t in ticks), ticks
        plt.close(figure)


def test_groups_have_intervals_and_small_ones_are_grey():
    table = pd.DataFrame({"group": ["a", "b"], "count": [40, 3], "accuracy": [0.8, 0.5], "too_few": [False, True]})
    figure = plots.group_bars(table.assign(accuracy_low=[0.7, 0.1], accuracy_high=[0.9, 0.9]), "who")
    one, other = (bar.get_facecolor() for bar in figure.axes[0].patches)
    assert one != other and [list(line.get_xdata()) for line in figure.axes[0].lines[::2]] == [[0.7, 0.9], [0.1, 0.9]]
    assert [t.get_text() for t in figure.axes[0].texts] == ["n = 40", "n = 3, too few"]
    plt.close(figure)


def test_a_title_says_where_not_all_groups_are_shown():
    def title(draw, count):
        table = pd.DataFrame(
            {"group": range(count), "value": range(count), "count": 9}
            | dict.fromkeys(("accuracy", "pool", "seed"), 0.5)
        )
        figure = draw(table, "sector")
        plt.close(figure)
        assert len(figure.axes[0].get_yticklabels()) == min(count, 30)
        return figure.axes[0].get_title().replace("\n", " ")

    assert title(plots.group_bars, 45).endswith(": 30 of 45 groups") and title(plots.balance, 45).endswith(
        ": 30 of 45 values"
    )
    assert ":" not in title(plots.group_bars, 20) + title(plots.balance, 20)


def test_nothing_to_compare_draws_an_empty_figure(tmp_path):
    table = pd.DataFrame({"set": ["s"], "strategy": ["random"], "gain": [0], "gain_low": [0], "gain_high": [0]})
    assert "Gain in area under the curve over random, 95 % intervals over seeds" in drawn(
        tmp_path, plots.gains(table, "random")
    )
