"""Tables and pages: plain words, numbers, escaped texts, marked changes."""

import re
import time

import pandas as pd
import pytest
from markupsafe import Markup

from helpers.env import UserError
from helpers.evaluation import report
from helpers.evaluation.report import as_html, highlight, highlight_rows, section, write_report


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("macro_f1", "macro-F1"),
        ("f1_not_inclusive", "F1 not inclusive"),
        ("not_inclusive", "not inclusive"),
        ("to_95", "to 95"),
        ("chrF low", "chrF low"),
        ("Offensive", "Offensive"),
    ],
)
def test_machine_names_are_shown_in_plain_words(name, plain):
    assert report.plain_name(name) == plain


def test_classes_have_the_names_that_the_task_gives_them():
    report.name_classes(["no", "not_inclusive"], ["open to all", "<shuts out>"])
    page = as_html(pd.DataFrame({"label": ["not_inclusive", "no", "none"]})).data
    assert "&lt;shuts out&gt;" in page and "open to all" in page and ">none<" in page
    with pytest.raises(UserError, match="needs one for each"):
        report.name_classes(["a", "b"], ["one"])
    report.name_classes(["no"], [])
    assert report.plain_name("not_inclusive") == "not inclusive"


def test_a_table_reads_like_a_page():
    table = pd.DataFrame(
        {
            "label": ["not_inclusive", "A_b", None],
            "macro_f1": [0.12345, 2.0, float("nan")],
            "labels": [1200, 3, 10],
            "worst": [True, False, True],
        }
    )
    page = as_html(table, digits={"macro_f1": 1, "labels": "{:.0f} texts"}, title="Scores <of> rows").data
    for part in ("not inclusive", "A_b", ">0.1<", ">2.0<", ">1200 texts<", ">yes<", ">no<", ">–<"):
        assert part in page
    assert "Scores &lt;of&gt; rows" in page and '<th style="text-align: right">macro-F1' in page
    assert '<th style="text-align: left">label' in page and '<th style="text-align: left">worst' in page
    page = as_html(table).data
    assert ">0.123<" in page and ">2.00<" in page and ">1,200<" in page
    assert ">0.12<" in as_html(table, digits=2).data and ">1,200<" in as_html(table, digits=2).data
    assert ">12%<" in as_html(table, digits={"macro_f1": lambda share: f"{share:.0%}"}).data


def test_an_index_is_shown_where_it_has_a_name():
    table = pd.DataFrame({"x": [1]}, index=pd.Index(["<row>"], name="a_<b>"))
    assert "a &lt;b&gt;" in as_html(table).data and "&lt;row&gt;" in as_html(table).data
    assert "&lt;row&gt;" not in as_html(table.rename_axis(None)).data
    two = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("macro_f1", "a"), ("macro_f1", "b_<c>")]))
    assert "macro-F1, b &lt;c&gt;" in as_html(two).data


def test_every_text_is_escaped():
    nasty = "<script>alert(1)</script>"
    page = as_html(pd.DataFrame({nasty: [nasty], "n": [1]}).rename_axis(nasty), title=nasty).data
    assert "<script" not in page and page.count("&lt;script&gt;") == 6
    assert (
        '<div style="overflow-x: auto"><table class="mathjax_ignore tex2jax_ignore">' in page
    )  # "$x$" stays "$x$" in a notebook
    marked = pd.DataFrame({"text": pd.Series([Markup("<mark>a</mark>")], dtype=object)})
    assert "<mark>a</mark>" in as_html(marked).data


def test_highlight_escapes_everything_around_and_inside_the_spans():
    assert highlight("<b>ok</b> & no", [[3, 5], [4, 9]]) == "&lt;b&gt;<mark>ok</mark><mark>&lt;/b&gt;</mark> &amp; no"


def test_what_moved_an_answer_more_is_coloured_more():
    shown = highlight("a <b> c", [[2, 5, 0.1], [0, 1, 0.4]])
    assert shown.startswith('<mark style="background: rgb(255 176 0 / 100%)">a</mark> <mark style=') and "25%" in shown
    assert "&lt;b&gt;</mark> c" in shown and "100%" in highlight("a", [[0, 1, 0.0], [0, 1, -1.0]]) + "100%"


