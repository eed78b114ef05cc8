"""Sentences of job ads that name nobody, and that the rules once took for people; and people beside them."""

import pytest

from helpers.italian.addressees import EVERYONE
from helpers.italian.cues import find_cues

NOBODY = [
    "Sono presenti una fresatrice a cinque assi, due rettificatrici tangenziali e un'alesatrice.",
    "La confezionatrice e l'etichettatrice sono state revisionate l'anno scorso.",
    "L'insacchettatrice è collegata a una bilancia multitesta.",
    "Utilizziamo un gestore di versioni distribuito e un compilatore scritto in casa.",
    "Un file manager, un package manager e un window manager.",
    "È necessario il diploma di geometra o di perito agrario.",
    "Abilitazione alla professione di ingegnere sezione A.",
    "Iscrizione all'elenco nazionale dei tecnici competenti in acustica.",
    "Partner tecnologico di primarie case automobilistiche, produciamo cablaggi.",
    "Il marchio è distribuito in boutique monomarca e in corner selezionati.",
    "Non sono ammesse integrazioni successive.",
    "Sono stati assunti impegni precisi verso il territorio.",
    "Sarà richiesto un certificato medico.",
    "Una volta inserito il codice, la pratica è registrata.",
    "Inseriti in catalogo nel 2020, i profili in alluminio sono oggi i più venduti.",
    "Gli stabilimenti italiani sono tre, gli altri sono in Polonia e in Romania.",
    "Altri dieci sono in fase di collaudo.",
    "Nessuno dei nostri impianti è fermo nel fine settimana.",
    "Il montascale è collaudato ogni sei mesi.",
    "La parte tecnica e quella commerciale sono separate.",
    "Il committente è un ente pubblico economico.",
    "Il titolare del trattamento è il Comune di Asti.",
    "Iscritta al Registro Unico degli Intermediari, sezione B.",
    "La linea “Piccoli Chef” comprende pentole, mestoli e grembiuli.",
    "La clinica veterinaria è operativa h24, il Centro Medico è chiuso.",
    "Le camere sono quaranta: alcune affacciate sul lago, altre sul giardino.",
    "L'ufficio acquisti, il magazzino e l'officina sono ospitati in due capannoni.",
    "I preventivi sono redatti entro le dieci e inviati per posta certificata.",
    "È stata firmata la convenzione quadro; le altre verranno rinnovate.",
    "Ai decreti 198 e 215, tutti richiamati nel bando, si rinvia per il resto.",
    "La navetta collega lo stabilimento alla stazione.",
    "Il componente difettoso si fotografa e si scarta.",
    "Qualifica triennale di Operatore alla riparazione di motori.",
    "Diploma ITS di Tecnico superiore per la mobilità.",
    "Abilitazione all'attività di mediatore creditizio.",
    "Leggiamo la rivista L'Infermiera e il mensile Il Giardiniere.",
    "Il gruppo gestisce l'enoteca Il Bevitore, il bar Al Marinaio e l'hotel Ambasciatori.",
    "Si applica il CCNL per i dipendenti da imprese di pulizia.",
    "Si richiama il Codice di comportamento dei dipendenti pubblici.",
    "Si rinvia al Testo unico degli impiegati civili dello Stato.",
    "Iscrizione all'Ordine dei Commercialisti e degli Esperti Contabili.",
    "La fondazione è socia di tre consorzi.",
]
PEOPLE = [
    ("Cercasi orlatrice per calzaturificio.", "orlatrice"),
    ("Rimagliatrice con esperienza, zona Carpi.", "Rimagliatrice"),
    ("Assumiamo con la qualifica di operaio comune.", "operaio"),
    ("Capacità di lavorare con gli altri.", "gli altri"),
    ("Nessuno dei candidati sarà escluso.", "candidati"),
    ("Sono stati assunti quattro tecnici.", "tecnici"),
    ("Valutiamo banker stanchi delle logiche di budget.", "stanchi"),
    ("PIZZERIA CERCA PIZZAIOLO ESPERTO", "PIZZAIOLO"),
    ("Affiancherà un collega esperto.", "collega esperto"),
    ("Hotel sul lago cerca Cuoco per la stagione.", "Cuoco"),
    ("Per la sede di Lodi cerchiamo Il Responsabile del magazzino.", "Il Responsabile"),
    ("La candidata è socia di un circolo.", "candidata"),
    ("Il Contratto è a termine e i dipendenti sono assunti dal Comune.", "i dipendenti"),
    ("Gli operatori sono assunti entro le dieci e inviati in cantiere.", "Gli operatori"),
    ("Saranno scelti i candidati; gli altri verranno avvisati.", "gli altri"),
]


@pytest.mark.parametrize("text", NOBODY)
def test_things_are_no_people(text):
    assert find_cues(text, EVERYONE) == []


@pytest.mark.parametrize(("text", "word"), PEOPLE)
def test_people_are_still_seen(text, word):
    assert any(word in cue.text for cue in find_cues(text, EVERYONE))
