"""Data that try to run: script in everything that data can name, in every notebook, saved as a page and live in JupyterLab."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pandas as pd
import papermill
import pytest
from nbconvert import HTMLExporter

from helpers import files
from helpers.labels import log
from helpers.synthesis.answers import SCHEMA_LINE
from tests import browser
from tests.endpoints import Proxy, completion
from tests.project import ROOT, ambo_run, assert_quiet, finish, new_project

pytestmark = pytest.mark.skipif(bool(browser.missing()), reason=browser.missing() or "ready")


def payload(place: str) -> str:
    """Asks for an address and sets `hit` where a page takes it for HTML, by an event or by a script."""
    return f"<img src=http://payload.invalid/{place} onerror=hit='{place}'><script>hit='{place}'</script>"


TEXT, COLUMN, GROUP, FURTHER = (payload(place) for place in ("text", "column", "group", "split"))
LABELS = {"good": payload("good"), "bad": payload("bad")}
SET, STRATEGY = payload("set"), payload("strategy")
TEACHER, NOTE, PERSON = (payload(place) for place in ("teacher", "note", "person"))
CLASSES, WRITING = "outputs/csv/hostile", "outputs/counter_narrative/hostile"
COMMON = {"bidirectional": "false", "epochs": "1", "rounds": "1", "bootstrap": "100", "near_duplicate": "0.95"}
COMMON |= {"group_columns": json.dumps([COLUMN]), "text_column": TEXT, "language": "''", "teacher": "endpoint"}
COMMON |= {"smallest_group": "2", "split_column": FURTHER, "test_split": "test", "validation_split": "validation"}


def answer(number: int, body: dict) -> dict:
    """What the teacher says: a text, in the form that the request asks for."""
    text = f"A kind and warm reply, number {number}. {TEACHER}"
    return completion(json.dumps({"text": text}) if SCHEMA_LINE in body["messages"][-1]["content"] else text)


def table(rows: list[dict]) -> pd.DataFrame:
    """Texts, labels, groups, splits and columns with a payload in each."""
    splits = ["test"] * 24 + ["validation"] * 20 + [f"test_{FURTHER}"] * 6
    return pd.DataFrame(
        {
            TEXT: [f"{r['text']} {TEXT}" for r in rows],
            "label": [LABELS[r["label"]] for r in rows],
            "target": [f"Thank you for answer {i}. {TEXT}" for i in range(len(rows))],
            COLUMN: [GROUP + r["group"] for r in rows],
            FURTHER: splits + [""] * (len(rows) - len(splits)),
        }
    )


def classify(project: Path, model: Path, endpoint: dict) -> None:
    """01 to 04 with two people and a stranger's log; one text is left to the adjudicator."""
    settings = COMMON | {"data_path": "hostile.csv", "model": str(model), "learner": "probe"}
    settings |= {"methods": "[paraphrase]", "most_rewritten": "4", "seed_size": "20", "batch_labels": "6"}
    settings |= {"labeller": "human", "annotators": "[anna, bruno]", "overlap_k": "2", "balance_group": COLUMN}
    words = ambo_run("hostile", settings, "csv")
    finish(project, words, 3, **endpoint)
    folder = project / CLASSES / "03_active_learning"
    logs = folder / "labels/human"
    first, second = LABELS.values()
    ids = files.read_jsonl(folder / "rounds.jsonl")[0]["picks"]
    for i, record in enumerate(ids):
        log.append(logs, "anna", "label", record, label=(first, second)[i % 2])
        log.append(logs, "bruno", "label", record, label=(first, second)[(i == 0) or i % 2])
        log.append(logs, "bruno", "note", record, text=NOTE)
    stranger = [
        {"event": "label", "id": record, "label": (first, second)[i % 2], "time": 1.0, "annotator": PERSON}
        for i, record in enumerate(ids[2:])
    ]
    files.write_jsonl(logs / "copied.jsonl", stranger)
    finish(project, words, **endpoint)


def write(project: Path, model: Path, endpoint: dict) -> None:
    """The notebooks of a generation task, with targets by a teacher."""
    settings = COMMON | {"data_path": "hostile.csv", "model": str(model), "max_new_tokens": "6", "seed_size": "12"}
    settings |= {"target_columns": "[target]", "batch_labels": "5", "pool_limit": "12", "scorer_size": "8"}
    settings |= {"labeller": "teacher", "floor": "0.0"}
    finish(project, ambo_run("hostile", settings, "counter_narrative", profile="demo_generation"), **endpoint)


@pytest.fixture(scope="module")
def project(tmp_path_factory, rows, tiny_llama):
    """Every notebook, executed on hostile data."""
    folder = new_project(tmp_path_factory.mktemp("project"))
    table(rows).to_csv(folder / "hostile.csv", index=False)
    curves = [(SET, name, seed, 0.5, 0.6 + seed / 10) for name in (STRATEGY, "random") for seed in (1, 2)]
    pd.DataFrame(curves, columns=["set", "strategy", "seed", "50", "100"]).to_csv(folder / "curves.csv", index=False)
    with Proxy(answer) as server, ThreadPoolExecutor(2) as both, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AMBO_ROOT", str(folder))
        endpoint = {"TEACHER_BASE_URL": server.url, "TEACHER_MODEL": "m", "OMP_NUM_THREADS": "1"}
        runs = [both.submit(one, folder, tiny_llama, endpoint) for one in (classify, write)]
        for one in runs:
            one.result()
        quiet = {"kernel_name": "python3", "cwd": folder, "progress_bar": False}
        for name, values in {
            "00_start_here": {"sentence": TEXT},
            "05_compare_runs": {"task": "csv", "run_id": "all", "curves_csv": "curves.csv"},
        }.items():
            target = folder / f"outputs/pages/x/{name}/{name}.ipynb"
            target.parent.mkdir(parents=True)
            papermill.execute_notebook(ROOT / f"notebooks/{name}.ipynb", target, values, **quiet)
    return folder


