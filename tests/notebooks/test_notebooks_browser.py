"""The real 03 notebook in a real JupyterLab: forty texts labelled in its panel, over a reload and a killed kernel."""

import json
import os
import signal
import time

import pandas as pd
import pytest

from helpers import files, run
from helpers.labels import exchange, log
from tests import browser
from tests.project import ambo_run, finish, new_project

pytestmark = pytest.mark.skipif(bool(browser.missing()), reason=browser.missing() or "ready")
HERE = "outputs/csv/hers/03_active_learning"


@pytest.fixture(scope="module")
def project(tmp_path_factory, rows, tiny_llama):
    """A run that waits in 03 for people to label the first twenty of forty texts."""
    folder = new_project(tmp_path_factory.mktemp("project"))
    pd.DataFrame(rows)[["text", "label"]].to_csv(folder / "answers.csv", index=False)
    settings = {"data_path": "answers.csv", "labeller": "human", "annotators": "[anna]", "learner": "probe"}
    settings |= {"model": str(tiny_llama), "bidirectional": "false", "epochs": "1", "rounds": "2", "batch_labels": "20"}
    settings |= {"detector_every": "1", "use_synthetic": "false"}
    settings |= {"seed_size": "12", "test_size": "20", "validation_size": "20", "near_duplicate": "0.9"}
    finish(folder, ambo_run("hers", settings, "csv", "--stages", "01,03"), 3)
    pd.DataFrame(rows)[["text"]].to_csv(folder / "raw.csv", index=False)
    settings |= {"data_path": "raw.csv", "labels": "[bad, good]"}
    finish(folder, ambo_run("raw", settings, "csv", "--stages", "01"), 3)
    return folder


@pytest.fixture(scope="module")
def lab(project):
    with browser.jupyter_lab(project) as started:
        yield started


@pytest.fixture
def page():
    with browser.chromium() as chromium:
        page = chromium.new_page(viewport={"width": 1400, "height": 900})
        page.on("dialog", lambda shown: shown.accept())
        page.set_default_timeout(60_000)
        yield page


def text_shown(page) -> str:
    return page.locator(".jp-OutputArea .ambo-row .ambo-text").first.inner_text().strip()


def open_panel(lab, page):
    lab.open(page, f"{HERE}/03_active_learning.ipynb")
    page.wait_for_function(
        "() => document.querySelector('.jp-OutputArea .ambo-panel[data-lm-suppress-shortcuts]')", timeout=240_000
    )
    return page.locator(".jp-OutputArea .ambo-panel").last


class Person:
    """Answers as the truth says, and keeps what the log should hold: (event, text, label, marked phrases)."""

    def __init__(self, page, rows):
        self.page, self.truth, self.events = page, {r["text"]: r["label"] for r in rows}, []
        self.box, self.marked = None, []

    def label(self, by: str) -> None:
        text = text_shown(self.page)
        place = ["bad", "good"].index(self.truth[text])  # the classes in sorted order
        if by == "key":
            self.page.keyboard.press(str(place + 1))
        else:
            self.box.locator(".ambo-answer button").nth(place).click()
        self.events.append(("label", text, self.truth[text], self.marked))
        self.marked = []

    def mark(self, word: str) -> None:
        browser.mark(self.page, word)
        self.marked = [word]

    def undo(self, by: str, back_at: int) -> None:
        if by == "key":
            self.page.keyboard.press("Backspace")
        else:
            self.box.locator("button:has-text('Undo')").click()
        browser.shows(self.page, back_at)
        undone = self.events[-1]
        self.events.append(("undo", undone[1], None, []))
        self.marked = undone[3]  # undone, but what was marked is kept


def reopen(lab, page):
    """Load the waiting run's notebook without running it, and scroll to the end of it."""
    lab.open(page, f"{HERE}/03_active_learning.ipynb", run=False)
    page.locator(".ambo-closed").wait_for(state="attached")
    page.wait_for_timeout(2_000)  # widgets come back after the page
    page.evaluate(
        "() => { const n = window.jupyterapp.shell.currentWidget.content; n.scrollToItem(n.widgets.length - 1); }"
    )
    page.wait_for_timeout(500)
    return page.locator(".jp-OutputArea .ambo-closed")


@pytest.mark.parametrize("place", [f"{HERE}/03_active_learning", "outputs/csv/raw/01_seed_curation/01_seed_curation"])
def test_run_all_brings_the_text_and_the_buttons_into_the_window(lab, page, place):
    for width, height in ((1400, 900), (1000, 700)):
        page.set_viewport_size({"width": width, "height": height})
        lab.open(page, f"{place}.ipynb")
        page.wait_for_function(browser.IN_WINDOW, timeout=240_000)
        page.wait_for_timeout(1_000)
        assert page.evaluate(browser.IN_WINDOW)


