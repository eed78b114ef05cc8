"""The forms of words: articles by sound, all double forms of a word, and the tables they come from."""

import pytest

from helpers.italian import forms
from helpers.italian.lexicon import table_rows


@pytest.mark.parametrize(
    ("noun", "name", "slot", "expected"),
    [
        ("stagista", "il", 0, "lo stagista"),
        ("stagista", "il", 1, "la stagista"),
        ("operatore", "il", 0, "l'operatore"),
        ("addetta", "un", 1, "un'addetta"),
        ("addetto", "un", 0, "un addetto"),
        ("psicologo", "un", 0, "uno psicologo"),
        ("segretaria", "un", 1, "una segretaria"),
        ("sales manager", "un", 0, "un sales manager"),
        ("specialisti", "i", 2, "gli specialisti"),
        ("operatrici", "dei", 3, "delle operatrici"),
        ("operatori", "ai", 2, "agli operatori"),
        ("hostess", "il", 1, "l'hostess"),
        ("chef", "del", 0, "dello chef"),
        ("cuoco", "del", 0, "del cuoco"),
        ("infermiera", "al", 1, "all'infermiera"),
        ("infermiere", "i", 3, "le infermiere"),
        ("cuochi", "dei", 2, "dei cuochi"),
        ("HR manager", "il", 0, "l'HR manager"),
    ],
)
def test_an_article_follows_the_sound_of_the_noun(noun, name, slot, expected):
    assert forms.articled(noun, name, slot) == expected


def test_an_unknown_article_is_refused():
    with pytest.raises(KeyError):
        forms.articled("cuoco", "presso", 0)


@pytest.mark.parametrize(
    ("word", "accepted"),
    [
        ("Operaio", {"Operaio/a", "Operaio/operaia", "Operaio o operaia", "Operaio e operaia"}),
        ("direttrice", {"direttore/trice", "direttrice/tore", "direttore/direttrice", "direttore o direttrice"}),
        ("la", {"il/la", "lo/la"}),
        ("degli", {"degli/delle"}),
        ("DONNA", {"UOMO/DONNA"}),
    ],
)
def test_every_way_to_write_both_genders_is_accepted(word, accepted):
    assert accepted <= set(forms.accepted_doubles(word))


def test_a_word_without_gender_has_no_double_form():
    assert forms.accepted_doubles("per") == forms.accepted_doubles("B") == []


@pytest.mark.parametrize("name", ["lexicon", "morph_endings", "morph_asking", "morph_doubles"])
def test_a_table_of_forms_has_every_cell_and_no_row_twice(name):
    rows = [tuple(row.values()) for row in table_rows(name)]
    assert {len(row) for row in rows} == {2 if name == "morph_doubles" else 5}
    assert all(all(row) for row in rows) and len(set(rows)) == len(rows)
