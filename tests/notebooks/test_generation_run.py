"""Generation tasks through the real runner: a run, a killed run, a teacher on loopback, people in the panel, pairs from files."""

import shutil

import nbformat
import pandas as pd
import pytest

from helpers import files, outputs, run
from helpers.core.qlora import QLoRA
from helpers.data.embedded import pool_texts
from helpers.italian.silver import silver
from helpers.labels import log
from helpers.labels.panel.panel import Panel
from helpers.task import Task
from tests.core.recipes import recipe
from tests.endpoints import Proxy, completion
from tests.project import (
    ambo_run,
    assert_quiet,
    copy_stage,
    finish,
    kill_after_rounds,
    new_project,
    record_outputs,
    write_rounds,
)

FIRST, LOOP, LAST = "01_seed_curation", "03_active_generation", "04_generation_evaluation"
SENTENCES = [
    "People who came here work, pay taxes and raise children like everybody else in this town.",
    "That is a fear that many share, and yet the people I know tell a very different story.",
    "Would you say the same of your own neighbours, and what would change your mind about them?",
]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return new_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def settings(tiny_llama):
    return {
        "model": str(tiny_llama),
        "bidirectional": "false",
        "epochs": "1",
        "max_new_tokens": "6",
        "seed_size": "12",
        "validation_size": "8",
        "rounds": "2",
        "batch_labels": "5",
        "pool_limit": "20",
    }


def words(run_id, settings, *more, task="counter_narrative"):
    return ambo_run(run_id, settings, task, *more, profile="demo_generation")


@pytest.fixture(scope="module")
def undisturbed(project, settings):
    out, _ = finish(project, words("whole", settings))
    return project / "outputs/counter_narrative/whole", out


def from_01(undisturbed, run_id):
    """A run of that id that has 01 done; its folder of 03."""
    folder = undisturbed[0].parent / run_id
    copy_stage(undisturbed[0] / FIRST, folder / FIRST)
    return folder / LOOP


def strip(history):
    """Without the time, and the tokens read: embeddings that another run has made are not made again."""
    return [{k: v for k, v in r.items() if k not in ("seconds", "tokens", "adapter", "check")} for r in history]


def test_a_run_goes_without_02_and_records_every_round(undisturbed):
    folder, out = undisturbed
    assert "02_synthetic_expansion: not part of a generation task, left out" in out
    first, loop, last = (run.read_manifest(folder / name) for name in (FIRST, LOOP, LAST))
    assert first["status"] == loop["status"] == last["status"] == "success" and loop["quantization"] == "nf4"
    for later, earlier, count in ((loop, first, 4), (last, loop, 3)):
        shared = later["inputs"].keys() & earlier["outputs"].keys()
        assert len(shared) >= count and all(later["inputs"][f] == earlier["outputs"][f] for f in shared)
    assert len(files.read_jsonl(folder / LAST / "outputs.jsonl")) == 32 and "report.html" in out
    history = files.read_jsonl(folder / LOOP / "rounds.jsonl")
    assert [(r["strategy"], r["round"], r["targets"], len(r["picks"])) for r in history] == [
        *(("hassan", i, 12 + 5 * i, 5 * (i < 2)) for i in range(3)),
        *(("random", i, 12 + 5 * i, 5 * (i < 2)) for i in range(3)),
    ]
    assert history[2]["stop"] == "the budget of 10 targets is used up"
    for number in range(2):
        seen = {r["id"]: r for r in files.read_jsonl(folder / LOOP / f"interim/hassan_{number}.jsonl")}
        assert len(seen) == 20 and set(history[number]["picks"]) <= seen.keys()
        assert all(0 <= r["compliance"] <= 1 for r in seen.values())
    labelled = files.read_jsonl(folder / LOOP / "labelled.jsonl")
    oracle = {r["id"]: r["target"] for r in files.read_jsonl(folder / FIRST / "oracle.jsonl")}
    assert pd.Series([r["target_source"] for r in labelled]).value_counts().to_dict() == {"seed": 12, "oracle": 10}
    assert all(r["target"] == oracle[r["id"]] for r in labelled if r["target_source"] == "oracle")
    curve = pd.read_csv(folder / LOOP / "learning_curve.csv")
    assert {"compliance", "compliance_low", "chrF", "chrF_high", "targets"} <= set(curve.columns) and len(curve) == 6


