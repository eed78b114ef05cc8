"""Whom a form is about, and what follows for cues, notes and rewriting."""

import pytest

from helpers.italian import gender
from helpers.italian.addressees import ADDRESSEES, EVERYONE, SCOPES, WORKPLACE
from helpers.italian.cues import find_cues, find_notes
from helpers.italian.lexicon import lexicon, table_rows
from helpers.italian.requirements import inclusive


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Cerchiamo un magazziniere.", ["applicant"]),
        ("Il candidato sarà affiancato dal responsabile.", ["applicant", "applicant", "staff"]),
        ("Sei pronto a lavorare con i clienti?", ["applicant", "third_party"]),
        ("Siamo convinti che i nostri tecnici siano bravi.", ["staff", "staff", "staff"]),
        ("I pazienti sono ricoverati.", ["third_party", "third_party"]),
        ("Un team di quattro sviluppatori.", ["staff"]),
        ("Coordinerà 14 operatori per i visitatori.", ["staff", "third_party"]),
        ("N. 4 autisti soccorritori a tempo indeterminato.", ["applicant", "applicant"]),
        ("Ricerchiamo per il nostro studio un avvocato.", ["applicant"]),
        ("Collaborerà con avvocati e notai esterni.", ["third_party", "third_party"]),
        ("Sono benvenuti anche gli studenti universitari.", ["applicant", "applicant"]),
        ("Assistenza agli studenti durante gli esami.", ["third_party"]),
        ("Accogliamo ogni anno oltre 300 studenti.", ["third_party"]),
        ("Orientare il cittadino allo sportello.", ["third_party"]),
        ("Il cittadino che intende candidarsi compila il modulo.", ["applicant"]),
        ("Controllare i lavori degli elettricisti delle ditte esterne.", ["third_party"]),
        ("Docente di italiano per stranieri.", ["third_party"]),
        ("Realizziamo impianti per proprietari di villette.", ["third_party"]),
        ("Il conducente dovrà rispettare i tempi di guida.", ["applicant"]),
        ("Il nuovo collega lavorerà con i colleghi di filiale.", ["applicant", "staff"]),
        ("Possibilità di diventare socio della cooperativa.", ["applicant"]),
        ("Richiesta età massima 30 anni.", ["applicant"]),
        ("Preferibilmente con figli grandi.", ["applicant"]),
    ],
)
def test_addressees(text, expected):
    assert [cue.addressee for cue in find_cues(text, EVERYONE)] == expected


def test_every_cue_is_a_finding_or_a_note():
    text = "Il candidato affiancherà i colleghi e assisterà i clienti."
    for scope in SCOPES:
        findings, notes = find_cues(text, scope), find_notes(text, scope)
        assert len(findings) + len(notes) == 3 and {cue.addressee for cue in findings} == SCOPES[scope]
    assert [note.text for note in find_notes(text)] == ["i clienti"]


def test_the_scope_says_what_is_rewritten():
    text = "Un addetto per i clienti, max 30 anni."
    assert inclusive(text) == "Un/una addetto/a per i clienti."
    assert inclusive(text, EVERYONE) == "Un/una addetto/a per i/le clienti."
    assert (
        gender.neutralise("Siamo lieti di assumere un autista.", "applicant")
        == "Siamo lieti di assumere un/una autista."
    )


def test_the_table_names_nouns_that_the_lexicon_knows():
    rows = table_rows("morph_addressees")
    assert len(rows) > 100 and len({row["word"] for row in rows}) == len(rows)
    assert {row["addressee"] for row in rows} < set(ADDRESSEES) and {row["sought"] for row in rows} == {
        "no",
        "yes",
        "often",
    }
    assert WORKPLACE in SCOPES and [row["word"] for row in rows if row["word"] not in lexicon()] == []
