"""The real 03 notebook in a real JupyterLab: forty texts labelled in its panel, over a reload and a killed kernel."""

import os
import signal
import subprocess
import time

import browser
import pandas as pd
import pytest
from conftest import ROOT, ambo_run

from helpers import labels, run

pytestmark = pytest.mark.skipif(bool(browser.missing()), reason=browser.missing() or "ready")
HERE = "outputs/csv/hers/03_active_learning"


@pytest.fixture(scope="module")
def project(tmp_path_factory, rows, tiny_llama):
    """A run that waits in 03 for people to label the first twenty of forty texts."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("notebooks", "params"):
        (folder / name).symlink_to(ROOT / name)
    pd.DataFrame(rows)[["text", "label"]].to_csv(folder / "answers.csv", index=False)
    settings = {"data_path": "answers.csv", "labeller": "human", "annotators": "[anna]", "learner": "probe"}
    settings |= {"model": str(tiny_llama), "bidirectional": "false", "epochs": "1", "rounds": "2", "batch_labels": "20"}
    settings |= {"seed_size": "12", "test_size": "20", "validation_size": "20", "near_duplicate": "0.9"}
    environment = os.environ | {"AMBO_ROOT": str(folder)}
    done = subprocess.run(ambo_run("hers", settings), env=environment, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    return folder


def shows(page, number: int) -> None:
    page.wait_for_function(
        "words => document.querySelector('.jp-OutputArea .ambo-row .ambo-small')?.textContent.startsWith(words)",
        arg=f"Text {number} of ",
    )
    page.wait_for_timeout(170)  # sooner, a click is taken for the end of a double click


def text_shown(page) -> str:
    return page.locator(".jp-OutputArea .ambo-row .ambo-text").first.inner_text().strip()


def open_panel(lab, page):
    lab.open(page, f"{HERE}/03_active_learning.ipynb")
    page.wait_for_function(
        "() => document.querySelector('.jp-OutputArea .ambo-panel[data-lm-suppress-shortcuts]')", timeout=90_000
    )
    return page.locator(".jp-OutputArea .ambo-panel").last


def test_forty_texts_in_the_real_notebook(project, rows):
    truth = {r["text"]: r["label"] for r in rows}
    given = []

    def by_key(page):
        text = text_shown(page)
        page.keyboard.press("1" if truth[text] == "bad" else "2")  # the classes in sorted order: bad, good
        given.append(text)

    def by_mouse(page, box):
        text = text_shown(page)
        box.locator(".ambo-answer button").nth(0 if truth[text] == "bad" else 1).click()
        given.append(text)

    with browser.jupyter_lab(project) as lab, browser.chromium() as chromium:
        page = chromium.new_page(viewport={"width": 1400, "height": 900})
        page.on("dialog", lambda shown: shown.accept())
        page.set_default_timeout(60_000)
        box = open_panel(lab, page)
        box.locator(".ambo-text").first.click()
        for i in range(20):
            shows(page, i + 1)
            by_key(page)
        shows(page, 21)
        by_mouse(page, box)
        shows(page, 22)

        box = open_panel(lab, page)  # reloaded, run again: goes on in the second batch
        shows(page, 22)
        for i in range(21, 30):
            shows(page, i + 1)
            by_mouse(page, box)
        shows(page, 31)
        for kernel in lab.kernels():
            os.kill(kernel, signal.SIGKILL)
        page.wait_for_timeout(2_000)
        box = open_panel(lab, page)
        shows(page, 31)
        for i in range(30, 40):
            shows(page, i + 1)
            by_mouse(page, box)
        page.wait_for_selector(".jp-OutputArea .ambo-panel :text('All texts are done')")
        lab.run_all(page)
        until = time.time() + 90
        while run.read_manifest(project / HERE)["status"] != "success" and time.time() < until:
            page.wait_for_timeout(200)

    standing = labels.replay(project / HERE / "labels/human")
    texts = {r["id"]: r["text"] for r in run.read_jsonl(project / "outputs/csv/hers/01_seed_curation/pool.jsonl")}
    assert [texts[e["id"]] for e in labels.events(project / HERE / "labels/human")] == given and len(given) == 40
    assert {texts[i]: label for i, label in standing.items()} == {t: truth[t] for t in given}
    history = run.read_jsonl(project / HERE / "rounds.jsonl")
    assert history[0]["labels"] == 12 and history[2]["labels"] == 52
    assert 28 <= history[1]["labels"] < 32  # chosen when a fifth of the first batch was left
    assert set(standing) == set(history[0]["picks"]) | set(history[1]["picks"])
    assert run.read_manifest(project / HERE)["status"] == "success"
