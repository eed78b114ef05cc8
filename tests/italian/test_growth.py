"""Long texts: the time grows with their length, and a part is treated as it is alone."""

import ast
import time
from pathlib import Path

import pytest

from helpers.data import embedded
from helpers.italian import gender, requirements
from helpers.italian.check import check
from helpers.italian.cues import LAWFUL, find_cues, patterns_for
from helpers.italian.lexicon import word_classes

ALL_PATTERNS = len(patterns_for(""))
ADS = [r["text"] for r in embedded.pool_texts()[:400]]
ADS = [ad for ad in ADS if not LAWFUL.search(ad) and len(patterns_for(ad)) == ALL_PATTERNS]


ODD = [
    "richiesta " + "è - rigorosamente-" * 3000,
    "è - bravo-" * 5000,
    "età" + " max" * 15_000,
    "a' " * 20_000,
    "'a" * 20_000,
    "a/" * 30_000,
    "e\u0301" * 30_000,
]


@pytest.mark.parametrize(
    "rewrite",
    [
        find_cues,
        gender.neutralise,
        lambda text: gender.swap(text, "feminine"),
        lambda text: gender.single(text, "masculine"),
    ],
)
@pytest.mark.parametrize(
    "text", ["\n".join(ADS)[:60_000], "candidato " * 6000, "molto " * 8000, "candidatə " * 5000, *ODD]
)
def test_a_long_text_takes_no_square_of_its_length(rewrite, text):
    start = time.perf_counter()
    rewrite(text)
    assert time.perf_counter() - start < 25  # the square of the length took minutes


def test_a_list_of_ads_has_the_cues_of_its_ads():
    text = ".\n".join(ADS[:60])
    found = {cue.text for cue in find_cues(text)}
    alone = {cue.text for ad in ADS[:60] for cue in find_cues(ad)}
    assert len(found & alone) > 0.95 * len(alone)


def test_requirements_go_from_everywhere_in_a_long_text():
    sentence = "Si richiede bella presenza e voglia di fare."
    expected = requirements.without_requirements(f"Prima. {sentence}").removeprefix("Prima. ")
    start = time.perf_counter()
    shorter = requirements.without_requirements("Prima. " + " ".join([sentence] * 300))
    assert shorter == "Prima. " + " ".join([expected] * 300)
    assert time.perf_counter() - start < 25


def test_a_quality_changes_in_its_own_place():
    text = "La dolcezza femminile che cerchiamo conta. Poi la dolcezza femminile che offri."
    assert "femminile" not in requirements.without_requirements(text)


def test_the_check_of_a_long_text_takes_no_square_of_its_length():
    source = " ".join(f"Numero {i}: cerchiamo un addetto." for i in range(300))
    reference = gender.neutralise(source)
    start = time.perf_counter()
    assert check(source, reference, reference)["compliant"]
    assert not check(source, source, reference)["compliant"]
    assert time.perf_counter() - start < 25


def test_every_class_of_words_that_the_rules_ask_for_is_in_the_table():
    asked = {
        argument.value
        for file in Path(gender.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "belongs"
        for argument in node.args[1:]
        if isinstance(argument, ast.Constant)
    }
    assert len(asked) > 20 and asked <= word_classes().keys()