def test_the_pool_holds_no_targets_and_the_groups_are_the_data_s(undisturbed):
    folder = undisturbed[0] / FIRST
    pool, oracle = (files.read_jsonl(folder / f"{name}.jsonl") for name in ("pool", "oracle"))
    assert not set().union(*pool) & {"target", "references", "label"} and {r["id"] for r in pool} == {
        r["id"] for r in oracle
    }
    test = files.read_jsonl(folder / "test.jsonl")
    assert (
        len(test) == 32
        and len({r["TARGET"] for r in test}) == 8
        and all(r["references"] == [r["target"]] for r in test)
    )


def test_executed_notebooks_show_no_warning_and_no_error(undisturbed):
    assert_quiet(undisturbed[0])


def test_a_second_run_skips_everything(project, settings, undisturbed):
    before = {f: f.stat().st_mtime_ns for f in undisturbed[0].rglob("*") if f.is_file() and f.name != ".lock"}
    out, _ = finish(project, words("whole", settings))
    assert out.count("unchanged, skipped") == 3
    assert {f: f.stat().st_mtime_ns for f in before} == before


def test_a_killed_run_goes_on_to_the_same_picks_and_scores(project, settings, undisturbed):
    folder = from_01(undisturbed, "killed")
    command = words("killed", settings, "--stages", "03")
    rounds = folder / "rounds.jsonl"
    done = kill_after_rounds(project, command, rounds, 1)
    kept = (folder / "interim/hassan_0.jsonl").stat().st_mtime_ns
    assert done < 6
    finish(project, command)
    whole = undisturbed[0] / LOOP
    assert strip(files.read_jsonl(rounds)) == strip(files.read_jsonl(whole / "rounds.jsonl"))
    assert (folder / "interim/hassan_0.jsonl").stat().st_mtime_ns == kept  # nothing was written or scored again
    assert (folder / "labelled.jsonl").read_text() == (whole / "labelled.jsonl").read_text()


@pytest.mark.parametrize("name", ["training.jsonl", "validation/hassan.jsonl"])
def test_a_damaged_file_of_the_stage_itself_does_not_stop_it(project, settings, undisturbed, name):
    folder = undisturbed[0].parent / f"damaged_{name[0]}" / LOOP
    shutil.copytree(undisturbed[0], folder.parent)
    shutil.rmtree(folder.parent / FIRST)
    copy_stage(undisturbed[0] / FIRST, folder.parent / FIRST)
    manifest = files.read_json(folder / "manifest.json")
    changed = {"run_id": folder.parent.name}
    due = {"status": "failed", "parameters": manifest["parameters"] | changed}
    files.write_json(folder / "manifest.json", manifest | due)
    basis = files.read_json(folder / "rounds_from.json")
    inputs = {path.replace("/whole/", f"/{folder.parent.name}/"): sha for path, sha in basis["inputs"].items()}
    files.write_json(folder / "rounds_from.json", {"inputs": inputs, "parameters": basis["parameters"] | changed})
    write_rounds(folder, files.read_jsonl(folder / "rounds.jsonl"))
    (folder / name).write_bytes(b"\xff\x00 garbage\n")
    out, _ = finish(project, words(folder.parent.name, settings, "--stages", "03"))
    assert "trained once more: a file that it left is missing or damaged" in out
    whole, now = (files.read_jsonl(f / "training.jsonl") for f in (undisturbed[0] / LOOP, folder))
    assert now == whole and run.read_manifest(folder)["status"] == "success"
    assert strip(files.read_jsonl(folder / "rounds.jsonl"))[:6] == strip(
        files.read_jsonl(undisturbed[0] / LOOP / "rounds.jsonl")
    )


