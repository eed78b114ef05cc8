"""What the report says first: true to its tables, also where the detector loses."""

import re

import pandas as pd
import pytest

from helpers.evaluation.groups import WORST
from helpers.evaluation.verdict import detector_verdict, writer_verdict

TFIDF, RULES = "TF-IDF + LR, same rows", "cue lexicon"
CALIBRATED = {"calibration_error": 0.02, "by_chance": 0.03, "mean_confidence": 0.9, "accuracy": 0.88}


def tables(scores, leads, worst=None, flips=0.01):
    """The tables of a detector of 0.8 beside rivals with these scores and bounds of its lead."""
    headline = pd.DataFrame({"model": ["QLoRA detector", *scores], "macro_f1": [0.8, *scores.values()]})
    headline = headline.assign(low=headline.macro_f1 - 0.05, high=headline.macro_f1 + 0.05, accuracy=0.82, count=200)
    lead = pd.DataFrame(
        [(n, 0.8 - scores[n], *leads[n]) for n in scores], columns=["against", "difference", "low", "high"]
    )
    worst = pd.DataFrame(worst or [], columns=WORST)
    flip = pd.DataFrame([("QLoRA detector", 50, flips, 0.0, 0.2), (TFIDF, 50, 0.04, 0.0, 0.1)])
    flip.columns = ["model", "pairs", "flip_rate", "low", "high"]
    return {"headline": headline, "lead": lead, "worst": worst, "flips": flip, "further": headline[:0].assign(set=[])}


ODDS = ["group_column", "groups_compared", "rate", "highest", "lowest", "difference", "low", "high"]


def said(calibration=CALIBRATED, language="it", odds=(), **values):
    odds = pd.DataFrame(odds, columns=ODDS)
    return " ".join(detector_verdict(**values, calibration=calibration, odds=odds, language=language))


def test_a_proven_gap_in_error_rates_is_told_where_no_group_fares_worse():
    rows = [("form", 3, "false_positive_rate", "masculine", "neutral", 0.31, 0.07, 0.56)]
    rows += [("sector", 2, "false_negative_rate", "a", "b", 0.4, -0.1, 0.6)]
    text = said(odds=rows, **tables({TFIDF: 0.6}, {TFIDF: (0.1, 0.3)}))
    assert (
        "the false positive rate is higher for “masculine” than for “neutral” (form), by 0.310 (0.070–0.560)." in text
    )
    assert "unevenly" not in said(odds=rows[1:], **tables({TFIDF: 0.6}, {TFIDF: (0.1, 0.3)}))


def test_a_detector_that_wins_may_propose():
    text = said(**tables({TFIDF: 0.6, "majority": 0.3}, {TFIDF: (0.1, 0.3), "majority": (0.4, 0.6)}))
    assert "200 test rows the detector reaches a macro-F1 of 0.800 (95 % interval 0.750–0.850); 82 % of" in text
    assert "It is ahead of TF-IDF with the same labels (0.600) and always giving the commonest answer (0.300)." in text
    assert "with 18 % of them wrong it should not decide alone." in text and "No miscalibration is proven" in text
    assert "Whom it fails is not known" in text and "changes its answer in 1 %" in text


def test_rules_that_win_are_said_to():
    text = said(
        **tables(
            {TFIDF: 0.79, RULES: 0.9, "majority": 0.3},
            {TFIDF: (-0.1, 0.1), RULES: (-0.2, -0.05), "majority": (0.3, 0.6)},
        )
    )
    assert (
        "It loses to the hand-made rules of the cue lexicon (0.900): the difference is −0.100 (−0.200 to −0.050)."
        in text
    )
    assert "No difference is proven from TF-IDF with the same labels (0.790)." in text
    assert "What follows: for texts like these, prefer the hand-made rules" in text


@pytest.mark.parametrize(
    ("leads", "advice"),
    [
        (
            {TFIDF: (-0.1, 0.1), "majority": (0.3, 0.5)},
            "nothing here speaks for it over TF-IDF with the same labels, which is",
        ),
        ({TFIDF: (0.1, 0.2), "majority": (-0.1, 0.5)}, "do not use this detector; it is not proven better than always"),
        ({TFIDF: (-0.3, -0.1), "majority": (0.3, 0.5)}, "prefer TF-IDF with the same labels"),
    ],
)
def test_what_follows_for_use(leads, advice):
    assert advice in said(**tables({TFIDF: 0.7, "majority": 0.3}, leads))


