"""`ambo export`: cards that others can read, weights that load without Ambo, data that `datasets` loads, and the upload."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard
from markdown_it import MarkdownIt

from helpers import cli, files, pipeline, run
from helpers.cli.export import evaluation_of
from helpers.core import export as core
from helpers.core.detector import load_detector
from helpers.core.qlora import QLoRA
from helpers.core.recipe import EMBEDDED
from helpers.core.writer import Writer
from helpers.data.records import record_id
from helpers.env import UserError
from helpers.evaluation import cards, runs
from helpers.labels import log
from helpers.task import Task
from tests.core.recipes import recipe
from tests.hub import standing_in
from tests.project import finish, new_project, record_adapter, save_manifest

HOSTILE = "<script>alert(1)</script> | `x` [a](javascript:b) *c* \u202e\n---\nlicense: mit\n---"
TEXTS = ["The kind answer number 1 was sent by mail.", "The cruel and mean answer.", "cold", "It was sent " * 40]


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("AMBO_ROOT", str(new_project(tmp_path)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trained(project, learner, rows, labeller="human", stage="03_active_learning", data_path="data/my.csv"):
    """A run of task t whose 03 has finished with this learner; two people labelled the first rows."""
    home = project / "outputs/t/r"
    answer = "label" if learner.task.labels else "target"
    learner.fit([{k: r[k] for k in ("text", answer)} for r in rows])
    learner.save(home / stage / "adapter")
    files.write_jsonl(home / stage / "training.jsonl", rows)
    for name, own in (("anna", rows[:4]), ("bruno", rows[3:5])):
        for row in own:
            log.append(home / stage / "labels" / labeller, name, "label", row["id"], label=row[answer])
    settings = {"labeller": labeller, "strategy": "bait", "language": "en", "guideline": ""}
    save_manifest(home / "01_seed_curation", parameters={"data_path": data_path})
    save_manifest(home / stage, parameters=settings, revision=core.LOCAL)
    return home


VERDICT = "What follows: do not use <b>x</b>."


def records(rows, **more):
    return [{"id": record_id("t", r["text"]), **r, **more} for r in rows]


def evaluated(home, stage="04_bias_evaluation", of="03_active_learning", **tables):
    """A finished 04 with these tables."""
    for name, table in tables.items():
        files.write_csv(home / stage / f"{name}.csv", pd.DataFrame(table))
    here = run.Run(stage, {"smallest_group": 10}, home / stage)
    here.reads(home / of / "adapter")
    here.reads(files.write_text(home / "01_seed_curation/test.jsonl", "{}"))
    here.note(verdict=VERDICT)
    here.close()


def ambo(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["ambo", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    captured = capsys.readouterr()
    return ended.value.code or 0, captured.out, captured.err


def code_of(card, number):
    return re.findall(r"```python\n(.*?)```", card, re.S)[number]


def run_alone(code, call, texts, folder, base):
    """What the card's code says of the texts, in a process that cannot import Ambo."""
    code = code.replace("FOLDER OF THE BASE", str(base)).replace("FOLDER", str(folder))
    lines = ["import sys", "sys.modules['helpers'] = None", code, "import json"]
    lines.append(f"print('ANSWERS' + json.dumps([{call}(text) for text in json.loads(sys.argv[1])]))")
    words = [sys.executable, "-c", "\n".join(lines), json.dumps(texts)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder, env={"HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.partition("ANSWERS")[2])


@pytest.mark.parametrize("kind", ["embedded", "mean", "label words", "chat"])
def test_the_cards_code_gives_the_same_probabilities_without_ambo(
    kind, project, task, rows, tiny_llama, monkeypatch, capsys
):
    by_words = {"head": "lm"}
    changes = {"embedded": {"pooling": "evidence", "bidirectional": True}, "label words": by_words, "chat": by_words}
    if kind == "chat":
        tiny_llama = shutil.copytree(tiny_llama, project / "chat")
        template = (
            "{% for m in messages %}<s>{{ m['content'] }}</s>{% endfor %}{% if add_generation_prompt %}> {% endif %}"
        )
        (tiny_llama / "chat_template.jinja").write_text(template)
    own = recipe(EMBEDDED if kind == "embedded" else tiny_llama, epochs=1, **changes.get(kind, {}))
    trained(project, QLoRA(task, own), records(rows[:32]))
    code, out, err = ambo(monkeypatch, capsys, "export", "--to", "shared")
    assert code == 0 and not err and "Model" in out
    folder = project / "shared/model"
    assert (folder / "base/model.safetensors").exists() == (kind == "embedded")
    for name in ("adapter_config.json", "learner.json", "README.md"):  # no path of this machine
        assert str(tiny_llama.parent) not in (folder / name).read_text()
        assert "/src/helpers" not in (folder / name).read_text()
    card = (folder / "README.md").read_text()
    answers = run_alone(code_of(card, 1), "probabilities", TEXTS, folder, tiny_llama)
    base = {} if kind == "embedded" else {"model": str(tiny_llama)}
    detector = load_detector(folder, **base)
    expected = detector.learner.predict_proba(TEXTS)
    np.testing.assert_allclose([[row[label] for label in task.labels] for row in answers], expected, atol=1e-4)
    assert expected.std(0).max() > 1e-3
    compile(code_of(card, 0), "card", "exec")


def test_a_model_that_writes_is_loaded_alone_where_that_can_be(project, tiny_llama, monkeypatch, capsys):
    settings = {
        "epochs": 30,
        "learning_rate": 3e-3,
        "batch_size": 8,
        "lora_dropout": 0.0,
        "patience": 0,
        "holdout": 0.0,
    }
    pairs = [{"text": f"a {w} answer", "target": f"a {n} answer"} for w, n in (("cruel", "kind"), ("cold", "warm"))]
    writer = Writer(Task("t", (), "", (), "Text: {text}\nAnswer:"), recipe(tiny_llama, **settings))
    stage = "03_active_generation"
    home = trained(project, writer, records(pairs * 8), stage=stage)
    training = home / stage / "training.jsonl"  # which ends with what rules made
    by_rule = {"id": "s", "text": "by rule", "target": "by rule", "source": "synthetic", "split": "silver"}
    files.write_jsonl(training, [*files.read_jsonl(training), by_rule])
    interval = {f"compliance {side}": [0.4, 0.1] for side in ("low", "high")}
    systems = {"system": ["writer", "copy"], "count": [20, 20], "compliance": [0.5, 0.1], **interval}
    groups = {"column": "kind", "group": ["large", "small"], "count": [15, 5], "compliance": [0.4, 0.8]}
    evaluated(home, "04_generation_evaluation", stage, systems=systems, by_group=groups)
    assert ambo(monkeypatch, capsys, "export", "--to", "shared", "--task", "t")[0] == 0
    card = (project / "shared/model/README.md").read_text()
    assert "| writer | 0.500 (0.400–0.400) |" in card and "| kind | large | 15 | 0.400 |" in card
    assert "small (kind, n = 5)" in card
    assert len(pd.read_parquet(project / "shared/dataset/data/train.parquet")) == 16
    texts = [pair["text"] for pair in pairs]
    answers = run_alone(code_of(card, 1), "write", texts, project / "shared/model", tiny_llama)
    assert answers == writer.write(texts) == ["a kind answer", "a warm answer"]
    edits = Task("t", (), "", (), "{text}\n", output="edits", draft="italian")
    assert cards._loaded_alone(edits, recipe())[0] == "" and "edits" in cards._loaded_alone(edits, recipe())[1]
    hinted = Task("t", ("a", "b"), "b", ("a", "b"), "{text}\n", hints="italian", scope="workplace")
    assert cards._loaded_alone(hinted, recipe(pooling="evidence"))[1].endswith("which words Ambo's Italian rules mark")
    assert cards._loaded_alone(hinted, recipe()) == ("classifier", "")


@pytest.fixture
def home(project, task, rows, tiny_llama):
    """A run that has finished 03, with 100 characters of mischief in labels and groups."""
    hostile = Task("t", ("good", HOSTILE), HOSTILE, (" good", " very bad"), task.prompt, ("kind",))
    own = [r | {"label": HOSTILE if r["label"] == "bad" else "good", "kind": HOSTILE} for r in rows[:16]]
    own = records(own, own_id="7")
    own[-1] |= {"source": "synthetic", "weight": 0.5}
    own[0]["spans"] = [[0, 3]]
    return trained(project, QLoRA(hostile, recipe(tiny_llama, epochs=1)), own, data_path=f"data/{HOSTILE}.csv")


def test_cards_say_what_was_measured_and_nothing_in_the_data_becomes_a_part_of_them(home, project, monkeypatch, capsys):
    models = {"model": ["QLoRA detector", "TF-IDF"], "macro_f1": [0.8, 0.6], "low": [0.7, 0.5], "high": [0.9, 0.7]}
    scores = models | {"accuracy": [0.81, 0.61], "count": [50, 50]}
    groups = {"group": [HOSTILE, "b", "c"], "count": [12, 30, 3], "accuracy": [0.5, 0.9, 1.0], "column": "kind"}
    flips = {"model": ["QLoRA detector"], "pairs": [20], "flip_rate": [0.25], "low": [0.1], "high": [0.4]}
    found = {"QLoRA detector": [0.5], "QLoRA detector low": [0.4], "QLoRA detector high": [0.6]}
    evaluated(home, headline=scores, by_group=groups, flips=flips, kinds={"kind": [HOSTILE], "count": [7]} | found)
    assert ambo(monkeypatch, capsys, "export", "--to", "shared")[0] == 0
    text = (project / "shared/model/README.md").read_text()
    model, data = (ModelCard(text), DatasetCard((project / "shared/dataset/README.md").read_text()))
    results = {result.metric_name: result.metric_value for result in model.data.eval_results}
    assert results == {"macro-F1": 0.8, "accuracy": 0.81} and model.data.library_name == "peft"
    assert model.data.language == ["en"] and model.data.license is None and data.data.license is None
    for card in (model, data):
        page = MarkdownIt("commonmark", {"html": True}).enable("table").render(card.text)
        assert "<script" not in page and "javascript:b)" in page and 'href="javascript' not in page
        assert "<em>" not in page and "<code>x" not in page and "\u202e" not in card.content
        assert "\nlicense:" not in card.content and "[a](javascript:b) *c*" in page  # as it was written
    assert "0.800 (0.700–0.900)" in text and "25.0% (95 % interval 10.0% to 40.0%) of 20 pairs" in text
    assert "| 7 | 0.500 (0.400–0.600) |" in text
    assert re.search(r"\|[^|]*javascript[^|]*\| 7 \| 0.500", text)  # the kind by its name
    assert "**What follows: do not use &lt;b&gt;x&lt;/b&gt;.**" in text  # as groups may be called
    assert runs.verdict(runs.require_detector("t", "r")) == f"04 says of its use: {VERDICT}"
    assert "| 12 | 0.500 |" in text and "c (kind, n = 3)" in text and "| people | 5 |" in text
    assert "People who labelled: 2." in text and "anna" not in text + data.content


def test_the_labelled_rows_are_a_data_set(home, project, monkeypatch, capsys):
    assert ambo(monkeypatch, capsys, "export", "--to", "shared")[0] == 0
    script = "import json, sys, datasets\nrows = datasets.load_dataset(sys.argv[1], split='train')\n"
    script += "print(json.dumps(list(rows)))"
    words = [sys.executable, "-c", script, str(project / "shared/dataset")]
    out, _ = finish(project, words, HF_HOME=str(project / "cache"), HF_DATASETS_OFFLINE="1")
    loaded, source = json.loads(out), files.read_jsonl(home / "03_active_learning/training.jsonl")
    assert [{k: v for k, v in row.items() if k in old} for row, old in zip(loaded, source, strict=True)] == source
    assert [row["labelled_by"] for row in loaded] == ["person"] * 5 + ["data"] * 10 + ["synthetic"]
    assert not any(name.startswith("test") for name in (p.name for p in (project / "shared").rglob("*")))
    assert "| 7 |" not in (project / "shared/dataset/README.md").read_text()


def test_a_model_that_was_not_measured_says_so(home, project, monkeypatch, capsys):
    assert ambo(monkeypatch, capsys, "export", "--to", "shared")[0] == 0
    card = (project / "shared/model/README.md").read_text()
    assert "**This model was not evaluated as it is:** 04\\_bias\\_evaluation has not finished" in card
    assert "model-index" not in card and "0." not in card.partition("## Scores")[2].partition("## Limits")[0]
    evaluated(home, headline={"model": ["QLoRA detector"]})
    (home / "03_active_learning/adapter/head.safetensors").write_bytes(b"another")
    record_adapter(home / "03_active_learning")
    latest = runs.require_detector("t", "r")
    assert "03_active_learning/adapter changed" in evaluation_of(latest, "classification")["missing"]
    assert "was not measured: what 04_bias_evaluation measured no longer counts" in runs.verdict(latest)
    evaluated(home, headline={"model": ["QLoRA detector"]})
    other = home.parent / "other/04_bias_evaluation"
    files.write_text(other.parent / "03_active_learning/adapter/learner.json", "{}")
    here = run.Run(other.name, {"smallest_group": 10}, home / other.name)
    here.reads(other.parent / "03_active_learning/adapter")
    here.close()
    assert "another adapter" in evaluation_of(latest, "classification")["missing"]


@pytest.mark.parametrize(
    "content", ["", "model,macro_f1,low,high,accuracy,count\n", "a,b\n1,2\n", "model,count\nx,y\n", "\xff"]
)
@pytest.mark.parametrize("name", ["headline", "systems"])
def test_damaged_tables_of_04_are_a_sentence(tmp_path, name, content):
    stage = tmp_path / "04_bias_evaluation"
    stage.mkdir()
    (stage / f"{name}.csv").write_text(content, encoding="latin-1")
    read = cards.detection_scores if name == "headline" else cards.generation_scores
    with pytest.raises(UserError, match=r"The tables in .*04_bias_evaluation are damaged .*: run 04 again"):
        read(stage)
    (stage / "by_group.csv").write_text("column,group\na,b\n")
    with pytest.raises(UserError, match="The tables in"):
        cards.group_scores(stage, 5)


def test_an_export_without_the_manifest_of_01_is_a_sentence(home, project, monkeypatch, capsys):
    (home / "01_seed_curation/manifest.json").unlink()
    code, _, err = ambo(monkeypatch, capsys, "export", "--to", "shared")
    assert code == 2 and "01_seed_curation has no manifest.json, which names the data" in err and err.count("\n") == 1


def test_a_folder_of_somebody_else_is_refused_and_an_edited_card_stays(home, project, monkeypatch, capsys):
    (project / "mine").mkdir()
    (project / "mine/notes.txt").write_text("mine")
    code, out, err = ambo(monkeypatch, capsys, "export", "--to", "mine")
    assert code == 2 and "holds notes.txt, which is not of an export" in err and not out
    (project / "other").mkdir()
    (project / "other/export.json").write_text('{"a": 1}')
    assert "holds export.json, which is not of an export" in ambo(monkeypatch, capsys, "export", "--to", "other")[2]
    assert ambo(monkeypatch, capsys, "export", "--to", "shared")[0] == 0
    card = project / "shared/model/README.md"
    card.write_text(card.read_text().replace("# license:", "license: mit #"))
    for _ in range(2):
        code, out, _ = ambo(monkeypatch, capsys, "export", "--to", "shared")
        assert code == 0 and out.count("the card as you edited it") == 1 and "\nlicense: mit" in card.read_text()
    evaluated(home, headline=SCORES, by_group=GROUPS)  # the card says other things now
    code, out, _ = ambo(monkeypatch, capsys, "export", "--to", "shared")
    assert (
        code == 0 and "model/README.before-1.md is the card as you edited it: the new card may say other things" in out
    )
    assert "\nlicense: mit" not in card.read_text() and "not evaluated" not in card.read_text()
    edited = project / "shared/model/README.before-1.md"
    edited.write_text(edited.read_text() + "\nmore\n")
    assert ambo(monkeypatch, capsys, "export", "--to", "shared")[0] == 0
    assert "\nlicense: mit" in edited.read_text() and edited.read_text().endswith("\nmore\n")
    secret = project / "secret.txt"
    secret.write_text("mine")
    text = card.read_text()
    card.unlink()
    card.symlink_to(secret)
    assert "holds model/README.md, which was changed" in ambo(monkeypatch, capsys, "export", "--to", "shared")[2]
    card.unlink()
    card.write_text(text)
    (project / "shared/model/learner.json").write_text("{}")
    code, _, err = ambo(monkeypatch, capsys, "export", "--to", "shared")
    assert code == 2 and "learner.json, which was changed since it was exported" in err
    (project / "loop").symlink_to(project / "loop")
    code, _, err = ambo(monkeypatch, capsys, "export", "--to", "loop")
    assert code == 2 and "leads to itself" in err and err.count("\n") == 1
    (project / "file").write_text("x")
    code, _, err = ambo(monkeypatch, capsys, "export", "--to", "file")
    assert code == 2 and "is a file: name a folder" in err
    assert (
        "has finished 03_active_learning or 03_active_generation"
        in ambo(monkeypatch, capsys, "export", "--to", "x", "--run-id", "none")[2]
    )


def test_both_folders_are_pushed_to_private_repositories(home, project):
    words = [sys.executable, "-m", "helpers.cli", "export", "--to", "shared", "--push", "owner/name"]
    with standing_in() as (address, hub):
        environment = {"HF_ENDPOINT": address, "HF_TOKEN": "hf_secret", "HF_HUB_DISABLE_XET": "1"}
        environment["HF_HOME"] = str(project / "cache")
        out, err = finish(project, words, **environment)
        assert "(private)" in out and "hf_secret" not in out + err and "Bearer hf_secret" in hub.tokens
        assert [(made["type"], made["visibility"]) for made in hub.created] == [
            ("model", "private"),
            ("dataset", "private"),
        ]
        for kind in ("model", "dataset"):
            folder = project / "shared" / kind
            local = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
            assert hub.files[f"{kind}s/owner/name"] == local
        assert len(hub.calls) < 30 and b"datasets:\n- owner/name\n" in hub.files["models/owner/name"]["README.md"]
        hub.refusing = True
        out, err = finish(project, words, 2, **environment)
        assert "The hub did not take the model owner/name" in err and "hf_secret" not in out + err
        with_password = environment | {"HF_ENDPOINT": address.replace("//", "//user:s3cretpassw0rd@")}
        out, err = finish(project, words, 2, **with_password)
        assert "The hub did not take the model owner/name" in err and "s3cret" not in out + err
        for proxy in ("socks5://127.0.0.1:1", "http://127.0.0.1:x", "foo://127.0.0.1"):
            _, err = finish(project, words, 2, **environment | {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy})
            assert "The hub did not take the model owner/name" in err
        _, err = finish(project, words, 2, **environment | {"HF_TOKEN": "", "HF_ENDPOINT": "http://127.0.0.1:9"})
        assert "--push needs a token" in err
        _, err = finish(project, words, 2, **environment | {"HF_ENDPOINT": "http://127.0.0.1:9"})
        assert "The hub did not take the model owner/name" in err


SCORES = {
    "model": ["QLoRA detector"],
    "macro_f1": [0.8],
    "low": [0.7],
    "high": [0.9],
    "accuracy": [0.81],
    "count": [50],
}
GROUPS = {"group": ["a", "b"], "count": [12, 30], "accuracy": [0.5, 0.9], "column": "kind"}


@pytest.mark.parametrize(
    ("name", "harm", "words"),
    [
        ("01_seed_curation/test.jsonl", "edit", "test.jsonl changed"),
        ("04_bias_evaluation/headline.csv", "edit", "headline.csv changed"),
        ("04_bias_evaluation/by_group.csv", "delete", "by_group.csv is missing"),
        ("04_bias_evaluation/manifest.json", "edit", "manifest is damaged"),
    ],
)
def test_scores_that_no_longer_count_are_in_no_card(home, name, harm, words):
    evaluated(home, headline=SCORES, by_group=GROUPS)
    latest = runs.require_detector("t", "r")
    assert evaluation_of(latest, "classification")["test_rows"] == 50
    path = home / name
    path.unlink() if harm == "delete" else path.write_text(path.read_text().replace("}", "").replace("50", "300000"))
    scores = evaluation_of(latest, "classification")
    assert scores.keys() == {"missing"} and (words in scores["missing"] or path.name == "manifest.json")


@pytest.mark.parametrize("name", ["name", "a/b/c", "../x", "owner/na me", "owner/name\n"])
def test_what_is_no_name_of_a_repository_is_refused(name):
    with pytest.raises(UserError, match="give owner/name"):
        core.refuse_push(name)


def test_a_front_matter_is_plain_values():
    text = cards.front_matter({"name": HOSTILE, "list": [HOSTILE, 0.5]}, ["# license:"])
    parts, shown = text.split("\n---\n"), " ".join(HOSTILE.replace("\u202e", "").split())
    assert len(parts) == 2 and yaml.safe_load(text.split("---\n")[1]) == {"name": shown, "list": [shown, 0.5]}


def test_of_many_small_groups_some_are_named_and_the_rest_counted(tmp_path):
    rows = {"group": [f"g{i}" for i in range(30)], "count": [3] * 30, "accuracy": [0.5] * 30, "column": "kind"}
    files.write_csv(tmp_path / "by_group.csv", pd.DataFrame(rows))
    groups = cards.group_scores(tmp_path, 10)
    assert len(groups["small"]) == 20 and groups["more_small"] == 10 and groups["small"][0] == "g0 (kind, n = 3)"


def test_groups_that_are_served_alike_are_no_worst_groups(home, project, monkeypatch, capsys):
    assert cards.FIELDS["own_ids"] != cards.FIELDS["own_id"]
    rows = {
        "group": ["a", "b", "c", "d"],
        "count": 12,
        "accuracy": [1.0, 1.0, 0.5, 0.9],
        "column": ["who", "who", "kind", "kind"],
    }
    scores = {
        "model": ["QLoRA detector"],
        "macro_f1": [0.8],
        "low": [0.7],
        "high": [0.9],
        "accuracy": [0.9],
        "count": [24],
    }
    for column in (slice(None), slice(2)):
        evaluated(
            home, headline=scores, by_group=pd.DataFrame(rows)[column].to_dict("list"), flips={"model": [], "pairs": []}
        )
        assert ambo(monkeypatch, capsys, "export", "--to", "shared")[0] == 0
        text = (project / "shared/model/README.md").read_text()
        assert "served alike: who (accuracy 1.000 in all 2)." in text and "| who |" not in text
        assert ("The worst groups of every other column" in text and "| kind | c | 12 |" in text) == (
            column == slice(None)
        )
        assert "No two groups were large enough" not in text and "no test text names a gender" in text


@pytest.mark.parametrize(
    ("path", "shown"),
    [("/home/anna/secret/my.csv", "my.csv"), (r"C:\anna\my.csv", "my.csv"), ("hf:o/n", "hf:o/n"), ("a/b/", "b")],
)
def test_of_a_path_only_the_name_is_told(path, shown):
    assert cards.source_name(path) == shown


def test_no_path_of_the_data_is_in_an_export(project, task, rows, tiny_llama, monkeypatch, capsys):
    trained(
        project, QLoRA(task, recipe(tiny_llama, epochs=1)), records(rows[:16]), data_path="/home/anna/secret/my.csv"
    )
    assert ambo(monkeypatch, capsys, "export", "--to", "shared")[0] == 0
    whole = b"".join(p.read_bytes() for p in (project / "shared").rglob("*") if p.is_file())
    assert b"my.csv" in whole and b"secret" not in whole
    assert pipeline.STAGES["03"].encode() not in whole