def test_interim_outputs_are_those_of_these_candidates_and_this_model(project, settings, undisturbed):
    """As after a kill between the interim outputs and the round: targets come in, or files break, before it goes on."""
    folder = from_01(undisturbed, "imported")
    command = words("imported", settings | {"labeller": "human", "teacher": "''"}, "--stages", "03")
    finish(project, command, 3)
    interim, rounds = folder / "interim/hassan_0.jsonl", folder / "rounds.jsonl"
    before, (first,) = files.read_jsonl(interim), files.read_jsonl(rounds)
    rounds.unlink()
    files.write_jsonl(interim, before[::-1])  # their order says nothing
    stamp = interim.stat().st_mtime_ns
    finish(project, command, 3)
    assert files.read_jsonl(rounds)[0]["picks"] == first["picks"] and interim.stat().st_mtime_ns == stamp
    rounds.unlink()
    given = [r["id"] for r in before[:3]]
    for i in given:
        log.append(folder / "labels/human", "me", "label", i, label=SENTENCES[0])
    finish(project, command, 3)
    now = files.read_jsonl(interim)
    assert len({r["id"] for r in now}) == 20 and not {r["id"] for r in now} & {*given}
    assert set(files.read_jsonl(rounds)[0]["picks"]) <= {r["id"] for r in now}
    assert not {r["basis"] for r in now} & {r["basis"] for r in before}
    for name in ("interim/hassan_0.jsonl", "validation/hassan.jsonl"):
        (folder / name).write_bytes(b"garbage\n")
    finish(project, command, 3)  # the panel is shown none the less


def test_silver_pairs_of_evaluation_rows_are_not_trained_on_and_04_refuses_a_row_that_was(project, settings):
    made = silver([r["text"] for r in pool_texts()], [], 60, 13)
    known = [pair for pair in made if pair["method"] in ("kept", "gaps")]  # whatever the seed pairs are
    towns = [
        "Roma",
        "Milano",
        "Torino",
        "Parma",
        "Lecce",
        "Bari",
        "Pisa",
        "Siena",
        "Terni",
        "Udine",
        "Cuneo",
        "Fermo",
        "Lodi",
        "Prato",
        "Rieti",
        "Asti",
    ]
    rows = [{"text": f"A {t} si cerca un commesso.", "target": f"A {t} si cerca un/a commesso/a."} for t in towns]
    rows += [{"text": f"Serve una cuoca a {t}.", "target": f"Serve un/a cuoco/a a {t}."} for t in towns]
    splits = ["train"] * len(rows) + ["test", "validation"] * len(known)
    columns = ["text", "target"]
    table = pd.DataFrame([{c: r[c] for c in columns} for r in rows + known])
    table.assign(split=splits[: len(table)]).to_csv(project / "leak.csv", index=False)
    more = {"data_path": "leak.csv", "group_columns": "[]", "near_duplicate": "0.95", "silver": "60", "rounds": "1"}
    more |= {"with_random": "false", "secondary": "[]", "bootstrap": "100"}
    command = words("leak", settings | more, task="inclusive_rewriting_it")
    out, _ = finish(project, command)
    folder = project / "outputs/inclusive_rewriting_it/leak"
    training = files.read_jsonl(folder / LOOP / "training.jsonl")
    by_rule = [r for r in training if r.get("split") == "silver"]
    examined = {
        r["text"] for name in ("test", "validation") for r in files.read_jsonl(folder / FIRST / f"{name}.jsonl")
    }
    assert (
        len(training) == 12 + 5 + len(by_rule)
        and f"{len(by_rule)} silver pairs; {len(made) - len(by_rule)} left" in out
    )
    assert len(made) - len(by_rule) >= len(examined) > 10 and not {r["text"] for r in training} & examined
    assert len(files.read_jsonl(folder / LOOP / "labelled.jsonl")) == 12 + 5
    test = files.read_jsonl(folder / FIRST / "test.jsonl")
    files.write_jsonl(folder / LOOP / "training.jsonl", [*training, {"id": "other", "text": test[0]["text"].upper()}])
    said = finish(project, [*command, "--stages", "04"], 2)[1]
    assert "training.jsonl changed): run 03_active_generation with" in said and said.count("\n") == 1
    rows = files.read_jsonl(folder / LOOP / "rounds.jsonl")
    rows[-1]["training"] = files.sha256(folder / LOOP / "training.jsonl")  # as if it had been trained on
    write_rounds(folder / LOOP, rows)
    record_outputs(folder / LOOP)
    said = finish(project, [*command, "--stages", "04"], 2)[1]
    assert f"1 of the {len(test)} rows of test were trained on" in said and said.count("\n") == 1


