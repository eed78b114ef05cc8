"""Synthetic rows: labels that follow the wording, and filters that reject what they should."""

import numpy as np
import pandas as pd
import pytest

from helpers import expand
from helpers.task import Task

TASK = Task("italian_jobs", ("inclusive", "not_inclusive"), "not_inclusive", ("a", "b"), "{text}", ("sector",))


def record(text, label="not_inclusive", **more):
    return {"id": text, "text": text, "label": label, "sector": "logistica", "source": "counterfactual", **more}


def test_swaps_keep_the_label_and_the_double_form_takes_the_other():
    rows = expand.counterfactuals([record("Il candidato sarà assunto subito.")], TASK, "it")
    assert {(r["text"], r["label"]) for r in rows} == {
        ("La candidata sarà assunta subito.", "not_inclusive"),
        ("Il/la candidato/a sarà assunto/a subito.", "inclusive"),
    }
    assert all(r["parent_id"] == "Il candidato sarà assunto subito." and r["sector"] == "logistica" for r in rows)


def test_a_text_without_people_has_no_variant():
    assert expand.counterfactuals([record("Contratto a termine di sei mesi.", "inclusive")], TASK, "it") == []
    assert expand.variants("Any text", "") == []


def test_thin_cells_and_their_filling():
    rows = [record(str(i), sector=s) for i, s in enumerate(["a"] * 6 + ["b"] * 2)]
    cells = expand.thin_cells(rows, "sector", TASK.labels)
    assert {(r["label"], r["sector"]): r["wanted"] for r in cells.to_dict("records")} == {
        ("inclusive", "a"): 2, ("inclusive", "b"): 2,
    }  # fmt: skip
    source = ({"text": f"testo {i}", "label": "inclusive", "sector": "ab"[i % 2]} for i in range(100))
    made = expand.fill_cells(cells, "sector", TASK, source, most=3)
    assert [(r["label"], r["sector"]) for r in made] == [("inclusive", "a"), ("inclusive", "b"), ("inclusive", "a")]


LONG = "cerchiamo una persona con esperienza nella vendita di scarpe e borse per il negozio di Parma centro"


@pytest.mark.parametrize(
    ("keep", "good", "bad"),
    [
        (expand.well_formed, LONG, "12 34 56 78 90 12 34 56 78 90"),
        (expand.not_exact_duplicates([record("già visto")]), LONG, "già visto"),
        (
            expand.not_near_duplicates([record(LONG, id="other")], 0.7),
            "tutt'altro testo sul forno del paese",
            LONG + " oggi",
        ),
        (expand.no_leaks([record(LONG)]), "tutt'altro testo sul forno del paese", LONG + " oggi"),
    ],
)
def test_every_filter_rejects_what_it_should(keep, good, bad):
    assert keep([record(good), record(bad, id="bad")]).tolist() == [True, False]


def test_a_row_may_resemble_its_own_parent():
    keep = expand.not_near_duplicates([record(LONG, id="parent")], 0.7)
    assert keep([record(LONG + " oggi", id="child", parent_id="parent")]).all()


def test_the_judge_must_give_the_label_some_probability():
    keep = expand.label_agrees(lambda texts: np.array([[0.9, 0.1], [0.5, 0.5]]), TASK)
    assert keep([record("x"), record("y")]).tolist() == [False, True]


def test_acceptance_counts_what_reaches_each_filter():
    filters = {"first": lambda c: np.array([True, False]), "second": lambda c: np.array([False])}
    accepted, table = expand.apply_filters([record("x"), record("y")], filters)
    assert accepted == []
    expected = pd.DataFrame({"filter": ["first", "second"], "candidates": [2, 1], "accepted": [1, 0]})
    pd.testing.assert_frame_equal(table[["filter", "candidates", "accepted"]], expected)


def test_a_review_rejects_mends_and_keeps():
    rows = [record("uno"), record("due"), record("tre")]
    kept = expand.reviewed(rows, {"uno": "", "due": " due meglio "}, "italian_jobs")
    assert [r["text"] for r in kept] == ["due meglio", "tre"]
    assert kept[0]["id"] != "due" and kept[0]["label"] == "not_inclusive"
    line = expand.describe_review(rows, {"uno": "", "due": "due meglio"})
    assert line.startswith("2 of 3 rows looked at: 1 kept (50%, 95 % interval 9%–91%), 1 of them mended, 1 rejected")


def test_the_sample_for_review_is_drawn_by_seed():
    rows = [record(str(i)) for i in range(50)]
    assert expand.draw(rows, 10, 1) == expand.draw(rows, 10, 1) != expand.draw(rows, 10, 2)
    assert expand.draw(rows, 80, 1) == rows and expand.draw(rows, 0, 1) == []
