"""Gender morphology: agreement of the swap, double forms, cues and their spans."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from helpers import italian

GATE = Path(__file__).parents[1] / "../shared/data/gate_it/it_2_variants_dev.tsv"

PAIRS = [
    # articles, articulated prepositions, elision
    ("Il cuoco parla con lo stagista.", "La cuoca parla con la stagista."),
    ("L'operatore riporta al direttore.", "L'operatrice riporta alla direttrice."),
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
    ("Siamo convinti che serva tempo.", "Siamo convinte che serva tempo."),
    ("Se interessato, scrivi entro lunedì.", "Se interessata, scrivi entro lunedì."),
    ("Il candidato che sarà scelto è motivato.", "La candidata che sarà scelta è motivata."),
    ("addetto vendite automunito", "addetta vendite automunita"),
    ("Gli iscritti sono stati avvisati.", "Le iscritte sono state avvisate."),
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
]


@pytest.mark.parametrize(("masculine", "feminine"), PAIRS)
def test_swap_agrees_in_both_directions(masculine, feminine):
    assert italian.swap(masculine, "feminine") == feminine
    assert italian.swap(feminine, "masculine") == masculine
    assert italian.swap(feminine, "feminine") == feminine


@pytest.mark.parametrize("text", UNTOUCHED)
def test_things_neutral_heads_and_double_forms_stay(text):
    assert italian.swap(text, "feminine") == text
    assert italian.swap(text, "masculine") == text
    assert italian.neutralise(text) == text
    assert italian.cues(text) == []


def test_spacing_and_punctuation_survive():
    text = "  Cercasi   cuoco,\n\n- il cuoco  (full-time) sarà… assunto!!  "
    assert italian.swap(text, "feminine") == "  Cercasi   cuoca,\n\n- la cuoca  (full-time) sarà… assunta!!  "
    assert italian.swap("", "feminine") == italian.neutralise("") == ""


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
    ],
)
def test_neutralise_writes_the_double_form(text, double):
    assert italian.neutralise(text) == double
    assert italian.neutralise(double) == double
    assert italian.cues(double) == []


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
    found = italian.cues(text)
    assert [(cue.text, cue.category) for cue in found] == expected
    assert all(text[cue.start : cue.end] == cue.text for cue in found)


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
    assert italian.cues(text) == []


def test_occupations_are_read_from_the_table(tmp_path, monkeypatch):
    head = "lemma masculine feminine masculine_plural feminine_plural double neutral epicene sector"
    row = "droghiere droghiere droghiera droghieri droghiere droghiere/a drogheria no commercio"
    table = "\n".join("\t".join(line.split()) for line in (head, row))
    (tmp_path / "occupations.tsv").write_text(table + "\n", encoding="utf-8")
    monkeypatch.setattr(italian, "FOLDER", tmp_path)
    italian.occupations.cache_clear()
    try:
        (job,) = italian.occupations()
        assert (job.feminine, job.epicene, job.sector) == ("droghiera", False, "commercio")
        assert italian.occupations() is italian.occupations()
    finally:
        italian.occupations.cache_clear()


def test_occupations_of_the_package_swap_in_both_directions():
    if not (italian.FOLDER / "occupations.tsv").exists():
        pytest.skip("occupations.tsv is not there")
    jobs = [job for job in italian.occupations() if job.masculine.split()[0] != job.feminine.split()[0]]
    for one, other, to in (("masculine", "feminine", "feminine"), ("feminine", "masculine", "masculine")):
        pairs = [(getattr(job, one), getattr(job, other)) for job in jobs]
        wrong = [a for a, b in pairs if italian.swap(f"Cercasi {a}", to) != f"Cercasi {b}"]
        assert len(wrong) <= 0.03 * len(jobs), wrong


def test_neutral_and_double_names_of_occupations_are_no_cues():
    names = [name for job in italian.occupations() for name in (job.neutral, job.double)]
    wrong = [name for name in names if italian.cues(f"Cercasi {name}")]
    assert len(wrong) <= 0.02 * len(names), wrong


def test_lexicon_has_four_forms_a_row():
    with (italian.FOLDER / "lexicon.tsv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    assert {len(row) for row in rows} == {5}
    assert len({tuple(row) for row in rows}) == len(rows)


def test_gate_sentences():
    if not GATE.exists():
        pytest.skip("the GATE sentences are not beside the repository (../shared/data/gate_it)")
    with GATE.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    to_feminine = sum(italian.swap(row["m"], "feminine") == row["f"] for row in rows) / len(rows)
    to_masculine = sum(italian.swap(row["f"], "masculine") == row["m"] for row in rows) / len(rows)
    back = sum(italian.swap(italian.swap(row["m"], "feminine"), "masculine") == row["m"] for row in rows) / len(rows)
    assert to_feminine > 0.75
    assert to_masculine > 0.78
    assert back > 0.9