def test_a_teacher_is_checked_its_refusals_kept_apart_and_a_cut_off_round_goes_on(project, settings, undisturbed):
    folder = from_01(undisturbed, "taught")
    more = {"labeller": "teacher", "teacher": "endpoint", "rounds": "1", "floor": "0.0", "batch_labels": "6"}
    pool = {r["text"]: r["id"] for r in files.read_jsonl(folder.parent / FIRST / "pool.jsonl")}
    asked, wrong_key = [], [True]

    def plan(number, body):
        if wrong_key[0] and number >= 2:
            return 401, {}, {"error": {"message": "no"}}
        source = body["messages"][-1]["content"].split("Text:\n")[-1].split("\n\nThis answer")[0]
        first = source not in asked
        asked.append(source)
        # What is asked goes by its place among the picks: eight requests at a time arrive in any order.
        place = files.read_jsonl(folder / "rounds.jsonl")[0]["picks"].index(pool[source])
        if place == 3:
            return completion("I'm sorry, but I cannot help with that.")
        if place == 4:
            return completion(source)  # a copy, both times
        return completion(SENTENCES[place % 3] if place != 5 or not first else "Это ответ на другом языке, вот так.")

    with Proxy(plan) as server:
        endpoint = {"TEACHER_BASE_URL": server.url, "TEACHER_MODEL": "m", "TEACHER_API_KEY": "sk-of-this-test"}

        def ambo(code, **changes):
            command = words("taught", settings | more | changes, "--stages", "03")
            return finish(project, command, code, **endpoint)[1]

        said = ambo(2)
        assert "rejects the key" in said and "run again to go on" in said and said.count("\n") == 1
        history = files.read_jsonl(folder / "rounds.jsonl")
        assert len(history) == 1 and run.read_manifest(folder)["status"] == "failed"
        wrong_key[0] = False
        said = ambo(2, teacher_tokens="60")
        assert "texts without an answer (the budget of 60 tokens is used up" in said and said.count("\n") == 1
        assert files.read_jsonl(folder / "rounds.jsonl") == history
        ambo(0, teacher_tokens="100000")
    again = files.read_jsonl(folder / "rounds.jsonl")
    assert again[0] == history[0] and len(again) == 2 and again[1]["targets"] == 12 + 4
    told = {p["id"]: p for p in files.read_jsonl(folder / "proposals.jsonl")}
    assert told.keys() == set(history[0]["picks"])
    counts = pd.Series([p["status"] for p in told.values()]).value_counts().to_dict()
    assert counts == {"ok": 4, "refused": 1, "invalid": 1}
    assert next(p for p in told.values() if p["status"] == "invalid")["reason"] == "it repeats the text as it was"
    labelled = [r for r in files.read_jsonl(folder / "labelled.jsonl") if r["target_source"] != "seed"]
    assert {r["id"] for r in labelled} == {i for i, p in told.items() if p["status"] == "ok"}
    assert {r["target_source"] for r in labelled} == {"teacher"} and {r["target"] for r in labelled} <= set(SENTENCES)
    assert run.read_manifest(folder)["teacher"]["model"] == "m"
    written = [f.read_text() for f in folder.rglob("*.*") if f.suffix in (".json", ".jsonl", ".ipynb")]
    assert "sk-of-this-test" not in "".join(written)