def test_the_report_escapes_texts_once_and_leaves_empty_sections_out(tmp_path):
    rows = pd.DataFrame({"id": ["1", "2"], "text": ["ain't <script>x</script>", "b"], "share": [0.5, float("nan")]})
    table = highlight_rows(rows, {"1": [[0, 5]]})
    page = write_report(
        tmp_path / "r.html", "t <i>", "lead", [section("One", "", table), section("Empty")], "end"
    ).read_text()
    assert "<mark>ain&#39;t</mark> &lt;script&gt;x&lt;/script&gt;" in page and "<script" not in page
    assert "Empty" not in page and "t &lt;i&gt;" in page and "–" in page
    assert "<mark>ain&#39;t</mark>" in as_html(table).data


def test_empty_tables_are_said_to_be_and_small_groups_are_grey(tmp_path):
    table = pd.DataFrame({"group": ["a", "b"], "count": [12, 3], "macro_f1": [0.5, 1.0]})
    assert as_html(table[:0], "No <group>.").data == "<p>No &lt;group&gt;.</p>" and "macro-F1" in as_html(table).data
    table = table.assign(share=[0.25, 1.0], share_low=[0.1, 0.4], share_high=[0.5, 1.0], never=float("nan"))
    part = report.group_section("who_wrote", table, 10)
    assert part["heading"] == "Scores by who wrote" and part["muted"] == [False, True]
    assert part["table"].to_dict("list") == {
        "group": ["a", "b (too few rows)"], "count": [12, 3], "macro_f1": [0.5, 1.0],
        "share": ["0.25 (0.10–0.50)", "1.00 (0.40–1.00)"],
    }  # fmt: skip
    assert "Groups under 10 rows, in grey" in part["note"]
    page = write_report(tmp_path / "r.html", "t", "", [part], "").read_text()
    assert page.count('<tr style="opacity') == 1 and '<td class="figure"' in page
    many = pd.DataFrame({"group": range(50), "count": 20, "accuracy": 0.5})
    assert "10 more groups" in report.group_section("g", many, 10)["note"]


def test_values_and_their_bounds_share_a_cell():
    table = pd.DataFrame({"macro_f1": [0.5], "low": [0.4], "high": [0.6], "x": [-0.1], "x low": [-0.2], "x high": [0]})
    shown = report.with_intervals(table, 2)
    assert shown.to_dict("list") == {"macro_f1": ["0.50 (0.40–0.60)"], "x": ["−0.10 (−0.20 to 0.00)"]}
    assert report.with_intervals(table.astype(float) * float("nan")).isna().all().all()
    assert list(report.with_intervals(table[:0]).columns) == ["macro_f1", "x"]


def test_sentences_and_headings_of_what_is_there(tmp_path):
    sections = [
        section("In short", points=["a <b>"]),
        section("Nothing", "note"),
        section("Rows", table=pd.DataFrame()),
    ]
    assert [part["heading"] for part in report.filled(sections)] == ["In short"]
    page = write_report(tmp_path / "r.html", "t", "", sections, "").read_text()
    assert page.count("<h2>") == 1 and "<li>a &lt;b&gt;</li>" in page


def test_changes_are_coloured_and_escaped():
    shown = report.changes("Cerchiamo un <b>cuoco</b> bravo", "Cerchiamo <b>personale</b> bravo & svelto")
    assert "<b>" not in shown and "&lt;b&gt;" in shown and "&amp;" in shown
    assert "<del>cuoco</del><ins>personale</ins>" in shown and "<del> un</del>" in shown
    assert report.changes("uno due tre", "uno due tre") == "uno due tre"
    assert report.changes("uno due tre", "<i>tutt'altro</i>") == "&lt;i&gt;tutt&#39;altro&lt;/i&gt;"
    rows = pd.DataFrame({"text": ["un cuoco bravo"], "output": ["una persona brava, un cuoco bravo"]})
    page = report.as_html(report.mark_changes(rows)).data
    assert "<ins>" in page and "&lt;ins&gt;" not in page


def test_changes_in_a_long_text_are_marked_and_give_it_back():
    old = " ".join(f"Frase numero {i} del testo." for i in range(5000))
    new = old.replace("numero 7 ", "numero sette ").replace("numero 4000 ", "")
    start = time.perf_counter()
    marked = str(report.changes(old, new))
    assert time.perf_counter() - start < 10  # difflib alone takes the square of the length
    assert marked.count("<del>") == 2 and marked.count("<ins>") == 1
    assert re.sub(r"<del>.*?</del>|</?ins>", "", marked) == new


def test_long_texts_without_a_common_sentence_are_bounded():
    old, new = " ".join(f"a{i} b" for i in range(9000)), " ".join(f"c{i} b" for i in range(9000))
    start = time.perf_counter()
    report.changes(old, new)
    assert time.perf_counter() - start < 10
