"""Notebook 02 with an endpoint that fails half-way: what it wrote is kept, and the same command goes on from there."""

import shutil
from functools import partial
from pathlib import Path

import pandas as pd
from safetensors.torch import load_file, save_file

from helpers import files, run
from helpers.core import QLoRA, Recipe
from helpers.synthesis import endpoint
from helpers.task import Task
from tests.endpoints import Proxy, completion
from tests.project import ambo_run, code_cells, finish, new_project


def test_an_endpoint_fails_and_the_run_goes_on(tmp_path, rows, tiny_llama):
    new_project(tmp_path)
    more = [{**r, "text": f"{r['text']} She gave it to him, reply {k}."} for k in ("one", "two") for r in rows]
    pd.DataFrame(more)[["text", "label", "group"]].to_csv(tmp_path / "answers.csv", index=False)
    settings = {
        "data_path": "answers.csv", "group_columns": "[group]", "language": "en", "balance_group": "group",
        "model": str(tiny_llama), "bidirectional": "false", "seed_size": "20", "test_size": "60", "validation_size": "30",
        "near_duplicate": "0.95", "teacher": "endpoint", "methods": "[swap, few_shot, paraphrase]", "perplexity_tail": "0.0",
    }  # fmt: skip
    words = ambo_run("e", settings, "csv", "--stages", "01,02")
    endpoint_is_down, prompts = [True], []

    def plan(number, body):
        if endpoint_is_down[0] and number >= 5:
            return 401, {}, {"error": {"message": "no"}}
        prompts.append(body["messages"][-1]["content"])
        text = f"A letter number {len(prompts)} came in the morning, and the whole office thought that it was very warm and kind."
        return completion(f'{{"text": "{text}"}}' if "JSON" in prompts[-1] else text)

    with Proxy(plan) as server:
        endpoint = {"TEACHER_BASE_URL": server.url, "TEACHER_MODEL": "m", "TEACHER_API_KEY": "sk-of-this-test"}
        error = finish(tmp_path, words, 2, **endpoint)[1]
        assert "rejects the key" in error and "are answered and kept" in error
        endpoint_is_down[0] = False
        finish(tmp_path, words, **endpoint)
    assert len(set(prompts)) == len(prompts)  # no request was sent twice
    folder = tmp_path / "outputs/csv/e/02_synthetic_expansion"
    accepted = files.read_jsonl(folder / "synthetic.jsonl")
    assert {r["method"] for r in files.read_jsonl(folder / "candidates.jsonl")} == {"swap", "few_shot", "paraphrase"}
    assert accepted and all(r["label"] in ("good", "bad") and r["writer"] in ("rules", "teacher") for r in accepted)
    facts = run.read_manifest(folder)["teacher"]
    assert facts["model"] == "m" and facts["requests"] + facts["from_store"] >= len(prompts)
    assert "sk-of-this-test" not in "".join(f.read_text() for f in folder.glob("*.*") if f.suffix != ".png")


def test_a_local_teacher_that_changed_writes_anew(tmp_path, tiny_llama):
    """What the old base wrote is not taken for what the one that now stands in its folder would write."""
    source = next(cell for cell in code_cells("02_synthetic_expansion") if "teachers.Local(write" in cell)
    place, store = shutil.copytree(tiny_llama, tmp_path / "base"), tmp_path / "replies"
    task = Task("t", ("good", "bad"), "bad", (" good", " bad"), "{text}")
    names = {"teacher": "local", "temperature": 0.0, "seed": 1, "model": str(place), "replies": str(store)}
    names |= {"teachers": endpoint, "partial": partial, "files": files, "resolve": Path}
    names |= {"revision": "", "quantization": "none"}
    kept = []
    for changes in (False, False, True):
        if changes:
            weights = {name: weight + 1 for name, weight in load_file(place / "model.safetensors").items()}
            save_file(weights, place / "model.safetensors", {"format": "pt"})
        reading = {"head": "lm", "quantization": "none", "bidirectional": False}
        names["base"] = QLoRA(task, Recipe.for_reading(str(place), **reading), 1)
        exec(source, names)
        names["writer"].ask(["The kind answer"])
        kept.append(len(list(store.rglob("*.json"))))
    assert kept[0] == kept[1] < kept[2]
