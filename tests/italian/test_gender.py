"""Gender rewritten: agreement of the swap, double forms, schwa and "persona"."""

from __future__ import annotations

import csv
from itertools import zip_longest

import pytest

from helpers.italian import gender
from helpers.italian.addressees import EVERYONE
from helpers.italian.cues import find_cues
from helpers.italian.lexicon import occupations
from tests.project import SHARED

GATE = SHARED / "gate_it/it_2_variants_dev.tsv"

PAIRS = [
    # articles, articulated prepositions, elision
    ("Il cuoco parla con lo stagista.", "La cuoca parla con la stagista."),
    ("L'operatore riporta al direttore.", "L'operatrice riporta alla direttrice."),
    (
        "Cercasi addetti operativi part-time e un native speaker.",
        "Cercasi addette operative part-time e una native speaker.",
    ),
    ("un'impresa cerca un elettricista", "un'impresa cerca un'elettricista"),
    ("Affianca gli infermieri nei turni.", "Affianca le infermiere nei turni."),
    ("il lavoro degli psicologi", "il lavoro delle psicologhe"),
    ("quel ricercatore e quegli studenti", "quella ricercatrice e quelle studentesse"),
    ("un altro magazziniere", "un'altra magazziniera"),
    ("L’azienda cerca l’uomo giusto.", "L’azienda cerca la donna giusta."),
    # nouns
    ("i nostri colleghi più giovani", "le nostre colleghe più giovani"),
    ("Tutti gli amici del professore", "Tutte le amiche della professoressa"),
    ("Cercasi saldatore esperto.", "Cercasi saldatrice esperta."),
    ("un valido assistente", "una valida assistente"),
    ("dello Store Manager", "della Store Manager"),
    ("Cerchiamo un Sales Manager ambizioso.", "Cerchiamo una Sales Manager ambiziosa."),
    ("uno dei nostri tutor", "una delle nostre tutor"),
    # participles and adjectives
    ("Sei pronto a metterti in gioco?", "Sei pronta a metterti in gioco?"),
    ("Verrai assunto e sarai inserito nel team.", "Verrai assunta e sarai inserita nel team."),
    ("Ti stai chiedendo se sei pronto?", "Ti stai chiedendo se sei pronta?"),  # a gerund agrees with nobody
    ("Sei laureando o stai diventando esperto?", "Sei laureanda o stai diventando esperta?"),
    ("Siamo convinti che serva tempo.", "Siamo convinte che serva tempo."),
    ("Se interessato, scrivi entro lunedì.", "Se interessata, scrivi entro lunedì."),
    ("Il candidato che sarà scelto è motivato.", "La candidata che sarà scelta è motivata."),
    ("addetto vendite automunito", "addetta vendite automunita"),
    ("Gli iscritti sono stati avvisati.", "Le iscritte sono state avvisate."),
    ("Sei molto motivato e poco paziente?", "Sei molto motivata e poco paziente?"),
    ("molti candidati, tanti operai", "molte candidate, tante operaie"),
    # capitals
    ("OPERAI SPECIALIZZATI", "OPERAIE SPECIALIZZATE"),
    ("Il Direttore Commerciale", "La Direttrice Commerciale"),
]

UNTOUCHED = [
    "Il lavoro è un contratto a tempo indeterminato; il settore è dinamico.",
    "Sei il punto di contatto con la sede e il motore del cambiamento.",
    "La persona selezionata sarà inserita in un gruppo affiatato.",
    "La risorsa, affiancata all'inizio, sarà poi autonoma.",
    "Il profilo ideale è motivato e il personale è formato.",
    "Il/la candidato/a sarà contattato/a.",
    "Candidati e candidate, un/una tutor, candidat* e candidatə.",
    "Le assistenti e gli assistenti, addette o addetti, operatore/trice.",
    "Responsabile di filiale, docente, Data Analyst.",
    "Diploma tecnico, supporto medico, un certificato; diritti civili e politici.",
    "La commessa vale due milioni; un trattore, i contenitori e i laboratori.",
    "Candidati ora!",
    "La casa madre di Guastalla (RE) produce moda donna per dodici paesi.",
    "Richiesta: native speaker, native English teacher o creative director.",
]


@pytest.mark.parametrize(("masculine", "feminine"), PAIRS)
def test_swap_agrees_in_both_directions(masculine, feminine):
    assert gender.swap(masculine, "feminine") == feminine
    assert gender.swap(feminine, "masculine") == masculine
    assert gender.swap(feminine, "feminine") == feminine


@pytest.mark.parametrize("text", UNTOUCHED)
def test_things_neutral_heads_and_double_forms_stay(text):
    assert gender.swap(text, "feminine") == text
    assert gender.swap(text, "masculine") == text
    assert gender.neutralise(text, EVERYONE) == text
    assert find_cues(text, EVERYONE) == []


def test_spacing_and_punctuation_survive():
    text = "  Cercasi   cuoco,\n\n- il cuoco  (full-time) sarà… assunto!!  "
    assert gender.swap(text, "feminine") == "  Cercasi   cuoca,\n\n- la cuoca  (full-time) sarà… assunta!!  "
    assert gender.swap("", "feminine") == gender.neutralise("", EVERYONE) == ""


