"""The scorer R: its kinds, what they say of real pairs, and what a user may get wrong."""

import json

import numpy as np
import pandas as pd
import pytest

from helpers import files, run
from helpers.core.qlora import QLoRA
from helpers.data import embedded
from helpers.env import UserError
from helpers.evaluation import generation
from helpers.synthesis import scorer
from helpers.synthesis.budget import Budget
from helpers.synthesis.endpoint import Endpoint
from tests.core.recipes import recipe
from tests.endpoints import Proxy, completion
from tests.project import SHARED, save_manifest


def pairs(rows):
    return [{"text": r["text"], "references": [r["target"]]} for r in rows]


def test_the_lexicon_passes_the_inclusive_side_of_the_rewrites():
    rows = embedded.rewrites()
    changed = [r for r in rows if r["text"] != r["target"]]
    score = scorer.make_scorer("lexicon", [], "it", "", None, None)
    passes = lambda texts: (score(texts) >= generation.COMPLIES).mean()  # noqa: E731
    assert passes([r["target"] for r in rows]) > 0.9 and passes([r["text"] for r in changed]) < 0.2
    one, two, none = score(["Cercasi cuoco.", "Cercasi cuoco e un cameriere esperto.", "Cercasi personale di cucina."])
    assert two < one < 0.5 < none == 1.0
    assert score(["", " \n"]).tolist() == [0.0, 0.0]  # no cue, but nothing was written


def test_sides_of_pairs_leave_out_sources_that_were_to_be_left_alone():
    rows = [{"text": "a", "references": ["b", "c"]}, {"text": "d", "references": ["d"]}]
    complies = {r["text"]: r["complies"] for r in scorer.pair_sides(rows)}
    assert complies == {"a": False, "b": True, "c": True, "d": True}


def test_pairs_teach_what_complies_in_held_out_rows():
    rows = embedded.rewrites()
    score = scorer.make_scorer("pairs", pairs(r for r in rows if r["split"] == "train"), "it", "", None, None)
    changed = [r for r in rows if r["split"] == "test" and r["text"] != r["target"]]
    right = np.concatenate([score([r["target"] for r in changed]) >= 0.5, score([r["text"] for r in changed]) < 0.5])
    assert right.mean() > 0.75


@pytest.mark.skipif(not (SHARED / "paradetox/paradetox.tsv").exists(), reason="ParaDetox is not here")
def test_pairs_of_paradetox_tell_toxic_from_neutral():
    rows = pd.read_csv(SHARED / "paradetox/paradetox.tsv", sep="\t", quoting=3, keep_default_na=False)[:1500]
    pairs_of_texts = [{"text": r.toxic, "references": [r.neutral1]} for r in rows.itertuples()]
    score = scorer.make_scorer("pairs", pairs_of_texts[:1000], "en", "", None, None)
    held_out = pairs_of_texts[1000:]
    kind, toxic = score([r["references"][0] for r in held_out]), score([r["text"] for r in held_out])
    right = np.concatenate([kind >= 0.5, toxic < 0.5])
    assert right.mean() > 0.8


def test_a_table_of_texts_that_comply_or_not(tmp_path):
    path = tmp_path / "tone.csv"
    words = {1: "kind warm gentle", 0: "cruel rude mean"}
    pd.DataFrame([{"text": f"{w} answer {i}", "complies": c} for c, w in words.items() for i in range(9)]).to_csv(path)
    score = scorer.make_scorer(f"table:{path}", [], "en", "", None, None)
    assert score(["a kind and gentle reply"])[0] > 0.5 > score(["a rude and mean reply"])[0]


def test_a_saved_detector_of_this_suite(tmp_path, task, rows, tiny_llama):
    learner = QLoRA(task, recipe(tiny_llama, epochs=2, learning_rate=5e-3))
    learner.fit(rows[:40])
    learner.save(tmp_path / "adapter")
    score = scorer.make_scorer(f"detector:{tmp_path / 'adapter'}", [], "en", "", QLoRA.load, None)
    texts = [r["text"] for r in rows[40:60]]
    np.testing.assert_allclose(score(texts), learner.predict_proba(texts)[:, 0], atol=1e-6)


