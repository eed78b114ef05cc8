"""A real JupyterLab on the loopback address and a real Chromium, for the tests and the benchmark of the panel."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.project import ROOT, notebook

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
FLAGS += ["--disable-sync"]
TOKEN = "loopback-only"
SOURCES = ROOT / "src"


def missing() -> str:
    """Why browser tests cannot run here; empty if they can."""
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
        """Show JupyterLab in the theme `Light` or `Dark` from the next page load on."""
        settings = self.folder / ".settings" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True, exist_ok=True)
        (settings / "themes.jupyterlab-settings").write_text(json.dumps({"theme": f"JupyterLab {name}"}))
        (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')

    def notebook(self, name: str, *cells: str) -> str:
        """Write a notebook of code cells into the served folder and return its name."""
        return notebook(self.folder / name, *((source, []) for source in cells)).name

    def open(self, page, name: str, run: bool = True, app: str = "lab") -> None:
        """Load a notebook in the page, wait for its kernel, and run its cells; `app` is `lab` or `notebook` (version 7)."""
        prefix = "notebooks" if app == "notebook" else "lab/tree"
        page.goto(f"http://127.0.0.1:{self.port}/{prefix}/{name}?token={TOKEN}&reset")
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
    """JupyterLab that serves `folder`, with settings of its own; it ends with the block."""
    port = _free_port()
    environment = os.environ | {
        "JUPYTER_CONFIG_DIR": str(folder / ".config"),
        "JUPYTER_DATA_DIR": str(folder / ".data"),
        "JUPYTER_RUNTIME_DIR": str(folder / ".runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / ".settings"),
        "IPYTHONDIR": str(folder / ".ipython"),
        "PYTHONPATH": str(SOURCES),
        "AMBO_ROOT": str(folder),
    }
    options = [f"--ServerApp.port={port}", f"--ServerApp.token={TOKEN}", "--ServerApp.ip=127.0.0.1"]
    options += ["--ServerApp.port_retries=0", "--ServerApp.allow_root=True", f"--ServerApp.root_dir={folder}"]
    options += ["--LabApp.expose_app_in_browser=True", "--no-browser"]
    options += ["--JupyterNotebookApp.expose_app_in_browser=True"]  # the same server serves Notebook 7
    with (folder / ".lab.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options], cwd=folder, env=environment, stdout=log, stderr=log
        )
    lab = Lab(folder, port, process)
    lab.theme("Light")
    try:
        _wait_until_it_answers(lab)
        yield lab
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def _free_port() -> int:
    """A port that nothing uses, below those that systems give away: a kernel would take one of them meanwhile."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


def _wait_until_it_answers(lab: Lab, seconds: float = 180.0) -> None:
    end = time.time() + seconds
    while True:
        try:
            lab.get("api/status")
            return
        except OSError:
            log = (lab.folder / ".lab.log").read_text()
            assert lab.process.poll() is None and time.time() < end, log[-2000:]
            time.sleep(0.1)


# Left edge, right edge and vertical middle of a word of the text that the panel shows, in pixels.
WORD_POSITION = """([word]) => {
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


# Whether the text and every label button of the panel lie in the part of the notebook that the window shows.
IN_WINDOW = """() => {
  const panel = [...document.querySelectorAll(".jp-OutputArea .ambo-panel")].at(-1);
  if (!panel?.querySelector(".ambo-answer button")) return false;
  const shown = panel.closest(".jp-Notebook").getBoundingClientRect();
  return [...panel.querySelectorAll(".ambo-text, .ambo-answer button")].every((part) => {
    const { left, top, right, bottom, height } = part.getBoundingClientRect();
    return height && left >= shown.left && top >= shown.top && right <= shown.right && bottom <= shown.bottom;
  });
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
    page.wait_for_timeout(170)  # an earlier click would count as the end of a double click


def mark(page, word: str) -> None:
    """Drag the mouse over a word of the text that the panel shows, and wait until it is marked as evidence."""
    position, latest = None, page.evaluate(WORD_POSITION, [word])
    while position != latest:  # figures above the panel may still be growing
        page.wait_for_timeout(300)
        position, latest = latest, page.evaluate(WORD_POSITION, [word])
    left, right, y = position
    page.mouse.move(left, y)
    page.mouse.down()
    page.mouse.move((left + right) / 2, y)
    page.mouse.move(right, y)
    page.mouse.up()
    page.wait_for_selector(f".jp-OutputArea mark.ambo-evidence:text-is('{word}')")


@contextlib.contextmanager
def chromium() -> Iterator:
    """A headless browser for pages on this machine."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()