WAITS = "This notebook waits for labels. Run all cells to label (Run ▸ Run All Cells, in Colab Ctrl+F9): "
WAITS += "the panel opens at the end of this page."


def test_a_waiting_notebook_says_how_to_open_its_panel(project, lab, page):
    executed = (project / HERE / "03_active_learning.ipynb").read_text()
    assert "widget-state" not in executed and "(children=" not in executed
    opened = next(cell for cell in json.loads(executed)["cells"] if "run.open_run(" in "".join(cell["source"]))
    assert WAITS in json.dumps(opened["outputs"], ensure_ascii=False)
    line = reopen(lab, page)
    assert line.inner_text() == "Run all cells to label (Run ▸ Run All Cells, in Colab Ctrl+F9): the panel opens here."
    open_panel(lab, page)
    line.wait_for(state="hidden")
    assert page.locator(".ambo-waits").text_content() == WAITS  # off the screen
    last = page.locator(".jp-OutputArea-output").last
    assert last.locator(".ambo-answer").count() or "ambo-panel" in last.get_attribute("class")
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    line = reopen(lab, page)  # the kernel lives: the panel comes back
    page.locator(".jp-OutputArea .ambo-panel").wait_for()
    assert not line.is_visible()
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    assert reopen(lab, page).is_visible()


def test_forty_texts_in_the_real_notebook(project, lab, page, rows):
    anna = Person(page, rows)
    anna.box = open_panel(lab, page)
    anna.box.locator(".ambo-text").first.click()
    for i in range(20):
        browser.shows(page, i + 1)
        if i == 4:
            anna.mark("answer")
            anna.label("key")
            browser.shows(page, 6)
            anna.undo("key", 5)  # what was marked stays, and is saved with the next label
        anna.label("key")
    browser.shows(page, 21)
    anna.label("mouse")
    browser.shows(page, 22)
    assert "Batch 2 of 2" in anna.box.inner_text() and anna.box.locator("svg.ambo-curve").count() == 1
    anna.box.locator("button:has-text('Show the model')").click()  # chosen by the panel itself: it has an answer too
    anna.box.locator(".ambo-context:has-text('Suggestion of the model')").wait_for()

    anna.box = open_panel(lab, page)  # reloaded, run again: goes on in the second batch
    for i in range(21, 30):
        browser.shows(page, i + 1)
        if i == 23:
            anna.mark("mail")
        anna.label("mouse")
    browser.shows(page, 31)
    anna.undo("mouse", 30)
    anna.label("mouse")
    browser.shows(page, 31)
    for kernel in lab.kernels():
        os.kill(kernel, signal.SIGKILL)
    page.wait_for_timeout(2_000)
    anna.box = open_panel(lab, page)
    for i in range(30, 40):
        browser.shows(page, i + 1)
        anna.label("mouse")
    page.wait_for_selector(".jp-OutputArea .ambo-panel :text('All texts are done')")
    trained = files.read_jsonl(project / HERE / "rounds.jsonl")
    assert (project / HERE / "adapter").exists() and "qlora" not in trained[0] and trained[1]["qlora"]
    anna.box.locator("button:has-text('Run all cells again')").click()
    until = time.time() + 240
    while run.read_manifest(project / HERE)["status"] != "success" and time.time() < until:
        page.wait_for_timeout(200)
    page.locator(".ambo-waits").wait_for(state="detached")
    assert not page.locator(".jp-Dialog").count()  # nothing asked whether to restart the kernel

    texts = {r["id"]: r["text"] for r in files.read_jsonl(project / "outputs/csv/hers/01_seed_curation/pool.jsonl")}
    logged = [
        (e["event"], text := texts[e["id"]], e.get("label"), [text[a:b] for a, b in e.get("spans", [])])
        for e in log.events(project / HERE / "labels/human")
    ]
    assert logged == anna.events and [e[0] for e in logged].count("label") == 42
    standing = exchange.settled_labels(project / HERE / "labels/human")
    assert {texts[i]: label for i, label in standing.items()} == {e[1]: anna.truth[e[1]] for e in logged}
    history = files.read_jsonl(project / HERE / "rounds.jsonl")
    assert history[0]["labels"] == 12 and history[2]["labels"] == 52
    assert 28 <= history[1]["labels"] < 32  # chosen when a fifth of the first batch was left
    assert set(standing) == set(history[0]["picks"]) | set(history[1]["picks"]) and len(standing) == 40
    assert run.read_manifest(project / HERE)["status"] == "success"
    curve = pd.read_csv(project / HERE / "learning_curve.csv").set_index(["strategy", "round"])["labels"]
    assert curve["QLoRA"].to_dict() == {1: history[1]["labels"], 2: 52}
