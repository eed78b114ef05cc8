"""A real JupyterLab on loopback and a real Chromium, for the tests and the benchmark of the panel."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
FLAGS += ["--disable-sync"]
TOKEN = "loopback-only"
SOURCES = Path(__file__).resolve().parents[1] / "src"


def missing() -> str:
    """Why there can be no browser test here; empty where there can be."""
    if not CHROMIUM:
        return "no Chromium is installed"
    return "" if importlib.util.find_spec("playwright") else "playwright is not installed"


class Lab:
    """A running JupyterLab: its address, its files, its kernels."""

    def __init__(self, folder: Path, port: int, process: subprocess.Popen):
        self.folder, self.port, self.process = folder, port, process

    def get(self, path: str):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}?token={TOKEN}", timeout=5) as answer:
            return json.load(answer)

    def theme(self, name: str) -> None:
        """`Light` or `Dark`, from the next page load on."""
        settings = self.folder / ".settings" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True, exist_ok=True)
        (settings / "themes.jupyterlab-settings").write_text(json.dumps({"theme": f"JupyterLab {name}"}))
        (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')

    def notebook(self, name: str, *cells: str) -> str:
        body = [
            {"cell_type": "code", "execution_count": None, "id": f"c{i}", "metadata": {}, "outputs": [], "source": cell}
            for i, cell in enumerate(cells)
        ]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        notebook = {"cells": body, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
        (self.folder / name).write_text(json.dumps(notebook))
        return name

    def open(self, page, name: str, run: bool = True, app: str = "lab") -> None:
        """Load a notebook in the page, wait for its kernel, and run its cells; `app` is `lab` or `notebook` (7)."""
        place = "notebooks" if app == "notebook" else "lab/tree"
        page.goto(f"http://127.0.0.1:{self.port}/{place}/{name}?token={TOKEN}&reset")
        page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell", timeout=120_000)
        page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel")
        page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.ready")
        if run:
            self.run_all(page)

    def run_all(self, page) -> None:
        page.evaluate("() => void window.jupyterapp.commands.execute('notebook:run-all-cells')")

    def kernels(self) -> list[int]:
        """Process ids of the kernels."""
        import psutil

        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child.pid for child in children if "ipykernel_launcher" in " ".join(child.cmdline())]


@contextlib.contextmanager
def jupyter_lab(folder: Path) -> Iterator[Lab]:
    """JupyterLab over `folder`, with settings of its own; it ends with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {name: str(folder / f".{name}") for name in ("config", "data", "runtime", "settings")}
    environment = os.environ | {
        "JUPYTER_CONFIG_DIR": own["config"],
        "JUPYTER_DATA_DIR": own["data"],
        "JUPYTER_RUNTIME_DIR": own["runtime"],
        "JUPYTERLAB_SETTINGS_DIR": own["settings"],
        "IPYTHONDIR": str(folder / ".ipython"),
        "PYTHONPATH": str(SOURCES),
        "AMBO_ROOT": str(folder),
    }
    options = [f"--ServerApp.port={port}", f"--ServerApp.token={TOKEN}", "--ServerApp.ip=127.0.0.1"]
    options += ["--ServerApp.port_retries=0", "--ServerApp.allow_root=True", f"--ServerApp.root_dir={folder}"]
    options += ["--LabApp.expose_app_in_browser=True", "--no-browser"]
    options += ["--JupyterNotebookApp.expose_app_in_browser=True"]  # Notebook 7 is served beside JupyterLab
    with (folder / ".lab.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options], cwd=folder, env=environment, stdout=log, stderr=log
        )
    lab = Lab(folder, port, process)
    lab.theme("Light")
    try:
        until = time.time() + 180
        while True:
            try:
                lab.get("api/status")
                break
            except OSError:
                assert process.poll() is None and time.time() < until, (folder / ".lab.log").read_text()[-2000:]
                time.sleep(0.1)
        yield lab
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


WORD = """([word]) => {
  const box = document.querySelector(".jp-OutputArea .ambo-text");
  box.scrollIntoView({ block: "center" });
  const walker = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode()); ) {
    const at = node.data.indexOf(word);
    if (at < 0) continue;
    const range = document.createRange();
    range.setStart(node, at);
    range.setEnd(node, at + word.length);
    const r = range.getBoundingClientRect();
    return [r.left + 1, r.right - 1, (r.top + r.bottom) / 2];
  }
}"""


def shows(page, number: int, total: int | str = "") -> None:
    """Wait until the panel shows text `number` and the kernel has answered for the one before."""
    page.wait_for_function(
        """words => {
          const small = document.querySelector(".jp-OutputArea .ambo-row .ambo-small");
          return small?.textContent.startsWith(words) && !small.closest(".ambo-panel[aria-busy]");
        }""",
        arg=f"Text {number} of {total}",
    )
    page.wait_for_timeout(170)  # nobody reads faster; sooner, a click is taken for the end of a double click


def mark(page, word: str) -> None:
    """Drag the mouse over a word of the text shown, and wait until it is evidence."""
    place = None
    while place != (place := page.evaluate(WORD, [word])):  # figures above it may still be growing
        page.wait_for_timeout(300)
    left, right, y = place
    page.mouse.move(left, y)
    page.mouse.down()
    page.mouse.move((left + right) / 2, y)
    page.mouse.move(right, y)
    page.mouse.up()
    page.wait_for_selector(f".jp-OutputArea mark.ambo-evidence:text-is('{word}')")


@contextlib.contextmanager
def chromium() -> Iterator:
    """A headless browser that talks to loopback only."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()
