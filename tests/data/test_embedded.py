"""The embedded data are what their README says: counts, labels that agree with evidence, no leaks, a real checkpoint."""

import csv
import hashlib
import json
import re
from collections import Counter

import pytest
from sklearn.metrics import cohen_kappa_score

from helpers.data import embedded, records
from helpers.italian import ads, lexicon
from helpers.italian.addressees import ADDRESSEES, EVERYONE, SCOPES
from helpers.italian.cues import find_cues
from helpers.task import Task
from helpers.text import clean
from tests.project import demo_parameters

CATEGORIES = {
    "explicit_sex", "masculine_form", "feminine_title", "appearance_gendered", "family_status", "stereotyped_qualities",
    "age", "origin", "disability", "inclusive", "lawful_exception",
}  # fmt: skip
GOLD = embedded.gold()
REWRITES = embedded.rewrites()
# Phrases of targets in which the rules of `italian` wrongly see a gender.
FALSE_CUES = {
    "hostess": "beside steward, as in steward/hostess: both genders are named",
    "ricontattate": "agrees with persone, which follows it",
    "il benvenuto": "a noun here: what one gives, not the one who comes",
}
POOL = embedded.labelled_pool()


def occupations(column: str) -> dict[str, str]:
    with (lexicon.FOLDER / "occupations.tsv").open(encoding="utf-8") as file:
        return {row["lemma"]: row[column] for row in csv.DictReader(file, delimiter="\t")}


def held_out_occupations() -> set[str]:
    return {name for name, value in occupations("held_out").items() if value == "yes"}


def test_counts():
    gold = [r for r in GOLD if r["split"] != "test_whole_ads"]
    assert len(gold) >= 600 and sum(len(r["text"]) >= 500 for r in gold) >= 60
    assert len(GOLD) - len(gold) >= 60 and len(POOL) >= 2000
    assert sum(r["hard_case"] != "plain" for r in gold) >= len(gold) / 3
    assert len(occupations("sector")) >= 150
    for rows in (gold, POOL):
        assert 0.4 < sum(r["label"] == "not_inclusive" for r in rows) / len(rows) < 0.6
        assert {r["category"] for r in rows} == CATEGORIES


@pytest.mark.parametrize("rows", [GOLD, POOL], ids=["gold", "pool"])
def test_labels_agree_with_categories_and_evidence(rows):
    for row in rows:
        positive = row["label"] == "not_inclusive"
        assert positive == bool(row["spans"]), row["text"]
        for a, b, addressee in row["spans"]:
            assert 0 <= a < b <= len(row["text"]) and row["text"][a:b].strip() and addressee in ADDRESSEES, row["text"]
        for scope in SCOPES:
            scoped = embedded.in_scope(row, scope)
            positive = scoped["label"] == "not_inclusive"
            assert positive == (scoped["category"] not in ("inclusive", "lawful_exception")), row["text"]
            assert positive == bool(scoped["spans"]) <= bool(row["spans"]), row["text"]
        assert row["id"] == records.record_id("italian_jobs", row["text"]) and 30 <= len(row["text"]) <= 2000


def test_gold_rows_carry_severity_and_rationale():
    for row in GOLD:
        assert row["severity"] in (("unlawful", "exclusionary") if row["label"] == "not_inclusive" else ("",))
        assert len(row["rationale"]) >= 10


def test_held_out_occupations_stand_in_test_alone():
    held_out = held_out_occupations()
    assert len(held_out) >= 20
    assert {r["occupation"] for r in GOLD if r["split"] == "test"} & held_out
    generated = {r["occupation"] for r in ads.generate(3000, seed=5)}
    others = {r["occupation"] for r in [*POOL, *(r for r in GOLD if r["split"] == "validation")]}
    assert not held_out & (generated | others)


def test_validation_and_test_share_no_occupation():
    validation, test = ({r["occupation"] for r in GOLD if r["split"] == s} - {""} for s in ("validation", "test"))
    assert validation and test and not validation & test