@pytest.fixture
def page():
    """A page that can reach this machine only; `page.asked` are the addresses that it wanted."""
    with browser.chromium() as chromium:
        page = chromium.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(60_000)
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("dialog", lambda shown: shown.accept())
        near = ("http://127.0.0.1", "file:", "data:", "blob:")
        page.route(
            lambda address: not address.startswith(near),
            lambda route: route.abort(),
        )
        yield page


def assert_nothing_ran(page) -> None:
    assert page.evaluate("() => window.hit") is None
    assert not [address for address in page.asked if "payload.invalid" in address]


def test_a_payload_would_be_noticed(page):
    page.set_content(f"<p>{payload('here')}</p>")
    page.wait_for_function("() => window.hit === 'here'")
    assert "http://payload.invalid/here" in page.asked


# Notebook, or the report → what of the data a reader must see in it, whatever the models answered.
PAGES = {
    "outputs/pages/x/00_start_here/00_start_here.ipynb": [],
    f"{CLASSES}/01_seed_curation/01_seed_curation.ipynb": [TEXT, COLUMN, GROUP, f"test_{FURTHER}", *LABELS.values()],
    f"{CLASSES}/02_synthetic_expansion/02_synthetic_expansion.ipynb": [TEACHER, LABELS["bad"]],
    f"{CLASSES}/03_active_learning/03_active_learning.ipynb": [PERSON, COLUMN, GROUP, *LABELS.values()],
    f"{CLASSES}/04_bias_evaluation/04_bias_evaluation.ipynb": [COLUMN, f"test_{FURTHER}", LABELS["good"]],
    f"{CLASSES}/04_bias_evaluation/report.html": [COLUMN, GROUP],
    "outputs/pages/x/05_compare_runs/05_compare_runs.ipynb": [SET, STRATEGY],
    f"{WRITING}/01_seed_curation/01_seed_curation.ipynb": [TEXT, COLUMN, GROUP],
    f"{WRITING}/03_active_generation/03_active_generation.ipynb": [TEXT, COLUMN, GROUP],
    f"{WRITING}/04_generation_evaluation/04_generation_evaluation.ipynb": [TEXT],
    f"{WRITING}/04_generation_evaluation/report.html": [TEXT, COLUMN, GROUP],
}


def test_every_notebook_saved_as_a_page_and_every_report_shows_data_as_text(project, page):
    made = {str(p.relative_to(project)) for p in (project / "outputs").glob("*/*/*/*.ipynb")}
    assert made == {name for name in PAGES if name.endswith(".ipynb")}
    for name, texts in PAGES.items():
        path = project / name
        if path.suffix == ".ipynb":
            html, _ = HTMLExporter().from_notebook_node(nbformat.read(path, as_version=4))
            path = path.with_suffix(".html")
            path.write_text(html, encoding="utf-8")
        page.goto(path.as_uri(), wait_until="load")
        words = page.evaluate(OUTPUT_TEXT)
        for text in texts:
            assert text in words or text.replace("_", " ") in words, (name, text)
        assert_nothing_ran(page)


# The text of the outputs, where the page is a notebook: the parameters stand in an input.
OUTPUT_TEXT = """() => {
  const outputs = [...document.querySelectorAll(".jp-OutputArea-output")];
  return (outputs.length ? outputs : [document.body]).map(part => part.textContent).join(" ");
}"""


def test_executed_notebooks_are_quiet_and_escape_their_tables(project):
    for folder in (CLASSES, WRITING):
        assert_quiet(project / folder)


def test_live_in_jupyterlab_nothing_runs_either(project, page):
    settings = project / ".settings/@jupyterlab/notebook-extension"
    settings.mkdir(parents=True)
    # All cells are in the page, not only those in sight.
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    with browser.jupyter_lab(project) as lab:
        lab.open(page, "outputs/pages/x/00_start_here/00_start_here.ipynb")
        page.locator(".jp-OutputArea button:has-text('Ask the detector')").click()
        page.wait_for_selector(".jp-OutputArea :text('Detector of run hostile')", timeout=120_000)
        answered = page.evaluate(OUTPUT_TEXT)
        assert TEXT in answered and any(label in answered for label in LABELS.values())
        assert_nothing_ran(page)

        lab.open(page, f"{CLASSES}/03_active_learning/03_active_learning.ipynb")
        box = page.locator(".jp-OutputArea .ambo-panel").last
        box.wait_for(timeout=180_000)
        box.locator(f".ambo-context li:has-text({json.dumps(NOTE)})").first.wait_for()
        page.wait_for_timeout(500)  # a picture would have been asked for by now
        panel_text = box.inner_text()
        assert all(text in panel_text for text in (TEXT, NOTE, *LABELS.values()))
        shown = page.evaluate(OUTPUT_TEXT)
        assert PERSON in shown and GROUP in shown
        assert_nothing_ran(page)
        inside = page.locator(".jp-OutputArea").locator("img[src*=payload], script:text('hit')")
        assert inside.count() == 0
