"""Scores, groups, flips, calibration: against values worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from helpers import english
from helpers.evaluation import detection, report
from helpers.evaluation.report import as_html, highlight, highlight_rows, section, write_report
from helpers.fairness import counterfactuals

TRUTH = np.array([0, 0, 0, 1, 1, 1, 1, 0])
ANSWER = np.array([0, 0, 1, 1, 1, 0, 1, 0])


def test_macro_f1_and_its_interval():
    assert detection.macro_f1(TRUTH, ANSWER) == pytest.approx(0.75)
    low, high = detection.interval(detection.macro_f1, TRUTH, ANSWER, draws=400)
    assert low < 0.75 <= high <= 1


def test_a_paired_difference_with_itself_is_zero():
    assert detection.paired_difference(TRUTH, ANSWER, ANSWER, 50) == {"difference": 0.0, "low": 0.0, "high": 0.0}


def test_by_group_counts_rates_and_worst_first(task):
    groups = ["a", "a", "a", "a", "b", "b", "b", ""]
    table = detection.group_table(TRUTH, ANSWER, groups, task).set_index("group")
    assert table.index[0] == "b" and table["count"].to_dict() == {"a": 4, "b": 3, "(none)": 1}
    assert table.loc["a", "false_positive_rate"] == pytest.approx(1 / 3)
    assert table.loc["b", "false_negative_rate"] == pytest.approx(1 / 3)
    assert np.isnan(table.loc["b", "false_positive_rate"])  # no negative row: no rate
    gaps = detection.group_gaps(table.reset_index(), smallest=3)
    assert gaps["worst_group"] == "b" and gaps["accuracy_difference"] == pytest.approx(0.75 - 2 / 3)


class Gendered:
    """A detector that judges by the pronoun."""

    def predict_proba(self, texts):
        return np.array([[0.0, 1.0] if "she" in t else [1.0, 0.0] for t in texts])


def test_flip_rate_counts_changed_answers():
    rates = counterfactuals.flip_rates(Gendered(), ["he is", "it is"], [["she is"], ["it was"]])
    assert rates["pairs"] == 2 and rates["flip_rate"] == 0.5 and rates["low"] <= 0.5 <= rates["high"]
    assert np.isnan(counterfactuals.flip_rates(Gendered(), ["it is"], [[]])["flip_rate"])


def test_calibration_error_of_known_confidence():
    probabilities = np.tile([0.2, 0.8], (10, 1))
    table, error = detection.calibration(np.array([1] * 6 + [0] * 4), probabilities)
    assert len(table) == 1 and table["count"].sum() == 10 and error == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("text", "swapped"),
    [
        ("He told her that his car is HERS.", "She told him that her car is HIS."),
        ("I saw her and him", "I saw him and her"),
        ("Women are people.", "Men are people."),
        ("The theme of this", "The theme of this"),
    ],
)
def test_english_swap(text, swapped):
    assert english.swap(text) == swapped


def test_highlight_escapes_everything_around_and_inside_the_spans():
    assert highlight("<b>ok</b> & no", [[3, 5], [4, 9]]) == "&lt;b&gt;<mark>ok</mark><mark>&lt;/b&gt;</mark> &amp; no"


def test_the_report_escapes_texts_once_and_leaves_empty_sections_out(tmp_path):
    rows = pd.DataFrame({"id": ["1", "2"], "text": ["ain't <script>x</script>", "b"], "share": [0.5, float("nan")]})
    table = highlight_rows(rows, {"1": [[0, 5]]})
    page = write_report(
        tmp_path / "r.html", "t <i>", "lead", [section("One", "", table), section("Empty")], "end"
    ).read_text()
    assert "<mark>ain&#39;t</mark> &lt;script&gt;x&lt;/script&gt;" in page and "<script" not in page
    assert "Empty" not in page and "t &lt;i&gt;" in page and "–" in page
    assert "<mark>ain&#39;t</mark>" in as_html(table).data


def test_empty_tables_are_said_to_be_and_small_groups_are_counted():
    table = pd.DataFrame({"group": ["a", "b"], "count": [12, 3], "macro_f1": [0.5, 1.0]})
    assert as_html(table[:0], "No <group>.").data == "<p>No &lt;group&gt;.</p>" and "macro-F1" in as_html(table).data
    part = report.group_section("who_wrote", table, 10)
    assert part["heading"] == "By who wrote" and part["table"].group.tolist() == ["a"]
    assert part["note"] == "Worst first. Smaller groups, under 10 rows, are in by_group.csv: 1."