def test_nothing_in_the_pools_resembles_a_gold_row():
    assert not {r["id"] for r in GOLD} & {r["id"] for r in POOL} and len({r["id"] for r in GOLD}) == len(GOLD)
    generated = [{"id": str(i), "text": r["text"]} for i, r in enumerate(ads.generate(1500, seed=13))]
    assert records.leaked_records([*POOL, *generated], GOLD) == []


def test_the_pool_file_holds_no_answer():
    assert all(set(r) == {"id", "text", "occupation", "sector"} for r in embedded.pool_texts())


def test_rewrites_have_enough_pairs_and_enough_to_leave_alone():
    changed = Counter(r["split"] for r in REWRITES if r["text"] != r["target"])
    assert changed["train"] >= 140 and changed["validation"] >= 30 and changed["test"] >= 70
    for split in changed:
        rows = [r for r in REWRITES if r["split"] == split]
        assert 0.2 <= sum(r["text"] == r["target"] for r in rows) / len(rows) <= 0.35
    assert {r["category"] for r in REWRITES} == CATEGORIES
    same = len(REWRITES) - changed.total()
    row = f"| {len(REWRITES)} | sentences with their inclusive wording in `target`, {changed.total()} to change and {same} "
    assert row in (embedded.FOLDER / "README.md").read_text(encoding="utf-8")


def test_rewrites_change_what_is_not_inclusive_and_nothing_else():
    for row in REWRITES:
        assert row["id"] == records.record_id("inclusive_rewriting_it", row["text"]) and row["source"] == "gold"
        assert row["text"] == clean(row["text"]) and row["target"] == clean(row["target"])
        assert (row["text"] == row["target"]) == (row["category"] in ("inclusive", "lawful_exception")), row["text"]
        assert {c.text for c in find_cues(row["target"], EVERYONE)} <= FALSE_CUES.keys(), row["target"]


@pytest.mark.parametrize("scope", sorted(SCOPES))
def test_rewrites_of_a_scope_leave_the_others_alone(scope):
    for row, whole in zip(embedded.rewrites(scope), REWRITES, strict=True):
        assert row["text"] == whole["text"] and (row["text"] == row["target"]) <= (row["category"] != "masculine_form")
        if scope == EVERYONE:
            assert row == whole
    shorter = sum(a["target"] != b["target"] for a, b in zip(embedded.rewrites(scope), REWRITES, strict=True))
    assert {"everyone": 0, "workplace": 10, "applicant": 30}[scope] <= shorter <= 70


def test_the_rules_name_the_addressee_as_people_do():
    """On evaluation rows, whose spans the rules were not made from; 0.776 when they were written."""
    people, rules = [], []
    for row in (r for r in GOLD if r["split"] != "validation"):
        cues = find_cues(row["text"], EVERYONE)
        for start, end, addressee in row["spans"]:
            if met := [cue for cue in cues if cue.start < end and start < cue.end]:
                people.append(addressee)
                rules.append(met[0].addressee)
    assert len(people) > 380 and cohen_kappa_score(people, rules) > 0.74


def test_rewrites_keep_the_figures():
    for row in REWRITES:
        before, after = (Counter(re.findall(r"\d+", row[column])) for column in ("text", "target"))
        grammar = row["category"] in ("masculine_form", "feminine_title", "inclusive", "lawful_exception")
        assert before == after if grammar else after <= before, row["text"]  # an age limit or a height goes


def test_rewrites_share_no_occupation_between_splits():
    splits: dict[str, set[str]] = {}
    for row in REWRITES:
        splits.setdefault(row["occupation"], set()).add(row["split"])
    assert [name for name, own in splits.items() if name and len(own) > 1] == []
    assert sum(own == {"test"} for own in splits.values()) >= 40
    assert all(splits[name] == {"test"} for name in held_out_occupations() & splits.keys())


def test_rewrites_resemble_no_other_row_and_no_row_of_another_split():
    assert len({r["id"] for r in REWRITES}) == len(REWRITES)
    assert records.leaked_records(REWRITES, [*GOLD, *POOL]) == []
    for split in ("validation", "test"):
        evaluation = [r for r in REWRITES if r["split"] == split]
        assert records.leaked_records([r for r in REWRITES if r["split"] != split], evaluation) == []


