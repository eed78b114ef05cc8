"""Requirements beyond grammar taken out by rule, and adjectives that are joined to what is said of a person."""

import pytest

from helpers.italian import gender, requirements

CASES = [
    ("Cercasi stiratrice, max 30 anni, con esperienza.", "Cercasi stiratrice con esperienza."),
    ("Cassa e banco, bella presenza, turni serali, sede a Nola.", "Cassa e banco, turni serali, sede a Nola."),
    ("Barista di bella presenza per locale in centro.", "Barista per locale in centro."),
    ("Richiesti patente B, diploma e assenza di limitazioni fisiche.", "Richiesti patente B e diploma."),
    ("Custodi solo uomini per deposito notturno.", "Custodi per deposito notturno."),
    ("Per la mensa assumiamo solo donne, part-time.", "Per la mensa assumiamo personale, part-time."),
    ("Si assume solo personale femminile per il reparto.", "Si assume personale per il reparto."),
    ("Pizzaiolo uomo, turno serale.", "Pizzaiolo, turno serale."),
    ("Guida con fisico atletico e brevetto.", "Guida con brevetto."),
    ("Barista, età tra i 20 e i 30 anni, con diploma.", "Barista con diploma."),
    ("Voci per radio: voce tipicamente femminile e buona dizione.", "Voci per radio: buona dizione."),
    ("Famiglia cerca signora per assistenza.", "Famiglia cerca una persona per assistenza."),
    ("Servono patente, bella presenza e età massima 30 anni.", "Serve patente."),
    ("Bar a Lodi. Solo italiani, diploma gradito.", "Bar a Lodi. Diploma gradito."),
    ("Serve la dolcezza femminile che tutti sanno.", "Serve la dolcezza che tutti sanno."),
    ("Cerca donna delle pulizie.", "Cerca donna delle pulizie."),
    ("Apprendista tra i 18 e i 29 anni, per legge (D.Lgs. 81/2015).",) * 2,
    ("Formazione di 30 anni di esperienza, sede a Lodi.",) * 2,
    ("",) * 2,
]
AGREEMENT = [
    ("Si richiedono età massima 30 anni e diploma.", "Si richiede diploma."),
    ("Si richiedono età massima 30 anni, patente B e diploma.", "Si richiedono patente B e diploma."),
    ("Si richiedono bella presenza e buone doti relazionali.", "Si richiedono buone doti relazionali."),
    ("Si richiedono età massima 30 anni e pratica di Word e di Excel.", "Si richiede pratica di Word e di Excel."),
    ("Si richiedono età massima 30 anni e diploma, sede a Lodi.", "Si richiede diploma, sede a Lodi."),
    ("È richiesta bella presenza e diploma.", "È richiesto diploma."),
    ("È richiesta età inferiore a 35 anni e patente B.", "È richiesta patente B."),
    ("È richiesta la bella presenza e il diploma.", "È richiesto il diploma."),
    ("Sono richiesti diploma e bella presenza.", "È richiesto diploma."),
    ("Vengono richieste bella presenza e flessibilità.", "Viene richiesta flessibilità."),
    ("Sono richiesti bella presenza, diploma e patente.", "Sono richiesti diploma e patente."),
    ("Richiesta bella presenza e 2 anni di pratica.", "Richiesti 2 anni di pratica."),
    ("Richieste bella presenza, pratica e flessibilità.", "Richieste pratica e flessibilità."),
    ("Ufficio a Bari: necessari bella presenza e diploma.", "Ufficio a Bari: necessario diploma."),
    ("Sono indispensabili bella presenza e inglese.", "È indispensabile inglese."),
    ("Saranno richiesti bella presenza e diploma.", "Sarà richiesto diploma."),
    ("Si richiedono età massima 30 anni e bella presenza e diploma.", "Si richiede diploma."),
    ("Barista, richiesta bella presenza e diploma, sede a Lodi.", "Barista, richiesto diploma, sede a Lodi."),
    ("Barista, richiesta bella presenza, sede a Lodi.", "Barista, sede a Lodi."),
    ("Requisiti richiesti: bella presenza e diploma.", "Requisiti richiesti: diploma."),
    ("I clienti richiedono bella presenza e cortesia.", "I clienti richiedono cortesia."),
]
ALONE = [
    ("Cercasi barista. Si richiede bella presenza. Sede a Lodi.", "Cercasi barista. Sede a Lodi."),
    ("Età: 18-30 anni. Patente B.", "Patente B."),
    ("Bar a Lodi; bella presenza; turni.", "Bar a Lodi; turni."),
    ("Requisiti:\n- bella presenza\n- diploma", "Requisiti:\n- diploma"),
    ("Turni.\nEtà massima 30 anni, diploma.", "Turni.\nDiploma."),
    ("Barista (bella presenza, diploma).", "Barista (diploma)."),
    ("Barista (bella presenza) con diploma.", "Barista con diploma."),
    ("Barista – bella presenza – turni serali.", "Barista – turni serali."),
    ("Si richiede bella presenza.",) * 2,
    ("Offriamo alloggio e chiediamo bella presenza.",) * 2,
    ("Cercasi barista, requisiti: bella presenza.",) * 2,
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_only_what_excludes_goes_with_its_comma_or_conjunction(text, expected):
    assert requirements.without_requirements(text) == expected
    assert requirements.without_requirements(expected) == expected


@pytest.mark.parametrize(("text", "expected"), AGREEMENT)
def test_what_asks_for_a_list_agrees_with_what_is_left_of_it(text, expected):
    assert requirements.without_requirements(text) == expected


@pytest.mark.parametrize(("text", "expected"), ALONE)
def test_a_sentence_that_asks_for_nothing_else_goes_whole_and_never_half(text, expected):
    assert requirements.without_requirements(text) == expected


@pytest.mark.parametrize(
    ("text", "double"),
    [
        ("Redattore web preciso.", "Redattore/trice web preciso/a."),
        ("Chef de rang esperto.", "Chef de rang esperto/a."),
        ("Cuoco sorridente e svelto, per mensa.", "Cuoco/a sorridente e svelto/a, per mensa."),
        ("Addetto iscritto all'albo e munito di patente.", "Addetto/a iscritto/a all'albo e munito/a di patente."),
        ("Sarai inserito nel gruppo e seguito da noi.", "Sarai inserito/a nel gruppo e seguito/a da noi."),
        ("Il Software Engineer è ascoltato ed è libero.", "Il/la Software Engineer è ascoltato/a ed è libero/a."),
        ("Un team affiatato e abituato a documentare.",) * 2,
        ("Cerchiamo mani esperte e menti curiose.",) * 2,
        ("Assistente con abilitazione e pratica di ufficio.",) * 2,
    ],
)
def test_what_is_joined_to_a_quality_of_a_person_agrees_and_what_is_said_of_things_stays(text, double):
    assert gender.neutralise(text) == double


def test_a_gap_to_fill_in_has_no_form():
    text = "Sono richiesti ____ e età massima 30 anni."
    assert requirements.inclusive(text) == "È richiesto ____."