@pytest.mark.parametrize(
    ("text", "double"),
    [
        ("Il candidato ideale", "Il/la candidato/a ideale"),
        ("Sei pronto?", "Sei pronto/a?"),
        ("gli operatori del reparto", "gli operatori e le operatrici del reparto"),
        ("Cercasi impiegata", "Cercasi impiegato/a"),
        ("un tecnico specializzato", "un/una tecnico/a specializzato/a"),
        ("i colleghi", "i/le colleghi/e"),
        ("L'istruttore", "L'istruttore/trice"),
        ("del responsabile", "del/della responsabile"),
        ("Cerchiamo tecnici specializzati.", "Cerchiamo tecnici/che specializzati/e."),
        ("un'infermiera", "un/una infermiere/a"),
        ("Il candidato sarà affiancato dal suo tutor.", "Il/la candidato/a sarà affiancato/a dal/dalla suo/a tutor."),
        ("Sei molto motivato?", "Sei molto motivato/a?"),
        ("i suoi collaboratori", "i/le suoi/sue collaboratori/trici"),
        ("Gli iscritti sono stati avvisati.", "Gli/le iscritti/e sono stati/e avvisati/e."),
    ],
)
def test_neutralise_writes_the_double_form(text, double):
    assert gender.neutralise(text, EVERYONE) == double
    assert gender.neutralise(double, EVERYONE) == double
    assert find_cues(double, EVERYONE) == []


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("Il candidato ideale è automunito.", "Lə candidatə ideale è automunitə."),
        ("Cercasi impiegata esperta.", "Cercasi impiegatə espertə."),
        ("L'operatore riporta al direttore.", "L'operatorə riporta allə direttorə."),
        ("un'infermiera e uno studente", "unə infermierə e unə studentə"),
        ("i nostri colleghi più giovani", "lə nostrə colleghə più giovani"),
        ("Cerchiamo tecnici e operai esperti.", "Cerchiamo tecnichə e operaiə espertə."),
        ("Tutti gli amici del professore", "Tuttə lə amichə dellə professorə"),
        ("quel ricercatore e i suoi collaboratori", "quellə ricercatorə e lə suə collaboratorə"),
        ("Il candidato sarà affiancato dal suo tutor.", "Lə candidatə sarà affiancatə dallə suə tutor."),
        ("Gli iscritti sono stati avvisati.", "Lə iscrittə sono statə avvisatə."),
        ("Sei molto motivato?", "Sei molto motivatə?"),
        ("Assistenza ai clienti.", "Assistenza allə clienti."),
        ("OPERAI SPECIALIZZATI", "OPERAIƏ SPECIALIZZATƏ"),
        ("i baristi", "lə baristə"),
        ("il barman", "il/la barman/barlady"),  # no stem in common: the double form
    ],
)
def test_schwa_stands_for_both_genders(text, written):
    assert gender.schwa(text, EVERYONE) == written
    assert gender.schwa(written, EVERYONE) == written
    assert find_cues(written, EVERYONE) == []


def test_schwa_leaves_alone_what_is_no_cue():
    for text in [*UNTOUCHED, "Casting: cerchiamo un attore per la sfilata."]:
        assert gender.schwa(text, EVERYONE) == text


def test_occupations_swap_in_both_directions():
    jobs = [job for job in occupations() if job["masculine"].split()[0] != job["feminine"].split()[0]]
    for one, other, to in (("masculine", "feminine", "feminine"), ("feminine", "masculine", "masculine")):
        pairs = [(job[one], job[other]) for job in jobs]
        wrong = [source for source, target in pairs if gender.swap(f"Cercasi {source}", to) != f"Cercasi {target}"]
        assert len(wrong) <= 0.03 * len(jobs), wrong


def test_gate_sentences():
    if not GATE.exists():
        pytest.skip("the GATE sentences are not beside the repository (../shared/data/gate_it)")
    with GATE.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    for source, target, to, back in (("m", "f", "feminine", "masculine"), ("f", "m", "masculine", "feminine")):
        swapped = [gender.swap(row[source], to) for row in rows]
        expected = [row[target] for row in rows]
        words = [zip_longest(one.split(), two.split()) for one, two in zip(swapped, expected, strict=True)]
        pairs = [pair for text in words for pair in text]
        returned = [gender.swap(text, back) == row[source] for text, row in zip(swapped, rows, strict=True)]
        figures = {
            "exact": sum(map(str.__eq__, swapped, expected)) / len(rows),
            "tokens": sum(one == two for one, two in pairs) / len(pairs),
            "round trip": sum(returned) / len(rows),
        }
        # 0.815, 0.977, 0.972 to the feminine and 0.833, 0.981, 0.954 to the masculine when last measured
        assert figures["exact"] > 0.8 and figures["tokens"] > 0.97 and figures["round trip"] > 0.94, (to, figures)


@pytest.mark.parametrize(
    ("text", "neutral"),
    [
        ("Il candidato ideale sarà assunto subito.", "La persona candidata ideale sarà assunta subito."),
        ("Gli interessati possono scrivere in sede.", "Le persone interessate possono scrivere in sede."),
        ("Dell'incaricato si dirà poi.", "Della persona incaricata si dirà poi."),
        ("Ai candidati selezionati", "Alle persone candidate selezionate"),
        ("CERCASI ADDETTO AL BANCO", "CERCASI PERSONA ADDETTA AL BANCO"),
        ("Cerchiamo un operaio esperto.", "Cerchiamo un/una operaio/a esperto/a."),
        ("La persona sarà inserita in squadra.", "La persona sarà inserita in squadra."),
    ],
)
def test_participle_nouns_follow_persona(text, neutral):
    assert gender.persona(text, EVERYONE) == neutral