def test_counter_narratives_are_even_over_eight_groups():
    rows = embedded.counter_narratives()
    sizes = Counter((r["TARGET"], r["split"]) for r in rows)
    assert len(rows) >= 96 and len({r["TARGET"] for r in rows}) == 8
    for split in ("train", "test"):
        assert len({size for (_, name), size in sizes.items() if name == split}) == 1
    for column in ("HATE_SPEECH", "COUNTER_NARRATIVE"):
        texts = [r[column] for r in rows]
        assert all(t == clean(t) and len(t) >= 20 for t in texts)
        assert len(set(records.near_duplicate_groups(texts, 0.5))) == len(texts)
    answers = [r["COUNTER_NARRATIVE"] for r in rows]
    assert all(15 <= len(a.split()) <= 60 for a in answers)
    assert not [a for a in answers if re.search(r"\d+ ?%|per ?cent", a)]  # a share would need a source


def test_the_sentences_are_new_and_half_of_them_name_nobody():
    rules, test = embedded.sentences("rules"), embedded.sentences("test_sentences")
    assert len(rules) == 440 and len(test) == 220
    for rows in (rules, test):
        assert 0.4 < sum(r["label"] == "inclusive" for r in rows) / len(rows) < 0.6
    for row in [*rules, *test]:
        assert row["id"] == records.record_id("italian_jobs", row["text"]) and row["text"] == clean(row["text"])
        assert (row["label"] == "not_inclusive") == bool(row["spans"])
        assert all(row["text"][a:b].strip() and who in ADDRESSEES for a, b, who in row["spans"])
    assert records.leaked_records([*POOL, *rules], test) == [] and records.leaked_records([*rules, *test], GOLD) == []


def test_the_rules_see_few_people_where_there_are_none():
    """On sentences that they were not mended on: 8 of 110, where 3 % is the aim; 260 others served to mend them."""
    seen = {
        split: [bool(find_cues(r["text"], EVERYONE)) for r in embedded.sentences(split) if not r["spans"]]
        for split in ("rules", "test_sentences")
    }
    assert sum(seen["rules"]) <= 6 and sum(seen["test_sentences"]) <= 10


def test_the_table_has_every_split_and_column():
    table = embedded.job_ads_table(50, seed=1)
    assert list(table.columns) == embedded.COLUMNS and len(table) == 50 + len(POOL) + len(GOLD) + 220
    splits = {"pool", "validation", "test", "test_whole_ads", "test_sentences"}
    assert set(table.split) == splits and table.label.notna().all()


def test_the_base_model_is_small_whole_and_a_llama():
    folder = embedded.FOLDER / "base_model"
    assert sum(f.stat().st_size for f in folder.iterdir()) < 10e6
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]
    listed = dict(reversed(line.split()) for line in (folder / "SHA256").read_text().splitlines())
    assert {"model.safetensors", "tokenizer.json"} <= set(listed)
    for name, digest in listed.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name


def test_the_tokenizer_splits_gender_from_the_stem_and_returns_every_text():
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(embedded.FOLDER / "base_model")
    for text in ("Il/la candidato/a ideale: candidatə, PIÙ bravə* 🧑🏽‍🍳\n– 3,5 €", *(r["text"] for r in POOL[:200])):
        assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
    forms = [tokenizer.tokenize(f" {w}") for w in ("assunto", "assunta", "assunti", "assunte")]
    assert len({tuple(f[:-1]) for f in forms}) == 1 and len({f[-1] for f in forms}) == 4


def test_the_base_model_writes_italian():
    from helpers.core import QLoRA, Recipe

    task = Task("t", ("a", "b"), "b", (" a", " b"), "{text}")
    recipe = Recipe.from_params(demo_parameters(head="lm", bidirectional=False))
    texts = QLoRA(task, recipe).generate(["La risorsa si occuperà", "Cerchiamo una persona con"], 30)
    words = {w for r in POOL for w in re.findall(r"\w+", r["text"].lower())}
    written = [w for t in texts for w in re.findall(r"\w+", t.lower())]
    assert len(written) >= 16 and sum(w in words for w in written) >= 0.7 * len(written)
