"""04 of a generation task through the real runner: what is written can be traced from the report to the rows, and carries over."""

import html
import re

import pandas as pd
import pytest

from helpers import files, run
from helpers.core.base import load_base, save_halved_base
from tests.core.recipes import recipe
from tests.project import ambo_run, finish, new_project

SETTINGS = {
    "labeller": "teacher",
    "output": "edits",
    "epochs": "1",
    "max_new_tokens": "6",
    "seed_size": "20",
    "rounds": "1",
    "batch_labels": "15",
    "pool_limit": "30",
    "split_column": "''",
    "test_size": "60",
    "validation_size": "12",
    "secondary": "[tagger, half]",
    "bootstrap": "100",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Offline from end to end: the embedded pairs, base and teacher."""
    project = new_project(tmp_path_factory.mktemp("project"))
    finish(project, ambo_run("whole", SETTINGS, "inclusive_rewriting_it", profile="demo_generation"))
    return project / "outputs/inclusive_rewriting_it/whole"


def test_the_learner_is_trained_on_what_the_embedded_teacher_wrote_and_the_checks_let_through(folder):
    loop = folder / "03_active_generation"
    told = files.read_jsonl(loop / "proposals.jsonl")
    accepted = {p["id"]: p for p in told if p["status"] == "ok"}
    assert len(told) >= 15 and accepted and all(p["compliance"] >= 0.5 for p in accepted.values())
    taught = [r for r in files.read_jsonl(loop / "labelled.jsonl") if r["target_source"] != "seed"]
    assert (
        taught and {r["target_source"] for r in taught} == {"teacher"} and {r["id"] for r in taught} <= accepted.keys()
    )


def test_every_figure_of_the_report_can_be_traced_to_the_rows(folder):
    here = folder / "04_generation_evaluation"
    saved = files.read_jsonl(here / "outputs.jsonl")
    assert (
        len(saved) == 60
        and {"id", "text", "output", "references", "gender_form", "sector", "checks"} <= saved[0].keys()
    )
    checks = pd.DataFrame([r["checks"] for r in saved])
    systems = pd.read_csv(here / "systems.csv").set_index("system")
    for figure in ("compliance", "strict", "chrF", "similarity"):
        assert systems.loc["writer", figure] == pytest.approx(checks[figure].mean(), abs=1e-3)
        assert (systems[f"{figure} low"] <= systems[figure]).all() and (
            systems[figure] <= systems[f"{figure} high"]
        ).all()
    assert systems.loc["reference", ["strict", "exact match", "edit F1"]].tolist() == [1, 1, 1]
    assert systems.loc["copy of the source", ["copied", "similarity"]].tolist() == [1, 1]
    assert systems.loc["rules of grammar", "strict"] > systems.loc["edit tagger, same targets", "strict"]
    manifest = run.read_manifest(here)
    assert manifest["status"] == "success" and manifest["four_bit_layers"] and "compliance" in manifest["headline"]
    assert {"outputs.jsonl", "report.html", "secondary.csv"} <= {f.rpartition("/")[2] for f in manifest["outputs"]}


def test_groups_have_counts_spread_and_a_worst_one(folder):
    here = folder / "04_generation_evaluation"
    groups = pd.read_csv(here / "by_group.csv")
    assert groups.groupby("column")["count"].sum().to_dict() == {"gender_form": 60, "sector": 60}
    spread = pd.read_csv(here / "spread.csv").set_index(["column", "figure"])
    large = groups[(groups.column == "gender_form") & (groups["count"] >= 10)]
    found = spread.loc[("gender_form", "compliance")]
    assert found.spread == pytest.approx(large.compliance.max() - large.compliance.min(), abs=1e-3)
    measured = {"compliance", "strict", "chrF", "BLEU", "edit F1", "exact match", "similarity", "perplexity"}
    measured |= {"inclusive", "untouched", "agreement"}
    assert {f for column, f in spread.index if column == "gender_form"} >= measured | {
        "distinct-2",
        "self-BLEU",
        "MTLD",
    }
    assert found["worst group"] in large.group.tolist() and found.groups == len(large)


def test_other_learners_are_trained_on_what_each_strategy_acquired(folder):
    carried = pd.read_csv(folder / "04_generation_evaluation/secondary.csv")
    history = files.read_jsonl(folder / "03_active_generation/rounds.jsonl")
    targets = {"seed alone": 20} | {r["strategy"]: r["targets"] for r in history}  # after the last round
    assert targets["hassan"] == len(files.read_jsonl(folder / "03_active_generation/labelled.jsonl")) > 20
    assert carried[["learner", "data", "pairs"]].to_numpy().tolist() == [
        [learner, data, pairs] for learner in ("tagger", "half") for data, pairs in targets.items()
    ]
    assert carried.compliance.between(0, 1).all() and carried[carried.learner == "tagger"].chrF.nunique() > 1


def test_the_page_stands_by_itself(folder):
    page = (folder / "04_generation_evaluation/report.html").read_text()
    figures = len(list((folder / "04_generation_evaluation").glob("*.png")))
    assert page.count("data:image/png;base64,") == figures >= 2
    assert "Spread by gender form" in page and "untuned base, same draft" in page
    assert "<script" not in page and "demo model" in page
    worst = min(
        files.read_jsonl(folder / "04_generation_evaluation/outputs.jsonl"),
        key=lambda r: tuple(map(r["checks"].get, ("compliance", "chrF"))),
    )
    assert html.escape(worst["references"][0], quote=False) in page.replace("&#39;", "'")
    assert "http" not in page.replace("http-equiv", "")


def test_the_page_opens_with_a_verdict_and_ends_with_limits(folder):
    here = folder / "04_generation_evaluation"
    page = (here / "report.html").read_text()
    headings = re.findall("<h2>(.*?)</h2>", page)
    assert headings[0] == "In short" and headings[-1] == "Limits"
    ours = pd.read_csv(here / "systems.csv").iloc[0]
    assert (
        f"{100 * ours.strict:.0f} % ({100 * ours['strict low']:.0f}–{100 * ours['strict high']:.0f} %) of 60 test"
        in page
    )
    assert "(too few rows)" in page and pd.read_csv(here / "gaps.csv")["count"].min() >= 10
    assert f"{len(headings)} sections: In short; " in (here / "04_generation_evaluation.ipynb").read_text()
    assert f"sha256 of the test rows {files.sha256(folder / '01_seed_curation/test.jsonl')[:16]}" in page


def test_half_of_a_base_has_every_other_layer(tiny_llama, tmp_path):
    import torch

    whole, _ = load_base(recipe(tiny_llama, quantization="none"), "lm")
    half, tokenizer = load_base(recipe(save_halved_base(recipe(tiny_llama), tmp_path)), "lm")
    assert half.config.num_hidden_layers == len(half.model.layers) == 1 and whole.config.num_hidden_layers == 2
    assert type(half.model.layers[0].mlp.up_proj).__name__ == "Linear4bit" and tokenizer("The kind")["input_ids"]
    assert torch.equal(half.model.layers[0].input_layernorm.weight, whole.model.layers[0].input_layernorm.weight)