def test_a_saved_detector_ranks_people_mend_the_models_words_and_the_run_goes_on(
    project, settings, undisturbed, tiny_llama
):
    folder = from_01(undisturbed, "hers")
    task = Task("kind", ("no", "yes"), "yes", (" no", " yes"), "{text}")
    rows = files.read_jsonl(folder.parent / FIRST / "seed.jsonl")
    detector = QLoRA(task, recipe(tiny_llama, epochs=2, holdout=0.0, patience=0))
    detector.fit([{"text": r["text"], "label": "yes"} for r in rows] + [{"text": t, "label": "no"} for t in SENTENCES])
    detector.save(project / "outputs/detector")
    more = {
        "scorer": "detector:outputs/detector",
        "labeller": "human",
        "annotators": "[anna, bruno]",
        "rounds": "1",
        "batch_labels": "5",
    }
    more |= {"teacher": "local", "teacher_model": settings["model"], "distil": "true"}  # a model that writes at random
    command = words("hers", settings | more, "--stages", "03")
    out, _ = finish(project, command, 3)
    assert f"{LOOP}: waits for labels; open" in out and run.read_manifest(folder)["status"] == "awaiting_labels"
    seen = files.read_jsonl(folder / "interim/hassan_0.jsonl")
    expected = 1 - QLoRA.load(project / "outputs/detector").predict_proba([r["output"] or " " for r in seen])[:, 1]
    for row, score in zip(seen, expected, strict=True):
        assert row["compliance"] == pytest.approx(score if row["output"].strip() else 0.0, abs=1e-4)
    asked = files.read_json(folder / "waiting.json")
    picks = files.read_jsonl(folder / "rounds.jsonl")[0]["picks"]
    assert sorted(asked["anna"] + asked["bruno"]) == sorted(picks) and asked["anna"] and asked["bruno"]
    told = files.read_jsonl(folder / "proposals.jsonl")
    assert {p["id"] for p in told} == set(picks) and {p["status"] for p in told} <= {"ok", "invalid"}
    pool = {r["id"]: r for r in files.read_jsonl(folder.parent / FIRST / "pool.jsonl")}
    given = {}
    for name, ids in asked.items():
        records = [pool[i] | {"proposal": SENTENCES[0]} for i in ids]
        panel = Panel(records, kind="edit", folder=folder / "labels/human", annotator=name)
        for i in ids:
            if i == picks[0]:
                panel.buttons["reject"].click()
                continue
            given[i] = f"{SENTENCES[1]} ({name})"
            panel.now.answer.area.value = given[i]
            panel.controls.save.click()
    finish(project, command)
    labelled = [r for r in files.read_jsonl(folder / "labelled.jsonl") if r["target_source"] != "seed"]
    assert {r["id"]: r["target"] for r in labelled} == given and {r["target_source"] for r in labelled} == {"human"}
    assert files.read_jsonl(folder / "rounds.jsonl")[1]["targets"] == 12 + 4
    log.append(folder / "labels/human", "carla", "label", min(given), label="Altro.")  # as an import of her file would
    finish(project, command)
    page = nbformat.read(outputs.executed(folder), 4)
    said = "".join(str(o.get("text", "")) for cell in page.cells for o in cell.get("outputs", []))
    assert "left out, because people wrote different targets: 1 (the panel corrects one)" in said
    assert len(files.read_jsonl(folder / "labelled.jsonl")) == len(labelled) + 12 - 1


def test_several_references_and_columns_of_other_files(project, settings):
    rows = [
        {"toxic": f"you are a damn fool {w}, number {i}", "neutral1": f"you are wrong {w}, number {i}", "neutral2": ""}
        for i, w in enumerate("abcdefghijklmnopqrst")
    ]
    rows[3]["neutral2"] = "that was not right of you"
    rows.append({"toxic": "one that nobody has rewritten so far", "neutral1": "", "neutral2": " "})
    rows.append({"toxic": rows[5]["toxic"].upper(), "neutral1": "another way to say it", "neutral2": ""})
    lines = ["\t".join(rows[0])] + ["\t".join(r.values()) for r in rows]
    (project / "toxic.tsv").write_text("\n".join(lines) + "\n")
    more = {"data_path": "toxic.tsv", "target_columns": "[neutral1, neutral2]", "test_size": "4", "scorer_size": "5"}
    more |= {"seed_size": "4", "validation_size": "3", "near_duplicate": "0.95"}
    finish(project, words("files", more, "--stages", "01", task="detoxification"))
    folder = project / "outputs/detoxification/files" / FIRST
    sets = {
        n: files.read_jsonl(folder / f"{n}.jsonl") for n in ("seed", "pool", "validation", "test", "scorer", "oracle")
    }
    assert {n: len(s) for n, s in sets.items()} == {
        "seed": 4, "pool": 5, "validation": 3, "test": 4, "scorer": 5, "oracle": 4,
    }  # fmt: skip
    known = {r["text"]: r["references"] for n in ("seed", "validation", "test", "scorer") for r in sets[n]}
    held_back = {r["id"]: r["target"] for r in sets["oracle"]}
    for r in rows[:20]:
        wanted = [r["neutral1"], *filter(None, [r["neutral2"]])] + ["another way to say it"] * (r is rows[5])
        assert known.get(r["toxic"]) == wanted or wanted[0] in held_back.values()
