"""The strict check of an inclusive rewriting on hand-made cases, and the silver pairs that teach it."""

import pytest

from helpers import edits
from helpers.data import embedded
from helpers.italian import check, gender, silver

SOURCE = "Il candidato, inserito in azienda, sarà puntuale."
REFERENCE = "La persona, inserita in azienda, sarà puntuale."
CASES = [  # source, output, reference, inclusive, untouched, agreement
    (SOURCE, REFERENCE, REFERENCE, True, True, True),
    (SOURCE, "Il/la candidato/a, inserito/a in azienda, sarà puntuale.", REFERENCE, True, True, True),
    (SOURCE, "La persona, inserito/a in azienda, sarà puntuale.", REFERENCE, True, True, False),
    (SOURCE, "Il/la candidato/a, inserito in azienda, sarà puntuale.", REFERENCE, False, True, False),
    (SOURCE, "La persona, inserita in azienda, sarà gentile.", REFERENCE, True, False, False),
    (SOURCE, SOURCE, REFERENCE, False, True, False),
    ("Cercasi cuoca esperta.", "Cercasi cuoco/a esperto/a.", "Cercasi cuoco/a con esperienza.", True, True, True),
    ("Cercasi cuoca esperta.", "Cercasi cuoco esperto.", "Cercasi cuoco/a con esperienza.", False, True, False),
    ("Cercasi barista, bella presenza, a Bari.", "Cercasi barista, a Bari.", "Cercasi barista, a Bari.", True, True, True),
    ("Cercasi barista, bella presenza, a Bari.",) * 2 + ("Cercasi barista, a Bari.", False, True, False),
    ("I collaudatori sono esperti.", "I collaudatori e le collaudatrici sono esperti/e.",
     "I/le collaudatori/trici hanno esperienza.", True, True, True),
    ("Cercasi autista.", "Cercasi autista.", "Cercasi autista.", True, True, True),
    ("Cercasi autista.", "Cercasi un autista.", "Cercasi autista.", False, False, False),
]  # fmt: skip


@pytest.mark.parametrize(("source", "output", "reference", "inclusive", "untouched", "agreement"), CASES)
def test_hand_cases(source, output, reference, inclusive, untouched, agreement):
    verdict = check.check(source, output, reference)
    assert (verdict["inclusive"], verdict["untouched"], verdict["agreement"]) == (inclusive, untouched, agreement)
    assert verdict["compliant"] == (inclusive and untouched and agreement)


def test_every_reference_complies_and_no_copy_does():
    for row in embedded.rewrites():
        assert check.check(row["text"], row["target"], row["target"])["compliant"], row
        copied = check.check(row["text"], row["text"], row["target"])["compliant"]
        assert copied == (row["text"] == row["target"]), row


def test_silver_pairs_come_from_no_evaluation_row_and_their_edits_lead_to_the_target():
    rows = embedded.rewrites()
    seed = [r for r in rows if r["split"] == "train"]
    pairs = silver.silver([r["text"] for r in embedded.pool_texts()[:600]], seed, 100, 0)
    evaluation_texts = {r[k] for r in rows if r["split"] != "train" for k in ("text", "target")}
    assert 60 < len(pairs) <= 100 and not {p["text"] for p in pairs} & evaluation_texts
    for pair in pairs:
        assert edits.apply(pair["text"], edits.spans(pair["text"], pair["target"])) == pair["target"]
    inserted = [p for p in pairs if p["method"] == "inserted"]
    assert inserted and all(len(p["text"]) > len(p["target"]) for p in inserted if "/" not in p["target"])
    assert pairs == silver.silver([r["text"] for r in embedded.pool_texts()[:600]], seed, 100, 0)


def test_a_draft_holds_what_it_has_changed_and_takes_the_rest_from_the_target():
    source, target = "Cuoco esperto, forte, bella presenza, qui.", "Cuoco/a con esperienza, forte, qui."
    learned = edits.onto_draft(source, gender.neutralise(source), target)
    assert learned == "Cuoco/a esperto/a, forte, qui."
