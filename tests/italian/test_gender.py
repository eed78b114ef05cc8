"""Gender morphology: agreement of the swap, double forms, cues and their spans."""

from __future__ import annotations

import csv
from itertools import zip_longest

import pytest

from helpers.italian import gender
from tests.project import SHARED

GATE = SHARED / "gate_it/it_2_variants_dev.tsv"

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
    assert gender.neutralise(text) == text
    assert gender.cues(text) == []


def test_spacing_and_punctuation_survive():
    text = "  Cercasi   cuoco,\n\n- il cuoco  (full-time) sarà… assunto!!  "
    assert gender.swap(text, "feminine") == "  Cercasi   cuoca,\n\n- la cuoca  (full-time) sarà… assunta!!  "
    assert gender.swap("", "feminine") == gender.neutralise("") == ""


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
    assert gender.neutralise(text) == double
    assert gender.neutralise(double) == double
    assert gender.cues(double) == []


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
    assert gender.schwa(text) == written
    assert gender.schwa(written) == written
    assert gender.cues(written) == []


def test_schwa_leaves_alone_what_is_no_cue():
    for text in [*UNTOUCHED, "Casting: cerchiamo un attore per la sfilata."]:
        assert gender.schwa(text) == text


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
    found = gender.cues(text)
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
    assert gender.cues(text) == []


def test_occupations_are_read_from_the_table(tmp_path, monkeypatch):
    head = "lemma masculine feminine masculine_plural feminine_plural double neutral epicene sector"
    row = "droghiere droghiere droghiera droghieri droghiere droghiere/a drogheria no commercio"
    table = "\n".join("\t".join(line.split()) for line in (head, row))
    (tmp_path / "occupations.tsv").write_text(table + "\n", encoding="utf-8")
    monkeypatch.setattr(gender, "FOLDER", tmp_path)
    gender.occupations.cache_clear()
    try:
        (job,) = gender.occupations()
        assert (job.feminine, job.epicene, job.sector) == ("droghiera", False, "commercio")
        assert gender.occupations() is gender.occupations()
    finally:
        gender.occupations.cache_clear()


def test_occupations_of_the_package_swap_in_both_directions():
    if not (gender.FOLDER / "occupations.tsv").exists():
        pytest.skip("occupations.tsv is not there")
    jobs = [job for job in gender.occupations() if job.masculine.split()[0] != job.feminine.split()[0]]
    for one, other, to in (("masculine", "feminine", "feminine"), ("feminine", "masculine", "masculine")):
        pairs = [(getattr(job, one), getattr(job, other)) for job in jobs]
        wrong = [a for a, b in pairs if gender.swap(f"Cercasi {a}", to) != f"Cercasi {b}"]
        assert len(wrong) <= 0.03 * len(jobs), wrong


def test_neutral_and_double_names_of_occupations_are_no_cues():
    names = [name for job in gender.occupations() for name in (job.neutral, job.double)]
    wrong = [name for name in names if gender.cues(f"Cercasi {name}")]
    assert len(wrong) <= 0.02 * len(names), wrong


def test_lexicon_has_four_forms_a_row():
    with (gender.FOLDER / "lexicon.tsv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    assert {len(row) for row in rows} == {5}
    assert len({tuple(row) for row in rows}) == len(rows)


def test_gate_sentences():
    if not GATE.exists():
        pytest.skip("the GATE sentences are not beside the repository (../shared/data/gate_it)")
    with GATE.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    for source, target, to, back in (("m", "f", "feminine", "masculine"), ("f", "m", "masculine", "feminine")):
        swapped = [gender.swap(row[source], to) for row in rows]
        wanted = [row[target] for row in rows]
        pairs = [
            pair for one, two in zip(swapped, wanted, strict=True) for pair in zip_longest(one.split(), two.split())
        ]
        returned = [gender.swap(text, back) == row[source] for text, row in zip(swapped, rows, strict=True)]
        figures = {
            "exact": sum(map(str.__eq__, swapped, wanted)) / len(rows),
            "tokens": sum(one == two for one, two in pairs) / len(pairs),
            "round trip": sum(returned) / len(rows),
        }
        print(to, figures)  # 0.815, 0.977, 0.972 and 0.833, 0.981, 0.954 when last measured
        assert figures["exact"] > 0.8 and figures["tokens"] > 0.97 and figures["round trip"] > 0.94


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
    assert gender.persona(text) == neutral
