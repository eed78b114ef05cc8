"""Speed of the labelling panel, one JSON line per figure: `python -m tests.benchmarks.panel`.

Click to next text shown, and key to next text shown, in a real browser with 50,000 events in the log and an fsync per
step; opening a panel over 100,000 texts; and a round of the probe that retrains while people label.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from helpers.core.cache import cached
from helpers.core.probe import Probe
from helpers.labels import log
from helpers.labels.panel.panel import Panel
from helpers.query import rounds, strategies
from helpers.task import Task
from tests import browser

EVENTS, ITEMS, STEPS = 50_000, 100_000, 60
CELL = f"""
from helpers.labels.panel import Panel
text = "Cercasi giovane segretaria di bella presenza per studio legale a Milano, contratto a tempo indeterminato. "
records = [{{"id": f"r{{i}}", "text": f"{{i}} " + text * 3}} for i in range({ITEMS})]
Panel(records, ["inclusive", "not_inclusive"], folder="labels", annotator="anna")
"""
# From the event in the page to the next text in the page: both on the browser's clock.
WATCH = """() => {
  const panel = document.querySelector(".jp-OutputArea .ambo-panel");
  let started = 0, before = "";
  const headline = () => panel.querySelector(".ambo-row .ambo-small")?.textContent;
  for (const type of ["click", "keydown"])
    window.addEventListener(type, () => { started = performance.now(); before = headline(); }, true);
  new MutationObserver(() => {
    if (started && headline() && headline() !== before) { window.times.push(performance.now() - started); started = 0; }
  }).observe(panel, { subtree: true, childList: true, characterData: true });
}"""


def report(figure: str, **figures) -> None:
    print(json.dumps({"figure": figure, **figures}), flush=True)


def opening(repeats: int = 3) -> None:
    """A panel over 100,000 texts with an empty log, and with 50,000 events."""
    records = [{"id": f"r{i}", "text": f"{i} " + "x" * 300} for i in range(ITEMS)]
    for events in (0, EVENTS):
        with tempfile.TemporaryDirectory() as name:
            write_log(Path(name), events)
            seconds = []
            for _ in range(repeats):
                started = time.perf_counter()
                Panel(records, ["inclusive", "not_inclusive"], folder=name, annotator="anna")
                seconds.append(time.perf_counter() - started)
        report("panel_opens", items=ITEMS, events=events, seconds=round(statistics.median(seconds), 2), limit=2)


def probe_round(texts: int = 20_000, known: int = 500, dimensions: int = 384, repeats: int = 5) -> None:
    """A round as `next_batch` of 03 has it: fit the probe on 500 labels, score 19,500 cached texts, choose 50 by BAIT."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, texts)
    vectors = (rng.normal(size=(texts, dimensions)) + 0.2 * truth[:, None]).astype(np.float32)
    task = Task("t", ("a", "b"), "b", (" a", " b"), "{text}")
    rows = [{"text": f"{i} " + "word " * 30, "label": "ab"[truth[i]]} for i in range(texts)]
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        embed = cached(lambda names: vectors[[int(name.split()[0]) for name in names]], {}, Path(folder))
        embed([row["text"] for row in rows])
        for _ in range(repeats):
            started = time.perf_counter()
            probe = Probe(task, embed)
            probe.fit(rows[:known])
            inputs = rounds.strategy_inputs("bait", probe, rows[:known], rows[known:])
            strategies.select("bait", texts - known, 50, **inputs)
            seconds.append(time.perf_counter() - started)
    took = {"seconds": round(statistics.median(seconds), 2), "slowest": round(max(seconds), 2)}
    report("probe_round", texts=texts, labels=known, **took, limit=1)


def steps() -> None:
    """Median and 95th percentile of the time from a click or a key to the next text."""
    if why := browser.missing():
        report("panel_click_to_next", skipped=why)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_log(folder / "labels", EVENTS)
        with browser.jupyter_lab(folder) as lab, browser.chromium() as chromium:
            lab.notebook("bench.ipynb", CELL)
            page = chromium.new_page(viewport={"width": 1400, "height": 900})
            lab.open(page, "bench.ipynb")
            page.wait_for_selector(".jp-OutputArea .ambo-panel[data-lm-suppress-shortcuts]", timeout=60_000)
            button = page.locator(".jp-OutputArea .ambo-answer button").first
            page.evaluate(WATCH)
            for figure in ("panel_click_to_next", "panel_key_to_next"):
                page.evaluate("() => void (window.times = [])")
                for i in range(STEPS):
                    button.click() if "click" in figure else page.keyboard.press("2")
                    page.wait_for_function("n => window.times.length >= n", arg=i + 1)
                    page.wait_for_timeout(170)
                times = sorted(page.evaluate("() => window.times"))
                p95 = times[int(0.95 * len(times))]
                report(
                    figure,
                    events=EVENTS,
                    steps=STEPS,
                    median_ms=round(statistics.median(times), 1),
                    p95_ms=round(p95, 1),
                    limit_median_ms=100,
                    limit_p95_ms=250,
                )


def write_log(folder: Path, events: int) -> None:
    """Labels of the first `events` texts."""
    rows = [{"event": "label", "id": f"r{i}", "annotator": "anna", "label": "inclusive"} for i in range(events)]
    rows = [row | {"time": 1.7e9 + i, "spans": [], "shown": [], "seconds": 2.0} for i, row in enumerate(rows)]
    log.append_all(folder, "anna", rows)


if __name__ == "__main__":
    opening()
    probe_round()
    steps()
