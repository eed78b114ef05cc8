"""The report in a real Chromium, wide and on a phone: nothing hides, figures stay large enough to read."""

import numpy as np
import pandas as pd
import pytest

from helpers.evaluation import plots, report
from tests.browser import chromium, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

# Elements that reach beyond the page, and cells whose text is cut.
OUTSIDE = """() => [...document.querySelectorAll("p, li, td, img, footer")].filter(e => {
  if (e.closest(".figure")) return false;  // which scrolls
  const box = e.getBoundingClientRect();
  return box.width && (box.right > innerWidth + 1 || e.scrollWidth > e.clientWidth + 1) }).map(e => e.outerHTML.slice(0, 200))"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    groups = pd.DataFrame({"group": ["ristorazione e turismo", "x" * 59, "b"], "count": [120, 80, 3]})
    rates = ["macro_f1", "accuracy", "false_positive_rate", "false_negative_rate"]
    for name in rates:
        groups[name], groups[f"{name}_low"], groups[f"{name}_high"] = 0.5, 0.25, 0.75
    plots.save(plots.confusion(np.eye(2, dtype=int), ["fine", "not_inclusive"]), folder / "c.png")
    models = ["QLoRA", "TF-IDF + logistic regression on the same rows of it"]
    scores = pd.DataFrame({"model": models, "macro_f1": [0.9, 0.3], "low": [0.8, 0.2], "high": [1, 0.4]})
    plots.save(plots.model_bars(scores), folder / "m.png")
    texts = pd.DataFrame({"text": ["una parola " * 40], "label": ["fine"], "confidence": [0.9]})
    sections = [
        report.section("In short", points=["One sentence. " * 9]),
        report.group_section("sector", groups, 10, [folder / "c.png", folder / "m.png"]),
        report.section("Texts", table=texts),
    ]
    return report.write_report(folder / "r.html", "Report", "lead", sections, f"sha256 {'0' * 64}")


def test_nothing_hides_on_a_phone_and_a_wide_page_keeps_its_tables(page):
    with chromium() as browser:
        for width in (400, 1280):
            tab = browser.new_page(viewport={"width": width, "height": 800})
            tab.goto(page.as_uri())
            assert tab.evaluate("document.documentElement.scrollWidth") == width
            assert tab.evaluate(OUTSIDE) == []
            shown = tab.evaluate("[...document.images].map(i => i.getBoundingClientRect().width / i.naturalWidth)")
            assert min(shown) >= 0.49, shown  # of 150 pixels to the inch: ten points are ten pixels
            if width == 1280:
                assert tab.evaluate(
                    "[...document.querySelectorAll('.figure')].every(f => f.scrollWidth <= f.clientWidth)"
                )
            header = tab.locator("tr.head").first
            assert header.is_visible() == (width == 1280)
            label = tab.evaluate("getComputedStyle(document.querySelector('td'), '::before').content")
            assert label == ('"group"' if width == 400 else "none")