def test_two_that_are_as_good_are_both_simpler():
    text = said(**tables({TFIDF: 0.8, RULES: 0.8}, {TFIDF: (-0.1, 0.1), RULES: (-0.1, 0.1)}))
    assert "with the same labels and the hand-made rules of the cue lexicon, both simpler." in text


def test_a_group_is_named_only_where_its_interval_supports_it():
    leads = {"majority": (0.3, 0.5)}
    row = ["sector", 4, "north_west", 40, 0.5, 0.9, -0.4, -0.6, -0.1]
    text = said(**tables({"majority": 0.3}, leads, [row, ["kind", 2, "x", 90, 0.8, 0.85, -0.05, -0.2, 0.1]], flips=0.3))
    assert "It fails “north west” (sector, n = 40) most: 50 % answers right, 90 % elsewhere." in text
    assert (
        "let a person read the texts of “north west”; do not let the detector decide where a text names a gender"
        in text
    )
    text = said(**tables({"majority": 0.3}, leads, [[*row[:-1], 0.01]]))
    assert "No group is proven to fare worse" in text and "north" not in text


def test_calibration_and_further_sets():
    values = tables({TFIDF: 0.6}, {TFIDF: (0.1, 0.3)})
    values["further"] = values["headline"].assign(set="test_other", macro_f1=[0.4, 0.5], low=0.3, high=0.6)
    text = said(CALIBRATED | {"calibration_error": 0.1}, **values)
    assert "It is not calibrated (expected error 0.100, by chance up to 0.030): its confidence is higher, 90 %" in text
    assert "do not read its confidence as a probability" in text
    assert (
        "On “test other”, 200 further rows, it has 0.400 (0.300–0.600); 0.500 with TF-IDF with the same labels." in text
    )
    values["flips"] = values["flips"].assign(pairs=0, flip_rate=float("nan"))
    assert "not measured: no text names a gender that the rules for language='it' can swap." in said(
        language="it", **values
    )
    assert "not measured: language is not set; for Italian or English texts set it to it or en." in said(
        language="", **values
    )


def test_every_number_stands_in_a_table():
    values = tables(
        {TFIDF: 0.61, RULES: 0.93},
        {TFIDF: (0.11, 0.27), RULES: (-0.21, -0.07)},
        [["k", 2, "g", 44, 0.51, 0.92, -0.41, -0.63, -0.12]],
    )
    numbers = [n for t in values.values() for n in t.select_dtypes("number").to_numpy().ravel()] + [
        *CALIBRATED.values()
    ]
    known = (
        {f"{abs(n):.3f}" for n in numbers} | {f"{abs(n):.0f}" for n in numbers} | {f"{100 * n:.0f}" for n in numbers}
    )
    text = said(**values).replace("95 % interval", "").replace("macro-F1", "")
    assert {n.replace(",", "") for n in re.findall(r"\d[\d,.]*\d|\d", text)} <= known


def test_a_writer_is_set_beside_rules_and_copying():
    names = ["writer", "rules of grammar", "copy of the source"]
    systems = pd.DataFrame({"system": names, "count": 100, "strict": [0.8, 0.82, 0.2], "compliance": 0.9, "chrF": 75.0})
    systems = systems.assign(**{"strict low": 0.7, "strict high": 0.9})
    lead = pd.DataFrame(
        {"against": names[1:], "figure": "strict", "difference": [-0.02, 0.6], "low": [-0.1, 0.4], "high": [0.1, 0.7]}
    )
    alone = pd.DataFrame({"exact match": [True, True, True, False]})
    text = " ".join(writer_verdict(systems, lead, alone, pd.DataFrame(columns=WORST)))
    assert "80 % (70–90 %) of 100 test texts come out strictly right; chrF to the references is 75.0." in text
    assert "No difference is proven from the rules of grammar alone (0.820)." in text
    assert "Of 4 texts that needed no change it changes 25 %." in text
    assert "nothing here speaks for it over the rules of grammar alone, which is simpler" in text
