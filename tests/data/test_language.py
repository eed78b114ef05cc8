"""The language of texts against what a model's card names."""

import json

import pytest

from helpers.data import embedded, language
from tests.project import ROOT

ENGLISH = [f"We are looking for a careful person for our shop number {i}, with some experience." for i in range(9)]
ITALIAN = [f"Cerchiamo una persona attenta per il nostro negozio numero {i}, con esperienza." for i in range(9)]


def test_the_embedded_base_reads_italian_alone():
    assert language.card_languages(embedded.BASE) == ["it"]
    assert language.language_remark(ITALIAN, embedded.BASE) == ""
    remark = language.language_remark([*ENGLISH, *ITALIAN[:3]], embedded.BASE)
    assert remark.startswith(
        "Most texts are in language 'en', but the card of model 'embedded:italian_jobs/base_model'"
    )
    assert "names only 'it': " in remark and remark.endswith("take a model for 'en'.")
    assert language.language_remark([], embedded.BASE) == language.language_remark(["?", "!"], embedded.BASE) == ""


@pytest.mark.parametrize(
    ("front", "is_said"),
    [
        ("language: en", False),
        ("language:\n- fr\n- en", False),
        ("language: [de, fr]", True),
        ("language: multilingual", False),
        ("language: en-GB", False),
        ("language: no", True),
        ("license: mit", False),
        ("language: {a: b}", False),
        ("language: [", False),
        ("- a", False),
        ("language: de\x1b[31m", False),
    ],
)
def test_the_card_in_the_folder_of_a_model_is_read(tmp_path, front, is_said):
    (tmp_path / "README.md").write_text(f"---\n{front}\n---\n# Card\n")
    assert bool(language.language_remark(ENGLISH, str(tmp_path))) == is_said


@pytest.mark.parametrize(
    "content", [b"", b"---", b"# No front matter", b"\xff\xfe", b"---\n" + b"[" * 50_000 + b"\n---\n"]
)
def test_a_card_that_says_nothing_makes_no_remark(tmp_path, content):
    (tmp_path / "README.md").write_bytes(content)
    assert language.card_languages(str(tmp_path)) == [] == language.card_languages("owner/name")


@pytest.mark.parametrize("page", ["01_seed_curation", "03_active_learning", "03_active_generation"])
def test_the_notebooks_say_it(page):
    cells = json.loads((ROOT / f"notebooks/{page}.ipynb").read_text(encoding="utf-8"))["cells"]
    assert any("if remark := language_remark(" in "".join(cell["source"]) for cell in cells)


@pytest.mark.parametrize(
    ("text", "languages", "other"),
    [
        ("We are looking for a young waitress who works at weekends.", ["it"], "en"),
        ("We are looking for a young waitress who works at weekends.", ["it", "en"], ""),
        ("Cercasi un magazziniere esperto, referenziato e automunito.", ["it"], ""),
        ("Cercasi receptionist con ottimo inglese.", ["it"], ""),
        ("Ask HR.", ["it"], ""),
        ("We are looking for a young waitress who works at weekends.", [], ""),
    ],
)
def test_one_text_is_in_another_language_only_where_that_is_sure(text, languages, other):
    assert language.surely_other(text, languages) == other