def test_a_judge_gives_marks_and_an_answer_that_is_none_has_no_score(monkeypatch):
    monkeypatch.setenv("JUDGE_MODEL", "m")

    def plan(number, body):
        prompt = body["messages"][-1]["content"]
        if "strange" in prompt:
            return completion("I cannot say.")
        return completion(json.dumps({"mark": 9 if "gentle" in prompt else 2}))

    with Proxy(plan) as server:
        monkeypatch.setenv("JUDGE_BASE_URL", server.url)
        score = scorer.make_scorer("judge", [], "en", "is kind", None, lambda: Endpoint("JUDGE"))
        got = score(["a gentle one", "a rude one", "a strange one", "a gentle one"])
        asked = len(server.asked)
        again = score(["a rude one"])
    assert got[[0, 1, 3]].tolist() == [0.9, 0.2, 0.9] and np.isnan(got[2]) and again[0] == 0.2
    assert asked == len(server.asked) == 4  # one text twice is asked once, the bad answer once more
    assert "The text is kind." in server.asked[0]


def test_a_judge_without_budget_ends_with_one_sentence(monkeypatch):
    monkeypatch.setenv("JUDGE_MODEL", "m")
    with Proxy(lambda number, body: completion('{"mark": 5}')) as server:
        monkeypatch.setenv("JUDGE_BASE_URL", server.url)
        score = scorer.judge_scorer(Endpoint("JUDGE", budget=Budget(tokens=10)), "is kind", "en")
        with pytest.raises(UserError, match="left 1 of 1 texts without a mark \(the budget of 10 tokens is used up"):
            score(["a text"])


@pytest.mark.parametrize(
    ("name", "language", "sentence"),
    [
        ("best", "it", "scorer='best' is unknown: choose one of detector:FOLDER, judge, lexicon, pairs, table:FILE"),
        ("detector", "it", "scorer='detector' is unknown"),
        ("lexicon:x", "it", "scorer='lexicon:x' is unknown"),
        ("lexicon", "en", "the cue lexicon is Italian, the language is 'en'"),
    ],
)
def test_a_scorer_that_is_not_on_offer(name, language, sentence):
    with pytest.raises(UserError, match=sentence):
        scorer.check_scorer(name, language)


def test_tables_that_do_not_say_what_complies(tmp_path):
    path = tmp_path / "a.csv"
    for content, sentence in [
        ("text,label\na,1\n", "no column 'complies'"),
        ("text,complies\na,1\nb,yes\n", "row 3: complies is 'yes', not 1 or 0"),
    ]:
        path.write_text(content)
        with pytest.raises(UserError, match=sentence):
            scorer.read_scored_table(str(path))
    with pytest.raises(UserError, match="all of one kind"):
        scorer.tfidf_scorer([{"text": "a", "complies": True}])


def test_a_run_without_rows_set_aside_takes_its_seed(tmp_path):
    first = tmp_path / "01_seed_curation"
    files.write_jsonl(first / "seed.jsonl", [{"id": "s"}])
    save_manifest(first)
    here = run.Run("03_active_generation", {"run_id": "r"}, tmp_path / "03_active_generation")
    assert scorer.scorer_pairs(here) == [{"id": "s"}]
    files.write_jsonl(first / "scorer.jsonl", [{"id": "x"}])
    assert scorer.scorer_pairs(here) == [{"id": "x"}] and len(here.inputs) == 2


def test_picks_that_r_ranked_are_told_from_picks_with_the_top_score():
    interim = pd.DataFrame({"id": list("abcde"), "compliance": [1.0, 1.0, 0.2, 1.0, 0.6]})
    row = scorer.ranking_facts({"strategy": "hassan", "round": 0, "picks": ["c", "a"]}, interim)
    assert row["complies"] == 0.8 and row["different scores"] == 3 and row["outputs"] == 5
    assert row["picks"] == 2 and row["top score"] == 1  # a complies fully, as do b and d, which were not chosen
    assert scorer.describe_ranking([row], "italian") == (
        "R ranked 1 of 2 picks above other outputs; 1 had the top score, so clusters and chance chose them."
    )
    vain = scorer.ranking_facts({"strategy": "hassan", "round": 1, "picks": ["a", "b", "d"]}, interim)
    sentence = scorer.describe_ranking([row, vain], "italian")
    assert sentence.startswith("R ranked 1 of 5 picks") and "4 had the top score" in sentence
    assert "-p draft ''" in sentence and "draft" not in scorer.describe_ranking([vain])
    assert scorer.describe_ranking([]) == "R ranked nothing in this run."
