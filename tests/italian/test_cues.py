"""Cues: their spans and categories, and wording that is none."""

import pytest

from helpers.italian.addressees import EVERYONE
from helpers.italian.cues import find_cues
from helpers.italian.lexicon import occupations


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Il candidato ideale è automunito.", [("Il candidato", "masculine_form"), ("automunito", "masculine_form")]),
        ("Cercasi segretaria per studio.", [("segretaria", "feminine_title")]),
        ("Assistenza ai clienti.", [("ai clienti", "masculine_form")]),
        ("Offriamo a tutti, sempre, formazione.", [("tutti", "masculine_form")]),
        ("Il/la candidato/a sarà motivato.", [("motivato", "masculine_form")]),
        ("Si richiede bella presenza.", [("bella presenza", "appearance_gendered")]),
        ("Personale di sala max 30 anni.", [("max 30 anni", "age")]),
        ("Sana e robusta costituzione.", [("Sana e robusta costituzione", "disability")]),
        ("Preferibilmente senza figli.", [("senza figli", "family_status")]),
        ("Si valutano solo italiani.", [("solo italiani", "origin")]),
        ("Serve forza fisica maschile.", [("forza fisica maschile", "stereotyped_qualities")]),
        ("Meglio se personale femminile.", [("personale femminile", "explicit_sex")]),
    ],
)
def test_cues_have_exact_spans(text, expected):
    assert [(cue.text, cue.category) for cue in find_cues(text, EVERYONE)] == expected
    assert all(text[cue.start : cue.end] == cue.text for cue in find_cues(text, EVERYONE))


@pytest.mark.parametrize(
    "text",
    [
        "Ricerca rivolta ad ambosessi (L. 903/77).",
        "Selezione riservata alle categorie protette, L. 68/99.",
        "Apprendistato, D.Lgs. 81/2015: età tra 18 e 29 anni.",
        "Azienda con più di 20 anni di esperienza e oltre 30 anni di storia.",
        "La nostra direttrice Anna Neri e il fondatore Mario Rossi.",
        "Parità di trattamento senza distinzione di età, origine o disabilità.",
    ],
)
def test_lawful_wording_is_no_cue(text):
    assert find_cues(text, EVERYONE) == []


def test_neutral_and_double_names_of_occupations_are_no_cues():
    names = [job[column] for job in occupations() for column in ("neutral", "double")]
    wrong = [name for name in names if find_cues(f"Cercasi {name}", EVERYONE)]
    assert len(wrong) <= 0.02 * len(names), wrong
